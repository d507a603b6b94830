"""Multiplying in the memory: weights as conductances, sums as currents, a few bits out.

Paper: Shafiee et al., "ISAAC: A Convolutional Neural Network Accelerator with In-Situ
Analog Arithmetic in Crossbars", ISCA 2016, https://doi.org/10.1109/ISCA.2016.12.

    W = W+ - W-                     differential: two columns for each output
    W+ = sum over s of 2^(c s) G_s        cells of c bits, 0 <= G < 2^c
    x  = sum over t of 2^t x_t            one bit of the input after the other
    y  = sum over s, t, rows of a crossbar of 2^(c s + t) (x_t G_s+ - x_t G_s-)

Each x_t G_s is a current: the sum over up to 128 rows, made by physics and read by a
converter (ADC) of b bits. It knows 0 to 2^b - 1 and clips what is more. Shifts, the
difference and the sum over crossbars are digital. A cell that is written as G conducts
G exp(sigma n), n normal: programming is not exact.

The largest sum is rows (2^c - 1). So without noise the result is the product of
integers *exactly* if 2^b - 1 is at least that. Fewer bits clip large sums only.

What differs: ISAAC's weights are 16 bits with an offset, and a trick saves one bit of
the converter; here are the columns in pairs that later designs have. Wires have no
resistance, and converters no offset.

When not to trust it: it says what comes out, not what it costs.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from effdl.checks import check_positive
from effdl.quant.checks import check_bits


@dataclass(frozen=True)
class Crossbar:
    """A crossbar and how numbers are put on it.

    Attributes:
        rows: Inputs that one column adds up.
        columns: Columns.
        cell_bits: Bits c of a cell.
        weight_bits: Bits of a weight, sign included.
        input_bits: Bits of an input, which has no sign.
        adc_bits: Bits b of a converter; None for one that clips nothing.

    Example:
        >>> Crossbar().slices, Crossbar().exact_adc_bits
        (4, 9)
    """

    rows: int = 128
    columns: int = 128
    cell_bits: int = 2
    weight_bits: int = 8
    input_bits: int = 8
    adc_bits: int | None = None

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            ValueError: If one is out of range.
        """
        check_positive(rows=self.rows, columns=self.columns)
        check_bits(self.weight_bits, smallest=2)
        check_bits(self.input_bits)
        if not 1 <= self.cell_bits <= 4:
            raise ValueError(f"cell_bits must be 1 to 4, got {self.cell_bits}; try 2")
        if self.adc_bits is not None:
            check_bits(self.adc_bits)

    @property
    def slices(self) -> int:
        """Cells of one weight on each side: the largest size is 2^(weight_bits - 1)."""
        return -(-self.weight_bits // self.cell_bits)

    @property
    def exact_adc_bits(self) -> int:
        """Fewest bits of a converter that clips nothing."""
        return int(self.rows * (2**self.cell_bits - 1)).bit_length()


def cells_of(weight: Tensor, crossbar: Crossbar) -> Tensor:
    """Return what is written into the cells, (2, slices, out, in), positive side first.

    Args:
        weight: Whole numbers, (out, in); ``ValueError`` if one has too many bits.
        crossbar: Of what kind.

    Example:
        >>> cells_of(torch.tensor([[-6, 5]]), Crossbar())[:, :2].int().tolist()
        [[[[0, 1]], [[0, 1]]], [[[2, 0]], [[1, 0]]]]
    """
    bound = 2 ** (crossbar.weight_bits - 1)
    _check_whole("weight", weight, -bound, bound - 1)
    sides = torch.stack([weight.clamp(min=0), (-weight).clamp(min=0)]).long()
    base = 2**crossbar.cell_bits
    cells = [sides // base**s % base for s in range(crossbar.slices)]
    return torch.stack(cells, dim=1).double()


def noisy_cells(cells: Tensor, sigma: float) -> Tensor:
    """Return cells as they come out, G exp(sigma n), with PyTorch's generator.

    Args:
        cells: As they were meant, of any shape.
        sigma: Deviation of the logarithm, 0 or more.

    Raises:
        ValueError: If it is negative.

    Example:
        >>> noisy_cells(torch.tensor([0.0, 3.0]), 0.0)
        tensor([0., 3.])
    """
    if not sigma >= 0:
        raise ValueError(f"sigma must be 0 or more, got {sigma}; try 0.05")
    return cells * torch.exp(sigma * torch.randn_like(cells))


def multiply(x: Tensor, cells: Tensor, crossbar: Crossbar) -> Tensor:
    """Return x W^T as the crossbars compute it, int64, (N, out).

    Args:
        x: Whole numbers from 0 to 2^input_bits - 1, (N, in).
        cells: From :func:`cells_of`, or noisy ones, (2, slices, out, in).
        crossbar: The kind that they were made for.

    Raises:
        ValueError: If the shapes do not fit, or an input is out of range.

    Example:
        >>> weight, x = torch.tensor([[-6, 5]]), torch.tensor([[10, 200]])
        >>> multiply(x, cells_of(weight, Crossbar()), Crossbar()).item()
        940
    """
    _check_whole("x", x, 0, 2**crossbar.input_bits - 1)
    sides = (2, crossbar.slices)
    if x.ndim != 2 or cells.ndim != 4 or cells.shape[:2] != sides:
        raise ValueError(
            f"x must be (N, in) and cells ({sides[0]}, {sides[1]}, out, in), got "
            f"{tuple(x.shape)} and {tuple(cells.shape)}; use cells_of"
        )
    if x.shape[1] != cells.shape[3]:
        raise ValueError(
            f"x must have {cells.shape[3]} inputs, as the cells, got {x.shape[1]}"
        )
    total = torch.zeros(len(x), cells.shape[2], dtype=torch.long)
    for first in range(0, x.shape[1], crossbar.rows):  # a crossbar after the other
        rows = slice(first, first + crossbar.rows)
        for t in range(crossbar.input_bits):
            bit = (x[:, rows].long() >> t & 1).double()
            for s in range(crossbar.slices):
                plus, minus = (_read(bit, side[s, :, rows], crossbar) for side in cells)
                total += (plus - minus) << (t + crossbar.cell_bits * s)
    return total


def _read(bit: Tensor, cells: Tensor, crossbar: Crossbar) -> Tensor:
    """Return what the converters make of the currents, (N, out)."""
    current = (bit @ cells.T).round().long()
    if crossbar.adc_bits is None:
        return current
    return current.clamp(max=2**crossbar.adc_bits - 1)


def _check_whole(name: str, numbers: Tensor, low: int, high: int) -> None:
    whole = bool((numbers == numbers.round()).all()) if numbers.numel() else False
    if not whole or numbers.min() < low or numbers.max() > high:
        raise ValueError(
            f"{name} must be whole numbers from {low} to {high} and not empty; "
            "quantize it first"
        )
