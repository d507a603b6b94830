"""Block spaces against brute force: sizes, neighbours, draws, codes."""

import itertools
import math

import numpy as np
import pytest
from torch import nn

from effdl.nas.block_space import BlockSpace, ChoiceStage, layer_shapes

RAGGED = BlockSpace(tuple(dict.fromkeys("abcd"[:k], nn.Identity) for k in (2, 3, 1, 4)))


def test_all_choices_are_counted_and_differ():
    every = list(RAGGED.all_choices())
    by_loops = [
        (a, b, c, d) for a in range(2) for b in range(3) for c in (0,) for d in range(4)
    ]
    assert every == by_loops
    assert len(set(every)) == RAGGED.size == 24
    assert RAGGED.candidates == 10
    assert RAGGED.sizes == (2, 3, 1, 4)


@pytest.mark.parametrize(("layers", "candidates"), [(1, 3), (3, 2), (4, 3), (2, 5)])
def test_equal_layers_give_a_power(layers, candidates):
    """K^L networks of K L blocks."""
    layer = dict.fromkeys("abcde"[:candidates], nn.Identity)
    space = BlockSpace((layer,) * layers)
    assert space.size == candidates**layers == len(list(space.all_choices()))
    assert space.candidates == candidates * layers


def test_the_space_of_fbnet_by_hand():
    """22 layers of 9: 9^22 = 9.85e20, which Table 2 of the survey prints as 1e21."""
    space = BlockSpace((dict.fromkeys("123456789", nn.Identity),) * 22)
    assert space.size == 984_770_902_183_611_232_881
    assert round(math.log10(space.size)) == 21
    assert space.candidates == 198


def test_names_by_hand():
    assert RAGGED.names((1, 2, 0, 3)) == ("b", "c", "a", "d")
    assert RAGGED.names([0, 0, 0, 0]) == ("a",) * 4


def test_neighbours_are_all_that_differ_in_one_layer():
    for choices in RAGGED.all_choices():
        differ_once = {
            other
            for other in RAGGED.all_choices()
            if sum(a != b for a, b in zip(choices, other, strict=True)) == 1
        }
        near = RAGGED.neighbours(choices)
        assert set(near) == differ_once
        assert len(near) == 1 + 2 + 0 + 3


def test_sampling_is_uniform():
    random, draws = np.random.default_rng(0), 12_000
    counts = dict.fromkeys(RAGGED.all_choices(), 0)
    for _ in range(draws):
        counts[RAGGED.sample(random)] += 1
    expected = draws / RAGGED.size
    chi2 = sum((n - expected) ** 2 / expected for n in counts.values())
    assert chi2 < 49.7  # 23 degrees of freedom: one draw in a thousand is above


def test_mutating_is_uniform_over_the_neighbours():
    random, start = np.random.default_rng(1), (1, 0, 0, 2)
    counts = dict.fromkeys(RAGGED.neighbours(start), 0)
    for _ in range(3000):
        counts[RAGGED.mutate(start, random)] += 1
    assert min(counts.values()) > 400  # of 500


def test_the_same_generator_gives_the_same_draws():
    first, second = (
        [RAGGED.sample(random), RAGGED.mutate((0, 0, 0, 0), random)]
        for random in (np.random.default_rng(3), np.random.default_rng(3))
    )
    assert first == second


def test_one_hot_by_hand():
    code = RAGGED.one_hot((1, 2, 0, 1))
    assert code.tolist() == [0, 1, 0, 0, 1, 1, 0, 1, 0, 0]


def test_codes_of_two_architectures_differ_and_have_one_one_a_layer():
    codes = {tuple(RAGGED.one_hot(c)) for c in RAGGED.all_choices()}
    assert len(codes) == RAGGED.size
    ends = list(itertools.accumulate(RAGGED.sizes, initial=0))
    for code in codes:
        parts = [sum(code[a:b]) for a, b in itertools.pairwise(ends)]
        assert parts == [1] * 4


def test_shapes_of_stages_by_hand():
    stages = [ChoiceStage(24, 3, 2), ChoiceStage(40, 1, 1), ChoiceStage(40, 2, 1)]
    assert layer_shapes(16, stages) == [
        *((16, 24, 2), (24, 24, 1), (24, 24, 1)),
        (24, 40, 1),
        *((40, 40, 1), (40, 40, 1)),
    ]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: BlockSpace(()), "layers is empty; give one mapping"),
        (lambda: BlockSpace(({"a": nn.ReLU}, {})), "layer 1 has no candidate; leave"),
        (lambda: RAGGED.check((0, 0, 0)), "one number for each of 4 layers, got 3"),
        (lambda: RAGGED.check((0,) * 5), "one number for each of 4 layers, got 5"),
        (lambda: RAGGED.check((0, 3, 0, 0)), "of layer 1 must be in 0 to 2, got 3"),
        (lambda: RAGGED.check((-1, 0, 0, 0)), "of layer 0 must be in 0 to 1, got -1"),
        (lambda: RAGGED.check((0.5, 0, 0, 0)), "layer 0 must be in 0 to 1, got 0.5"),
        (lambda: RAGGED.names((0, 0, 1, 0)), "layer 2 must be in 0 to 0, got 1"),
        (lambda: RAGGED.one_hot((0,)), "one number for each of 4 layers, got 1"),
        (lambda: RAGGED.neighbours((9, 0, 0, 0)), "layer 0 must be in 0 to 1, got 9"),
        (
            lambda: BlockSpace(({"a": nn.ReLU},)).mutate((0,), np.random.default_rng()),
            "layers have one candidate each: nothing can change",
        ),
        (lambda: layer_shapes(8, [ChoiceStage(8, 0, 1)]), "layers must be at least 1"),
    ],
)
def test_bad_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
