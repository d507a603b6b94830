"""Ranges watched over batches: extremes and moving averages."""

import warnings

import pytest
import torch

from effdl.quant.observers import Extremes, MovingAverage, seen_range


def torch_observers():
    """Return torch's module of observers, where it still is."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("torch.ao.quantization.observer")


def test_extremes_are_those_of_all_batches_together():
    batches = torch.randn(5, 40)
    seen = Extremes()
    for batch in batches:
        seen.observe(batch)
    assert seen.limits() == (batches.min(), batches.max())


def test_the_moving_average_is_that_of_the_definition():
    batches = torch.randn(5, 40)
    seen, low, high = MovingAverage(0.8), batches[0].min(), batches[0].max()
    for i, batch in enumerate(batches):
        seen.observe(batch)
        if i:
            low = 0.8 * low + 0.2 * batch.min()
            high = 0.8 * high + 0.2 * batch.max()
    torch.testing.assert_close(seen.limits(), (low, high))


def test_by_hand():
    """Largest values 1, then 3, decay one half: the average is 2."""
    seen = MovingAverage(0.5)
    for high in (1.0, 3.0):
        seen.observe(torch.tensor([0.0, high]))
    assert seen.limits() == (torch.tensor(0.0), torch.tensor(2.0))


def test_torch_watches_the_same_average():
    ours = MovingAverage(0.99)
    theirs = torch_observers().MovingAverageMinMaxObserver(averaging_constant=0.01)
    for batch in torch.randn(6, 100):
        ours.observe(batch)
        theirs(batch)
    torch.testing.assert_close(ours.limits(), (theirs.min_val, theirs.max_val))


def test_the_usual_decay_is_slow_and_none_takes_the_last_batch():
    usual, last = MovingAverage(), MovingAverage(0)
    for observer in (usual, last):
        observer.observe(torch.tensor([0.0, 1.0]))
        observer.observe(torch.tensor([-1.0, 2.0]))
    torch.testing.assert_close(
        usual.limits(), (torch.tensor(-0.01), torch.tensor(1.01))
    )
    assert last.limits() == (torch.tensor(-1.0), torch.tensor(2.0))


def test_one_outlier_decides_on_extremes_and_is_forgotten_by_the_average():
    extremes, average = Extremes(), MovingAverage(0.5)
    for observer in (extremes, average):
        observer.observe(torch.tensor([0.0, 100.0]))
        for _ in range(20):
            observer.observe(torch.tensor([0.0, 1.0]))
    assert extremes.limits()[1] == 100
    assert average.limits()[1] < 1.001


@pytest.mark.parametrize("observer", [Extremes, MovingAverage])
def test_a_constant_tensor_has_a_range_of_one_point(observer):
    seen = observer()
    seen.observe(torch.full((2, 3, 4), -2.0))
    assert seen.limits() == (torch.tensor(-2.0), torch.tensor(-2.0))


@pytest.mark.parametrize("observer", [Extremes, MovingAverage])
def test_what_was_seen_is_saved_and_loaded(observer):
    seen, other = observer(), observer()
    seen.observe(torch.randn(9))
    other.load_state_dict(seen.state_dict())
    assert other.limits() == seen.limits()


@pytest.mark.parametrize("observer", [Extremes, MovingAverage])
def test_limits_are_copies_and_carry_no_gradient(observer):
    seen = observer()
    seen.observe(torch.ones(2, requires_grad=True))
    low, high = seen.limits()
    assert not low.requires_grad
    low.fill_(9)
    high.fill_(9)
    assert seen.limits() == (torch.tensor(1.0), torch.tensor(1.0))


@pytest.mark.parametrize("observer", [Extremes, MovingAverage])
@pytest.mark.parametrize("bad", ["nan", "inf", "-inf"])
def test_what_is_not_finite_is_named_and_changes_nothing(observer, bad):
    seen = observer()
    seen.observe(torch.tensor([0.0, 1.0]))
    with pytest.raises(ValueError, match=r"activation holds . NaN and . infinite of 2"):
        seen.observe(torch.tensor([float(bad), 7.0]))
    assert seen.limits() == (torch.tensor(0.0), torch.tensor(1.0))


def test_bad_input_is_refused():
    for observer in (Extremes(), MovingAverage()):
        with pytest.raises(ValueError, match="nothing was observed yet; run batches"):
            observer.limits()
        with pytest.raises(ValueError, match="activation is empty"):
            observer.observe(torch.zeros(0))
    with pytest.raises(ValueError, match="nothing was observed"):
        seen_range(torch.tensor(torch.inf), torch.tensor(-torch.inf))
    for decay in (-0.1, 1, float("nan")):
        with pytest.raises(ValueError, match="decay must be 0 to below 1, got"):
            MovingAverage(decay)
