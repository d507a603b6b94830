"""The joint space: what members cost, what is within a budget, what is the best."""

from itertools import product

import numpy as np
import pytest
import torch

from effdl.blocks import plain_net
from effdl.compress.channels import remove_channels
from effdl.compress.joint_space import JointTable, weight_count
from effdl.nas.proxies.weights import connection_weights
from effdl.quant.bit_choices import layer_sizes, weight_bits

WIDTHS, KEEPS, BITS = (4, 6, 8, 12), (1.0, 0.75, 0.5), (2, 4, 8, 32)


@pytest.fixture
def table():
    random = np.random.default_rng(0)
    scores = random.random((2, 4, 3, 4))
    return JointTable(WIDTHS, KEEPS, BITS, *scores)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("keep", [*KEEPS, 0.1])
def test_weights_are_those_of_the_network_with_channels_removed(width, keep):
    net = remove_channels(plain_net(width), keep)
    weights = connection_weights(net).values()
    assert weight_count(width, keep) == sum(w.numel() for w in weights)


def test_bytes_are_the_bits_of_all_weights_over_eight(table):
    net = remove_channels(plain_net(6), 0.75)
    sizes = layer_sizes(net, torch.zeros(1, 1, 16, 16))
    bits = weight_bits([4] * len(sizes), sizes)
    assert table.cost((1, 1, 1)) == bits / 8


def test_by_hand():
    """Width 1: 9 (1 + 1 + 2 + 4 + 8) + 40 = 184 weights, in 2 bits 46 bytes."""
    assert weight_count(1) == 184
    scores = np.zeros((1, 1, 2))
    assert JointTable((1,), (1.0,), (2, 32), scores, scores).cost((0, 0, 0)) == 46


def test_members_are_all_combinations_each_once(table):
    assert len(table.members) == len({*table.members}) == 48 == table.space.size
    assert all(
        table.space.check(m) == m and table.validation[m] >= 0 for m in table.members
    )


def test_within_a_budget_are_all_that_cost_no_more(table):
    costs = {m: table.cost(m) for m in table.members}
    budget = sorted(costs.values())[17]
    found = table.within(budget)
    assert {*found} == {m for m, cost in costs.items() if cost <= budget}
    assert len(table.within(1e9)) == 48
    assert table.asked == set()


def test_the_best_is_found_by_looking_at_everything(table):
    for budget in (200, 1500, 9000, 1e6):
        best, score = None, -1.0
        for w, k, b in product(range(4), range(3), range(4)):
            fits = weight_count(WIDTHS[w], KEEPS[k]) * BITS[b] <= 8 * budget
            if fits and table.validation[w, k, b] > score:
                best, score = (w, k, b), table.validation[w, k, b]
        assert table.best(budget) == best
    assert table.asked == set()


def test_a_larger_budget_is_never_worse(table):
    found = [table.validation[table.best(b)] for b in np.geomspace(200, 1e5, 30)]
    assert found == sorted(found)


def test_what_is_asked_for_is_the_validation_accuracy_and_counted_once(table):
    for _ in range(3):
        assert table.ask((1, 2, 3)) == table.validation[1, 2, 3]
    assert table.asked == {(1, 2, 3)}


def test_a_table_begins_with_nothing_asked_whatever_another_one_was_asked(table):
    table.ask((0, 0, 0))
    again = JointTable(WIDTHS, KEEPS, BITS, table.validation, table.test)
    assert again.asked == set()


def test_bad_input_is_refused(table):
    scores = np.zeros((1, 1, 2))
    with pytest.raises(ValueError, match=r"validation must be \(1, 1, 3\)"):
        JointTable((4,), (1.0,), (2, 4, 32), scores, scores)
    with pytest.raises(ValueError, match=r"test must be \(1, 1, 2\)"):
        JointTable((4,), (1.0,), (2, 32), scores, scores[0])
    with pytest.raises(ValueError, match="keeps must have 1 and bits 32"):
        JointTable((4,), (0.5,), (2, 32), scores, scores)
    with pytest.raises(ValueError, match="keeps must have 1 and bits 32"):
        JointTable((4,), (1.0,), (2, 8), scores, scores)
    with pytest.raises(
        ValueError, match=r"budget must be at least 159\.5 bytes, got 9"
    ):
        table.within(9)
    with pytest.raises(ValueError, match="choice of layer 2 must be in 0 to 3, got 4"):
        table.ask((0, 0, 4))
    with pytest.raises(ValueError, match="width must be at least 1, got 0"):
        weight_count(0)
    with pytest.raises(ValueError, match="keep must be above 0"):
        weight_count(4, 0.0)
