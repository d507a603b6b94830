"""Rankings: against pandas and brute force over all pairs, and what they refuse."""

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from effdl.nas.ranking import (
    bootstrap_interval,
    kendall,
    pareto_front,
    precision_at_top,
    spearman,
    top_half,
)


@pytest.fixture
def random():
    return np.random.default_rng(0)


def noisy(random, count=60, noise=1.0):
    values = random.normal(size=count)
    return values + noise * random.normal(size=count), values


def test_spearman_is_one_minus_six_d_squared_without_ties(random):
    scores, values = noisy(random)
    d = stats.rankdata(scores) - stats.rankdata(values)
    n = len(d)
    assert spearman(scores, values) == pytest.approx(1 - 6 * (d**2).sum() / (n**3 - n))


def test_spearman_with_ties_is_that_of_pandas(random):
    scores, values = noisy(random)
    scores = scores.round()
    table = pd.DataFrame({"s": scores, "v": values})
    assert spearman(scores, values) == pytest.approx(
        table.corr(method="spearman").loc["s", "v"]
    )


def test_kendall_counts_pairs(random):
    scores, values = noisy(random, 25)
    scores = scores.round(1)
    signs = [
        (np.sign(scores[i] - scores[j]), np.sign(values[i] - values[j]))
        for i, j in itertools.combinations(range(25), 2)
    ]
    agree = sum(a * b for a, b in signs)
    untied = [sum(s[side] != 0 for s in signs) for side in (0, 1)]
    assert kendall(scores, values) == pytest.approx(agree / np.prod(untied) ** 0.5)


def test_the_top_half_is_of_the_values_not_of_the_scores(random):
    scores, values = noisy(random)
    good = np.argsort(values)[30:]
    assert top_half(scores, values) == pytest.approx(
        stats.spearmanr(scores[good], values[good]).statistic
    )


def test_precision_by_hand():
    values = np.arange(20.0)
    scores = np.where(values == 19, -1.0, values)  # the best is scored worst
    assert precision_at_top(scores, values) == 0.5
    assert precision_at_top(scores, values, share=0.2) == 0.75
    assert precision_at_top(values, values) == 1


def test_scores_that_know_nothing_have_the_precision_of_chance(random):
    values = np.arange(200.0)
    found = [precision_at_top(random.permutation(200), values) for _ in range(300)]
    assert np.mean(found) == pytest.approx(0.1, abs=0.02)


def test_the_front_is_who_nobody_beats(random):
    costs = random.integers(6, size=50).astype(float)
    values = random.integers(8, size=50).astype(float)
    beaten = [
        any(
            (costs[j] <= costs[i] and values[j] > values[i])
            or (costs[j] < costs[i] and values[j] >= values[i])
            for j in range(50)
        )
        for i in range(50)
    ]
    points = {(costs[i], values[i]) for i in range(50) if not beaten[i]}
    front = pareto_front(costs, values)
    assert {(costs[i], values[i]) for i in front} == points
    assert len(front) == len(points)
    assert (np.diff(costs[front]) > 0).all()


def test_a_monotone_change_of_scores_changes_no_ranking(random):
    scores, values = noisy(random)
    for measure in (spearman, kendall, top_half, precision_at_top):
        assert measure(np.exp(scores), values) == pytest.approx(measure(scores, values))
        assert measure(scores, 3 * values) == pytest.approx(measure(scores, values))


def test_the_interval_holds_the_truth_as_often_as_it_says(random):
    """Correlation .8 of normal numbers; Spearman's is 6/pi arcsin(r/2)."""
    truth = 6 / np.pi * np.arcsin(0.8 / 2)
    hits = 0
    for _ in range(40):
        values = random.normal(size=80)
        scores = 0.8 * values + 0.6 * random.normal(size=80)
        low, high = bootstrap_interval(spearman, scores, values, random, draws=100)
        hits += low <= truth <= high
    assert hits >= 34


def test_the_interval_is_not_a_single_draw(random):
    scores, values = noisy(random)
    low, high = bootstrap_interval(spearman, scores, values, random)
    spread = 1.06 * (1 - spearman(scores, values) ** 2) / len(scores) ** 0.5
    assert 2 < (high - low) / spread < 6  # four deviations would be exact
    assert low < spearman(scores, values) < high


def test_equal_scores_rank_nothing():
    assert np.isnan(spearman([1, 1, 1], [1, 2, 3]))
    assert np.isnan(kendall([1, 1, 1], [1, 2, 3]))


@pytest.mark.parametrize(
    ("scores", "values", "message"),
    [
        ([1, 2], [1, 2, 3], r"same n of at least 2, got shapes \(2,\) and \(3,\)"),
        ([1], [1], "at least 2"),
        ([1, np.nan], [1, 2], "scores holds 1 nan; leave them out"),
        ([1, 2], [np.nan, np.nan], "values holds 2 nan"),
    ],
)
def test_what_cannot_be_compared_is_refused(scores, values, message):
    for measure in (spearman, kendall, top_half, precision_at_top, pareto_front):
        with pytest.raises(ValueError, match=message):
            measure(scores, values)


def test_bad_settings_are_refused(random):
    with pytest.raises(ValueError, match="share must be above 0"):
        precision_at_top([1, 2], [1, 2], share=0)
    with pytest.raises(ValueError, match="draws"):
        bootstrap_interval(spearman, [1, 2], [1, 2], random, draws=0)


def test_of_equal_costs_only_the_best_is_on_the_front():
    assert pareto_front([1, 1, 2, 2], [1, 2, 3, 4]).tolist() == [1, 3]
