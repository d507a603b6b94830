"""The time of one call, measured so that models can be compared.

A time is no property of a model: it belongs to a model, a machine and a moment. What
can be kept fair is the comparison:

*   warm-up calls first, whose time (allocation, choice of kernels) is thrown away;
*   one sample is a run of calls that takes several milliseconds, so that neither the
    clock nor the call itself is what is measured;
*   rounds: one sample of every model in turn, then all again. A machine that slows
    down half-way slows every model down;
*   the median, with the quartiles as the spread. The mean would follow the one sample
    that the operating system interrupted.

Two medians closer than their spread are the same time. Measure alone: a second
program on the machine changes everything.
"""

import math
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from effdl.checks import check_positive
from effdl.measure.probe import Inputs, as_inputs, evaluating

Model = nn.Module | Callable[..., object]


@dataclass(frozen=True)
class Latency:
    """Seconds of one call.

    Attributes:
        median: Half of the samples took less.
        low: First quartile: a quarter of the samples took less.
        high: Third quartile: a quarter of the samples took more.
        samples: Every sample, in the order in which they were taken.
    """

    median: float
    low: float
    high: float
    samples: tuple[float, ...] = field(repr=False)


def latency(
    models: Mapping[str, Model],
    inputs: Inputs | Mapping[str, Inputs],
    *,
    threads: int = 1,
    repeats: int = 20,
    warmup: int = 3,
    sample_seconds: float = 0.005,
    clock: Callable[[], int] = time.perf_counter_ns,
) -> dict[str, Latency]:
    """Return the seconds that one call of each model takes, measured in turn.

    Models run in evaluation and inference mode. Their modes and the number of
    threads are put back.

    Args:
        models: What to call, by name. A module, or any function of the inputs.
        inputs: One batch (N, ...) or a tuple of tensors, the same for all models, or
            a mapping that gives each name its own.
        threads: Threads that PyTorch may use for one operator.
        repeats: Samples of each model; at least 2.
        warmup: Calls of each model before the first sample; at least 1.
        sample_seconds: Least length of one sample. A faster model is called several
            times for one sample, and the time is divided.
        clock: Returns nanoseconds that only grow.

    Raises:
        ValueError: If there is no model or a number is too small. Inputs that are
            missing, empty, no tensors or not on the CPU are refused likewise.

    Example:
        >>> times = latency({"small": nn.Linear(8, 8)}, torch.zeros(1, 8), repeats=5)
        >>> 0 < times["small"].low <= times["small"].median <= times["small"].high
        True
    """
    check_positive(threads=threads, warmup=warmup)
    if not models:
        raise ValueError("models is empty; give at least one, such as {'mine': model}")
    if repeats < 2:
        raise ValueError(f"repeats must be at least 2 to have a spread, got {repeats}")
    if not 0 < sample_seconds < math.inf:
        raise ValueError(
            f"sample_seconds must be positive and finite, got {sample_seconds}; "
            "use a few thousandths"
        )
    calls = {name: _call(m, _own(inputs, name)) for name, m in models.items()}
    samples: dict[str, list[float]] = {name: [] for name in models}
    with _settings(models, threads):
        runs = {
            name: _calls_per_sample(call, warmup, sample_seconds, clock)
            for name, call in calls.items()
        }
        for _ in range(repeats):
            for name, call in calls.items():
                samples[name].append(_seconds(call, runs[name], clock) / runs[name])
    return {name: _summary(taken) for name, taken in samples.items()}


def _own(inputs: Inputs | Mapping[str, Inputs], name: str) -> tuple[Tensor, ...]:
    """Return the inputs of one model.

    Raises:
        ValueError: If the model has none, or they lie on another device.
    """
    if isinstance(inputs, Mapping):
        if name not in inputs:
            raise ValueError(f"inputs has no entry for the model {name!r}")
        inputs = inputs[name]
    tensors = as_inputs(inputs)
    for tensor in tensors:
        if tensor.device.type != "cpu":
            raise ValueError(
                f"inputs must be on the CPU, got {tensor.device}; "
                "the clock does not wait for another device"
            )
    return tensors


def _call(model: Model, arguments: tuple[Tensor, ...]) -> Callable[[], object]:
    return lambda: model(*arguments)


@contextmanager
def _settings(models: Mapping[str, Model], threads: int) -> Iterator[None]:
    """Set threads, evaluation and inference mode inside the block only."""
    before = torch.get_num_threads()
    with ExitStack() as stack:
        for model in models.values():
            if isinstance(model, nn.Module):
                stack.enter_context(evaluating(model))
        stack.enter_context(torch.inference_mode())
        stack.callback(torch.set_num_threads, before)
        torch.set_num_threads(threads)
        yield


def _calls_per_sample(
    call: Callable[[], object],
    warmup: int,
    sample_seconds: float,
    clock: Callable[[], int],
) -> int:
    """Return how many calls fill a sample, found by doubling after the warm-up."""
    for _ in range(warmup):
        call()
    calls = 1
    while _seconds(call, calls, clock) < sample_seconds:
        calls *= 2
    return calls


def _seconds(call: Callable[[], object], calls: int, clock: Callable[[], int]) -> float:
    """Return the seconds that a number of calls takes."""
    start = clock()
    for _ in range(calls):
        call()
    return (clock() - start) / 1e9


def _summary(samples: list[float]) -> Latency:
    """Return median and quartiles."""
    low, median, high = statistics.quantiles(samples, n=4, method="inclusive")
    return Latency(median, low, high, tuple(samples))
