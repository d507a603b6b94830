"""Spaces of networks: their score under a budget, their mutation, their prediction."""

from itertools import product

import numpy as np
import pytest

from effdl.nas.evolution import AgingEvolution
from effdl.quant.int8_blocks import Choice, conv_hardswish, conv_relu, depthwise_relu
from effdl.quant.int8_space import (
    ElasticStage,
    additive_quality,
    mutated_space,
    nets_of,
    space_score,
)

BLOCKS = [conv_relu, depthwise_relu, conv_hardswish]
WIDTHS = [(8, 16), (16, 24), (24, 32)]
STAGES = [ElasticStage(b, w) for b, w in product(BLOCKS, WIDTHS)]


def milliseconds(net):
    price = {conv_relu: 1.0, depthwise_relu: 0.8, conv_hardswish: 2.5}
    return sum(price[c.block] * c.width / 8 for c in net)


def worth(net):
    gain = {conv_relu: 1.0, depthwise_relu: 0.7, conv_hardswish: 1.1}
    return sum(gain[c.block] * c.width**0.5 for c in net)


def test_the_score_is_the_definition():
    """All networks, those within the budget, the mean of the best three."""
    space = (STAGES[0], STAGES[4], STAGES[2])
    values = []
    for widths in product(*(stage.widths for stage in space)):
        net = [Choice(s.block, w) for s, w in zip(space, widths, strict=True)]
        if milliseconds(net) <= 7:
            values.append(worth(net))
    assert 3 < len(values) < 8
    expected = sum(sorted(values, reverse=True)[:3]) / 3
    assert space_score(space, worth, milliseconds, 7) == pytest.approx(expected)


def test_by_hand():
    """Widths 8, 16, 24, 32 within 25: the best two are 24 and 16; of four one is 0."""
    space = (ElasticStage(conv_relu, (32, 8, 24, 16)),)

    def width(net):
        return float(net[0].width)

    assert space_score(space, width, width, 25, top=2) == 20
    assert space_score(space, width, width, 24, top=1) == 24
    assert space_score(space, width, width, 25, top=4) == (24 + 16 + 8) / 4
    assert space_score(space, width, width, 7) == 0


def test_a_space_has_every_network_once():
    space = (STAGES[0], STAGES[5])
    nets = list(nets_of(space))
    assert len(nets) == len(set(nets)) == 4
    assert {net[0].block for net in nets} == {conv_relu}
    assert nets[1] == (Choice(conv_relu, 8), Choice(depthwise_relu, 32))


def test_more_budget_never_lowers_the_score():
    space = (STAGES[1], STAGES[3])
    scores = [space_score(space, worth, milliseconds, b) for b in (1, 3, 4, 5, 9)]
    assert scores == sorted(scores)
    assert scores[0] == 0 < scores[-1]


def test_a_mutation_changes_the_block_or_the_widths_of_one_stage():
    random, space = np.random.default_rng(0), (STAGES[0], STAGES[4], STAGES[8])
    seen = set()
    for _ in range(300):
        other = mutated_space(space, BLOCKS, WIDTHS, random)
        changed = [i for i in range(3) if other[i] != space[i]]
        assert len(changed) == 1
        (i,) = changed
        same = (other[i].block is space[i].block, other[i].widths == space[i].widths)
        assert sorted(same) == [False, True]
        seen.add(other)
    assert len(seen) == 3 * (2 + 2)  # every neighbour was found
    assert space == (STAGES[0], STAGES[4], STAGES[8])


def test_evolution_finds_better_spaces_than_random_draws_do():
    """All 729 scores are known: on average within a hundredth of the best after 60."""
    budget = 8.0
    scores = {
        s: space_score(s, worth, milliseconds, budget)
        for s in product(STAGES, repeat=3)
    }
    best, random = max(scores.values()), np.random.default_rng(0)

    def draw():
        return tuple(STAGES[i] for i in random.integers(len(STAGES), size=3))

    found, drawn = [], []
    for _ in range(10):
        search = AgingEvolution(
            draw, lambda s: mutated_space(s, BLOCKS, WIDTHS, random), random
        )
        seen = []
        for _ in range(60):
            space = search.ask()
            seen.append(scores[space])
            search.tell(space, seen[-1])
        found.append(max(seen))
        drawn.append(max(scores[draw()] for _ in range(60)))
    assert np.mean(found) > np.mean(drawn)
    assert np.mean(found) > 0.99 * best


def test_an_additive_truth_is_fitted_and_predicts_networks_never_seen():
    space = [tuple(c) for s in product(STAGES, repeat=2) for c in nets_of(s)]
    nets = list(dict.fromkeys(space))
    order = np.random.default_rng(0).permutation(len(nets))
    seen = [nets[i] for i in order[:70]]
    predict = additive_quality(seen, [worth(n) for n in seen], pull=1e-6)
    for i in order[70:]:
        assert predict(nets[i]) == pytest.approx(worth(nets[i]), abs=0.01)


def test_the_pull_by_hand():
    """Mean 0; x'x = 1 for each choice: 1 / (1 + pull) of what was measured."""
    nets = [(Choice(conv_relu, 8),), (Choice(depthwise_relu, 8),)]
    predict = additive_quality(nets, [1.0, -1.0], pull=1.0)
    assert predict(nets[0]) == pytest.approx(0.5)
    assert predict((Choice(conv_relu, 9),)) == pytest.approx(0)


def test_the_same_choice_counts_apart_in_each_stage():
    a, b = Choice(conv_relu, 8), Choice(conv_relu, 16)
    predict = additive_quality(
        [(a, a), (a, b), (b, a), (b, b)], [0, 1, 4, 5], pull=1e-9
    )
    assert predict((b, a)) == pytest.approx(4)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: space_score((STAGES[0],), worth, worth, 0.0),
            "must be positive, got 0",
        ),
        (lambda: space_score((STAGES[0],), worth, worth, 1.0, top=0), "top must be at"),
        (
            lambda: mutated_space(
                (STAGES[0],), [conv_relu], [(8, 16)], np.random.default_rng(0)
            ),
            "blocks and widths hold nothing else",
        ),
        (lambda: additive_quality([], []), "a finite number for each of 0 networks"),
        (
            lambda: additive_quality([(Choice(conv_relu, 8),)], [float("nan")]),
            "a finite number for each of 1 networks",
        ),
        (
            lambda: additive_quality([(Choice(conv_relu, 8),)], [1.0, 2.0]),
            "a finite number for each of 1 networks",
        ),
        (
            lambda: additive_quality([(Choice(conv_relu, 8),)], [1.0], pull=0.0),
            "pull must be positive and finite, got 0.0",
        ),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
