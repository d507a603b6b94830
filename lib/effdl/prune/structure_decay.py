"""Progressive gradient flow, by structure: N:M changes while training (SdGf).

Paper: Bambhaniya et al., "Progressive Gradient Flow for Robust N:M Sparsity Training in
Transformers", 2024, https://arxiv.org/abs/2402.04744.

The mask is hard from the first step, but easy at first:

    stepwise     7:8, 4:8, 2:8, 1:8        ever fewer of the same group
    geometric    8:64, 4:32, 2:16, 1:8     the same share, ever less freedom

and the last pattern stays for a phase of fine-tuning.

Which slope reaches what is gone is up to the mask that moves. With
:class:`~effdl.prune.nm_moving.MovingMask` none does, so that with the patterns the flow
of slopes falls in steps. With :class:`~effdl.prune.sr_ste.SrSte` and decay 0 it passes
whole, as in the authors' program.

Not promised: that the masks of successive patterns are nested. Weights that are left
may fall below those that are gone.
"""

from collections.abc import Callable, Sequence

from torch import nn

from effdl.checks import check_positive
from effdl.prune.nm import check_nm
from effdl.prune.nm_moving import MovingMask

Pattern = tuple[int, int]  # N, M


def stepwise_patterns(keep: int, group: int) -> list[Pattern]:
    """Return M-1:M, then N:M with N halved from M / 2 on, down to the last.

    Args:
        keep: N in the end.
        group: M, always.

    Example:
        >>> stepwise_patterns(1, 8), stepwise_patterns(2, 4)
        ([(7, 8), (4, 8), (2, 8), (1, 8)], [(3, 4), (2, 4)])
    """
    check_nm(keep, group)
    patterns, left = [(group - 1, group)], group // 2
    while left > keep:
        patterns.append((left, group))
        left //= 2
    return patterns if patterns[-1] == (keep, group) else [*patterns, (keep, group)]


def geometric_patterns(keep: int, group: int, *, times: int = 8) -> list[Pattern]:
    """Return N:M of the same share, from ``times`` as large down to the last.

    Args:
        keep: N in the end.
        group: M in the end; ``times`` M has to divide the inputs of every layer.
        times: A power of 2.

    Raises:
        ValueError: If it is none.

    Example:
        >>> geometric_patterns(1, 8)
        [(8, 64), (4, 32), (2, 16), (1, 8)]
    """
    check_nm(keep, group)
    check_positive(times=times)
    if times & (times - 1):
        raise ValueError(f"times must be a power of 2, got {times}")
    factors = [2**power for power in range(times.bit_length() - 1, -1, -1)]
    return [(factor * keep, factor * group) for factor in factors]


def tighten(
    model: nn.Module, patterns: Sequence[Pattern], *, steps: int, start: int = 0
) -> Callable[[], None]:
    """Return what to call after every step: it changes N:M from time to time (SdGf).

    The first pattern holds at once, the last from ``start + steps`` on, the others for
    equally long in between.

    Args:
        model: Some of its weights have a :class:`~effdl.prune.nm_moving.MovingMask`.
        patterns: Such as :func:`stepwise_patterns` returns.
        steps: Steps from the first change on, over which they are spread.
        start: Steps before that, with the first pattern.

    Raises:
        ValueError: If no weight has such a mask, or there are no patterns.

    Example:
        >>> from effdl.prune.nm_moving import move_masks_
        >>> layer = nn.Linear(8, 1)
        >>> move_masks_(layer, ["weight"], MovingMask)
        >>> after_step = tighten(layer, [(7, 8), (4, 8), (1, 8)], steps=2)
        >>> for _ in range(2):
        ...     print(int(layer.weight.count_nonzero()))
        ...     after_step()
        7
        4
    """
    check_positive(steps=steps)
    moving = [module for module in model.modules() if isinstance(module, MovingMask)]
    if not moving:
        raise ValueError("model has no moving masks; use move_masks_ first")
    if not patterns:
        raise ValueError("patterns is empty; see stepwise_patterns")
    for pattern in patterns:
        check_nm(*pattern)
    done = 0

    def set_(pattern: Pattern) -> None:
        for mask in moving:
            mask.keep, mask.group = pattern

    def after_step() -> None:
        nonlocal done
        done += 1
        passed = min(max(done - start, 0), steps)
        set_(patterns[passed * (len(patterns) - 1) // steps])

    set_(patterns[0])
    return after_step
