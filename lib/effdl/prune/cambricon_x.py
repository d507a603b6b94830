"""Cambricon-X, simulated: gather the activations that a neuron's weights ask for.

Paper: Zhang et al., "Cambricon-X: An Accelerator for Sparse Neural Networks", MICRO
2016, https://doi.org/10.1109/MICRO.2016.7783723. Its abstract could be read, the rest
not: what follows is the mechanism as others tell it, and the cycles are our model.

Of each output neuron only the weights that are left are stored, beside where they
stand. An indexing module picks out the activations of these places and hands them to
the processing element of that neuron. Where they stand is written in one of two ways:

    direct    one bit for every weight, gone or not                1 bit a weight
    steps     the distance from one that is left to the next       b bits a weight left

    places = cumulative sum of the steps

So steps take less where the density is below 1/b, if b bits reach over every gap. A
longer gap takes a step to a weight of value 0 in between; these are stored and counted
here, and they push the crossing below 1/b when b is small.

    cycles of a neuron = ceil(weights left / multipliers)        16 multipliers, 16
                                                                 elements in the paper

Elements go on to their next neuron without waiting for each other (asynchronously), or
after all are done with theirs (in step). Activations of 0 are not skipped.

What differs: the module finds all activations that it wants in any cycle, and memory is
never waited for. Neuron i belongs to element i mod n.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from effdl.checks import check_positive


class Cycles(NamedTuple):
    """Cycles of one layer for one input.

    Attributes:
        dense: With no weight gone.
        in_step: Elements wait for one another after each neuron.
        asynchronous: They do not.
    """

    dense: int
    in_step: int
    asynchronous: int


def steps_of(kept: Tensor, *, bits: int | None = None) -> Tensor:
    """Return the steps from one weight that is left to the next, from place 0 on.

    Args:
        kept: Which weights of a neuron are left, (n,), bool.
        bits: Bits of a step; longer ones are cut. None takes steps of any length.

    Raises:
        ValueError: If ``kept`` is no bool vector.

    Example:
        >>> kept = torch.tensor([False, True, True, False, False, False, True])
        >>> steps_of(kept), steps_of(kept, bits=2)
        (tensor([1, 1, 4]), tensor([1, 1, 3, 1]))
    """
    if kept.dtype != torch.bool or kept.ndim != 1:
        raise ValueError(
            f"kept must be a bool vector, got {kept.dtype} of shape "
            f"{tuple(kept.shape)}; use weight[neuron] != 0"
        )
    places = kept.nonzero().flatten()
    whole = places.diff(prepend=places.new_zeros(1))
    if bits is None:
        return whole
    check_positive(bits=bits)
    longest = 2**bits - 1
    steps = []
    for step in whole.tolist():
        cuts = max(0, step - 1) // longest
        steps += [longest] * cuts + [step - cuts * longest]
    return torch.tensor(steps, dtype=torch.long)


def gather(activations: Tensor, steps: Tensor) -> Tensor:
    """Return the activations at the cumulative sums of the steps, (..., steps).

    Args:
        activations: Inputs of the layer, (..., n).
        steps: What :func:`steps_of` returned for one neuron.

    Example:
        >>> gather(torch.tensor([5.0, 6.0, 7.0]), torch.tensor([0, 2]))
        tensor([5., 7.])
    """
    return activations[..., steps.cumsum(0)]


def step_bits(kept: Tensor, bits: int) -> int:
    """Return the bits of all steps of a layer, those over long gaps included.

    Args:
        kept: Which weights are left, (neurons, n), bool.
        bits: Bits of a step.

    Example:
        >>> step_bits(torch.tensor([[False, True, True, False, False, False, True]]), 2)
        8
    """
    return bits * sum(len(steps_of(row, bits=bits)) for row in kept)


def crossing(bits: int) -> float:
    """Return the density below which steps take less than one bit a weight.

    For weights that are left at random, each with the same probability d. A gap g (the
    step, from 1 on) takes 1 + floor((g - 1) / m) steps with m = 2^bits - 1, in the mean

        1 + q^m / (1 - q^m)        q = 1 - d

    so the bits of a weight are d bits / (1 - q^m), to be compared with 1.

    Args:
        bits: Bits of a step, at least 2.

    Returns:
        The density; 1 / bits but for small ``bits``, where it is less.

    Raises:
        ValueError: If ``bits`` is below 2: then steps never take less.

    Example:
        >>> round(crossing(2), 3), round(crossing(4), 3), round(crossing(8), 3)
        (0.382, 0.246, 0.125)
    """
    if bits < 2:
        raise ValueError(
            f"bits must be at least 2, got {bits}; 1 bit is the direct way"
        )
    low, high = 0.0, 1.0
    for _ in range(60):
        density = (low + high) / 2
        needed = density * bits / (1 - (1 - density) ** (2**bits - 1))
        low, high = (density, high) if needed < 1 else (low, density)
    return low


def cycles(kept: Tensor, *, elements: int = 16, multipliers: int = 16) -> Cycles:
    """Return how long a layer takes.

    Args:
        kept: Which weights are left, (neurons, n), bool.
        elements: Processing elements, each with one neuron at a time.
        multipliers: Products of one element in one cycle.

    Raises:
        ValueError: If ``kept`` is no bool matrix.

    Example:
        >>> kept = torch.eye(32, dtype=torch.bool)
        >>> kept[0] = True
        >>> cycles(kept)
        Cycles(dense=4, in_step=3, asynchronous=3)
    """
    check_positive(elements=elements, multipliers=multipliers)
    if kept.dtype != torch.bool or kept.ndim != 2:
        raise ValueError(
            f"kept must be a bool matrix, (neurons, n), got {kept.dtype} of shape "
            f"{tuple(kept.shape)}; use weight.flatten(1) != 0"
        )
    each = kept.sum(dim=1).add(multipliers - 1) // multipliers
    rounds = F.pad(each, (0, -len(each) % elements)).view(-1, elements)
    whole = -(-kept.shape[1] // multipliers)
    return Cycles(
        dense=len(rounds) * whole,
        in_step=int(rounds.amax(dim=1).sum()),
        asynchronous=int(rounds.sum(dim=0).max()),
    )
