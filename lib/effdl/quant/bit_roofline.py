"""A roofline for few bits: a peak that grows, and a memory that is counted in bits.

Papers: Williams et al., "Roofline", Communications of the ACM 52(4), 2009,
https://doi.org/10.1145/1498765.1498785; for the costs Lee et al., "UNPU", JSSC 2019,
https://doi.org/10.1109/JSSC.2018.2865489, Sharma et al., "Bit Fusion", ISCA 2018,
https://arxiv.org/abs/1712.01507, and Molendijk et al., "BrainTTA", 2022,
https://arxiv.org/abs/2211.11331.

A machine does P products of one bit by one bit in a second and moves B bits. A product
of b_w by b_x bits costs as much as c(b_w, b_x) of them. A layer of M multiply-adds with
n_w weights, n_x inputs and n_y outputs takes the longer of

    computing   M c(b_w, b_x) / P
    moving      (n_w b_w + n_x b_x + n_y b_y) / B

    serial      c = b_w b_x                 one bit of each at a time
    half        c = b_w 16                  one bit of the weight, the input at once
    bricks      c = 4 digits(b_w) digits(b_x)       digits of 2 bits, fused in twos
    lanes       c = max(b_w, b_x)           words of a register cut into more lanes

With half the bits, the first line falls to a quarter, a half or less, and the second
to a half: the fewer the bits, the more layers wait for their data.

What differs: P and B are the reader's. No published machine is modelled, and area and
energy are not counted. "half" is serial in the weight, as UNPU is.

Before trusting it: every number moves once and no two layers share memory. Numbers of
ternary weights that are packed by five have 1.6 bits to move and 2 to compute with.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor, nn

from effdl.measure.probe import Inputs, as_inputs, clones, undisturbed
from effdl.measure.roofline import Roofline
from effdl.quant.bit_serial import digits

Cost = Callable[[int, int], float]  # of one product, in products of 1 by 1 bit


def serial_cost(weight_bits: int, input_bits: int) -> float:
    """Return the cost where both operands come bit by bit.

    Args:
        weight_bits: b_w.
        input_bits: b_x.

    Example:
        >>> serial_cost(2, 8)
        16
    """
    return weight_bits * input_bits


def half_serial_cost(weight_bits: int, input_bits: int) -> float:
    """Return the cost where weights come bit by bit and inputs have 16 lines.

    Args:
        weight_bits: b_w.
        input_bits: b_x; of no influence, up to 16.

    Raises:
        ValueError: If there are more input bits.

    Example:
        >>> half_serial_cost(2, 8)
        32
    """
    if input_bits > 16:
        raise ValueError(f"input_bits must be at most 16, got {input_bits}")
    return 16 * weight_bits


def brick_cost(weight_bits: int, input_bits: int) -> float:
    """Return the cost where digits of two bits are fused.

    Args:
        weight_bits: b_w, 1 to 16, or ``ValueError``.
        input_bits: b_x, likewise.

    Example:
        >>> brick_cost(2, 8), brick_cost(1, 1)
        (16, 4)
    """
    return 4 * digits(weight_bits) * digits(input_bits)


def lane_cost(weight_bits: int, input_bits: int) -> float:
    """Return the cost where a register holds more operands, the fewer bits they have.

    Args:
        weight_bits: b_w.
        input_bits: b_x.

    Example:
        >>> lane_cost(2, 8)
        8
    """
    return max(weight_bits, input_bits)


@dataclass(frozen=True)
class BitMachine:
    """A machine whose peak depends on the bits.

    Attributes:
        products_per_second: P, of one bit by one bit; above 0, or ``ValueError``.
        bits_per_second: B, likewise.
        cost: c, such as :func:`serial_cost`.

    Example:
        >>> machine = BitMachine(64e9, 8e9)
        >>> machine.roofline(8, 8)
        Roofline(macs_per_second=1000000000.0, bytes_per_second=1000000000.0)
    """

    products_per_second: float
    bits_per_second: float
    cost: Cost = serial_cost

    def __post_init__(self) -> None:
        for name in ("products_per_second", "bits_per_second"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be above 0, got {getattr(self, name)}")

    def roofline(self, weight_bits: int, input_bits: int) -> Roofline:
        """Return the roofline for operands of so many bits, in multiply-adds."""
        peak = self.products_per_second / self.cost(weight_bits, input_bits)
        return Roofline(peak, self.bits_per_second / 8)


class LayerNumbers(NamedTuple):
    """What a layer computes and moves for one batch.

    Attributes:
        name: In the model.
        macs: Multiply-adds M.
        weights: Numbers n_w, without biases.
        inputs: Numbers n_x.
        outputs: Numbers n_y.
    """

    name: str
    macs: int
    weights: int
    inputs: int
    outputs: int

    def moved_bits(self, weight_bits: float, input_bits: float) -> float:
        """Return the bits moved if outputs have as many bits as inputs."""
        return self.weights * weight_bits + (self.inputs + self.outputs) * input_bits

    def intensity(self, weight_bits: float, input_bits: float) -> float:
        """Return multiply-adds a byte."""
        return 8 * self.macs / self.moved_bits(weight_bits, input_bits)

    def seconds(self, machine: BitMachine, weight_bits: int, input_bits: int) -> float:
        """Return the longer of computing and moving."""
        roof = machine.roofline(weight_bits, input_bits)
        return self.macs / roof.attainable(self.intensity(weight_bits, input_bits))


def layer_numbers(model: nn.Module, inputs: Inputs) -> list[LayerNumbers]:
    """Return the numbers of all convolutions and linear layers, in order of their call.

    Args:
        model: Run once, in eval mode; left as it was.
        inputs: One batch, (N, ...).

    Example:
        >>> import torch
        >>> net = nn.Sequential(nn.Linear(8, 4), nn.ReLU())
        >>> layer_numbers(net, torch.zeros(2, 8))
        [LayerNumbers(name='0', macs=64, weights=32, inputs=16, outputs=8)]
    """
    found: list[LayerNumbers] = []
    handles = []
    with undisturbed(model):
        for name, layer in model.named_modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                handles.append(layer.register_forward_hook(_note(name, found)))
        try:
            model(*clones(as_inputs(inputs)))
        finally:
            for handle in handles:
                handle.remove()
    return found


def _note(name: str, found: list[LayerNumbers]) -> Callable[..., None]:
    def note(layer: nn.Linear, inputs: tuple[Tensor, ...], outputs: Tensor) -> None:
        macs = outputs.numel() * layer.weight[0].numel()
        numbers = layer.weight.numel(), inputs[0].numel(), outputs.numel()
        found.append(LayerNumbers(name, macs, *numbers))

    return note
