"""Variants of an assignment: every course draws its own parameters from a seed.

drawn = choose(2026, temperature=(2.0, 3.0, 4.0))
"""

import random
from collections.abc import Sequence
from types import SimpleNamespace

from effdl.checks import check_seed


def choose(seed: int, /, **options: Sequence[object]) -> SimpleNamespace:
    """Return one value of every option, drawn for this course.

    Args:
        seed: Of the course; another seed makes another variant of the assignment.
        **options: The values to draw from. What is drawn for one name does not depend
            on the other names.

    Raises:
        ValueError: If the seed is not whole or below 0, or an option has no value.

    Example:
        >>> choose(2026, width=(8,), bits=(3,))
        namespace(width=8, bits=3)
    """
    check_seed(seed)
    for name, values in options.items():
        if not values:
            raise ValueError(f"{name} must have a value to draw, got {values!r}")
    drawn = {k: random.Random(f"{seed} {k}").choice(v) for k, v in options.items()}
    return SimpleNamespace(**drawn)
