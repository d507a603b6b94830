"""PTQ and QAT of a small MobileNetV2 at 8, 4, 3 and 2 bits, weights and activations.

The first and the last layer, the input and the logits keep 8 bits, in all methods.

    tensor      PTQ, one scale a tensor
    channel     PTQ, one scale a channel of a weight
    min-max     QAT as of Jacob et al.: the same with batch norm folded while training
    LSQ         QAT with learned steps, one a channel of a weight
    PACT        the same, with a learned clipping wherever there is ReLU

Three epochs after the eight of the float network; statistics are frozen at the end.
The learning rate is the better of two, by the validation accuracy of seed 0. Where
training ran away, to infinite weights or to clipping at no more than 0, it is nan.
"""

from __future__ import annotations

import math
from functools import cache
from itertools import count

from torch import Tensor, fx, nn

from _results import Case, fill_table, seeds_from_command_line
from effdl.data.digits import Digits, moved_digits
from effdl.nets.mobilenet_v2 import small_mobilenet_v2
from effdl.quant.folded_training import (
    finish_folding_,
    fold_in_training,
    freeze_statistics_,
)
from effdl.quant.graph import fold_batch_norm
from effdl.quant.insert import calibrate_, insert_quantizers, quantizers_of
from effdl.quant.lsq_layers import LsqActivation, LsqWeight
from effdl.quant.moving_ranges import moving_ranges
from effdl.quant.observers import Extremes, MovingAverage
from effdl.quant.pact import PactActivation
from effdl.quant.quantizers import ActivationQuantizer, WeightQuantizer
from effdl.seed import seeded
from effdl.train import accuracy, train_classifier

BITS = (8, 4, 3, 2)
PTQ = {"tensor": None, "channel": 0}
QAT = ("min-max", "LSQ", "PACT")
ENDS = ("input", "features.0.0", "classifier.0", "classifier.3")
EPOCHS, RATES = 3, (0.03, 0.1)
FREEZE = 0.9  # of the steps; with a high rate a frozen network runs away
IMAGES = 500  # to calibrate with


@cache
def data() -> Digits:
    """Return the images."""
    return moved_digits()


@cache
def trained(seed: int) -> nn.Module:
    """Return the float network, in eval mode."""
    with seeded(seed):
        net = small_mobilenet_v2()
        train_classifier(net, data().train, epochs=8, seed=seed)
    return net.eval()


def bits_at(name: str, bits: int) -> int:
    """Return the bits of a layer or an activation."""
    return 8 if name in ENDS else bits


def calibrated(net: nn.Module, bits: int, axis: int | None) -> fx.GraphModule:
    """Return the network after post-training quantization."""
    quantized = insert_quantizers(
        fold_batch_norm(net),
        weight=lambda name, _: WeightQuantizer(bits_at(name, bits), axis=axis),
        activation=lambda name: ActivationQuantizer(Extremes(), bits_at(name, bits)),
    )
    batches = data().train.batches(100)
    calibrate_(quantized, [pair for pair, _ in zip(batches, range(5), strict=False)])
    return quantized


def made(method: str, net: nn.Module, bits: int) -> fx.GraphModule:
    """Return the network with quantizers and learning batch norm, ready to train."""
    found = quantizers_of(calibrated(net, 8, 0))
    ranges = {
        name: q.observer.limits()
        for name, q in found.items()
        if isinstance(q, ActivationQuantizer)
    }
    relus = {name for name, (low, _) in ranges.items() if not low < 0}

    def weight(name: str, w: Tensor) -> nn.Module:
        if method == "min-max":
            return WeightQuantizer(bits_at(name, bits))
        return LsqWeight(w, bits_at(name, bits), axis=0)

    def activation(name: str) -> nn.Module:
        if method == "min-max":
            return ActivationQuantizer(MovingAverage(), bits_at(name, bits))
        if method == "PACT" and name in relus:
            return PactActivation(bits_at(name, bits), alpha=6.0)
        return LsqActivation(bits_at(name, bits))

    folding = fold_in_training(net)
    quantized = insert_quantizers(folding, weight=weight, activation=activation)
    quantized(data().train.inputs[:500])  # first steps and ranges
    return quantized


@cache
def aware(method: str, bits: int, seed: int, rate: float) -> dict[str, float]:
    """Return what the network does after training, nan if that ran away."""
    try:
        return {"rate": rate, **seen(trained_on(method, bits, seed, rate))}
    except (ValueError, FloatingPointError) as error:
        ran_away = ("infinite", "nan", "alpha must be above 0")
        if not any(word in str(error) for word in ran_away):
            raise
        return {"rate": rate, "validation": math.nan, "test": math.nan}


def trained_on(method: str, bits: int, seed: int, rate: float) -> fx.GraphModule:
    """Return the network after quantization-aware training."""
    quantized, steps = made(method, trained(seed), bits), count(1)
    last = round(FREEZE * EPOCHS * len(data().train.batches(100)))
    with moving_ranges(quantized) as after_step, seeded(seed):

        def done() -> None:
            after_step()
            if next(steps) == last:
                freeze_statistics_(quantized)

        train_classifier(
            quantized,
            data().train,
            epochs=EPOCHS,
            learning_rate=rate,
            seed=seed,
            after_step=done,
        )
    finish_folding_(quantized)
    return quantized


@cache
def best_rate(method: str, bits: int) -> float:
    """Return the rate with the better validation accuracy of seed 0."""
    found = {rate: aware(method, bits, 0, rate)["validation"] for rate in RATES}
    return max(RATES, key=lambda rate: -1 if math.isnan(found[rate]) else found[rate])


def seen(net: nn.Module) -> dict[str, float]:
    """Return the accuracies."""
    return {
        "validation": accuracy(net, data().validation.batches(500)),
        "test": accuracy(net, data().test.batches(500)),
    }


def measure(method: str, bits: int, seed: int) -> Case:
    """Return rate and accuracies of one method."""
    if method == "float":
        return {"rate": 0.1, **seen(trained(seed))}
    if method in PTQ:
        return {"rate": 0.0, **seen(calibrated(trained(seed), bits, PTQ[method]))}
    return aware(method, bits, seed, best_rate(method, bits))


if __name__ == "__main__":
    seeds = seeds_from_command_line(__doc__)
    names = [("float", 32)]
    names += [(method, bits) for bits in BITS for method in (*PTQ, *QAT)]
    skipped = {("LSQ", 8), ("PACT", 8)}  # nothing is left to gain there
    cases: list[Case] = [
        {"method": method, "bits": bits, "seed": seed}
        for seed in seeds
        for method, bits in names
        if (method, bits) not in skipped
    ]
    fill_table(__file__, cases, measure)
