"""Bytes multiplied and added in pairs, in 16 bits: what does not fit is cut.

Papers: the arithmetic is that of the instruction pmaddubsw, which Vanhoucke, Senior and
Mao, "Improving the speed of neural networks on CPUs", 2011, multiply with; and Jacob et
al., CVPR 2018, https://arxiv.org/abs/1712.05877, appendix B, who use one that fits.

The instruction multiplies unsigned bytes x (activations) by signed bytes w (weights),
and adds two neighbours each:

    pair = min(max(x_1 w_1 + x_2 w_2, -32768), 32767)

The pairs are added up in 32 bits. So a total is wrong if a pair does not fit, which
2 * 255 * 127 = 64770 does not. When can it happen?

    never                 if 2 max(x) max|w| <= 32767: |w| <= 64 for x up to 255
    in a pair             if x_1 w_1 + x_2 w_2 > 32767, such as 255 (w_1 + w_2) with
                          w_1 + w_2 >= 129: large neighbours, and bright ones

Weights from -64 to 64 thus never saturate: ONNX Runtime's ``reduce_range``. Nor
do signed bytes on both sides, if weights leave -128 out: 2 * 127 * 128 = 32512. CPUs
with VNNI add all in 32 bits and never saturate.

This is the rule, in exact integers on any CPU. A real kernel chooses which neighbours
are a pair; here it is channels of a pixel, then pixels of a window.
"""

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from effdl.checks import check_positive
from effdl.quant.integer_layers import IntegerLayer, check_integers
from effdl.quant.integer_net import IntegerNet

LOWEST, HIGHEST = -(2**15), 2**15 - 1


def largest_safe_weight(largest_input: int = 255) -> int:
    """Return the largest absolute weight with which no pair ever saturates.

    Args:
        largest_input: Largest unsigned input, at least 1, or ``ValueError``.

    Example:
        >>> largest_safe_weight(), largest_safe_weight(127)
        (64, 129)
    """
    check_positive(largest_input=largest_input)
    return HIGHEST // (2 * largest_input)


def pairs(x: Tensor, weight: Tensor) -> Tensor:
    """Return the sums of neighbouring products before they are cut, int32.

    Args:
        x: Unsigned bytes as int32, (..., K), or ``ValueError``.
        weight: Signed bytes as int32, of a shape that broadcasts.

    Returns:
        Sums, (..., ceil(K / 2)); an odd K gets a product of 0.

    Raises:
        ValueError: If a number is no byte of its kind.

    Example:
        >>> x = torch.tensor([255, 255, 100], dtype=torch.int32)
        >>> pairs(x, torch.tensor([127, 2, -3], dtype=torch.int32))
        tensor([32895,  -300], dtype=torch.int32)
    """
    for name, tensor, low in (("x", x, 0), ("weight", weight, -128)):
        check_integers(tensor)
        if int(tensor.min()) < low or int(tensor.max()) > low + 255:
            raise ValueError(
                f"{name} must be {low} to {low + 255}, got {int(tensor.min())} to "
                f"{int(tensor.max())}; use 8 bits, unsigned for x"
            )
    products = x * weight
    padded = F.pad(products, (0, products.shape[-1] % 2))
    return padded.unflatten(-1, (-1, 2)).sum(-1, dtype=torch.int32)


def saturating_dot(x: Tensor, weight: Tensor) -> Tensor:
    """Return the sum of products, int32, each pair of them cut to 16 bits.

    Takes the arguments of :func:`pairs` and raises its errors.

    Example:
        >>> x = torch.tensor([255, 255, 100], dtype=torch.int32)
        >>> saturating_dot(x, torch.tensor([127, 2, -3], dtype=torch.int32)).item()
        32467
    """
    return pairs(x, weight).clamp(LOWEST, HIGHEST).sum(-1, dtype=torch.int32)


class SaturatingLayer(nn.Module):
    """An integer layer whose totals come from pairs that are cut.

    The kernel sees raw inputs: with padding of the zero point, and z_x times the sum of
    the weights taken off afterwards.

    Args:
        layer: The exact layer.

    Attributes:
        cut: Share of the pairs that were cut in the last call.

    Raises:
        ValueError: If its padding is a string, not numbers.

    Example:
        >>> from effdl.quant.fixed_point import fixed_point
        >>> from effdl.quant.grid import Grid
        >>> from effdl.quant.integer_layers import Requantize
        >>> grid = Grid(torch.tensor(1.0), torch.tensor(0), 0, 255)
        >>> exact = IntegerLayer(
        ...     torch.tensor([[127, 127]]),
        ...     torch.tensor([0]),
        ...     grid,
        ...     Requantize(fixed_point(torch.tensor([2**-9])), grid),
        ...     nn.Linear(2, 1),
        ... )
        >>> x = torch.tensor([[255, 255]], dtype=torch.int32)
        >>> exact(x).item(), SaturatingLayer(exact)(x).item()
        (127, 64)
    """

    def __init__(self, layer: IntegerLayer) -> None:
        super().__init__()
        self.layer, self.cut = layer, 0.0
        if layer.convolution and isinstance(layer.convolution[1], str):
            raise ValueError(f"padding must be numbers, got {layer.convolution[1]!r}")

    def totals(self, q: Tensor) -> Tensor:
        """Return the totals, int32, for integers q of (N, in) or (N, in, H, W)."""
        layer, weight = self.layer, self.layer.weight.int()
        rows = q[:, None]
        shape: tuple[int, ...] = ()
        if layer.convolution is not None:
            rows, shape = _windows(q, layer)
            weight = weight.permute(0, 2, 3, 1)  # channels last
        weight = weight.flatten(1)
        per_group = len(weight) // rows.shape[1]
        total, cut, count = [], 0, 0
        for channel, kernel in enumerate(weight):
            found = pairs(rows[:, channel // per_group], kernel)
            limited = found.clamp(LOWEST, HIGHEST)
            cut, count = cut + int((found != limited).sum()), count + found.numel()
            total.append(limited.sum(-1, dtype=torch.int32))
        self.cut = cut / count
        offset = layer.bias - layer.zero_point * weight.sum(1, dtype=torch.int32)
        return torch.stack(
            [t + o for t, o in zip(total, offset, strict=True)], 1
        ).reshape(len(q), len(weight), *shape)

    def forward(self, q: Tensor) -> Tensor:
        """Return the integers of the output, int32."""
        return self.layer.requantize(self.totals(q))


def saturating_net(integers: IntegerNet) -> IntegerNet:
    """Return a copy that computes as a CPU does that adds pairs in 16 bits.

    Args:
        integers: With unsigned activations and weights of 8 bits at most.

    Example:
        >>> from effdl.quant.grid import Grid
        >>> from effdl.quant.integer_steps import Step
        >>> from effdl.quant.integer_sums import IntegerRescale
        >>> grid = Grid(torch.tensor(1.0), torch.tensor(2), 0, 9)
        >>> relu = IntegerRescale(grid, grid, ceiling=6)
        >>> net = IntegerNet(grid, [Step("relu", relu, ("input",), grid)])
        >>> saturating_net(net)(torch.tensor([0, 5, 9], dtype=torch.int32))
        tensor([2, 5, 8], dtype=torch.int32)
    """
    copied = copy.deepcopy(integers)
    for position, layer in enumerate(copied.layers):
        if isinstance(layer, IntegerLayer):
            copied.layers[position] = SaturatingLayer(layer)
    return copied


def _windows(q: Tensor, layer: IntegerLayer) -> tuple[Tensor, tuple[int, ...]]:
    """Return what a kernel sees, (N, groups, P, K), channels last, and (H, W)."""
    stride, (up, left), _, groups = layer.convolution or ()
    sides = layer.weight.shape[2:]
    padded = F.pad(q, (left, left, up, up), value=layer.zero_point)
    maps = padded.unfold(2, sides[0], stride[0]).unfold(3, sides[1], stride[1])
    seen = maps.unflatten(1, (groups, -1)).permute(0, 1, 3, 4, 5, 6, 2)  # channels last
    return seen.flatten(4).flatten(2, 3), tuple(maps.shape[2:4])
