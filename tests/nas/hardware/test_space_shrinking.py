"""Shrinking a space: with additive quality the best candidates stay."""

import math

import numpy as np
import pytest
from torch import nn

from effdl.nas.block_space import BlockSpace
from effdl.nas.hardware.space_shrinking import (
    best_of_draws,
    sample_left,
    shrink_layer,
    shrink_space,
)

SIZES = (3, 4, 2, 5)
SPACE = BlockSpace(tuple({str(k): nn.Identity for k in range(size)} for size in SIZES))
ALL = tuple(tuple(range(size)) for size in SIZES)


def utilities(seed):
    random = np.random.default_rng(seed)
    return [random.normal(size=size) for size in SIZES]


def additive(utility):
    return lambda choices: sum(u[c] for u, c in zip(utility, choices, strict=True))


@pytest.mark.parametrize("samples", [1, 5])
@pytest.mark.parametrize("seed", range(5))
def test_with_additive_quality_the_best_of_every_layer_is_kept(seed, samples):
    """The oracle. One sample is enough, since all meet the same surroundings."""
    utility = utilities(seed)
    random = np.random.default_rng(seed)
    stages = shrink_space(SPACE, additive(utility), random, samples=samples)
    assert stages[-1] == tuple((int(u.argmax()),) for u in utility)


@pytest.mark.parametrize("seed", range(5))
def test_the_best_few_are_kept_in_order(seed):
    utility, random = utilities(seed), np.random.default_rng(seed)
    [*_, left] = shrink_space(SPACE, additive(utility), random, keep=2)
    wanted = tuple(tuple(sorted(u.argsort()[-2:].tolist())) for u in utility)
    assert left == wanted


def test_the_quality_is_the_mean_over_the_samples_by_hand():
    """Candidate 1 is worth 3 beside 0 and -1 beside 1, candidate 0 nothing.

    Of three surroundings 0, 1 and 1 the mean is (3 - 1 - 1) / 3 > 0, while the lowest
    and the median are below 0. Eight seeds draw several such mixtures.
    """
    left = ((0, 1), (0, 1))
    drawn = [sample_left(left, np.random.default_rng(s))[1] for s in range(20)]
    assert {*drawn} == {0, 1}

    def score(choices):
        asked.append(choices)
        return {(1, 0): 3.0, (1, 1): -1.0}.get(choices, 0.0)

    for seed in range(8):
        asked = []
        random = np.random.default_rng(seed)
        found = shrink_layer(left, 0, score, random, samples=3)
        mine = [choices for choices in asked if choices[0] == 1]
        mean = np.mean([3.0 if choices[1] == 0 else -1.0 for choices in mine])
        assert len(mine) == 3
        assert found == (((1,) if mean > 0 else (0,)), (0, 1))


def test_all_candidates_are_judged_in_the_same_surroundings():
    asked = []

    def score(choices):
        asked.append(choices)
        return 0.0

    shrink_layer(ALL, 1, score, np.random.default_rng(0), samples=3)
    assert len(asked) == 4 * 3
    around = [{(*a[:1], *a[2:]) for a in asked if a[1] == k} for k in range(4)]
    assert around[0] == around[1] == around[2] == around[3]
    assert len(around[0]) > 1


def test_layers_are_shrunk_one_after_the_other_from_the_last():
    stages = shrink_space(SPACE, additive(utilities(0)), np.random.default_rng(0))
    assert stages[0] == ALL
    counts = [[len(row) for row in left] for left in stages]
    assert counts == [[3, 4, 2, 5], [3, 4, 2, 1], [3, 4, 1, 1], [3, 1, 1, 1], [1] * 4]


def test_the_order_and_the_layers_are_the_callers():
    random = np.random.default_rng(0)
    stages = shrink_space(SPACE, additive(utilities(0)), random, layers=[1, 0])
    assert [[len(row) for row in left] for left in stages[1:]] == [
        [3, 1, 2, 5],
        [1, 1, 2, 5],
    ]


def test_what_was_dropped_is_not_drawn_any_more():
    asked = []

    def score(choices):
        asked.append(choices)
        return additive(utilities(0))(choices)

    stages = shrink_space(SPACE, score, np.random.default_rng(0), samples=4)
    kept = stages[-1][-1][0]
    assert all(choices[-1] == kept for choices in asked[5 * 4 :])


def test_with_interactions_the_best_architecture_can_be_lost():
    """Only (2, 3, 1, 4) is any good, and hardly any sample meets it."""

    def score(choices):
        return 10.0 if choices == (2, 3, 1, 4) else -float(sum(choices))

    stages = shrink_space(SPACE, score, np.random.default_rng(0), samples=2)
    assert stages[-1] == ((0,), (0,), (0,), (0,))


def test_every_architecture_that_is_left_is_drawn():
    left, random = ((0, 2), (1,), (0, 1), (3,)), np.random.default_rng(0)
    drawn = {sample_left(left, random) for _ in range(100)}
    assert drawn == {(a, 1, b, 3) for a in (0, 2) for b in (0, 1)}


def test_the_best_allowed_draw_is_found():
    utility = utilities(3)
    cost = additive([np.arange(size) for size in SIZES])
    found = best_of_draws(
        ALL,
        additive(utility),
        np.random.default_rng(0),
        allowed=lambda choices: cost(choices) <= 4,
        draws=2000,
    )
    allowed = [choices for choices in SPACE.all_choices() if cost(choices) <= 4]
    assert found == max(allowed, key=additive(utility))
    assert cost(found) <= 4


def test_only_allowed_architectures_are_scored():
    def score(choices):
        assert sum(choices) < 4
        return 0.0

    random = np.random.default_rng(0)
    best_of_draws(ALL, score, random, allowed=lambda choices: sum(choices) < 4)


def test_what_cannot_be_is_named():
    random = np.random.default_rng(0)
    with pytest.raises(ValueError, match="none of 7 draws is allowed"):
        best_of_draws(ALL, sum, random, allowed=lambda _: False, draws=7)
    with pytest.raises(ValueError, match="keep must be at least 1, got 0"):
        shrink_layer(ALL, 0, sum, random, keep=0)
    with pytest.raises(ValueError, match="samples must be at least 1, got 0"):
        shrink_layer(ALL, 0, sum, random, samples=0)
    assert math.prod(SIZES) == SPACE.size
