"""TQT: steps that are powers of two, and thresholds learned by their logarithm.

Paper: Jain et al., "Trained Quantization Thresholds for Accurate and Efficient
Fixed-Point Inference of Deep Neural Networks", MLSys 2020,
https://arxiv.org/abs/1903.08066, section 3 and appendices.

    s  = 2^(ceil(l) - fraction)         l = log2 t, t: the threshold, learned as l
    x' = s clamp(round(x / s), lowest, highest)

    signed      -2^(b-1) to 2^(b-1) - 1         fraction = b - 1
    unsigned    0 to 2^b - 1                    fraction = b

    dx'/dl = s ln 2  (round(x / s) - x / s      inside
                      lowest or highest         where clamped)

ceil counts as the identity. ln 2 times s is ds/dl, so this is the gradient of LSQ's
step by the chain rule; only "inside" is asked after rounding, where LSQ asks before.

With s_in s_weight = 2^-a and s_out = 2^-b, an integer sum goes to the next layer by a
shift: divided by 2^(a-b), rounded. No multiplier, and bit for bit what floats compute.

What differs: half steps go to the even neighbour, in floats and in the shift; the
weight's first threshold is its largest value, the paper's three standard deviations.

Before trusting it: a step is off by up to a factor of two from the best. The gradient
of l is of the size of s; the paper leaves that to Adam and freezes thresholds late.
"""

import math

import torch
from torch import Tensor, nn

from effdl.nas.gradient.gumbel import straight_through
from effdl.quant.checks import check_bits, check_finite
from effdl.quant.grid import Grid


def power_of_two(
    x: Tensor, log_threshold: Tensor, bits: int, *, signed: bool
) -> Tensor:
    """Return x', with a gradient to x and to the logarithm of the threshold.

    Args:
        x: Of any shape.
        log_threshold: l, ().
        bits: 2 to 16, or 1 if unsigned.
        signed: Whether there are levels below 0.

    Example:
        >>> x = torch.tensor([-0.3, 0.6, 1.4])
        >>> power_of_two(x, torch.tensor(-0.5), 2, signed=True).tolist()
        [-0.5, 0.5, 0.5]
    """
    check_bits(bits, smallest=2 if signed else 1)
    lowest, highest = _limits(bits, signed)
    step = _step(log_threshold, bits, signed)
    u = x / step
    q = straight_through(u, u.round())
    q = torch.where(q > highest, highest, torch.where(q < lowest, lowest, q))
    return q * step  # clamp() would leave open which gradient the last level has


def shift_right(q: Tensor, shift: int) -> Tensor:
    """Return q / 2^shift, rounded, by integer arithmetic alone.

    Half-way goes to the even neighbour, as ``torch.round`` does it.

    Args:
        q: Integers, of any integer type.
        shift: 0 to 31.

    Raises:
        ValueError: If ``q`` holds floats, or the shift is out of range.

    Example:
        >>> shift_right(torch.tensor([-6, 5, 6, 10]), 2)
        tensor([-2,  1,  2,  2])
    """
    if q.is_floating_point():
        raise ValueError(f"q must be integers, got {q.dtype}; call quantize first")
    if not 0 <= shift <= 31:
        raise ValueError(f"shift must be 0 to 31, got {shift}; is the step too large?")
    if shift == 0:
        return q.clone()
    wide = q.long()
    whole = wide >> shift  # towards minus infinity
    rest = wide - (whole << shift)
    half = 1 << (shift - 1)
    up = (rest > half) | ((rest == half) & (whole % 2 == 1))
    return (whole + up).to(q.dtype)


class PowerOfTwoWeight(nn.Module):
    """A weight's quantizer; a parametrization.

    Args:
        weight: What it begins with; NaN and infinity are refused.
        bits: 2 to 16.

    Attributes:
        log_threshold: The parameter l, ().

    Example:
        >>> layer = PowerOfTwoWeight(torch.tensor([0.9, -0.2]), 3)
        >>> layer.grid().scale.item()
        0.25
    """

    def __init__(self, weight: Tensor, bits: int) -> None:
        super().__init__()
        check_bits(bits, smallest=2)
        self.bits = bits
        self.log_threshold = nn.Parameter(_first(weight))

    def grid(self, weight: Tensor | None = None) -> Grid:
        """Return the grid of today; the weight itself does not decide on it."""
        del weight
        return _grid(self.log_threshold, self.bits, signed=True)

    def forward(self, weight: Tensor) -> Tensor:
        """Return the rounded weight."""
        return power_of_two(weight, self.log_threshold, self.bits, signed=True)


class PowerOfTwoActivation(nn.Module):
    """An activation's quantizer.

    Args:
        threshold: Largest absolute value at first, such as a calibration finds it.
        bits: 2 to 16, or 1 if unsigned.
        signed: Whether there are levels below 0.

    Attributes:
        log_threshold: The parameter l, ().

    Raises:
        ValueError: If ``threshold`` is not above 0 or not finite.

    Example:
        >>> PowerOfTwoActivation(6.0, 8, signed=False).grid().scale.item()
        0.03125
    """

    def __init__(self, threshold: float, bits: int, *, signed: bool) -> None:
        super().__init__()
        check_bits(bits, smallest=2 if signed else 1)
        if not 0 < threshold < math.inf:
            raise ValueError(f"threshold must be above 0, got {threshold}; calibrate")
        self.bits, self.signed = bits, signed
        self.log_threshold = nn.Parameter(torch.tensor(math.log2(threshold)))

    def grid(self) -> Grid:
        """Return the grid of today."""
        return _grid(self.log_threshold, self.bits, signed=self.signed)

    def forward(self, x: Tensor) -> Tensor:
        """Return the rounded activation."""
        return power_of_two(x, self.log_threshold, self.bits, signed=self.signed)


def _limits(bits: int, signed: bool) -> tuple[int, int]:
    lowest = -(2 ** (bits - 1)) if signed else 0
    return lowest, lowest + 2**bits - 1


def _step(log_threshold: Tensor, bits: int, signed: bool) -> Tensor:
    exponent = math.ceil(log_threshold.item()) - (bits - 1 if signed else bits)
    exact = log_threshold.new_tensor(2.0**exponent)  # exp2 may be off by a bit
    slope = exact * math.log(2)
    return straight_through(slope * log_threshold, exact)


def _grid(log_threshold: Tensor, bits: int, *, signed: bool) -> Grid:
    scale = _step(log_threshold.detach(), bits, signed)
    return Grid(scale, torch.zeros_like(scale).int(), *_limits(bits, signed))


def _first(weight: Tensor) -> Tensor:
    check_finite(weight=weight)
    largest = weight.detach().abs().max()
    return torch.where(largest > 0, largest, 1).log2()
