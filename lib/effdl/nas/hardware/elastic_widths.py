"""Elastic widths: scale channels until a network just meets a latency.

Paper: Hu et al., "TF-NAS: Rethinking Three Search Freedoms of Latency-Constrained
Differentiable Neural Architecture Search", ECCV 2020,
https://arxiv.org/abs/2008.05314. Details are those of the authors'
program, github.com/AberHu/TF-NAS.

    too slow:  all widths shrink in proportion until latency(widths) <= T
    then:      groups of layers widen while latency(widths) <= T, coarse to fine

latency is arithmetic on a table with one row per width, so that this takes no time. In
TF-NAS it is done after every epoch, for the network found so far. That is why no rate
has to be tuned to meet a target: widths have the last word.

It works as far as they reach. A width is at most the largest and at least half of it,
and if that is too slow still, no width is fast enough: this raises, where the program
goes on with half widths. If the largest are fast enough, the latency stays below T.

What differs: the program widens groups of stages, from all to the last. Here layers
take the place of stages, and single layers come last, so that no channel is left over.
"""

from collections.abc import Callable, Sequence

Widths = tuple[int, ...]
LatencyOfWidths = Callable[[Widths], float]


def scale_widths(
    widths: Sequence[int],
    largest: Sequence[int],
    latency: LatencyOfWidths,
    target: float,
) -> Widths:
    """Return widths whose latency is at most a target, with no channel left over.

    First all layers shrink in proportion, if they have to. Then groups of layers grow,
    from all layers to the last, and single layers in the end. If latency grows with
    every width, one channel more in any layer would exceed the target or the largest
    width.

    Args:
        widths: To begin with, one a layer.
        largest: Of each layer; the smallest is half of that.
        latency: Of any widths between.
        target: In the same unit.

    Raises:
        ValueError: If the numbers of layers differ, widths are out of range, or even
            the smallest widths take longer than the target.

    Example:
        >>> scale_widths([8, 16], [8, 16], lambda w: 1.0 + w[0] + w[1], 20.0)
        (6, 13)
    """
    smallest = tuple(-(-most // 2) for most in largest)
    if len(widths) != len(largest) or not widths:
        raise ValueError(
            f"widths and largest must be as long as each other, got {len(widths)} and "
            f"{len(largest)} layers"
        )
    _check_between(widths, smallest, largest)
    if not latency(smallest) <= target:
        raise ValueError(
            f"target must be at least {latency(smallest):.4g}, which the smallest "
            f"widths take, got {target:.4g}"
        )
    limits = (smallest, tuple(largest))
    layers = range(len(widths))
    found, step = tuple(widths), _step(widths, layers)
    while latency(found) > target:
        found = _moved(found, [-s for s in step], limits)
    groups = [layers[start:] for start in layers] + [[layer] for layer in layers]
    for group in groups:
        step = _step(found, group)
        while (wider := _moved(found, step, limits)) != found:
            if latency(wider) > target:
                break
            found = wider
    return found


def _check_between(
    widths: Sequence[int], smallest: Sequence[int], largest: Sequence[int]
) -> None:
    for layer, (w, low, high) in enumerate(zip(widths, smallest, largest, strict=True)):
        if not low <= w <= high:
            raise ValueError(
                f"widths[{layer}] must be in {low} to {high}, half of the largest to "
                f"all of it, got {w}"
            )


def _step(widths: Sequence[int], group: Sequence[int]) -> list[int]:
    """Return channels to add to each layer: in proportion, 1 for the narrowest."""
    narrowest = min(widths[layer] for layer in group)
    return [
        round(w / narrowest) if layer in group else 0 for layer, w in enumerate(widths)
    ]


def _moved(
    widths: Widths, step: Sequence[int], limits: tuple[Widths, Widths]
) -> Widths:
    rows = zip(widths, step, *limits, strict=True)
    return tuple(min(max(w + s, low), high) for w, s, low, high in rows)
