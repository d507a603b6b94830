"""Does post-training quantization fail on lightweight networks? Two nets, five ways.

    plain       five 3 x 3 convolutions, in the manner of VGG
    mobile      a small MobileNetV2: depthwise convolutions, shortcuts, ReLU6

Weights have 8, 6 or 4 bits, activations always 8. The ways:

    float       no quantization; bits are written as 32
    relu        the same with ReLU for ReLU6, which equalisation needs
    tensor      one scale for a weight
    channel     one scale for each of its output channels
    equal       one scale, after cross-layer equalisation (with ReLU for ReLU6)
    equal+bias  the same, biases corrected

And with channels scaled by random powers of 2, from 2^-3 to 2^3, which changes nothing
in floats (with ReLU for ReLU6): the imbalance is injected, at 8 bits,

    injected            one scale for a weight
    injected, channel   one for each channel
    injected, equal     one, after equalisation

The columns "depthwise" and "others" are how far the largest weights of the channels of
a layer are apart, largest over smallest, on average over layers, before quantization.
Nothing is chosen here.
"""

from __future__ import annotations

from functools import cache

from torch import fx, nn

from _results import Case, fill_table, seeds_from_command_line
from effdl.blocks import plain_net
from effdl.data.digits import Digits, moved_digits
from effdl.nets.mobilenet_v2 import small_mobilenet_v2
from effdl.quant.bias_correction import correct_biases_
from effdl.quant.channel_scales import channel_ranges, relu6_to_relu
from effdl.quant.equalize import equalize_, inject_imbalance_
from effdl.quant.graph import Weighted, fold_batch_norm, traced
from effdl.quant.insert import calibrate_, insert_quantizers
from effdl.quant.observers import Extremes
from effdl.quant.quantizers import ActivationQuantizer, WeightQuantizer
from effdl.seed import seeded
from effdl.train import accuracy, train_classifier

NETS = ("plain", "mobile")
WAYS = ("tensor", "channel", "equal", "equal+bias")
INJECTED = ("injected", "injected, channel", "injected, equal")
IMAGES = 300  # to calibrate with, and to correct biases


@cache
def data() -> Digits:
    """Return the images."""
    return moved_digits()


@cache
def trained(net: str, seed: int) -> fx.GraphModule:
    """Return a trained network, batch norm folded."""
    with seeded(seed):
        made = plain_net(8) if net == "plain" else small_mobilenet_v2()
        epochs = 10 if net == "plain" else 8
        train_classifier(made, data().train, epochs=epochs, seed=seed)
    return fold_batch_norm(made.eval())


def float_network(net: str, way: str, seed: int) -> fx.GraphModule:
    """Return the network whose weights are then rounded, a copy."""
    found = traced(trained(net, seed))
    if way in ("float", "tensor", "channel"):
        return found
    found = relu6_to_relu(found)
    if way in INJECTED:
        with seeded(seed):
            inject_imbalance_(found)
    if "equal" in way:
        equalize_(found)
    return found


def quantized(model: fx.GraphModule, way: str, bits: int, seed: int) -> nn.Module:
    """Return the network with rounded weights and activations."""
    axis = 0 if "channel" in way else None
    made = insert_quantizers(
        model,
        weight=lambda _name, _weight: WeightQuantizer(bits, axis=axis),
        activation=lambda _name: ActivationQuantizer(Extremes(), 8),
    )
    images = [next(iter(data().train.batches(IMAGES, seed=seed)))]
    calibrate_(made, images)
    if way == "equal+bias":
        correct_biases_(made, model, images)
    return made


def imbalance(model: fx.GraphModule) -> dict[str, float]:
    """Return the mean over layers of largest over smallest channel, nan if none."""
    found: dict[str, list[float]] = {"depthwise": [], "others": []}
    for layer in model.modules():
        if isinstance(layer, Weighted):
            ranges = channel_ranges(layer)
            deep = isinstance(layer, nn.Conv2d) and layer.groups > 1
            ratio = float(ranges.max() / ranges.min())
            found["depthwise" if deep else "others"].append(ratio)
    none = float("nan")
    return {k: sum(v) / len(v) if v else none for k, v in found.items()}


def measure(net: str, way: str, bits: int, seed: int) -> Case:
    """Return the accuracies of one network."""
    model = float_network(net, way, seed)
    made = model if bits == 32 else quantized(model, way, bits, seed)
    return {
        "validation": accuracy(made, data().validation.batches(500)),
        "test": accuracy(made, data().test.batches(500)),
        **imbalance(model),
    }


if __name__ == "__main__":
    rows = [(way, 32) for way in ("float", "relu")]
    rows += [(way, bits) for bits in (8, 6, 4) for way in WAYS]
    rows += [(way, 8) for way in INJECTED]
    cases = [
        {"net": net, "way": way, "bits": bits, "seed": seed}
        for seed in seeds_from_command_line(__doc__)
        for net in NETS
        for way, bits in rows
    ]
    fill_table(__file__, cases, measure)
