"""What makes a network compute with quantized numbers, while all is still floats.

Paper: Jacob et al., "Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference", CVPR 2018, https://arxiv.org/abs/1712.05877,
section 3.

    WeightQuantizer        a parametrization: weight = fake_quantize(original)
    ActivationQuantizer    a layer: watches, or rounds, or both

Where they go is decided in :mod:`effdl.quant.insert`.

A weight's grid is made of its own largest value, anew in every step. An activation's
comes from its observer. Both carry the gradient straight through, so that the network
with its quantizers can be trained on as it is.
"""

import torch
from torch import Tensor, nn

from effdl.quant.checks import check_bits
from effdl.quant.fake import fake_quantize
from effdl.quant.grid import Grid, affine_grid, symmetric_grid
from effdl.quant.observers import Observer


class WeightQuantizer(nn.Module):
    """Rounds a weight to a symmetric grid that reaches its largest absolute value.

    Args:
        bits: 2 to 16.
        axis: Dimension of the output channels, each with a scale; None for one scale.

    Example:
        >>> WeightQuantizer(2)(torch.tensor([[0.2, 1.0], [0.1, 0.4]]))
        tensor([[0.0000, 1.0000],
                [0.0000, 0.4000]])
    """

    def __init__(self, bits: int, *, axis: int | None = 0) -> None:
        super().__init__()
        check_bits(bits, smallest=2)
        self.bits, self.axis = bits, axis

    def grid(self, weight: Tensor) -> Grid:
        """Return the grid of a weight, (channels, ...)."""
        size = weight.detach().abs()
        if self.axis is None:
            return symmetric_grid(size.amax(), bits=self.bits)
        others = [d for d in range(size.ndim) if d != self.axis]
        return symmetric_grid(size.amax(others), bits=self.bits, axis=self.axis)

    def forward(self, weight: Tensor) -> Tensor:
        """Return the rounded weight."""
        return fake_quantize(weight, self.grid(weight))


class ActivationQuantizer(nn.Module):
    """Watches an activation while ``observing``, rounds it while ``quantizing``.

    Args:
        observer: What decides on the range, an ``nn.Module``.
        bits: 1 to 16.
        symmetric: Integers from -highest to highest, else affine and unsigned.

    Attributes:
        observing: Whether the observer sees what passes; at first.
        quantizing: Whether what passes is rounded; at first not.

    Example:
        >>> from effdl.quant.observers import Extremes
        >>> layer = ActivationQuantizer(Extremes(), 1)
        >>> x = layer(torch.tensor([0.0, 0.3, 0.9]))
        >>> layer.observing, layer.quantizing = False, True
        >>> layer(x)
        tensor([0.0000, 0.0000, 0.9000])
    """

    def __init__(
        self, observer: Observer, bits: int, *, symmetric: bool = False
    ) -> None:
        super().__init__()
        check_bits(bits, smallest=2 if symmetric else 1)
        self.observer, self.bits, self.symmetric = observer, bits, symmetric
        self.observing, self.quantizing = True, False

    def grid(self) -> Grid:
        """Return the grid of what was observed; ``ValueError`` if nothing was."""
        low, high = self.observer.limits()
        if self.symmetric:
            return symmetric_grid(torch.maximum(-low, high), bits=self.bits)
        return affine_grid(low, high, bits=self.bits)

    def get_extra_state(self) -> Tensor:
        """Return both flags: a state dict holds them, too."""
        return torch.tensor([self.observing, self.quantizing])

    def set_extra_state(self, state: Tensor) -> None:
        """Take both flags from a state dict."""
        self.observing, self.quantizing = state.tolist()

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x``, rounded if ``quantizing``."""
        if self.observing:
            self.observer.observe(x)
        return fake_quantize(x, self.grid()) if self.quantizing else x
