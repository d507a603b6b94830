"""RandomNAS: what is trained in which step, and what the scores are."""

import numpy as np
import pytest
import torch

from effdl.data.digits import Split, small_digits
from effdl.nas.cell_space import Cell
from effdl.nas.random_search import RandomSearch
from effdl.nas.search import run_search
from effdl.nas.shared_cell import SharedCell, choose_path_, small_supernet
from effdl.nas.weight_sharing import SharedWeights, train_shared
from effdl.train import accuracy, train_classifier

CONVS = [Cell((name,) * 6) for name in ("nor_conv_1x1", "nor_conv_3x3")]
SKIP = Cell(("skip_connect",) * 6)


@pytest.fixture(scope="module")
def digits():
    """Few scenes, quickly made."""
    return small_digits(n_train=400, n_validation=300, n_test=10)


def path_of(net):
    """Return the path that a supernet takes."""
    return next(m.cell for m in net.modules() if isinstance(m, SharedCell))


def test_training_with_one_cell_is_ordinary_training_of_its_path(digits):
    shared, plain = small_supernet(), small_supernet()
    plain.load_state_dict(shared.state_dict())
    random = np.random.default_rng(0)
    losses = train_shared(
        shared, digits.train, CONVS[:1], random, epochs=2, learning_rate=0.1, seed=3
    )
    choose_path_(plain, CONVS[0])
    expected = train_classifier(
        plain, digits.train, epochs=2, learning_rate=0.1, seed=3
    )
    assert losses == expected
    for ours, theirs in zip(shared.parameters(), plain.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_every_step_draws_a_cell_uniformly(digits):
    """The paths of 60 steps are those of the generator, one after the other."""
    net, seen = small_supernet(), []
    net.register_forward_pre_hook(lambda *_: seen.append(path_of(net)))
    cells = [*CONVS, SKIP]
    train_shared(net, digits.train, cells, np.random.default_rng(5), epochs=15)
    random = np.random.default_rng(5)
    assert seen == [cells[int(random.integers(3))] for _ in range(15 * 4)]
    assert all(12 <= seen.count(cell) <= 30 for cell in cells)  # 20 in the mean


def test_what_no_cell_uses_is_not_trained(digits):
    net = small_supernet()
    before = {name: p.clone() for name, p in net.named_parameters()}
    random = np.random.default_rng(0)
    train_shared(net, digits.train, [CONVS[0], SKIP], random, epochs=2)
    for name, p in net.named_parameters():
        assert torch.equal(p, before[name]) == ("nor_conv_3x3" in name)


def test_a_score_is_the_accuracy_of_the_path(digits):
    net = small_supernet()
    train_shared(net, digits.train, CONVS, np.random.default_rng(0), epochs=3)
    scorer = SharedWeights(net, digits.validation)
    scores = [scorer.evaluate(cell) for cell in (*CONVS, SKIP)]
    assert scorer.evaluate(CONVS[0]) == scores[0]  # the order does not matter
    expected = []
    for cell in (*CONVS, SKIP):
        choose_path_(net, cell)
        hits = net.eval()(digits.validation.inputs).argmax(1)
        expected.append((hits == digits.validation.targets).float().mean().item())
    assert scores == pytest.approx(expected, abs=1e-6)
    assert len(set(scores)) == 3


def test_scoring_costs_time_and_changes_no_weight(digits):
    net = small_supernet()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    scorer = SharedWeights(net, digits.validation)
    assert scorer.seconds == 0
    scorer.evaluate(CONVS[0])
    once = scorer.seconds
    scorer.evaluate(CONVS[1])
    assert 0 < once < scorer.seconds
    for name, value in net.state_dict().items():
        assert torch.equal(value, before[name])


def test_random_search_runs_on_it_as_on_a_table(digits):
    net = small_supernet()
    cells = [Cell.numbered(i) for i in range(12_000, 12_010)]
    search = RandomSearch(cells, np.random.default_rng(0))
    steps = run_search(search, SharedWeights(net, digits.validation), queries=4)
    assert len({step.cell for step in steps}) == 4
    assert steps[-1].best_score == max(step.score for step in steps)


def test_shared_training_learns(digits):
    net = small_supernet()
    random = np.random.default_rng(0)
    losses = train_shared(net, digits.train, CONVS, random, epochs=12)
    assert losses[-1] < losses[0] - 0.5
    choose_path_(net, CONVS[1])
    assert accuracy(net, digits.validation.batches(300)) > 0.3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"cells": []}, "cells is empty"),
        ({"epochs": 0}, "epochs must be at least 1, got 0"),
        ({"learning_rate": 0.0}, "learning_rate must be above 0"),
        ({"split": Split(torch.zeros(0, 1, 12, 12), torch.zeros(0))}, "is empty"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    split = Split(torch.zeros(4, 1, 12, 12), torch.arange(4))
    given = {"split": split, "cells": CONVS, "random": np.random.default_rng(0)}
    with pytest.raises(ValueError, match=message):
        train_shared(small_supernet(), **given | arguments)


@pytest.mark.parametrize("arguments", [{"seed": 1}, {"epochs": 3}])
def test_what_needs_a_training_cannot_be_asked_for(arguments):
    split = Split(torch.zeros(4, 1, 12, 12), torch.arange(4))
    with pytest.raises(ValueError, match="a cell is not trained here; leave both out"):
        SharedWeights(small_supernet(), split).evaluate(SKIP, **arguments)
