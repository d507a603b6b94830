"""WoodFisher: brain surgery with slopes instead of second derivatives, block by block.

Paper: Singh and Alistarh, "WoodFisher: Efficient Second-Order Approximation for Neural
Network Compression", NeurIPS 2020, https://arxiv.org/abs/2004.14340.

If the labels were drawn from the network's own predictions, the Hessian at a fit would
be the mean of g g^T, g being the slope of one sample's loss. With the true labels it is
the empirical Fisher matrix, which needs no more than N slopes:

    F = damping I + G^T G / N        G (N, n), a slope in every row

in blocks of weights that follow one another; outside the blocks F is taken for 0. The
inverse of a block, by the identity of Woodbury, inverts no more than N x N numbers,
which pays where the block has more weights than there are samples:

    F^-1 = I / damping - G^T (N I + G G^T / damping)^-1 G / damping^2

It is the matrix that the recursion in :mod:`effdl.prune.obs` arrives at; the paper uses
the recursion. Saliency and compensation are those of that module.

Before trusting it: where all labels are predicted with certainty, all slopes vanish and
with them F, whatever the curvature is. And the damping then decides.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from effdl.checks import check_positive
from effdl.measure.probe import as_inputs, evaluating
from effdl.nas.proxies.weights import LossFunction, connection_weights
from effdl.prune.masks import Masks
from effdl.prune.obs import check_damping, compensation, surgeon_saliency


def sample_slopes(
    model: nn.Module,
    inputs: Tensor,
    targets: Tensor,
    *,
    loss_fn: LossFunction = F.cross_entropy,
    chunk: int = 50,
) -> dict[str, Tensor]:
    """Return the slope of every sample's own loss, each (N, shape of the weight).

    Args:
        model: Not pruned. Runs in evaluation mode, one sample at a time.
        inputs: One batch, (N, ...).
        targets: (N, ...).
        loss_fn: Maps output and targets of one sample, (1, ...), to a scalar.
        chunk: Samples at once; fewer need less memory.

    Example:
        >>> layer = nn.Linear(1, 1, bias=False)
        >>> _ = nn.init.constant_(layer.weight, 2.0)
        >>> x, y = torch.tensor([[1.0], [3.0]]), torch.zeros(2, 1)
        >>> sample_slopes(layer, x, y, loss_fn=F.mse_loss)["weight"].flatten()
        tensor([ 4., 36.])
    """
    as_inputs(inputs)
    check_positive(chunk=chunk)
    weights = {name: w.detach() for name, w in connection_weights(model).items()}

    def loss(weights: dict[str, Tensor], sample: Tensor, target: Tensor) -> Tensor:
        return loss_fn(functional_call(model, weights, sample[None]), target[None])

    with evaluating(model):
        slopes = vmap(grad(loss), in_dims=(None, 0, 0), chunk_size=chunk)
        return {
            n: s.detach() for n, s in slopes(weights, inputs.clone(), targets).items()
        }


def fisher_inverse(slopes: Tensor, *, damping: float = 1e-4) -> Tensor:
    """Return F^-1 of one block, (n, n), by whichever inverts the smaller matrix.

    Args:
        slopes: G, (N, n).
        damping: Above 0.

    Example:
        >>> fisher_inverse(torch.tensor([[1.0, 1.0]]), damping=1.0)
        tensor([[ 0.6667, -0.3333],
                [-0.3333,  0.6667]])
    """
    check_damping(damping)
    check_positive(slopes=len(slopes))
    rows = slopes.double()
    samples, weights = rows.shape
    if samples >= weights:
        block = rows.T @ rows / samples
        block.diagonal().add_(damping)
        return torch.linalg.inv(block).to(slopes)
    small = rows @ rows.T / damping
    small.diagonal().add_(samples)
    inverse = -rows.T @ torch.linalg.solve(small, rows) / damping**2
    inverse.diagonal().add_(1 / damping)
    return inverse.to(slopes)


def woodfisher_scores(
    model: nn.Module,
    inputs: Tensor,
    targets: Tensor,
    *,
    loss_fn: LossFunction = F.cross_entropy,
    block: int = 100,
    damping: float = 1e-4,
) -> dict[str, Tensor]:
    """Return w_q^2 / (2 [F^-1]_qq) for every weight of linear and convolutional layers.

    Args:
        model: Not pruned; it stays as it is.
        inputs: One batch, (N, ...).
        targets: What ``loss_fn`` expects beside the output.
        loss_fn: As for :func:`sample_slopes`.
        block: Weights in a block; the last of a layer has fewer.
        damping: Added to the diagonal, above 0.

    Example:
        >>> layer = nn.Linear(1, 1, bias=False)
        >>> _ = nn.init.constant_(layer.weight, 1.0)
        >>> x, y = torch.ones(1, 1), torch.zeros(1, 1)
        >>> woodfisher_scores(layer, x, y, loss_fn=F.mse_loss)["weight"].round()
        tensor([[2.]])
    """
    check_positive(block=block)
    scores = {}
    found = sample_slopes(model, inputs, targets, loss_fn=loss_fn)
    for name, slopes in found.items():
        weight = model.get_parameter(name).detach()
        parts = [
            surgeon_saliency(part, fisher_inverse(columns, damping=damping))
            for part, columns in _blocks(weight, slopes, block)
        ]
        scores[name] = torch.cat(parts).view_as(weight).to(weight)
    return scores


def compensate_blocks_(
    model: nn.Module,
    slopes: Mapping[str, Tensor],
    masks: Masks,
    *,
    block: int = 100,
    damping: float = 1e-4,
) -> None:
    """Change the weights: those outside the masks go, others of their block make up.

    Args:
        model: Not pruned.
        slopes: What :func:`sample_slopes` returned.
        masks: True where a weight stays, for some or all of the weights.
        block: Weights in a block.
        damping: Added to the diagonal, above 0.

    Raises:
        ValueError: If a mask has no slopes.

    Example:
        >>> layer = nn.Linear(2, 1, bias=False)
        >>> _ = nn.init.constant_(layer.weight, 2.0)
        >>> slopes = {"weight": torch.ones(1, 1, 2)}
        >>> masks = {"weight": torch.tensor([[True, False]])}
        >>> compensate_blocks_(layer, slopes, masks)
        >>> layer.weight.data.round()
        tensor([[4., 0.]])
    """
    check_positive(block=block)
    for name, mask in masks.items():
        if name not in slopes:
            raise ValueError(f"slopes has nothing for {name}, only {list(slopes)}")
        weight = model.get_parameter(name).data
        blocks = _blocks(weight, slopes[name], block)
        parts = [
            part + compensation(part, fisher_inverse(rows, damping=damping), ~kept)
            for (part, rows), kept in zip(
                blocks, mask.flatten().split(block), strict=True
            )
        ]
        weight.copy_(torch.cat(parts).view_as(weight))


def _blocks(weight: Tensor, slopes: Tensor, block: int) -> list[tuple[Tensor, Tensor]]:
    # float64: surgery subtracts nearly equal numbers
    parts = weight.flatten().double().split(block)
    columns = slopes.flatten(1).double().split(block, dim=1)
    return list(zip(parts, columns, strict=True))
