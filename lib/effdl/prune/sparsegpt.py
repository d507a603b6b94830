"""Pruning one linear layer after training: Wanda's score, SparseGPT's sweep.

Papers: Frantar and Alistarh, "SparseGPT: Massive Language Models Can be Accurately
Pruned in One-Shot", ICML 2023, https://arxiv.org/abs/2301.00774; Sun et al., "A Simple
and Effective Pruning Approach for Large Language Models", ICLR 2024,
https://arxiv.org/abs/2306.11695 (Wanda).

Let X be inputs of the layer, (samples, in). What its outputs lose is, row by row,

    ||X (w - v)||^2 = (w - v)^T H (w - v)         H = X^T X, the same for all rows

Wanda looks at the diagonal alone, and changes no weight that stays:

    score_ij = |W_ij| ||X_j||

SparseGPT goes through the inputs from left to right. With H^-1 = U^T U, U upper
triangular, the inverse of H without the inputs before j begins with U_jj^2, so

    score_ij = W_ij^2 / U_jj^2                         what it costs to take W_ij out
    W_i,j:  -= W_ij / U_jj  U_j,j:                     the inputs that follow make up

For N:M, the mask of a group is chosen when the sweep comes to its first input; for any
sparsity, that of a block of 128 inputs. A weight that stays is changed only by what
stands to its left. So all rows share one U: no row needs an inverse of its own.

That is the price, too. Each step is the best for itself, but the whole is not the best
for its mask: :func:`refit` is, by one solution for each row, and never costs more than
to leave the other weights as they are. The sweep may: an input that changed for one
removal may stand in the way of a later one. The tests have a case by hand.

What differs: inputs that are always 0 need no rule here: their scores are the smallest.
Before trusting it: it is about the outputs of one layer, on the inputs that it saw.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from effdl.checks import check_share
from effdl.prune.obs import compensation

Choose = Callable[[Tensor], Tensor]  # from scores (out, block) to a mask


def wanda_scores(weight: Tensor, inputs: Tensor) -> Tensor:
    """Return ``|W_ij| ||X_j||``, (out, in).

    Wanda compares the weights of one output: with N:M that is so in any case.

    Args:
        weight: (out, in).
        inputs: (..., in).

    Example:
        >>> weight = torch.tensor([[3.0, 2.0]])
        >>> wanda_scores(weight, torch.tensor([[1.0, 3.0], [0.0, 4.0]]))
        tensor([[ 3., 10.]])
    """
    _check_inputs(weight, inputs)
    return weight.abs() * inputs.flatten(0, -2).norm(dim=0)


def curvature(inputs: Tensor, damping: float = 0.01) -> Tensor:
    """Return H = X^T X, with ``damping`` times its mean diagonal added to the diagonal.

    Args:
        inputs: (..., in).
        damping: Above 0 and at most 1.

    Raises:
        ValueError: If all inputs are 0.

    Example:
        >>> curvature(torch.tensor([[2.0, 0.0], [0.0, 2.0]]), damping=0.5)
        tensor([[6., 0.],
                [0., 6.]])
    """
    check_share(damping=damping)
    rows = inputs.flatten(0, -2)
    products = rows.T @ rows
    mean = products.diagonal().mean()
    if not mean > 0:
        raise ValueError("inputs are 0 everywhere: no weight matters; give others")
    return products + damping * mean * torch.eye(len(products)).to(products)


def column_sweep(
    weight: Tensor, curvature: Tensor, choose: Choose, *, block: int = 4
) -> Tensor:
    """Return the weights after SparseGPT's sweep, 0 where the masks are false.

    Args:
        weight: (out, in); it is left as it is.
        curvature: H, (in, in), positive definite.
        choose: Gets the scores of a block of inputs, when the sweep comes there, and
            returns its mask: ``nm_mask`` for 2:4, or with ``block=128``
            ``lambda scores: keep_largest(scores, 0.5)``.
        block: Inputs for which a mask is chosen at a time; the last may have fewer.

    Example:
        >>> weight = torch.tensor([[1.0, 2.0]])
        >>> both = torch.tensor([[1.0, 0.5], [0.5, 1.0]])
        >>> column_sweep(weight, both, lambda scores: scores > 1, block=2)
        tensor([[0.0000, 2.5000]])
    """
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(curvature))
    root = torch.linalg.cholesky(inverse, upper=True)  # U
    diagonal = root.diagonal()
    swept = weight.detach().clone()
    for first in range(0, weight.shape[1], block):
        places = slice(first, first + block)
        mask = choose((swept[:, places] / diagonal[places]).square())
        for offset, kept in enumerate(mask.T):
            j = first + offset
            error = torch.where(kept, 0, swept[:, j]) / diagonal[j]
            swept[:, j:] -= torch.outer(error, root[j, j:])
            swept[:, j] = torch.where(kept, swept[:, j], 0)  # exactly 0
    return swept


def refit(weight: Tensor, curvature: Tensor, mask: Tensor) -> Tensor:
    """Return the weights under a mask that lose least, by one solution for each row.

    Args:
        weight: (out, in); it is left as it is.
        curvature: H, (in, in), positive definite.
        mask: True where a weight is left, (out, in), bool.

    Example:
        >>> both = torch.tensor([[1.0, 0.5], [0.5, 1.0]])
        >>> mask = torch.tensor([[False, True]])
        >>> refit(torch.tensor([[1.0, 2.0]]), both, mask)
        tensor([[0.0000, 2.5000]])
    """
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(curvature))
    rows = zip(weight.detach(), mask, strict=True)
    return torch.stack([row + compensation(row, inverse, ~kept) for row, kept in rows])


def output_error(before: Tensor, after: Tensor, curvature: Tensor) -> float:
    """Return what the outputs lose: the sum of d^T H d over the rows of the change d.

    Args:
        before: (out, in).
        after: (out, in).
        curvature: H, (in, in); without damping, this is ||X (W - V)^T||^2.

    Example:
        >>> output_error(torch.tensor([[1.0, 2.0]]), torch.zeros(1, 2), torch.eye(2))
        5.0
    """
    change = before.detach() - after.detach()
    return float((change @ curvature * change).sum())


def sparsegpt_(
    layer: nn.Linear,
    inputs: Tensor,
    choose: Choose,
    *,
    block: int = 4,
    damping: float = 0.01,
) -> Tensor:
    """Change the weights of a layer by the sweep.

    Args:
        layer: Not pruned.
        inputs: What it got, (..., in): many more than it has inputs.
        choose: As in :func:`column_sweep`.
        block: Inputs for which a mask is chosen at a time.
        damping: As in :func:`curvature`.

    Returns:
        The mask of what is left, (out, in), for :func:`effdl.prune.masks.prune_` if
        training follows.

    Raises:
        ValueError: If the layer holds a mask.

    Example:
        >>> from effdl.prune.nm import nm_mask
        >>> layer = nn.Linear(8, 3)
        >>> mask = sparsegpt_(layer, torch.randn(50, 8), nm_mask)
        >>> int(mask.sum()), torch.equal(mask, layer.weight != 0)
        (12, True)
    """
    _check_inputs(layer.weight, inputs)
    if not isinstance(layer.weight, nn.Parameter):
        raise ValueError("layer is pruned already; call make_permanent_ first")
    swept = column_sweep(layer.weight, curvature(inputs, damping), choose, block=block)
    layer.weight.data.copy_(swept)
    return swept != 0


def _check_inputs(weight: Tensor, inputs: Tensor) -> None:
    if inputs.ndim < 2 or inputs.shape[-1] != weight.shape[1]:
        raise ValueError(
            f"inputs must be (..., {weight.shape[1]}), got {tuple(inputs.shape)}"
        )
