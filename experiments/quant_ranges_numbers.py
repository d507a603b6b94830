"""The numbers that the pages print about ranges, calibrations and zero points.

The set-up of the notebook numbers-on-a-grid, with three seeds: plain_net(8) on moved
digits, batch norm folded, weights of 8 bits with a scale for each channel, 500 images
to calibrate. "Broken": one of them is 30 times too bright. Accuracies are means on the
test scenes; nothing was chosen by them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from statistics import mean, median

import torch
from torch import Tensor, fx, nn

from _numbers import Answer, fill_numbers
from _results import seeds_from_command_line
from effdl.blocks import plain_net
from effdl.data.digits import Digits, moved_digits
from effdl.quant.asymmetric import four_grids
from effdl.quant.entropy_range import EntropyRange
from effdl.quant.fake import fake_quantize
from effdl.quant.graph import fold_batch_norm
from effdl.quant.grid import symmetric_grid
from effdl.quant.histogram import Histogram
from effdl.quant.insert import calibrate_, insert_quantizers, quantizers_of
from effdl.quant.mse_range import MseRange
from effdl.quant.noise import signal_to_noise
from effdl.quant.observers import Extremes, MovingAverage, Observer
from effdl.quant.percentile import PercentileRange
from effdl.quant.quantizers import ActivationQuantizer, WeightQuantizer
from effdl.quant.vanhoucke import eight_bit_
from effdl.seed import seeded
from effdl.train import accuracy, train_classifier

SEEDS = (0, 1, 2)
METHODS: dict[str, Callable[[int], Observer]] = {
    "largest": lambda _: Extremes(),
    "average": lambda _: MovingAverage(0.9),
    "percentile": lambda _: PercentileRange(99.99),
    "squared": lambda bits: MseRange(2**bits),
    "entropy": lambda bits: EntropyRange(2**bits),
}
SETTINGS = {"8": (8, False), "broken": (8, True), "4": (4, False)}
FIGURE = {
    "largest": Histogram,
    "percentile": PercentileRange,
    "squared": MseRange,
    "entropy": EntropyRange,
}


@cache
def data() -> Digits:
    """Return the digit scenes."""
    return moved_digits()


@cache
def folded(seed: int) -> fx.GraphModule:
    """Return a trained network without batch norm."""
    with seeded(seed):
        net = plain_net(8)
    train_classifier(net, data().train, epochs=6, seed=seed)
    return fold_batch_norm(net.eval())


def right(model: nn.Module) -> float:
    """Return the share of test scenes that are classified right."""
    return accuracy(model, data().test.batches(500))


def calibrated(
    seed: int, make: Callable[[], Observer], bits: int, *, broken: bool
) -> fx.GraphModule:
    """Return a quantized network after calibration."""
    batches = [(x.clone(), y) for x, y in list(data().train.batches(100))[:5]]
    if broken:
        batches[2][0][7] *= 30
    quantized = insert_quantizers(
        folded(seed),
        weight=lambda *_: WeightQuantizer(8),
        activation=lambda _: ActivationQuantizer(make(), bits),
    )
    calibrate_(quantized, batches)
    return quantized


def share(observer: Histogram) -> float:
    """Return the threshold in units of the largest absolute value."""
    largest = torch.maximum(-observer.low, observer.high)
    return float(observer.threshold() / largest)


@cache
def weight_shares() -> list[float]:
    """Return where entropy would cut the weights of every layer."""
    shares = []
    for seed in SEEDS:
        for weight in folded(seed).parameters():
            if weight.ndim > 1:
                observer = EntropyRange()
                observer.observe(weight)
                shares.append(share(observer))
    return shares


@cache
def activation_shares(*, broken: bool) -> list[float]:
    """Return where entropy cuts every activation."""
    shares = []
    for seed in SEEDS:
        quantized = calibrated(seed, EntropyRange, 8, broken=broken)
        shares += [share(layer.observer) for layer in quantizers_of(quantized).values()]
    return shares


@cache
def figure_threshold(name: str) -> float:
    """Return where the range of the activation of Fig. 23 ends."""
    quantized = calibrated(0, FIGURE[name], 8, broken=False)
    return float(quantizers_of(quantized)["1.2"].observer.threshold())


def bell() -> float:
    """Return the decibels of normal numbers on eight bits up to the largest."""
    with seeded(0):
        x = torch.randn(1_000_000)
    return signal_to_noise(x, fake_quantize(x, symmetric_grid(x.abs().max(), bits=8)))


@cache
def weight_noise(scheme: str) -> float:
    """Return the mean decibels of all layers of all networks under a scheme."""

    def ratio(weight: Tensor) -> float:
        rounded = fake_quantize(weight, four_grids(weight)[scheme])
        return signal_to_noise(weight, rounded)

    nets = [folded(seed) for seed in SEEDS]
    return mean(ratio(w) for net in nets for w in net.parameters() if w.ndim > 1)


@cache
def sigmoids() -> tuple[float, float]:
    """Return the accuracy of a net of sigmoids in floats and in eight bits."""
    found = []
    for seed in SEEDS:
        with seeded(seed):
            parts = [nn.Linear(256, 100), nn.Sigmoid(), nn.Linear(100, 100)]
            net = nn.Sequential(nn.Flatten(), *parts, nn.Sigmoid(), nn.Linear(100, 10))
        options = {"learning_rate": 1.0, "weight_decay": 1e-5}
        train_classifier(net, data().train, epochs=6, seed=seed, **options)
        before = right(net)
        eight_bit_(net)
        found.append((before, right(net)))
    floats, eight = zip(*found, strict=True)
    return mean(floats), mean(eight)


def percent(value: float) -> Answer:
    """Return a share as the pages print it."""
    return value, f"{100 * value:.1f} %"


def roughly(value: float) -> Answer:
    """Return a share without decimals."""
    return value, f"{100 * value:.0f} %"


def number(value: float, digits: int) -> Answer:
    """Return a number with so many decimals."""
    return value, f"{value:.{digits}f}"


def method_accuracy(name: str, setting: str) -> Answer:
    """Return the mean accuracy of a calibration."""
    bits, broken = SETTINGS[setting]
    make = partial(METHODS[name], bits)
    nets = (calibrated(seed, make, bits, broken=broken) for seed in SEEDS)
    return percent(mean(right(net) for net in nets))


NUMBERS: dict[str, Callable[[], Answer]] = {
    "numbers_float": lambda: percent(mean(right(folded(s)) for s in SEEDS)),
    "numbers_bell": lambda: number(bell(), 1),
    "numbers_cut_weights": lambda: roughly(median(weight_shares())),
    "numbers_cut_weights_least": lambda: roughly(min(weight_shares())),
    "numbers_cut_clean": lambda: roughly(median(activation_shares(broken=False))),
    "numbers_cut_broken": lambda: roughly(median(activation_shares(broken=True))),
    "numbers_sigmoid_float": lambda: percent(sigmoids()[0]),
    "numbers_sigmoid_eight": lambda: percent(sigmoids()[1]),
}
for _name in METHODS:
    for _setting in SETTINGS:
        NUMBERS[f"numbers_{_name}_{_setting}"] = partial(
            method_accuracy, _name, _setting
        )
for _name in FIGURE:
    NUMBERS[f"numbers_fig_{_name}"] = partial(
        lambda name: number(figure_threshold(name), 2), _name
    )
for _scheme in four_grids(torch.eye(2)):
    NUMBERS["numbers_noise_" + _scheme.replace(", per ", "_")] = partial(
        lambda scheme: number(weight_noise(scheme), 1), _scheme
    )

if __name__ == "__main__":
    seeds_from_command_line(__doc__)  # for --help; the seeds are SEEDS
    fill_numbers(__file__, NUMBERS, ())
