"""How much to prune when: in one go, in rounds, or bit by bit while training.

Papers: Han et al., "Learning both Weights and Connections for Efficient Neural
Networks", NeurIPS 2015, https://arxiv.org/abs/1506.02626, section 3; Frankle and
Carbin, "The Lottery Ticket Hypothesis: Finding Sparse, Trainable Neural Networks", ICLR
2019, https://arxiv.org/abs/1803.03635; Zhu and Gupta, "To Prune, or Not to Prune:
Exploring the Efficacy of Pruning for Model Compression", 2017,
https://arxiv.org/abs/1710.01878, equation 1.

In rounds, each takes the same share q of what is left. To have a share P gone after n:

    (1 - q)^n = 1 - P        q = 1 - (1 - P)^(1/n)       sparsity after r: 1 - (1 - q)^r

The survey writes "p^(1/n) %" for q. With p in percent, as there, 90 and 10 rounds give
1.57 %, and 85.4 % of the weights are left. p^(1/n) is right if p is the share that is
*kept* and the result what a round keeps.

While training, from step t0 on for n steps, the sparsity follows

    s_t = s_f + (s_i - s_f) (1 - (t - t0) / n)^3         steep first, then ever flatter

What differs: equation 1 prunes every dt steps; here the caller decides when to ask.
"""

from collections.abc import Callable
from functools import partial

from torch import nn

from effdl.checks import check_positive
from effdl.prune.masks import Masks, masks_of, set_masks_
from effdl.prune.thresholds import check_sparsity


def rate_of_a_round(sparsity: float, rounds: int) -> float:
    """Return the share q of what is left that each round has to take.

    Args:
        sparsity: Share P of all weights that is gone in the end.
        rounds: Rounds n, at least 1.

    Example:
        >>> round(rate_of_a_round(0.9, 10), 4), round(rate_of_a_round(0.9, 5), 4)
        (0.2057, 0.369)
    """
    check_sparsity(sparsity)
    check_positive(rounds=rounds)
    return float(1 - (1 - sparsity) ** (1 / rounds))


def sparsity_of_rounds(sparsity: float, rounds: int) -> list[float]:
    """Return the share of all weights that is gone after each of the rounds.

    Args:
        sparsity: Share that is gone in the end; the last entry.
        rounds: How many, at least 1.

    Example:
        >>> [round(s, 3) for s in sparsity_of_rounds(0.875, 3)]
        [0.5, 0.75, 0.875]
    """
    rate = rate_of_a_round(sparsity, rounds)
    return [1 - (1 - rate) ** done for done in range(1, rounds)] + [sparsity]


def cubic_sparsity(
    step: int, *, final: float, steps: int, start: int = 0, initial: float = 0.0
) -> float:
    """Return the sparsity s_t of gradual pruning.

    Args:
        step: Steps t done; before ``start`` it is ``initial``.
        final: Sparsity s_f from ``start + steps`` on.
        steps: Steps n that it takes, at least 1.
        start: Step t0 at which it begins.
        initial: Sparsity s_i at which it begins.

    Raises:
        ValueError: If a sparsity is out of range, or the final is below the initial.

    Example:
        >>> [round(cubic_sparsity(t, final=0.8, steps=10), 3) for t in (0, 5, 10)]
        [0.0, 0.7, 0.8]
    """
    check_positive(steps=steps)
    check_sparsity(final)
    check_sparsity(initial)
    if final < initial:
        raise ValueError(f"final must be at least initial={initial}, got {final}")
    left = 1 - min(max((step - start) / steps, 0), 1)
    return final + (initial - final) * left**3


def prune_gradually(
    model: nn.Module,
    masks_for: Callable[[nn.Module, float], Masks],
    *,
    final: float,
    steps: int,
    start: int = 0,
    every: int = 1,
    initial: float = 0.0,
) -> Callable[[], None]:
    """Return what to call after every step: it prunes more and more.

    ``after_step`` of :func:`effdl.train.fit` is made for it.

    Args:
        model: A network that is pruned, if only with masks of ones.
        masks_for: Returns masks for the network at a sparsity, within the old ones.
        final: Sparsity in the end.
        steps: Steps from the first pruning to the last.
        start: Step at which it begins.
        every: Steps from one pruning to the next.
        initial: Sparsity that the network has already.

    Raises:
        ValueError: If a number is out of range, or the network was never pruned.

    Example:
        >>> import torch
        >>> from effdl.prune.magnitude import magnitude_scores
        >>> from effdl.prune.masks import prune_
        >>> from effdl.prune.thresholds import layer_masks
        >>> def smallest(model, sparsity):
        ...     return layer_masks(
        ...         magnitude_scores(model), sparsity, within=masks_of(model))
        >>> layer = nn.Linear(8, 1)
        >>> prune_(layer, {"weight": torch.ones(1, 8, dtype=torch.bool)})
        >>> after_step = prune_gradually(layer, smallest, final=0.75, steps=2)
        >>> for _ in range(2):
        ...     after_step()
        ...     print(int(masks_of(layer)["weight"].sum()))
        3
        2
    """
    check_positive(every=every)
    wanted = partial(
        cubic_sparsity, final=final, steps=steps, start=start, initial=initial
    )
    wanted(0)  # checks the numbers now, not at the first pruning
    if not masks_of(model):
        raise ValueError("model has no masks; call prune_ with masks of ones first")
    done = 0

    def after_step() -> None:
        nonlocal done
        done += 1
        # the last step always counts, whether or not ``every`` divides it
        due = done == start + steps or (done - start) % every == 0
        if start <= done <= start + steps and due:
            set_masks_(model, masks_for(model, wanted(done)))

    return after_step
