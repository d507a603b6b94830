"""Optimal brain surgeon on a network: where its matrix comes from.

Papers: Hassibi and Stork, "Second Order Derivatives for Network Pruning: Optimal Brain
Surgeon", NeurIPS 1992; Singh and Alistarh, "WoodFisher: Efficient Second-Order
Approximation for Neural Network Compression", NeurIPS 2020,
https://arxiv.org/abs/2004.14340.

The first paper takes a squared error and few outputs y. At a fit the second derivatives
are then a mean of x x^T, x = dy/dw. For any loss l(y) of a sample, with A = d2l/dy^2,

    H = mean over samples of  J^T A J        J = dy/dw, the generalised Gauss-Newton
      = mean over vectors of  x x^T          x = sqrt(C lambda) J^T v for each of the C
                                             eigenvalues lambda of A, vectors v

It is the Hessian but for terms with second derivatives of the network, and these are 0
within a layer of a ReLU network. For cross-entropy A = diag(p) - p p^T, and H is the
Fisher matrix of the model's own predictions p. The labels do not enter.
"""

from collections.abc import Collection

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from effdl.measure.probe import evaluating
from effdl.nas.proxies.weights import LossFunction
from effdl.prune.obd_backward import output_hessian
from effdl.prune.obs import check_damping, surgeon, surgeon_saliency
from effdl.prune.sensitivity import chosen_weights, output_slopes
from effdl.prune.thresholds import check_sparsity

MOST = 4000  # weights: a matrix of 128 MB


def curvature_vectors(
    model: nn.Module,
    inputs: Tensor,
    targets: Tensor,
    *,
    loss_fn: LossFunction = F.cross_entropy,
    names: Collection[str] | None = None,
) -> Tensor:
    """Return vectors whose mean of x x^T is H, (N C, n).

    Args:
        model: Not pruned; runs in evaluation mode and stays as it is.
        inputs: One batch, (N, ...).
        targets: What ``loss_fn`` expects beside the output (N, C).
        loss_fn: A mean over samples that do not act together, convex in the outputs.
        names: Whose n weights, one after the other; None takes all.

    Example:
        >>> layer = nn.Linear(1, 1, bias=False)
        >>> x, y = torch.full((1, 1), 3.0), torch.zeros(1, 1)
        >>> curvature_vectors(layer, x, y, loss_fn=F.mse_loss).square().round()
        tensor([[18.]])
    """
    slopes = output_slopes(model, inputs, names=names)
    jacobian = torch.cat([part.flatten(2) for part in slopes.values()], dim=2)
    with torch.no_grad(), evaluating(model):
        outputs = model(inputs.clone())
    values, vectors = torch.linalg.eigh(output_hessian(outputs, targets, loss_fn))
    classes = outputs.shape[1]
    roots = vectors * (classes * values.clamp(min=0)).sqrt()[:, None]  # (N, C, C)
    return torch.einsum("nck,ncw->nkw", roots, jacobian).flatten(0, 1)


def obs_scores(
    model: nn.Module,
    inputs: Tensor,
    targets: Tensor,
    *,
    loss_fn: LossFunction = F.cross_entropy,
    damping: float = 1e-4,
    names: Collection[str] | None = None,
) -> dict[str, Tensor]:
    """Return L_q of every named weight, with one matrix H for all of them.

    Raises ``ValueError`` if there are more than 4,000.

    Args:
        model: Not pruned; it stays as it is.
        inputs: One batch, (N, ...).
        targets: What ``loss_fn`` expects beside the output (N, C).
        loss_fn: As for :func:`curvature_vectors`.
        damping: Added to the diagonal of H, above 0.
        names: Whose weights; None takes all.

    Example:
        >>> layer = nn.Linear(1, 1, bias=False)
        >>> _ = nn.init.constant_(layer.weight, 2.0)
        >>> x, y = torch.full((1, 1), 3.0), torch.zeros(1, 1)
        >>> obs_scores(layer, x, y, loss_fn=F.mse_loss, damping=1e-6)
        {'weight': tensor([[36.]])}
    """
    weights = _chosen(model, names)
    inverse = _inverse(model, inputs, targets, loss_fn, damping, list(weights))
    together = torch.cat([weight.flatten() for weight in weights.values()])
    saliency = surgeon_saliency(together.double(), inverse).to(together)
    return _shaped(saliency, weights)


def operate_(
    model: nn.Module,
    inputs: Tensor,
    targets: Tensor,
    *,
    sparsity: float,
    loss_fn: LossFunction = F.cross_entropy,
    damping: float = 1e-4,
    names: Collection[str] | None = None,
) -> dict[str, Tensor]:
    """Change the named weights: the cheapest go one by one, the others make up for it.

    H is taken once, at the weights as they were; the paper takes it anew for every
    weight. Biases and weights without a name stay as they are.

    Args:
        model: Not pruned.
        inputs: One batch, (N, ...).
        targets: What ``loss_fn`` expects beside the output (N, C).
        sparsity: Share of the named weights that goes.
        loss_fn: As for :func:`curvature_vectors`.
        damping: Added to the diagonal of H, above 0.
        names: Whose weights; None takes all, at most 4,000.

    Returns:
        The masks of what is left, for :func:`effdl.prune.masks.prune_`.

    Example:
        >>> layer = nn.Linear(2, 1, bias=False)
        >>> _ = layer.weight.data.copy_(torch.tensor([[3.0, 1.0]]))
        >>> x, y = torch.eye(2), torch.zeros(2, 1)
        >>> operate_(layer, x, y, sparsity=0.5, loss_fn=F.mse_loss)
        {'weight': tensor([[ True, False]])}
    """
    check_sparsity(sparsity)
    weights = _chosen(model, names)
    together = torch.cat([weight.flatten() for weight in weights.values()])
    count = round(sparsity * len(together))
    kept = torch.ones_like(together, dtype=torch.bool)
    if count:
        inverse = _inverse(model, inputs, targets, loss_fn, damping, list(weights))
        done = surgeon(together.double(), inverse, count)
        kept[done.removed] = False
        for name, weight in _shaped(done.weight, weights).items():
            model.get_parameter(name).data.copy_(weight)
    return _shaped(kept, weights)


def _chosen(model: nn.Module, names: Collection[str] | None) -> dict[str, Tensor]:
    chosen = {n: weight.detach() for n, weight in chosen_weights(model, names).items()}
    count = sum(weight.numel() for weight in chosen.values())
    if count > MOST:
        raise ValueError(
            f"H of {count} weights has {count}^2 entries; name fewer weights, or use "
            "effdl.prune.layer_obs or effdl.prune.block_fisher"
        )
    return chosen


def _inverse(
    model: nn.Module,
    inputs: Tensor,
    targets: Tensor,
    loss_fn: LossFunction,
    damping: float,
    names: list[str],
) -> Tensor:
    check_damping(damping)
    vectors = curvature_vectors(model, inputs, targets, loss_fn=loss_fn, names=names)
    hessian = vectors.double().T @ vectors.double() / len(vectors)
    hessian.diagonal().add_(damping)
    return torch.linalg.inv(hessian)  # float64: surgery subtracts nearly equal numbers


def _shaped(flat: Tensor, like: dict[str, Tensor]) -> dict[str, Tensor]:
    parts = flat.split([weight.numel() for weight in like.values()])
    return {
        name: part.view_as(weight)
        for (name, weight), part in zip(like.items(), parts, strict=True)
    }
