"""The numbers that the pages print about networks in integers, of seed 0.

Two networks in 8 bits, one scale a channel: integers beside fake quantization, their
size, and what pairs do that are cut to 16 bits. Nothing is chosen, all images are of
the test part. A page prints {{ key }}.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import cache

from torch import Tensor, fx

from _numbers import Answer, fill_numbers
from _results import seeds_from_command_line
from effdl.blocks import plain_net
from effdl.data.digits import Digits, moved_digits
from effdl.nets.mobilenet_v2 import mobilenet_v2, small_mobilenet_v2
from effdl.quant.fake import quantize
from effdl.quant.fixed_point import rescale_once
from effdl.quant.graph import Weighted, fold_batch_norm
from effdl.quant.insert import calibrate_, insert_quantizers
from effdl.quant.integer_difference import Difference, differences
from effdl.quant.integer_layers import Requantize
from effdl.quant.integer_net import IntegerNet, stored_bytes, to_integers
from effdl.quant.observers import Extremes
from effdl.quant.quantizers import ActivationQuantizer, WeightQuantizer
from effdl.quant.saturation import SaturatingLayer, saturating_net
from effdl.seed import seeded
from effdl.train import accuracy, train_classifier

Numbers = dict[str, Callable[[], Answer]]

NETS = ("plain", "mobile")
IMAGES = 1000  # to compare every layer on


@cache
def data() -> Digits:
    """Return the images."""
    return moved_digits()


@cache
def folded(net: str) -> fx.GraphModule:
    """Return a trained network, batch norm folded."""
    with seeded(0):
        made = plain_net(8) if net == "plain" else small_mobilenet_v2()
        train_classifier(made, data().train, epochs=10 if net == "plain" else 8)
    return fold_batch_norm(made.eval())


@cache
def quantized(net: str, bits: int = 8) -> fx.GraphModule:
    """Return the network with rounded weights, and activations of 8 bits."""
    made = insert_quantizers(
        folded(net),
        weight=lambda _name, _weight: WeightQuantizer(bits),
        activation=lambda _name: ActivationQuantizer(Extremes(), 8),
    )
    calibrate_(made, [next(iter(data().train.batches(300, seed=0)))])
    return made.eval()


@cache
def in_integers(net: str, bits: int = 8) -> IntegerNet:
    """Return the network in integers."""
    return to_integers(quantized(net, bits))


@cache
def apart(net: str, *, alone: bool, once: bool = False) -> dict[str, Difference]:
    """Return how integers and fake quantization differ after every layer."""
    integers = copy.deepcopy(in_integers(net))
    for module in integers.modules():
        if once and isinstance(module, Requantize):
            module.rescale = rescale_once
    x = data().test.inputs[:IMAGES]
    return differences(quantized(net), integers, x, layer_by_layer=alone)


def hits(logits: Tensor) -> float:
    """Return the accuracy on the test images, of which these are the first."""
    return float(
        (logits.argmax(1) == data().test.targets[: len(logits)]).double().mean()
    )


@cache
def integer_logits(net: str) -> Tensor:
    """Return the integers of the logits of all test images."""
    integers = in_integers(net)
    return integers(quantize(data().test.inputs, integers.source))


@cache
def cut(net: str, bits: int) -> tuple[float, float, float]:
    """Return accuracy without and with pairs cut, and the largest share cut."""
    exact = in_integers(net, bits)
    saturating = saturating_net(exact)
    q = quantize(data().test.inputs, exact.source)
    found = [hits(net_(q)) for net_ in (exact, saturating)]
    shares = [m.cut for m in saturating.modules() if isinstance(m, SaturatingLayer)]
    return found[0], found[1], max(shares)


def percent(share: float, digits: int = 1) -> Answer:
    """Return a share as the pages print it."""
    return share, f"{100 * share:.{digits}f} %"


def of_layers(net: str, *, once: bool) -> Answer:
    """Return the mean share of outputs that differ after one layer."""
    found = apart(net, alone=True, once=once).values()
    return percent(sum(layer.share for layer in found) / len(found), 2)


def steps(net: str, *, alone: bool, last: bool = False) -> Answer:
    """Return the largest difference in steps."""
    found = list(apart(net, alone=alone).values())
    value = found[-1].largest if last else max(layer.largest for layer in found)
    return value, f"{value}"


def same_class(net: str) -> Answer:
    """Return in how many test images integers choose the class of fake quantization."""
    faked = quantized(net)(data().test.inputs)
    return percent(
        float((faked.argmax(1) == integer_logits(net).argmax(1)).double().mean())
    )


def ratio(net: str) -> Answer:
    """Return how many times smaller the integers are."""
    value = stored_bytes(folded(net)) / stored_bytes(in_integers(net))
    return value, f"{value:.2f}"


def large_ratio() -> Answer:
    """Return the ratio for MobileNetV2, from the numbers of weights and channels."""
    layers = [m for m in mobilenet_v2().modules() if isinstance(m, Weighted)]
    weights = sum(layer.weight.numel() for layer in layers)
    channels = sum(len(layer.weight) for layer in layers)
    value = 4 * (weights + channels) / (weights + 9 * channels)
    return value, f"{value:.2f}"


def end_share(net: str) -> Answer:
    """Return the share of logits that differ after all layers."""
    return percent(list(apart(net, alone=False).values())[-1].share)


def numbers_of(net: str) -> Numbers:
    """Return the numbers of a network."""
    test = data().test.batches(500)
    return {
        "float": lambda: percent(accuracy(folded(net), test)),
        "fake": lambda: percent(accuracy(quantized(net), test)),
        "test": lambda: percent(hits(integer_logits(net))),
        "same_class": lambda: same_class(net),
        "layer_share": lambda: of_layers(net, once=False),
        "layer_share_once": lambda: of_layers(net, once=True),
        "layer_steps": lambda: steps(net, alone=True),
        "end_share": lambda: end_share(net),
        "end_steps": lambda: steps(net, alone=False, last=True),
        "most_steps": lambda: steps(net, alone=False),
        "ratio": lambda: ratio(net),
        "cut_test": lambda: percent(cut(net, 8)[1]),
        "cut_share": lambda: percent(cut(net, 8)[2], 2),
        "seven_test": lambda: percent(cut(net, 7)[0]),
        "seven_cut": lambda: percent(cut(net, 7)[2], 2),
    }


def numbers() -> Numbers:
    """Return all of them by their keys."""
    found: Numbers = {"integer_large_ratio": large_ratio}
    for net in NETS:
        of_net = numbers_of(net).items()
        found |= {f"integer_{net}_{name}": compute for name, compute in of_net}
    return found


if __name__ == "__main__":
    seeds_from_command_line(__doc__)  # for --help; nothing here is random
    fill_numbers(__file__, numbers(), ())
