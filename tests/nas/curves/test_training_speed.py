"""Sums of training losses: definition, limits, and where the idea comes from."""

import numpy as np
import pytest
from scipy.stats import multivariate_normal, norm

from effdl.nas.curves.training_speed import (
    as_curves,
    bte,
    epoch_means,
    tbe,
    tse,
    tse_ema,
    tse_last,
)

STEPS = np.random.default_rng(0).uniform(0.1, 2.0, (4, 15))  # 5 epochs of 3 batches
LOSSES = STEPS.reshape(4, 5, 3).mean(axis=2)


def test_the_sums_are_their_definition_epoch_by_epoch():
    """TSE, TSE-E with E = 2 and TSE-EMA with gamma = 0.7 as loops over batches."""
    for run in range(4):
        total = last = weighted = 0.0
        for epoch in range(1, 6):
            mean = sum(STEPS[run, 3 * (epoch - 1) + b] for b in range(3)) / 3
            total += mean
            last += mean if epoch > 3 else 0.0
            weighted += 0.7 ** (5 - epoch) * mean
        assert tse(epoch_means(STEPS, 3))[run] == pytest.approx(total)
        assert tse_last(LOSSES, 2)[run] == pytest.approx(last)
        assert tse_ema(LOSSES, 0.7)[run] == pytest.approx(weighted)


def test_three_epochs_by_hand():
    """2, 1 and 0.5: 3.5 in all, 1.5 in the last two; 0.5 + 1 / 2 + 2 / 4 = 1.5."""
    curve = [[2.0, 1.0, 0.5]]
    assert tse(curve) == 3.5
    assert tse_last(curve) == 0.5
    assert tse_last(curve, 2) == tse_ema(curve, 0.5) == 1.5


def test_the_windows_by_hand():
    """Batches 4, 2, 1, 0: the first two average 3, two after the first 1.5."""
    steps = [[4.0, 2.0, 1.0, 0.0]]
    assert bte(steps, 2) == 3.0
    assert tbe(steps, 2, warm_up=1) == 1.5
    assert epoch_means(steps, 2).tolist() == [[3.0, 0.5]]


def test_public_averages_are_a_tse_ema_but_for_the_first_loss():
    """That is ema = 0.1 ema + 0.9 l, begun at the first loss."""
    for losses, ours in zip(LOSSES, tse_ema(LOSSES, 0.1), strict=True):
        ema = losses[0]
        for loss in losses[1:]:
            ema = 0.1 * ema + 0.9 * loss
        assert ema == pytest.approx(0.9 * ours + 0.1**5 * losses[0])
        assert ema == pytest.approx(losses[-1], abs=0.25)


def test_a_window_of_all_epochs_is_the_sum():
    np.testing.assert_allclose(tse_last(LOSSES, 5), tse(LOSSES))


def test_the_average_goes_from_the_last_loss_to_the_sum():
    np.testing.assert_allclose(tse_ema(LOSSES, 1.0), tse(LOSSES))
    np.testing.assert_allclose(tse_ema(LOSSES, 1e-12), tse_last(LOSSES))
    assert (tse_ema(LOSSES) < tse(LOSSES)).all()
    np.testing.assert_allclose(tse_ema(LOSSES), tse(LOSSES), rtol=0.004)


def test_batches_of_whole_epochs_give_the_epochs_sums():
    np.testing.assert_allclose(bte(STEPS, 15), tse(LOSSES) / 5)
    np.testing.assert_allclose(tbe(STEPS, 3, warm_up=12), tse_last(LOSSES))
    np.testing.assert_allclose(tbe(STEPS, 6, warm_up=9), tse_last(LOSSES, 2) / 2)


def test_losses_on_the_way_sum_to_the_evidence_of_bayesian_regression():
    """Chain rule: - log p(y) = sum over i of - log p(y_i | all points before i)."""
    random = np.random.default_rng(1)
    x, noise = random.normal(size=(8, 3)), 0.5
    y = x @ random.normal(size=3) + noise * random.normal(size=8)
    precision, weighted, losses = np.eye(3), np.zeros(3), []
    for row, target in zip(x, y, strict=True):
        covariance = np.linalg.inv(precision)
        mean = covariance @ weighted
        deviation = np.sqrt(noise**2 + row @ covariance @ row)
        losses.append(-norm.logpdf(target, row @ mean, deviation))
        precision = precision + np.outer(row, row) / noise**2
        weighted = weighted + row * target / noise**2
    evidence = multivariate_normal.logpdf(y, cov=x @ x.T + noise**2 * np.eye(8))
    assert tse([losses])[0] == pytest.approx(-evidence)


def test_longer_sums_rank_better_where_curves_cross_early():
    """Losses end at their rank, with a start that has nothing to do with it."""
    random = np.random.default_rng(2)
    end = np.arange(1.0, 31.0)
    start = random.permutation(30) * 2.0
    losses = end[:, None] + start[:, None] * 0.5 ** np.arange(1, 11)

    def agreement(scores: np.ndarray) -> float:
        return np.corrcoef(scores.argsort().argsort(), end)[0, 1]

    found = [agreement(tse(losses[:, :epochs])) for epochs in (1, 3, 5, 10)]
    assert found == sorted(found)
    assert found[0] < 0.8 < 0.95 < found[-1]


def test_what_comes_in_stays_as_it_is():
    losses = LOSSES.copy()
    as_curves(losses)
    tse(losses), tse_last(losses), tse_ema(losses), bte(losses, 2)
    np.testing.assert_array_equal(losses, LOSSES)
    assert as_curves([[1, 2]]).dtype == np.float64


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: tse([1.0, 2.0]), r"losses must be \(runs, epochs\), got shape \(2,\)"),
        (lambda: tse(np.zeros((0, 3))), r"a run and .* got shape \(0, 3\)"),
        (lambda: tse([[1.0], [np.nan]]), "losses of run 1 is nan in column 0"),
        (lambda: tse([[1.0, np.inf]]), "run 0 is inf in column 1"),
        (lambda: tse_last([[1.0, 2.0]], 3), "at least 3 epochs"),
        (lambda: tse_last([[1.0, 2.0]], 0), "epochs must be at least 1"),
        (lambda: tse_ema([[1.0]], 1.5), "decay must be above 0 and at most 1"),
        (lambda: epoch_means([[1.0, 2.0, 3.0]], 2), "batches=2 must divide steps"),
        (lambda: bte([[1.0, 2.0]], 3), "at least 3 epochs"),
        (lambda: bte([[1.0, 2.0]], 0), "batches must be at least 1"),
        (lambda: tbe([[1.0, 2.0]], 1, warm_up=2), "at least 3 epochs"),
        (lambda: tbe([[1.0, 2.0]], 1, warm_up=0), "warm_up must be at least 1"),
        (lambda: as_curves([1], name="curves"), "curves must be"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
