"""Latency with a clock of our own: no assertion depends on a real duration."""

import math

import pytest
import torch
from torch import nn

from effdl.measure.latency import Latency, latency

X = torch.zeros(1, 4)
MS = 1_000_000  # nanoseconds


class Clock:
    """Time that passes only when a model says so."""

    def __init__(self):
        self.now = 0

    def __call__(self):
        """Return the time in nanoseconds."""
        return self.now

    def model(self, *milliseconds, calls=None, name=""):
        """Return a function that takes so long at each call, the last time for ever."""
        times = list(milliseconds)

        def run(*_inputs):
            self.now += int((times.pop(0) if len(times) > 1 else times[0]) * MS)
            if calls is not None:
                calls.append(name)

        return run


def test_the_time_of_one_call_comes_back_in_seconds():
    clock = Clock()
    times = latency({"a": clock.model(20), "b": clock.model(7)}, X, clock=clock)
    assert list(times) == ["a", "b"]
    assert (times["a"].median, times["b"].median) == pytest.approx((0.020, 0.007))


def test_median_and_quartiles_by_hand():
    """One warm-up, one trial, then samples 10, 20, 30, 40, 100 ms."""
    clock = Clock()
    model = clock.model(50, 50, 10, 20, 30, 40, 100)
    found = latency({"a": model}, X, warmup=1, repeats=5, clock=clock)["a"]
    assert found.samples == pytest.approx((0.010, 0.020, 0.030, 0.040, 0.100))
    assert found.median == pytest.approx(0.030)
    assert (found.low, found.high) == pytest.approx((0.020, 0.040))


def test_the_warm_up_is_thrown_away():
    clock = Clock()
    model = clock.model(900, 900, 900, 6)
    found = latency({"a": model}, X, warmup=3, repeats=4, clock=clock)["a"]
    assert max(found.samples) == pytest.approx(0.006)


def test_models_are_measured_in_turn():
    calls, clock = [], Clock()
    models = {n: clock.model(10, calls=calls, name=n) for n in "abc"}
    latency(models, X, warmup=1, repeats=4, clock=clock)
    assert calls == [*"aabbcc", *("abc" * 4)]  # warm-up and trial, then rounds


def test_a_machine_that_slows_down_slows_all_models_alike():
    """Both models are the same; after 8 calls, 30 ms instead of 10 ms."""
    clock = Clock()
    drift = clock.model(*[10] * 8, 30)
    times = latency({"a": drift, "b": drift}, X, warmup=1, repeats=4, clock=clock)
    assert (
        times["a"].samples
        == times["b"].samples
        == pytest.approx((0.01, 0.01, 0.03, 0.03))
    )


@pytest.mark.parametrize(("milliseconds", "calls"), [(0.01, 512), (1.0, 8), (6.0, 1)])
def test_a_fast_model_is_called_often_enough_for_one_sample(milliseconds, calls):
    """5 ms a sample by default: 500 calls of 0.01 ms, rounded up to a power of two."""
    ran, clock = [], Clock()
    model = clock.model(milliseconds, calls=ran)
    found = latency({"a": model}, X, warmup=1, repeats=2, clock=clock)["a"]
    assert found.median == pytest.approx(milliseconds / 1e3)
    assert (
        len(ran) == 1 + (2 * calls - 1) + 2 * calls
    )  # warm-up, 1 + 2 + 4 ..., samples


def test_the_length_of_a_sample_can_be_chosen():
    ran, clock = [], Clock()
    model = clock.model(1.0, calls=ran)
    latency({"a": model}, X, warmup=1, repeats=2, sample_seconds=0.0005, clock=clock)
    assert len(ran) == 1 + 1 + 2


def test_there_are_as_many_samples_as_repeats():
    clock = Clock()
    found = latency({"a": clock.model(10)}, X, repeats=7, clock=clock)["a"]
    assert len(found.samples) == 7


def test_with_the_real_clock_times_are_positive_and_ordered():
    found = latency({"net": nn.Linear(4, 4)}, X, repeats=3, sample_seconds=1e-4)["net"]
    assert 0 < min(found.samples) <= found.low <= found.median
    assert found.median <= found.high <= max(found.samples)


@pytest.mark.parametrize("threads", [1, 2])
def test_the_number_of_threads_is_set_and_put_back(threads):
    before, seen = torch.get_num_threads(), set()
    clock = Clock()
    tick = clock.model(10)

    def model(x):
        seen.add(torch.get_num_threads())
        tick()

    latency({"a": model}, X, threads=threads, clock=clock)
    assert seen == {threads}
    assert torch.get_num_threads() == before


def test_models_run_in_evaluation_and_inference_mode():
    seen, clock = set(), Clock()
    tick = clock.model(10)

    class Spy(nn.Module):
        def forward(self, x):
            seen.add((self.training, torch.is_inference_mode_enabled()))
            tick()

    latency({"a": Spy().train()}, X, clock=clock)
    assert seen == {(False, True)}
    assert not torch.is_inference_mode_enabled()


def test_the_mode_of_every_module_is_put_back():
    model = nn.Sequential(nn.Linear(4, 4), nn.Dropout(), nn.BatchNorm1d(4)).train()
    model[2].eval()
    before = model[2].running_mean.clone()
    latency({"a": model}, torch.ones(2, 4), repeats=2, sample_seconds=1e-5)
    assert [m.training for m in model.modules()] == [True, True, True, False]
    assert torch.equal(model[2].running_mean, before)


def test_everything_is_put_back_after_an_error():
    before = torch.get_num_threads()
    model = nn.Linear(3, 3).train()
    with pytest.raises(RuntimeError):
        latency({"a": model}, X, threads=before + 1)
    assert model.training
    assert torch.get_num_threads() == before
    assert not torch.is_inference_mode_enabled()


def test_each_model_can_have_its_own_inputs():
    clock, seen = Clock(), {}
    tick = clock.model(10)

    def spy(name):
        def model(*inputs):
            seen[name] = [tuple(x.shape) for x in inputs]
            tick()

        return model

    own = {"a": torch.zeros(2), "b": (torch.zeros(3), torch.zeros(4))}
    latency({"a": spy("a"), "b": spy("b")}, own, clock=clock)
    assert seen == {"a": [(2,)], "b": [(3,), (4,)]}


def test_the_samples_do_not_crowd_the_printed_result():
    assert repr(Latency(2.0, 1.0, 3.0, (1.0,) * 99)) == (
        "Latency(median=2.0, low=1.0, high=3.0)"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"models": {}}, "models is empty; give at least one"),
        ({"inputs": torch.zeros(0, 4)}, r"empty batch, shape \(0, 4\)"),
        ({"inputs": 3.0}, "must be a tensor or a tuple of tensors"),
        ({"inputs": {"b": X}}, "inputs has no entry for the model 'a'"),
        ({"inputs": X.to("meta")}, "must be on the CPU, got meta; the clock does not"),
        ({"threads": 0}, "threads must be at least 1, got 0"),
        ({"warmup": 0}, "warmup must be at least 1, got 0"),
        ({"repeats": 1}, "repeats must be at least 2 to have a spread, got 1"),
        (
            {"sample_seconds": 0.0},
            "sample_seconds must be positive and finite, got 0.0",
        ),
        ({"sample_seconds": math.inf}, "positive and finite, got inf; use a few"),
        ({"sample_seconds": math.nan}, "positive and finite, got nan"),
    ],
)
def test_bad_arguments_are_explained(arguments, message):
    with pytest.raises(ValueError, match=message):
        latency(**{"models": {"a": nn.Linear(4, 4)}, "inputs": X} | arguments)
