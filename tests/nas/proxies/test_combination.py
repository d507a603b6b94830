"""Combinations against scipy, against the pairs counted out, and at their limits."""

from math import inf, nan

import numpy as np
import pytest
from scipy.stats import rankdata, zscore
from sklearn.linear_model import LinearRegression

from effdl.nas.proxies.combination import (
    held_out_regression,
    rank_sum,
    vote,
    z_score_sum,
)


def scores(proxies=3, networks=25, seed=0):
    """Whole numbers, so that there are ties."""
    random = np.random.default_rng(seed)
    return random.integers(0, 12, size=(proxies, networks)).astype(float)


def test_rank_sum_is_that_of_scipy():
    expected = sum(rankdata(score) - 1 for score in scores())
    np.testing.assert_allclose(rank_sum(*scores()), expected)


def test_vote_counts_the_pairs_that_most_proxies_prefer():
    table = scores()
    expected = []
    for i in range(table.shape[1]):
        won = 0
        for j in range(table.shape[1]):
            prefer = sum(score[i] > score[j] for score in table)
            against = sum(score[i] < score[j] for score in table)
            won += int(prefer > against) - int(prefer < against)
        expected.append(won)
    assert vote(*table).tolist() == expected


def test_z_score_sum_is_that_of_scipy():
    expected = sum(zscore(score) for score in scores())
    np.testing.assert_allclose(z_score_sum(*scores()), expected)


def test_ranks_by_hand():
    """Ranks 0, 1.5, 1.5, 3 for 1, 2, 2, 5 (ties share), and 3, 2, 1, 0 reversed."""
    assert rank_sum([1, 2, 2, 5]).tolist() == [0.0, 1.5, 1.5, 3.0]
    assert rank_sum([1, 2, 2, 5], [9, 8, 7, 6]).tolist() == [3.0, 3.5, 2.5, 3.0]


def test_a_majority_can_run_in_a_circle():
    """A beats B, B beats C, C beats A, each by two proxies to one."""
    assert vote([3, 2, 1], [1, 3, 2], [2, 1, 3]).tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("combine", [rank_sum, vote, z_score_sum])
def test_identical_proxies_order_as_one_of_them(combine):
    score = scores(1)[0]
    combined = combine(score, score, score)
    assert rankdata(combined).tolist() == rankdata(score).tolist()


@pytest.mark.parametrize("combine", [rank_sum, vote, z_score_sum])
def test_a_proxy_and_its_opposite_cancel(combine):
    score = scores(1)[0]
    np.testing.assert_allclose(np.ptp(combine(score, -score)), 0, atol=1e-12)


@pytest.mark.parametrize("combine", [rank_sum, vote])
def test_only_the_order_within_a_proxy_counts(combine):
    first, second = scores(2)
    np.testing.assert_array_equal(
        combine(first, second), combine(np.exp(first), second**3)
    )


def test_z_scores_forget_unit_and_origin_but_not_distance():
    first, second = scores(2)
    expected = z_score_sum(first, second)
    np.testing.assert_allclose(z_score_sum(100 * first - 7, second), expected)
    assert not np.allclose(z_score_sum(np.exp(first), second), expected)


@pytest.mark.parametrize("combine", [rank_sum, vote])
def test_an_infinite_score_is_the_worst_or_best_of_all(combine):
    """A singular kernel: minus its condition number is -inf, here of two networks."""
    assert combine([-inf, 1, 2, -inf]).tolist() == combine([0, 1, 2, 0]).tolist()


def test_two_of_three_proxies_outvote_the_third_but_not_its_ranks():
    """Proxies 1 and 2 put network 2 one place up, proxy 3 puts it last of four."""
    good = [2, 1, 3, 0]
    against = [1, 2, 0, 3]
    assert np.argmax(vote(good, good, against)) == 2
    assert rank_sum(good, good, against).tolist() == [5.0, 4.0, 6.0, 3.0]


def test_a_regression_finds_a_linear_law():
    table = scores(2, 40)
    accuracies = 3 + table[0] - 2 * table[1]
    predicted = held_out_regression(
        accuracies, *table, random=np.random.default_rng(0), folds=5
    )
    np.testing.assert_allclose(predicted, accuracies, atol=1e-9)


def test_no_prediction_has_seen_its_own_network():
    table, random = scores(2, 30), np.random.default_rng(3)
    accuracies = table[0] + random.normal(size=30)
    before = held_out_regression(accuracies, *table, random=np.random.default_rng(0))
    for i in (0, 11, 29):
        changed = accuracies.copy()
        changed[i] += 100
        after = held_out_regression(changed, *table, random=np.random.default_rng(0))
        assert after[i] == pytest.approx(before[i])
        assert not np.allclose(after, before)


def test_with_one_network_a_fold_it_is_leaving_one_out():
    table = scores(2, 12)
    accuracies = np.random.default_rng(1).normal(size=12)
    predicted = held_out_regression(
        accuracies, *table, random=np.random.default_rng(0), folds=12
    )
    for i in range(12):
        others = np.arange(12) != i
        fit = LinearRegression().fit(table.T[others], accuracies[others])
        assert predicted[i] == pytest.approx(fit.predict(table.T[i : i + 1])[0])


def test_ten_folds_by_default():
    table, accuracies = scores(1, 30), scores(1, 30, seed=1)[0]
    default, ten, five = (
        held_out_regression(accuracies, *table, random=np.random.default_rng(0), **k)
        for k in ({}, {"folds": 10}, {"folds": 5})
    )
    assert default.tolist() == ten.tolist() != five.tolist()


@pytest.mark.parametrize("combine", [rank_sum, vote, z_score_sum])
@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((), "scores is empty"),
        (([1, 2], [1, 2, 3]), r"got shapes \[\(2,\), \(3,\)\]"),
        (([[1, 2]],), r"got shapes \[\(1, 2\)\]"),
        (([],), r"got shapes \[\(0,\)\]"),
        (([1, nan],), "got nan; leave the network out"),
    ],
)
def test_bad_scores_are_named(combine, given, message):
    with pytest.raises(ValueError, match=message):
        combine(*given)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (([1, -inf],), "must be finite, got inf; use rank_sum or vote"),
        (([1, 2], [3, 3]), "one proxy is constant"),
    ],
)
def test_what_has_no_z_score_is_named(given, message):
    with pytest.raises(ValueError, match=message):
        z_score_sum(*given)


@pytest.mark.parametrize(
    ("networks", "folds", "message"),
    [
        (9, 1, r"folds must be in 2..9 \(the networks\), got 1"),
        (9, 10, r"folds must be in 2..9 \(the networks\), got 10"),
        (6, 2, "6 networks in 2 folds are too few for 3 proxies"),
    ],
)
def test_too_few_networks_for_a_regression_are_named(networks, folds, message):
    with pytest.raises(ValueError, match=message):
        held_out_regression(
            np.ones(networks),
            *scores(3, networks),
            random=np.random.default_rng(0),
            folds=folds,
        )


def test_every_network_needs_an_accuracy():
    with pytest.raises(ValueError, match="arrays of one length"):
        held_out_regression(np.ones(3), *scores(1, 4), random=np.random.default_rng(0))
