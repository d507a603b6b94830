"""How loud is rounding? The signal-to-noise ratio, in decibels.

Paper: Nagel et al., "A White Paper on Neural Network Quantization", 2021,
https://arxiv.org/abs/2106.08295, sections 2 and 3.

    SQNR = 10 log10( sum x^2 / sum (x - x')^2 )        dB

An even signal between -A and A has the power A^2 / 3. Rounded in steps of s its error
is even between -s/2 and s/2 and has the power s^2 / 12. With b bits a symmetric grid
has s = 2 A / (2^b - 2), so

    SQNR = 20 log10(2^b - 2)                           about 6.02 dB for each bit

A signal with tails does worse: either the range follows the tails, and the steps are
large where most values are, or the tails are clipped.

Before trusting it: it says how far a tensor is from its rounded copy, not what the
network makes of that. Constant errors count as noise, too.
"""

import math

from torch import Tensor

from effdl.quant.checks import check_bits, check_finite


def signal_to_noise(signal: Tensor, rounded: Tensor) -> float:
    """Return the signal-to-noise ratio in dB; infinite if nothing was lost.

    Args:
        signal: Any shape, not all 0.
        rounded: What became of it, of the same shape.

    Raises:
        ValueError: If shapes differ or the signal is 0. Not finite values are refused.

    Example:
        >>> import torch
        >>> round(signal_to_noise(torch.tensor([3.0, 4.0]), torch.tensor([3.0, 4.5])))
        20
    """
    check_finite(signal=signal, rounded=rounded)
    if signal.shape != rounded.shape:
        raise ValueError(
            f"rounded must have the shape {tuple(signal.shape)}, "
            f"got {tuple(rounded.shape)}"
        )
    signal = signal.detach().double()
    power = signal.square().sum().item()
    if power == 0:
        raise ValueError("signal must not be 0 everywhere: it has no power to compare")
    noise = (signal - rounded.detach()).square().sum().item()
    return 10 * math.log10(power / noise) if noise else math.inf


def even_signal_to_noise(bits: int) -> float:
    """Return the ratio in dB of an even signal on the symmetric grid of its range.

    Args:
        bits: 2 to 16, or ``ValueError``.

    Example:
        >>> round(even_signal_to_noise(8), 1)
        48.1
    """
    check_bits(bits, smallest=2)
    return 20 * math.log10(2**bits - 2)
