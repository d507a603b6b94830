"""Steps that train the supernet on sampled paths instead of on the mixture.

Papers: Hu et al., "TF-NAS: Rethinking Three Search Freedoms of Latency-Constrained
Differentiable Neural Architecture Search", ECCV 2020,
https://arxiv.org/abs/2008.05314; Guo et al., "Single Path One-Shot Neural
Architecture Search with Uniform Sampling", ECCV 2020,
https://arxiv.org/abs/1904.00420, for uniform paths.

A path is one candidate for each edge. The step of alpha is that of DARTS, on the
mixture; the step of w runs some paths and adds their losses:

    alpha <- alpha - rate * d objective(L_val(mixture)) / d alpha
    w     <- w     - rate * d (sum over paths p of  L_train(p)) / d w

Who draws paths by the softmax of alpha trains what the search wants now, and starves
the rest. Uniform paths train all candidates alike, and never see that the search has
decided.

The argmax of logits with Gumbel noise is a draw from their softmax, at any temperature.
So no temperature is needed where only the argmax is used.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from effdl.nas.gradient.architecture import Architecture
from effdl.nas.gradient.steps import Batch, Searching, SearchStep

DrawPaths = Callable[[Architecture], Sequence[Tensor]]


def path_by_softmax(architecture: Architecture) -> Tensor:
    """Return one-hot weights (edges, K), drawn edge by edge from the logits' softmax.

    Args:
        architecture: Inactive candidates are never drawn.

    Example:
        >>> path_by_softmax(Architecture([("skip",)] * 2)).tolist()
        [[1.0], [1.0]]
    """
    return _drawn(architecture.masked_logits().detach().softmax(dim=1))


def uniform_path(
    architecture: Architecture, *, without: Tensor | None = None
) -> Tensor:
    """Return one-hot weights (edges, K), drawn uniformly from the active candidates.

    Args:
        architecture: Says which are active.
        without: A path (edges, K) whose candidates are not drawn again; unless an edge
            has no other.

    Example:
        >>> pair = Architecture([("skip", "conv")])
        >>> uniform_path(pair, without=torch.tensor([[1.0, 0.0]]))
        tensor([[0., 1.]])
    """
    chances = architecture.active.to(architecture.logits.dtype)
    if without is not None:
        others = chances * (without == 0)
        chances = torch.where(others.any(dim=1, keepdim=True), others, chances)
    return _drawn(chances)


def step_on_paths(draw: DrawPaths) -> SearchStep:
    """Return a step: alpha on the mixture, then w on paths whose losses are added.

    The step returns the mean of the paths' training losses.

    Args:
        draw: Returns the paths of one step, at least one, each (edges, K).

    Example:
        >>> step = step_on_paths(lambda architecture: [uniform_path(architecture)])
        >>> step.__name__  # for effdl.nas.gradient.method.Method
        'step'
    """

    def step(searching: Searching, train: Batch, validation: Batch) -> float:
        weights = searching.weights()
        loss = searching.loss(validation, weights)
        objective = searching.objective(loss, weights, searching)
        parameters = tuple(searching.architecture.parameters())
        searching.move_architecture_(torch.autograd.grad(objective, parameters))
        losses = [searching.loss(train, path) for path in draw(searching.architecture)]
        torch.stack(losses).sum().backward()
        searching.move_weights_()
        return torch.stack(losses).mean().item()

    return step


def _drawn(chances: Tensor) -> Tensor:
    chosen = torch.multinomial(chances, 1)  # (edges, 1)
    return torch.zeros_like(chances).scatter_(1, chosen, 1.0)
