"""How a sparsity is spread over the layers: evenly, or by the sides of a layer.

Papers: Mocanu et al., "Scalable training of artificial neural networks with adaptive
sparse connectivity inspired by network science", Nature Communications 2018,
https://arxiv.org/abs/1707.04780 (Erdos-Renyi); Evci et al., "Rigging the Lottery:
Making All Tickets Winners", ICML 2020, https://arxiv.org/abs/1911.11134, section 3
(ERK: kernels count, too).

The number of weights grows with the product of a layer's sides, what it has to carry
rather with their sum. So the density of a layer of shape (out, in, k, k) is taken

    density ~ (out + in + k + k) / (out in k k)

times one factor for all layers, such that all together have the density that is wanted.
A layer for which this exceeds 1 stays whole, and the others share what is missing.

(The paper writes 1 - (...)/(...) for the sparsity "scaled", which is this.)
"""

import math
from collections.abc import Mapping, Sequence

from effdl.prune.thresholds import check_sparsity


def erk_sparsities(
    shapes: Mapping[str, Sequence[int]], sparsity: float
) -> dict[str, float]:
    """Return the sparsity of every layer.

    Args:
        shapes: From name to the shape of the weight, such as (out, in, k, k).
        sparsity: Of all layers together.

    Raises:
        ValueError: If there are no shapes.

    Example:
        >>> sparsities = erk_sparsities({"wide": (100, 100), "thin": (10, 10)}, 0.5)
        >>> {name: round(value, 3) for name, value in sparsities.items()}
        {'wide': 0.505, 'thin': 0.0}
    """
    check_sparsity(sparsity)
    if not shapes:
        raise ValueError("shapes is empty; give those of at least one layer")
    sizes = {name: math.prod(shape) for name, shape in shapes.items()}
    raw = {name: sum(shape) / sizes[name] for name, shape in shapes.items()}
    wanted = (1 - sparsity) * sum(sizes.values())
    whole: set[str] = set()
    while True:
        shared = {name: raw[name] * sizes[name] for name in sizes if name not in whole}
        left = wanted - sum(sizes[name] for name in whole)
        factor = left / sum(shared.values()) if shared else 0.0
        full = {name for name in shared if factor * raw[name] > 1}
        if not full:
            break
        whole |= full
    return {n: 0.0 if n in whole else 1 - factor * raw[n] for n in sizes}
