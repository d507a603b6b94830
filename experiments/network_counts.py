"""Count every network of section 2 that has a public implementation.

Parameters, multiply-adds of one image, and what fvcore calls FLOPs, with random
weights, because no count depends on them. The multiply-adds are told apart by the kind
of their layer, a second count that shares no code with the first. Then the counts are
written into data/survey/networks.csv, beside what the survey prints, with the verdicts
that follow from them (see effdl.networks_table); the other columns there are facts,
typed by hand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torchvision import models

from _results import (
    DATA,
    Case,
    Row,
    fill_table,
    read_table,
    seeds_from_command_line,
    write_table,
)
from effdl.blocks import conv_bn
from effdl.conv.condensing import condense_fully_, deploy
from effdl.conv.squeeze_excite import SqueezeExcite
from effdl.data.files import write_sums
from effdl.measure.count import parameter_count
from effdl.measure.macs import MacCount, count_macs
from effdl.nets.condensenet_v1 import condensenet_v1
from effdl.nets.condensenet_v2 import condensenet_v2
from effdl.nets.densenet import densenet121, densenet201
from effdl.nets.fasternet import T0, T1, fasternet
from effdl.nets.ghostnet_v1 import ghostnet_v1
from effdl.nets.ghostnet_v2 import ghostnet_v2
from effdl.nets.mobilenet_v1 import MOBILENET_V1, MobileNetV1, mobilenet_v1
from effdl.nets.mobilenet_v2 import mobilenet_v2
from effdl.nets.mobilenext import mobilenext
from effdl.nets.resnet import resnet50
from effdl.nets.shufflenet_v1 import shufflenet_v1
from effdl.nets.shufflenet_v2 import shufflenet_v2
from effdl.nets.squeezenet import squeezenet
from effdl.networks_table import verdict_on, worse_verdict


def dense_block(in_channels: int, out_channels: int, *, stride: int) -> nn.Module:
    """Return what a separable block of MobileNetV1 stands for."""
    return conv_bn(in_channels, out_channels, 3, stride=stride)


def deployed(build: Callable[[], nn.Module]) -> nn.Module:
    """Return a CondenseNet as it runs after training, with arbitrary connections."""
    net = build()
    condense_fully_(net)
    return deploy(net)


NETWORKS: dict[str, Callable[[], nn.Module]] = {  # by the key in networks.csv
    "alexnet": models.alexnet,
    "vgg16": partial(models.vgg16, init_weights=False),
    "googlenet": partial(models.googlenet, aux_logits=False, init_weights=False),
    "resnet50": resnet50,
    "densenet121": densenet121,
    "efficientnet_b0": partial(timm.create_model, "efficientnet_b0"),
    "efficientnet_b7": partial(timm.create_model, "tf_efficientnet_b7"),
    "efficientnet_v2_xl": partial(timm.create_model, "tf_efficientnetv2_xl"),
    "squeezenet": squeezenet,
    "mobilenet_v1": mobilenet_v1,
    "mobilenet_v2": mobilenet_v2,
    "mobilenext": mobilenext,
    "shufflenet_v1": partial(shufflenet_v1, 1.5),
    "shufflenet_v2": partial(shufflenet_v2, 1.5),
    "condensenet_v1": partial(deployed, condensenet_v1),
    "condensenet_v2": partial(deployed, condensenet_v2),
    "ghostnet_v1": ghostnet_v1,
    "ghostnet_v2": ghostnet_v2,
    "ghostnet_v1_13": partial(ghostnet_v1, 1.3),
    "fasternet_t0": partial(fasternet, T0),
    "fasternet_t1": partial(fasternet, T1),
    "levit": partial(timm.create_model, "levit_128"),
    "mobilevit_v1": partial(timm.create_model, "mobilevit_s"),
    "mobilevit_v2": partial(timm.create_model, "mobilevitv2_075"),
    "efficientvit": partial(timm.create_model, "efficientvit_b1"),
    "edgenext": partial(timm.create_model, "edgenext_x_small"),
    "fastvit": partial(timm.create_model, "fastvit_t8"),
}
COMPARED: dict[str, Callable[[], nn.Module]] = {  # not in the survey, at 224 x 224
    "densenet201": densenet201,
    "mobilenet_v1_075": partial(mobilenet_v1, 0.75),
    "mobilenet_v1_dense": partial(MobileNetV1, MOBILENET_V1, block=dense_block),
    "shufflenet_v1_20": partial(shufflenet_v1, 2.0),
}

# Rules of counting, by their name in the column "convention".

ACTIVATIONS = (nn.ReLU, nn.ReLU6, nn.Hardswish)


def multiply_adds(net: nn.Module, image: Tensor, count: MacCount) -> int:
    """Return the multiply-adds of convolutions and matrix products."""
    del net, image
    return count.total


def one_digit(net: nn.Module, image: Tensor, count: MacCount) -> int:
    """Return the multiply-adds, of which only the first digit is kept."""
    del net, image
    return int(float(f"{count.total:.0e}"))


def fvcore_total(net: nn.Module, image: Tensor, count: MacCount) -> int:
    """Return what fvcore prints, normalisation and pooling included.

    Raises:
        RuntimeError: If fvcore fails on the network.
    """
    del net, image
    if count.fvcore_total is None:
        raise RuntimeError("fvcore cannot count this network")
    return count.fvcore_total


def with_activations(net: nn.Module, image: Tensor, count: MacCount) -> int:
    """Return what CondenseNet's own counter does: also activations and pooling."""
    return count.total + sum(_elements(net, image))


def authors_shufflenet(net: nn.Module, image: Tensor, count: MacCount) -> int:
    """Return the multiply-adds with a first unit that is built as theirs is."""
    del net, image
    return count.total + first_unit_difference(176)


def first_unit_difference(channels: int) -> int:
    """Return how many more multiply-adds the first unit of ShuffleNetV2 has in theirs.

    At 28 x 28 pixels, the first unit makes ``channels`` out of the 24 of the stem. In
    common code, and ours, each of its branches makes half of them. In the authors' code
    the one that only shrinks its input keeps 24, and the other makes up the rest.

    Args:
        channels: Channels of the first stage, 176 for 1.5x.
    """
    stem, half = 24, channels // 2
    theirs = stem * stem + half * (channels - stem)
    ours = stem * half + half * half
    return (theirs - ours) * 28**2


RULES: dict[str, Callable[[nn.Module, Tensor, MacCount], int]] = {
    "multiply-adds": multiply_adds,
    "multiply-adds, to one digit": one_digit,
    "multiply-adds, activations, pooling": with_activations,
    "multiply-adds of the authors' code": authors_shufflenet,
    "fvcore total": fvcore_total,
}


def _elements(net: nn.Module, image: Tensor) -> Iterator[int]:
    """Yield the operations of every activation and pooling, as CondenseNet counts."""
    found: list[int] = []

    def note(layer: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        if isinstance(layer, nn.Sigmoid):
            found.append(2 * output.numel())
        elif isinstance(layer, nn.AvgPool2d):
            found.append(output.numel() * int(layer.kernel_size) ** 2)
        elif isinstance(layer, SqueezeExcite):  # mean, ReLU, sigmoid
            hidden, channels = layer.reduce.weight.shape
            found.append(inputs[0].numel() + hidden + 2 * channels)
        elif isinstance(layer, (*ACTIVATIONS, nn.AdaptiveAvgPool2d)):
            found.append(inputs[0].numel())

    handles = [layer.register_forward_hook(note) for layer in net.modules()]
    with torch.inference_mode():
        net(image)
    for handle in handles:
        handle.remove()
    yield from found


# The kinds of layers.


class Kinds(TorchDispatchMode):
    """Multiply-adds of the convolutions that run inside the block, by kind."""

    def __init__(self) -> None:
        super().__init__()
        self.macs = dict.fromkeys(("dense", "grouped", "depthwise", "pointwise"), 0)

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Run an operator, and count it if it is a convolution."""
        output = func(*args, **(kwargs or {}))
        if func is torch.ops.aten.convolution.default:
            weight, groups = args[1], args[8]
            per_group, *sides = weight.shape[1:]
            kind = "dense" if sum(sides) > len(sides) else "pointwise"
            if groups > 1:
                kind = "depthwise" if per_group == 1 else "grouped"
            self.macs[kind] += output.numel() * weight[0].numel()
        return output


def kinds(net: nn.Module, image: Tensor) -> dict[str, int]:
    """Return the multiply-adds of a network's convolutions by their kind."""
    with torch.no_grad(), Kinds() as counted:
        net(image)
    return counted.macs


# The tables.


def measure(key: str, input_size: int, convention: str, seed: int) -> Case:
    """Return all counts of a network; nothing here is random."""
    del seed
    net = (NETWORKS | COMPARED)[key]().eval()
    image = torch.zeros(1, 3, input_size, input_size)
    count = count_macs(net, image)
    by_kind = kinds(net, image)
    return {
        "classes": net(image).shape[1],
        "params": parameter_count(net),
        "macs": count.total,
        "fvcore_total": "" if count.fvcore_total is None else count.fvcore_total,
        "convention_macs": RULES[convention](net, image, count),
        **{f"{kind}_macs": macs for kind, macs in by_kind.items()},
        "matmul_macs": count.total - sum(by_kind.values()),
    }


def filled_in(row: Row, count: Row | None) -> Row:
    """Return a row of networks.csv with its counts and verdicts."""
    counts = count or dict.fromkeys(
        ("params", "macs", "fvcore_total", "convention_macs"), ""
    )
    new = {f"our_{name}": counts[name] for name in ("params", "macs", "fvcore_total")}
    new["convention_macs"] = counts["convention_macs"]
    if count:
        by_convention = int(count["convention_macs"])
        new["verdict_macs"] = verdict_on(
            row["survey_macs"], int(count["macs"]), by_convention=by_convention
        )
        new["verdict_params"] = verdict_on(row["survey_params"], int(count["params"]))
        new["verdict"] = worse_verdict(new["verdict_macs"], new["verdict_params"])
    else:
        new |= dict.fromkeys(("verdict_macs", "verdict_params", "verdict"), "")
    return row | new


def cases(rows: list[Row]) -> list[Case]:
    """Return what to count: the rows with an implementation, and some to compare."""
    named = ("key", "input_size", "convention")
    found = [{name: row[name] for name in named} for row in rows if row["convention"]]
    found += [
        dict(zip(named, (k, 224, "multiply-adds"), strict=True)) for k in COMPARED
    ]
    return [case | {"input_size": int(case["input_size"]), "seed": 0} for case in found]


if __name__ == "__main__":
    seeds_from_command_line(__doc__)  # accepted as everywhere; nothing here is random
    survey: Path = DATA / "survey" / "networks.csv"
    facts = read_table(survey)
    table = read_table(fill_table(__file__, cases(facts), measure))
    counted = {row["key"]: row for row in table}
    write_table(survey, [filled_in(row, counted.get(row["key"])) for row in facts])
    write_sums(DATA, ["survey/networks.csv"])
