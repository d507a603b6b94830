"""Fifteen networks: what is counted, and what a stopwatch says.

Weights are random, because neither count nor time depends on what a network knows.
One image of 224 x 224, one thread, 32-bit floats. All networks are timed in turn, so
that a busy moment of the machine hits all of them. Draws the figure of the first page,
book/figures/first-figure.svg, from the table.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

import matplotlib.pyplot as plt
import timm
import torch
from torch import nn
from torchvision import models

from _results import Case, fill_table, read_table
from effdl.measure.count import parameter_count, serialized_bytes
from effdl.measure.latency import Latency, latency
from effdl.measure.macs import count_macs
from effdl.plot import COLOURS, use_style

FIGURE = Path(__file__).resolve().parents[1] / "book/figures/first-figure.svg"
NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "AlexNet": models.alexnet,
    "SqueezeNet 1.0": models.squeezenet1_0,
    "SqueezeNet 1.1": models.squeezenet1_1,
    "VGG-16": models.vgg16,
    "ResNet-18": models.resnet18,
    "ResNet-50": models.resnet50,
    "DenseNet-121": models.densenet121,
    "MobileNetV2": models.mobilenet_v2,
    "MobileNetV3-L": models.mobilenet_v3_large,
    "ShuffleNetV2": models.shufflenet_v2_x1_0,
    "MnasNet": models.mnasnet1_0,
    "EfficientNet-B0": models.efficientnet_b0,
    "RegNetY-400MF": models.regnet_y_400mf,
    "GhostNet": partial(timm.create_model, "ghostnet_100"),
    "ConvNeXt-Atto": partial(timm.create_model, "convnext_atto"),
}
LABELS = {  # those that the text speaks of, or that help to find the way
    "AlexNet": ("left", (5, -13)),
    "SqueezeNet 1.0": ("right", (-6, 4)),
    "ResNet-50": ("right", (-6, 2)),
    "VGG-16": ("right", (-6, 2)),
    "ShuffleNetV2": ("center", (4, -17)),
    "GhostNet": ("center", (0, 8)),
    "DenseNet-121": ("right", (-6, 2)),
}  # horizontal alignment, offset in points


@cache
def network(name: str) -> nn.Module:
    """Return a network with random weights, in evaluation mode."""
    options = {"init_weights": False} if name == "VGG-16" else {}
    return NETWORKS[name](**options).eval()


@cache
def timings() -> dict[str, Latency]:
    """Return the latency of all networks, measured in turn."""
    nets = {name: network(name) for name in NETWORKS}
    with torch.inference_mode():
        return latency(nets, torch.randn(1, 3, 224, 224), threads=1, repeats=15)


def measure(network_name: str, seed: int) -> Case:
    """Return counts and times of one network; the seed plays no part."""
    del seed
    net, time = network(network_name), timings()[network_name]
    count = count_macs(net, torch.zeros(1, 3, 224, 224))
    return {
        "parameters": parameter_count(net),
        "macs": count.total,
        "fvcore_total": count.fvcore_total or "",
        "file_bytes": serialized_bytes(net),
        "milliseconds": 1e3 * time.median,
        "low": 1e3 * time.low,
        "high": 1e3 * time.high,
    }


def draw(path: Path) -> None:
    """Draw time over multiply-adds, and the line on which time is work."""
    use_style()
    rows = {row["network_name"]: row for row in read_table(path)}
    work = {name: float(row["macs"]) / 1e6 for name, row in rows.items()}
    time = {name: float(row["milliseconds"]) for name, row in rows.items()}
    fig, ax = plt.subplots(figsize=(6.4, 3.9))
    for name in rows:
        loud = name in LABELS
        colour = COLOURS.blue if loud else COLOURS.grey
        ax.plot(work[name], time[name], "o", color=colour, ms=7 if loud else 5)
    best = max(work[name] / time[name] for name in rows)
    ends = (0.8 * min(work.values()), 1.25 * max(work.values()))
    ax.plot(ends, [x / best for x in ends], ":", color=COLOURS.grey)
    ax.annotate(
        "if only multiply-adds took time",
        (1.1e3, 1.1e3 / best),
        xytext=(6, -12),
        textcoords="offset points",
        fontsize="small",
    )
    for name, (side, offset) in LABELS.items():
        ax.annotate(
            name,
            (work[name], time[name]),
            xytext=offset,
            textcoords="offset points",
            ha=side,
        )
    ax.set(xscale="log", yscale="log")
    ax.set(xlabel="multiply-adds for one image, millions")
    ax.set(ylabel="measured time, milliseconds")
    ax.set_xticks(
        [100, 300, 1000, 3000, 10000], ["100", "300", "1,000", "3,000", "10,000"]
    )
    ax.set_yticks([10, 30, 100, 300, 1000], ["10", "30", "100", "300", "1,000"])
    ax.set_xlim(80, 25_000)
    ax.minorticks_off()
    FIGURE.parent.mkdir(exist_ok=True)
    fig.savefig(FIGURE, transparent=True, metadata={"Date": None})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument(
        "--draw", action="store_true", help="only draw the figure again"
    )
    parser.add_argument("--seeds", nargs="*", help="as everywhere; no effect here")
    only_draw = parser.parse_args().draw
    table = Path(__file__).resolve().parents[1] / "data/results/first_figure.csv"
    if not only_draw:
        cases = [{"network_name": name, "seed": 0} for name in NETWORKS]
        table = fill_table(__file__, cases, measure)
    draw(table)
