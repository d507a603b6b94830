"""ABC-Net: a weight as a sum of several signs, each with its own scale.

Paper: Lin et al., "Towards Accurate Binary Convolutional Neural Network", NeurIPS 2017,
https://arxiv.org/abs/1711.11294, section 3.1.

    B_m = sign(W - mean(W) + u_m std(W))            M bases, u_m from -1 to 1
    V = sum over m of alpha_m B_m
    alpha = the least squares: minimises ||W - V||^2

A convolution with V is M binary convolutions, added up. The bases cut the line of
weights at M places, so V has at most M + 1 values. It is fitted anew in every step.

In training the slope passes straight through each sign: of W it is that of V, times the
sum of the alphas. So we read the paper; scales and bases take no other slope.

The error does not have to fall with M: four shifts in equal distances leave out the 0
of three of them. It cannot rise if the old bases are among the new ones (3, 5, 9, ...).

The mean is taken out of the bases and not put back: V fits weights whose mean is far
from 0 badly. Those of a network with batch norm are near it.

What differs: the paper has several binary activations as well. Those are left out here.
We found no program by the authors, and compared with readers' programs.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from effdl.checks import check_positive
from effdl.nas.gradient.gumbel import straight_through
from effdl.quant.binarize import sign
from effdl.quant.checks import check_finite


def even_shifts(count: int) -> list[float]:
    """Return M shifts in equal distances from -1 to 1; for one base, 0.

    Args:
        count: M, at least 1.

    Example:
        >>> even_shifts(1), even_shifts(3)
        ([0.0], [-1.0, 0.0, 1.0])
    """
    check_positive(count=count)
    return [0.0] if count == 1 else [2 * m / (count - 1) - 1 for m in range(count)]


def shifted_signs(weight: Tensor, shifts: Sequence[float]) -> Tensor:
    """Return the bases B, (M, ...), without a gradient.

    Args:
        weight: W of a layer, of any shape; ``ValueError`` if it is not finite.
        shifts: The u_m, at least one.

    Raises:
        ValueError: If there is no shift.

    Example:
        >>> shifted_signs(torch.tensor([-3.0, -1.0, 1.0, 3.0]), [-1.0, 0.0])
        tensor([[-1., -1., -1.,  1.],
                [-1., -1.,  1.,  1.]])
    """
    check_finite(weight=weight)
    if not shifts:
        raise ValueError("shifts is empty; use even_shifts(3)")
    weight = weight.detach()
    centred, spread = weight - weight.mean(), weight.std(correction=0)
    return torch.stack([sign(centred + u * spread) for u in shifts])


def fitted_scales(weight: Tensor, bases: Tensor) -> Tensor:
    """Return alpha, (M,), of least squares; the shortest where several are as good.

    Args:
        weight: W.
        bases: B, (M, ...) with the shape of W.

    Raises:
        ValueError: If the shapes do not fit.

    Example:
        >>> weight = torch.tensor([-3.0, -1.0, 1.0, 3.0])
        >>> fitted_scales(weight, shifted_signs(weight, [0.0]))
        tensor([2.])
    """
    if bases.shape[1:] != weight.shape:
        raise ValueError(
            f"bases must be (M, ...) with the shape {tuple(weight.shape)} of the "
            f"weight, got {tuple(bases.shape)}; use shifted_signs"
        )
    columns = bases.flatten(1).double()
    # The products of bases are whole numbers, so equal bases are seen to be equal.
    inverse = torch.linalg.pinv(columns @ columns.T, hermitian=True)
    scales = inverse @ columns @ weight.detach().flatten().double()
    return scales.to(weight.dtype)


class ManySigns(nn.Module):
    """Maps a weight to V, the sum of M signs that lies nearest.

    Args:
        shifts: The u_m, one for each base.

    Raises:
        ValueError: If there is none.

    Example:
        >>> weight = torch.tensor([-3.0, -1.0, 1.0, 3.0])
        >>> ManySigns(even_shifts(3))(weight).round(decimals=4)
        tensor([-3., -1.,  1.,  3.])
    """

    def __init__(self, shifts: Sequence[float] = (-1.0, 0.0, 1.0)) -> None:
        super().__init__()
        if not shifts:
            raise ValueError("shifts is empty; use even_shifts(3)")
        self.shifts = tuple(shifts)

    def forward(self, weight: Tensor) -> Tensor:
        """Return V, of the same shape."""
        bases = shifted_signs(weight, self.shifts)
        scales = fitted_scales(weight, bases)
        value = torch.tensordot(scales, bases, dims=1)
        return straight_through(scales.sum() * weight, value)
