"""Layers refitted by least squares: what a few images suffice for.

Papers: Li et al., "Few Sample Knowledge Distillation for Efficient Network
Compression", CVPR 2020, https://arxiv.org/abs/1812.01839, and Bai et al., "Few Shot
Network Compression via Cross Distillation", AAAI 2020,
https://arxiv.org/abs/1911.09450.

A convolution is linear in its weights, and every pixel of every image is an equation
for them. So a layer that is to put out Y for the inputs X is refitted in one go,

    W  =  argmin ||X W - Y||^2 / n + ridge ||W - start||^2

for which ten images of 16 x 16 pixels already give 2,560 equations.

What differs: the first takes numpy's least squares, the second steps of Adam. Where
there are fewer equations than weights, many W fit; here it is the one nearest to the
weights that are there.

Before trusting it: neighbouring pixels say nearly the same. 2,560 equations are fewer
than they look, and an exact fit to them is no exact fit to other images.
"""

from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Layer = nn.Conv2d | nn.Linear
Equations = Sequence[tuple[float, Tensor, Tensor]]  # share, inputs, wanted outputs


def nearest_solution(
    design: Tensor, target: Tensor, start: Tensor, *, ridge: float = 0.0
) -> Tensor:
    """Return the W nearest to ``start`` for which ``design @ W`` is nearest to target.

    It makes ``||design W - target||^2 / n + ridge ||W - start||^2`` least; of several
    with ridge 0 it is the one nearest to ``start``. What the design shows no better
    than rounding would is taken for not shown. Computed in float64.

    Args:
        design: What is multiplied, (n, p).
        target: (n, q).
        start: (p, q).
        ridge: The pull towards ``start``, at least 0.

    Raises:
        ValueError: If ``ridge`` is below 0, or the shapes do not fit.

    Example:
        >>> design, target = torch.tensor([[1.0, 0.0]]), torch.tensor([[3.0]])
        >>> nearest_solution(design, target, torch.tensor([[1.0], [5.0]])).round()
        tensor([[3.],
                [5.]])
    """
    if not ridge >= 0:
        raise ValueError(f"ridge must be at least 0, got {ridge}; 0 pulls nowhere")
    n, p = design.shape
    if target.shape[0] != n or start.shape != (p, target.shape[1]):
        raise ValueError(
            f"design {tuple(design.shape)}, target {tuple(target.shape)} and start "
            f"{tuple(start.shape)} do not fit; give (n, p), (n, q) and (p, q)"
        )
    left, begin = design.double(), start.double()
    right = target.double() - left @ begin
    if ridge:
        pull = (ridge * n) ** 0.5 * torch.eye(p).to(left)
        left, right = (
            torch.cat([left, pull]),
            torch.cat([right, right.new_zeros(begin.shape)]),
        )
    smallest = p * torch.finfo(start.dtype).eps  # below it, rounding decides
    change = torch.linalg.lstsq(left, right, rcond=smallest, driver="gelsd").solution
    return (begin + change).to(start.dtype)


def as_rows(features: Tensor) -> Tensor:
    """Return features (N, C, ...) with a row for each image and pixel, (N ..., C).

    Args:
        features: (N, C, ...).

    Example:
        >>> as_rows(torch.zeros(2, 3, 4, 4)).shape
        torch.Size([32, 3])
    """
    return features.movedim(1, -1).flatten(0, -2)


@torch.no_grad()
def refit_(layer: Layer, equations: Equations, reads: Tensor, ridge: float) -> None:
    """Change a layer so that the weighted sum of its mean squared errors is least.

    Weights of inputs that it does not read become 0; of several solutions it takes
    the one nearest to the weights that the layer has.

    Args:
        layer: Linear layer or convolution, without groups, padded with zeros.
        equations: Weight, inputs (N, c, ...) and wanted outputs (N, out, ...).
        reads: True for an input channel that is read, bool, (c,).
        ridge: The pull of the weights towards those it has, at least 0.

    Raises:
        ValueError: If the layer has groups or other padding, or ``reads`` is not bool
            of shape (c,).

    Example:
        >>> layer, x = nn.Linear(2, 1), torch.tensor([[1.0, 7.0], [2.0, 9.0]])
        >>> refit_(layer, [(1.0, x, 3 * x[:, :1])], torch.tensor([True, False]), 0.0)
        >>> abs(layer(torch.tensor([[5.0, 0.0]])).item() - 15) < 1e-4
        True
    """
    if getattr(layer, "groups", 1) != 1:
        raise ValueError(f"layer has {layer.groups} groups; refit a layer without")
    mode, padding = (
        getattr(layer, "padding_mode", "zeros"),
        getattr(layer, "padding", 0),
    )
    if mode != "zeros" or isinstance(padding, str):
        raise ValueError(f"layer is padded by {padding} {mode}; use numbers of zeros")
    weight = layer.weight
    if reads.dtype != torch.bool or reads.shape != weight.shape[1:2]:
        raise ValueError(
            f"reads must be bool of shape ({weight.shape[1]},), got {reads.dtype} of "
            f"shape {tuple(reads.shape)}; True for a channel that is read"
        )
    scales = [(len(equations) * share) ** 0.5 for share, _, _ in equations]
    pairs = list(zip(scales, equations, strict=True))
    design = torch.cat([a * _design(layer, x[:, reads]) for a, (_, x, _) in pairs])
    target = torch.cat([a * as_rows(y) for a, (_, _, y) in pairs])
    start = weight[:, reads].flatten(1).T
    if layer.bias is not None:
        start = torch.cat([start, layer.bias[None]])
    found = nearest_solution(design, target, start, ridge=ridge)
    if layer.bias is not None:
        layer.bias.copy_(found[-1])
        found = found[:-1]
    weight.zero_()
    weight[:, reads] = found.T.reshape(weight[:, reads].shape)


def _design(layer: Layer, x: Tensor) -> Tensor:
    """Return what an output's weights are multiplied with, a row for each pixel."""
    if isinstance(layer, nn.Conv2d):
        padding = cast(tuple[int, int], layer.padding)  # refit_ lets no other pass
        sizes = layer.kernel_size, layer.dilation, padding, layer.stride
        x = F.unfold(x, *sizes)  # (N, c k k, pixels)
    rows = as_rows(x)
    return (
        rows
        if layer.bias is None
        else torch.cat([rows, rows.new_ones(len(rows), 1)], 1)
    )
