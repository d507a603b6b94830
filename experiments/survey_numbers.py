"""Every number of the first pages and of chapter 1, computed or counted here.

A page prints {{ key }}; this script says what stands there and where it comes from.
Counted on the networks themselves, computed from closed forms, or read from tables that
other scripts made: run first_figure.py and int8_rounding.py before this one.
"""

from __future__ import annotations

import csv
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from statistics import mean

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision import models

from _numbers import Answer, fill_numbers
from _results import seeds_from_command_line
from effdl.data.files import data_path
from effdl.measure.count import parameter_count, serialized_bytes
from effdl.measure.macs import MacCount, count_macs, torch_flops
from effdl.measure.memory import peak_activation_bytes
from effdl.survey import load_sections
from effdl.tables import load_boards

SOURCES = (
    "results/first_figure.csv",
    "results/int8_rounding.csv",
    "survey/sections.csv",
    "survey/table4.csv",
)

IMAGES, EPOCHS = 1_281_167, 90  # ImageNet's training set, the usual schedule

# Joules at 45 nm and 0.9 V: Horowitz, ISSCC 2014, and for a 32-bit word from DRAM
# table 1 of Han et al., NeurIPS 2015.
FLOAT_MAC = (3.7 + 0.9) * 1e-12
INT8_MAC = (0.2 + 0.03) * 1e-12
DRAM_WORD = 640e-12

SUPERSCRIPTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


def plain(value: float, digits: int = 0, unit: str = "") -> Answer:
    """Return a number with separators and, if there is one, its unit: 102.2 MB."""
    return value, f"{value:,.{digits}f} {unit}".strip()


def percent(value: float, digits: int = 1) -> Answer:
    """Return a share, 0 to 1, in per cent."""
    return value, f"{100 * value:.{digits}f} %"


def power(value: float, unit: str = "") -> Answer:
    """Return a large number as a multiple of a power of ten."""
    mantissa, exponent = f"{value:.1e}".split("e+")
    return value, f"{mantissa} x 10{str(int(exponent)).translate(SUPERSCRIPTS)} {unit}"


# ResNet-50, counted.


@cache
def resnet50() -> nn.Module:
    """Return the network with random weights: no count depends on them."""
    return models.resnet50().eval()


@cache
def image() -> torch.Tensor:
    """Return one image of ImageNet's usual size."""
    return torch.zeros(1, 3, 224, 224)


@cache
def cost() -> MacCount:
    """Return what one image costs."""
    return count_macs(resnet50(), image())


@cache
def activations(*, training: bool) -> float:
    """Return the peak of the activations of one image in MB."""
    return peak_activation_bytes(resnet50(), image(), training=training) / 1e6


def parameters() -> int:
    """Return the number of parameters."""
    return parameter_count(resnet50())


def headless() -> int:
    """Return the number of parameters without the classifier."""
    return parameters() - sum(p.numel() for p in resnet50().fc.parameters())


@cache
def backward_ratio() -> float:
    """Return the FLOPs of forward and backward pass over those of the forward pass."""
    with FlopCounterMode(display=False) as counter:
        resnet50()(image()).sum().backward()
    resnet50().zero_grad()
    return counter.get_total_flops() / torch_flops(resnet50(), image())


def training_flop() -> float:
    """Return the FLOPs of a training: a backward pass costs two forward passes."""
    return 3 * 2 * cost().total * IMAGES * EPOCHS


def flop_per_second() -> float:
    """Return the rate of one thread of the machine of the first figure."""
    seconds = 1e-3 * of("ResNet-50", "milliseconds")
    return 2 * of("ResNet-50", "macs") / seconds


def layers(net: nn.Module) -> int:
    """Return the number of layers with a weight matrix, shortcuts included."""
    return sum(isinstance(layer, nn.Conv2d | nn.Linear) for layer in net.modules())


RESNET50: dict[str, Callable[[], Answer]] = {
    "resnet50_parameters": lambda: plain(parameters()),
    "resnet50_macs": lambda: plain(cost().total),
    "resnet50_gmacs": lambda: plain(cost().total / 1e9, 2, "billion"),
    "resnet50_fvcore": lambda: plain(cost().fvcore_total or 0),
    "resnet50_gflops": lambda: plain(
        torch_flops(resnet50(), image()) / 1e9, 2, "billion"
    ),
    "resnet50_torch_over_macs": lambda: plain(
        torch_flops(resnet50(), image()) / cost().total, 2
    ),
    "resnet50_conv_share": lambda: percent(
        cost().by_operator["conv"] / cost().total, 2
    ),
    "resnet50_mb": lambda: plain(4 * parameters() / 1e6, 1, "MB"),
    "resnet50_mib": lambda: plain(4 * parameters() / 2**20, 1, "MiB"),
    "resnet50_headless_mb": lambda: plain(4 * headless() / 1e6, 1, "MB"),
    "resnet50_headless_mib": lambda: plain(4 * headless() / 2**20, 1, "MiB"),
    "resnet50_file_mb": lambda: plain(serialized_bytes(resnet50()) / 1e6, 1, "MB"),
    "resnet50_int8_mb": lambda: plain(parameters() / 1e6, 1, "MB"),
    "resnet50_inference_mb": lambda: plain(activations(training=False), 1, "MB"),
    "resnet50_training_mb": lambda: plain(activations(training=True), 1, "MB"),
    "resnet50_training_over_inference": lambda: plain(
        activations(training=True) / activations(training=False)
    ),
    "resnet50_layers": lambda: plain(layers(resnet50())),
    "resnet152_layers": lambda: plain(layers(models.resnet152())),
    "densenet201_layers": lambda: plain(layers(models.densenet201())),
    "backward_ratio": lambda: plain(backward_ratio(), 2),
    "training_flop": lambda: power(training_flop(), "FLOPs"),
    "training_days": lambda: plain(training_flop() / flop_per_second() / 86_400),
}

# Transformers, from closed forms.


def gpt3() -> dict[str, int]:
    """Return the parameters of GPT-3 from its published shape."""
    depth, width, vocabulary, positions = 96, 12_288, 50_257, 2_048
    matrices = 12 * depth * width**2
    rest = 13 * depth * width + 2 * width + (vocabulary + positions) * width
    return {"matrices": matrices, "all": matrices + rest}


def translation(vocabulary: int = 0) -> float:
    """Return MACs to translate 30 words with the big Transformer."""
    width, words = 1024, 30
    encoder, decoder = 6 * 12 * width**2, 6 * 16 * width**2
    return words * (encoder + decoder + vocabulary * width)


def largest_ram() -> int:
    """Return the largest memory in the survey's Table 4, in GB."""
    return max(board.ram_gb or 0 for board in load_boards())


TRANSFORMERS: dict[str, Callable[[], Answer]] = {
    "gpt3_matrices": lambda: plain(gpt3()["matrices"]),
    "gpt3_parameters": lambda: plain(gpt3()["all"]),
    "gpt3_below": lambda: percent(1 - gpt3()["all"] / 175e9, 2),
    "gpt3_half_gb": lambda: plain(2 * gpt3()["all"] / 1e9, 0, "GB"),
    "gpt3_boards": lambda: plain(2 * gpt3()["all"] / 1e9 / largest_ram(), 1),
    "largest_ram": lambda: plain(largest_ram(), 0, "GB"),
    "translation_gflops": lambda: plain(2 * translation() / 1e9, 1, "billion"),
    "translation_gflops_full": lambda: plain(
        2 * translation(32_768) / 1e9, 1, "billion"
    ),
    "translation_gmacs": lambda: plain(translation() / 1e9, 1, "billion"),
    "translation_gmacs_full": lambda: plain(translation(32_768) / 1e9, 1, "billion"),
}

# Boards and energy: upper bounds, from data sheets.


def bound(name: str) -> Answer:
    """Return the ResNet-50 images a second at the peak that Table 4 gives a board."""
    (board,) = (board for board in load_boards() if board.board == name)
    return plain(board.tera_ops * 1e12 / (2 * cost().total))


def millijoules(network: str) -> dict[str, float]:
    """Return the energy of arithmetic, and of reading each weight once from DRAM."""
    return {
        "arithmetic": 1e3 * FLOAT_MAC * of(network, "macs"),
        "weights": 1e3 * DRAM_WORD * of(network, "parameters"),
    }


BOUNDS: dict[str, Callable[[], Answer]] = {
    "bound_xavier": lambda: bound("Nvidia Jetson AGX Xavier"),
    "bound_nano": lambda: bound("Nvidia Jetson Nano"),
    "bound_edge_tpu": lambda: bound("Google Edge TPU"),
    "bound_ncs": lambda: bound("Intel Neural Compute Stick"),
    "resnet50_per_second": lambda: plain(1e3 / of("ResNet-50", "milliseconds"), 1),
    "energy_float_over_int8": lambda: plain(FLOAT_MAC / INT8_MAC),
    "energy_word_over_mac": lambda: plain(DRAM_WORD / FLOAT_MAC),
    "energy_resnet50_arithmetic": lambda: plain(
        millijoules("ResNet-50")["arithmetic"], 1, "mJ"
    ),
    "energy_resnet50_weights": lambda: plain(
        millijoules("ResNet-50")["weights"], 1, "mJ"
    ),
    "energy_ghostnet_arithmetic": lambda: plain(
        millijoules("GhostNet")["arithmetic"], 1, "mJ"
    ),
    "energy_ghostnet_weights": lambda: plain(
        millijoules("GhostNet")["weights"], 1, "mJ"
    ),
}

# What the stopwatch and the test set said.


def rows(path: Path) -> list[dict[str, str]]:
    """Return a table that another script made."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def of(network: str, column: str) -> float:
    """Return a number of the first figure."""
    table = rows(data_path("results/first_figure.csv"))
    (row,) = (row for row in table if row["network_name"] == network)
    return float(row[column])


def rates() -> list[float]:
    """Return the multiply-adds per time of every network in the first figure."""
    table = rows(data_path("results/first_figure.csv"))
    return [float(row["macs"]) / float(row["milliseconds"]) for row in table]


def accuracy(network: str, column: str) -> Answer:
    """Return the mean test accuracy of a small network over seeds."""
    table = rows(data_path("results/int8_rounding.csv"))
    return percent(mean(float(r[column]) for r in table if r["net_name"] == network))


def seeds() -> Answer:
    """Return how many seeds these means are over."""
    return plain(len({r["seed"] for r in rows(data_path("results/int8_rounding.csv"))}))


def processor() -> Answer:
    """Return the name of the processor of the first figure; its value is nothing."""
    return 0, rows(data_path("results/first_figure.csv"))[0]["processor"]


TIMED = {
    "alexnet": "AlexNet",
    "squeezenet": "SqueezeNet 1.0",
    "shufflenetv2": "ShuffleNetV2",
    "ghostnet": "GhostNet",
    "resnet50": "ResNet-50",
}
ROUNDED = {
    "plain": "plain",
    "depthwise": "depthwise",
    "injected": "depthwise, injected",
}
MEASURED: dict[str, Callable[[], Answer]] = {
    "first_fewer_parameters": lambda: plain(
        of("AlexNet", "parameters") / of("SqueezeNet 1.0", "parameters")
    ),
    "first_networks": lambda: plain(len(rates())),
    "first_rate_spread": lambda: plain(max(rates()) / min(rates()), 1),
    "first_processor": processor,
    "int8_seeds": seeds,
}


def millions(network: str, column: str, digits: int) -> Answer:
    """Return a count of the first figure in millions."""
    return plain(of(network, column) / 1e6, digits, "million")


def milliseconds(network: str) -> Answer:
    """Return a median time of the first figure."""
    return plain(of(network, "milliseconds"), 0, "ms")


for short, name in TIMED.items():
    MEASURED[f"first_{short}_parameters"] = partial(millions, name, "parameters", 1)
    MEASURED[f"first_{short}_macs"] = partial(millions, name, "macs", 0)
    MEASURED[f"first_{short}_ms"] = partial(milliseconds, name)
for short, name in ROUNDED.items():
    for column in ("float", "tensor_8", "channel_8", "tensor_4", "channel_4"):
        MEASURED[f"int8_{short}_{column}"] = partial(accuracy, name, column)

# The survey itself.

SURVEY: dict[str, Callable[[], Answer]] = {
    "survey_things": lambda: plain(sum(section.rows for section in load_sections())),
    "survey_errata": lambda: plain(sum(section.errata for section in load_sections())),
    "survey_methods": lambda: plain(sum(s.implement for s in load_sections())),
    "survey_sections": lambda: plain(len(load_sections())),
}

NUMBERS = RESNET50 | TRANSFORMERS | BOUNDS | MEASURED | SURVEY


if __name__ == "__main__":
    seeds_from_command_line(__doc__)  # accepted as everywhere; nothing here is random
    fill_numbers(__file__, NUMBERS, SOURCES)
