"""The strong lottery ticket: a good network is in a random one, without training.

Papers: Malach et al., "Proving the Lottery Ticket Hypothesis: Pruning is All You Need",
ICML 2020, https://arxiv.org/abs/2002.00585; Pensia et al., "Optimal Lottery Tickets via
Subset Sum: Logarithmic Over-Parameterization is Sufficient", NeurIPS 2020,
https://arxiv.org/abs/2006.07990.

Of n random numbers keep some such that their sum is close to a wanted weight w. There
are 2^n sums, so that one of them misses w by about 2^-n, and

    error e needs n = O(log(1/e)) numbers for each weight          Pensia et al.

To find w in a network, put a layer of random hidden neurons in its place. For numbers
u_i, v_i and inputs x of both signs,

    sum over kept i of v_i relu(u_i x) = x sum over kept i of u_i v_i    for x > 0,
    and the same with x < 0, but other neurons: those whose u_i is below 0

so that it computes w x if both sums are w. The first proof takes the one neuron whose
u_i v_i happens to be near w, and needs about 1/e^2 of them; sums need log(1/e).

When not to trust it: it says that a good subnetwork is there, not how to find it. Here
it is found by trying all 2^n subsets. And it is a large network that holds it.
:mod:`effdl.prune.edge_popup` searches with gradients.
"""

import torch
from torch import Tensor

MOST = 24  # 2^24 sums are 128 MB


def subset_sums(numbers: Tensor) -> Tensor:
    """Return the sums of all subsets, (2^n,); that of subset b is at the index b.

    Bit i of b says whether number i belongs to the subset.

    Args:
        numbers: (n,), n from 1 to 24.

    Raises:
        ValueError: If the shape is wrong.

    Example:
        >>> subset_sums(torch.tensor([1.0, 10.0])).tolist()
        [0.0, 1.0, 10.0, 11.0]
    """
    if numbers.ndim != 1 or not 1 <= len(numbers) <= MOST:
        raise ValueError(
            f"numbers must have shape (n,) with n from 1 to {MOST}, "
            f"got {tuple(numbers.shape)}"
        )
    sums = numbers.new_zeros(1)
    for number in numbers:
        sums = torch.cat([sums, sums + number])
    return sums


def best_subset(numbers: Tensor, target: float) -> Tensor:
    """Return the mask of the numbers whose sum is nearest to the target, bool (n,).

    Args:
        numbers: (n,), n from 1 to 24.
        target: Any number.

    Example:
        >>> best_subset(torch.tensor([0.5, -0.3, 0.9]), 0.65)
        tensor([False,  True,  True])
    """
    index = int((subset_sums(numbers) - target).abs().argmin())
    return torch.tensor([bool(index >> bit & 1) for bit in range(len(numbers))])


def subset_errors(numbers: Tensor, targets: Tensor) -> Tensor:
    """Return how far the nearest sum of a subset is from every target, (m,).

    Args:
        numbers: (n,), n from 1 to 24.
        targets: (m,), of the same type.

    Example:
        >>> subset_errors(torch.tensor([1.0, 2.0]), torch.tensor([2.5, 4.0, -0.25]))
        tensor([0.5000, 1.0000, 0.2500])
    """
    sums = subset_sums(numbers).sort().values
    above = torch.searchsorted(sums, targets).clamp(1, len(sums) - 1)
    return torch.minimum(
        (targets - sums[above - 1]).abs(), (sums[above] - targets).abs()
    )


def neurons_for_weight(first: Tensor, second: Tensor, weight: float) -> Tensor:
    """Return which of n random hidden neurons to keep to compute ``weight`` x.

    Args:
        first: Weights u from the one input, (n,), of both signs.
        second: Weights v to the one output, (n,).
        weight: w.

    Returns:
        Mask (n,), bool: its neurons compute sum of v_i relu(u_i x).

    Raises:
        ValueError: If the shapes differ, or all of u have one sign.

    Example:
        >>> u, v = torch.tensor([1.0, 2.0, -1.0]), torch.tensor([3.0, 0.2, -0.5])
        >>> neurons_for_weight(u, v, 0.4)
        tensor([False,  True,  True])
    """
    if first.shape != second.shape or not first.amin() < 0 < first.amax():
        raise ValueError(
            "first and second must have one shape, and first both signs, got "
            f"{tuple(first.shape)}, {tuple(second.shape)} and first from "
            f"{first.amin().item():.3g} to {first.amax().item():.3g}"
        )
    kept = torch.zeros(len(first), dtype=torch.bool)
    for side in (first > 0, first < 0):
        kept[side] = best_subset((first * second)[side], weight)
    return kept
