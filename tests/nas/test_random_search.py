"""Random search in expectation: all subsets, a simulation, and a public table."""

import itertools
import json
import zipfile
from math import comb

import numpy as np
import pytest

from effdl.data.download import cache_folder
from effdl.nas.cell_space import Cell
from effdl.nas.random_search import RandomSearch, best_is, expected_best

CELLS = [Cell.numbered(i) for i in range(300, 320)]


@pytest.mark.parametrize("draws", range(1, 8))
def test_expectation_is_the_mean_over_all_subsets(draws):
    scores = np.random.default_rng(0).random(7)
    subsets = list(itertools.combinations(scores, draws))
    expected = sum(max(subset) for subset in subsets) / len(subsets)
    assert expected_best(scores, draws) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("draws", range(1, 7))
def test_reported_is_the_mean_over_all_orders_in_which_the_first_of_equals_wins(draws):
    """Three cells share the highest score. The report cannot know which came first."""
    scores = np.array([0.5, 0.9, 0.9, 0.1, 0.9, 0.5])
    reported = np.array([0.3, 0.8, 0.2, 0.9, 0.5, 0.6])
    chosen = [
        reported[max(order[:draws], key=lambda i: scores[i])]  # max keeps the first
        for order in itertools.permutations(range(6))
    ]
    found = expected_best(scores, draws, reported=reported)
    assert found == pytest.approx(np.mean(chosen), abs=1e-12)


@pytest.mark.parametrize(("count", "draws"), [(1, 1), (6, 1), (6, 3), (60, 20)])
def test_probabilities_are_the_ratios_of_binomials(count, draws):
    expected = [
        comb(i - 1, draws - 1) / comb(count, draws) for i in range(1, count + 1)
    ]
    np.testing.assert_allclose(best_is(count, draws), expected, rtol=1e-12)


def test_best_of_two_by_hand():
    """Of 1, 2, 4 the pairs are 12, 14, 24: (2 + 4 + 4) / 3."""
    assert expected_best(np.array([4.0, 1.0, 2.0]), 2) == pytest.approx(10 / 3)


def test_simulation_agrees_within_three_standard_errors():
    """The strategy itself, run 400 times, against the closed form."""
    scores = np.random.default_rng(1).normal(size=len(CELLS))
    score_of = dict(zip(CELLS, scores, strict=True))
    bests = []
    for seed in range(400):
        search = RandomSearch(CELLS, np.random.default_rng(seed))
        bests.append(max(score_of[search.ask()] for _ in range(5)))
    error = np.std(bests, ddof=1) / np.sqrt(len(bests))
    assert abs(np.mean(bests) - expected_best(scores, 5)) < 3 * error


@pytest.fixture(scope="module")
def cifar100():
    """Validation accuracy in percent of all cells of NAS-Bench-201."""
    path = cache_folder() / "nasbench201" / "nb201_zen.zip"
    if not path.is_file():
        pytest.skip("no nasbench201/nb201_zen.zip in the folder EFFDL_CACHE")
    with zipfile.ZipFile(path) as archive:
        names = [n for n in archive.namelist() if "--cifar100--" in n]
        lines = [line for n in names for line in json.loads(archive.read(n))]
    accuracies = {line["arch"]: float(line["val_accuracy"]) for line in lines}
    assert len(accuracies) == 15_625
    return np.array(list(accuracies.values()))


@pytest.mark.parametrize(
    ("draws", "expected"),
    [(100, 71.57), (300, 72.22), (500, 72.49), (1000, 72.79), (15_625, 73.26)],
)
def test_values_on_nas_bench_201(cifar100, draws, expected):
    assert expected_best(cifar100, draws) == pytest.approx(expected, abs=0.005)


def test_the_best_of_a_part_is_never_above_the_best_of_all(cifar100):
    """Parts of a table, drawn at random; all draws give a part's maximum."""
    whole = expected_best(cifar100, len(cifar100))
    assert whole == pytest.approx(73.26, abs=0.005)
    random = np.random.default_rng(0)
    for size in (1, 30, 4096, 15_624):
        part = random.choice(cifar100, size, replace=False)
        best = expected_best(part, size)
        assert best == pytest.approx(part.max())
        assert best <= whole


def test_limits_are_the_mean_and_the_maximum():
    scores = np.random.default_rng(0).random(50)
    assert expected_best(scores, 1) == pytest.approx(scores.mean())
    assert expected_best(scores, 50) == pytest.approx(scores.max())


def test_more_draws_never_hurt():
    scores = np.random.default_rng(0).random(30)
    bests = [expected_best(scores, n) for n in range(1, 31)]
    assert bests == sorted(bests)


def test_probabilities_of_a_large_table_stay_finite_and_sum_to_one():
    for draws in (1, 300, 7000, 15_625):
        p = best_is(15_625, draws)
        assert p.sum() == pytest.approx(1)
        assert (p >= 0).all()
        assert not p[: draws - 1].any()


def test_every_cell_is_asked_for_once_whatever_is_told():
    search, asked = RandomSearch(CELLS, np.random.default_rng(0)), []
    while (cell := search.ask()) is not None:
        asked.append(cell)
        search.tell(cell, -1.0)
    assert sorted(asked, key=lambda cell: cell.index) == CELLS
    assert asked != CELLS
    assert search.ask() is None


def test_the_order_depends_on_the_generator_only():
    first, again, other = (
        list(RandomSearch(CELLS, np.random.default_rng(seed)).order)
        for seed in (3, 3, 4)
    )
    assert first == again != other


@pytest.mark.parametrize(
    ("scores", "arguments", "message"),
    [
        ([0.1, 0.2], {"draws": 0}, "draws must be in 1 to 2, got 0"),
        ([0.1, 0.2], {"draws": 3}, "draws must be in 1 to 2, got 3"),
        ([[0.1, 0.2]], {"draws": 1}, r"scores must be \(N,\) and finite"),
        ([0.1, np.nan], {"draws": 1}, "leave out what was not measured"),
        (
            [0.1, 0.2],
            {"draws": 1, "reported": np.zeros(3)},
            r"reported must have shape \(2,\), got \(3,\)",
        ),
    ],
)
def test_bad_arguments_are_named(scores, arguments, message):
    with pytest.raises(ValueError, match=message):
        expected_best(np.array(scores), **arguments)


def test_there_must_be_a_cell():
    with pytest.raises(ValueError, match="cells is empty"):
        RandomSearch([], np.random.default_rng(0))
