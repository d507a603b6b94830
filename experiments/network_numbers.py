"""The numbers of page 2.1 on networks: counts, closed forms, arithmetic on the survey.

A page prints {{ key }}. The counts come from network_counts.py, which has to run
before; nothing here is timed (see network_speed_numbers.py for the times).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial

from torch import nn
from torchvision import models

from _numbers import Answer, fill_numbers
from _results import Row, read_table, seeds_from_command_line
from effdl.conv.partial import partial_cost
from effdl.data.files import data_path
from effdl.measure.count import parameter_count
from effdl.nets.fasternet import T0
from effdl.nets.squeezenet import squeezenet
from effdl.networks_table import Network, load_networks

SOURCES = ("results/network_counts.csv", "survey/networks.csv")

# From the papers, not from the survey: top-1 in per cent, bytes, images.
EFFICIENTNET_V2_L_TOP1 = 85.7
MOBILENET_V1_075_TOP1 = 68.4
SHUFFLENET_V1_20_TOP1 = 73.7
ALEXNET_MB, SQUEEZENET_8BIT_MB, SQUEEZENET_6BIT_MB = 240, 0.66, 0.47
DENSITY, INDEX_BITS = 0.33, 4
TRAINING_IMAGES, VALIDATION_IMAGES = 1_281_167, 50_000

ARM_SPEED_UP = 1.7  # the survey's, FasterNet-T1 against GhostNetV1 x1.3

# Numbers and how they are printed.


def digits(value: float) -> Answer:
    """Return 5182508 as 5,182,508."""
    return value, f"{value:,.0f}"


def decimal(value: float, places: int = 2) -> Answer:
    """Return 48.94 as 48.9 if one place is asked for."""
    return value, f"{value:,.{places}f}"


def share(value: float, places: int = 1) -> Answer:
    """Return 0.9596 as 96.0 %."""
    return value, f"{100 * value:.{places}f} %"


def percent(value: float) -> Answer:
    """Return 73.9 as 73.9 %."""
    return value, f"{value:.1f} %"


def deviation(value: float) -> Answer:
    """Return 0.0309 as +3.1 %, and what rounds to zero without a sign."""
    return value, f"{100 * value:+.1f} %".replace("-0.0", "0.0").replace("+0.0", "0.0")


def points(value: float) -> Answer:
    """Return a difference of two accuracies: 0.9."""
    return round(value, 1), f"{value:.1f}"


def amount(value: float) -> Answer:
    """Return 141150512 as 141.2 million, 93349884416 as 93.35 billion."""
    if value < 1e9:
        return value, f"{value / 1e6:.1f} million"
    return value, f"{value / 1e9:.2f} billion"


def megabytes(value: float) -> Answer:
    """Return 4993696 as 4.99 MB, 244403360 as 244.4 MB."""
    return value, f"{value / 1e6:.{1 if value > 1e8 else 2}f} MB"


def mebibytes(value: float) -> Answer:
    """Return 4993696 as 4.76 MiB."""
    return value, f"{value / 2**20:.{1 if value > 1e8 else 2}f} MiB"


def printed(text: str) -> Answer:
    """Return what the survey prints, here 0.24e9, as 0.24 billion."""
    mantissa, exponent = text.split("e")
    return float(text), f"{mantissa} {({'6': 'million', '9': 'billion'})[exponent]}"


# What was counted, and what the survey prints.


@cache
def counts() -> dict[str, Row]:
    """Return the rows of the table of counts by key."""
    return {
        row["key"]: row for row in read_table(data_path("results/network_counts.csv"))
    }


@cache
def survey() -> dict[str, Network]:
    """Return the rows of the survey's networks by key."""
    return {network.key: network for network in load_networks()}


@cache
def survey_texts() -> dict[str, Row]:
    """Return the same rows as text, with the digits that are printed."""
    return {row["key"]: row for row in read_table(data_path("survey/networks.csv"))}


def of(key: str, column: str) -> int:
    """Return one count."""
    return int(counts()[key][column])


def ratio(first: str, second: str, column: str) -> float:
    """Return by what factor a count of the first network is larger."""
    return of(first, column) / of(second, column)


def top1(key: str) -> float:
    """Return the accuracy that the survey prints.

    Raises:
        ValueError: If it prints none.
    """
    accuracy = survey()[key].survey_top1
    if accuracy is None:
        raise ValueError(f"the survey prints no accuracy of {key}")
    return accuracy


def off(key: str, column: str) -> Answer:
    """Return by what share our count is larger than the survey's."""
    text = survey_texts()[key][f"survey_{column}"]
    return deviation(of(key, column) / float(text) - 1)


def pareto(cost: Mapping[str, float]) -> list[Network]:
    """Return the networks of Fig. 3 that none beats in cost and accuracy at once.

    Args:
        cost: Multiply-adds by key, of those that take part.
    """
    drawn = [survey()[key] for key in cost]
    return [
        mine
        for mine in drawn
        if not any(
            cost[other.key] <= cost[mine.key] and top1(other.key) >= top1(mine.key)
            for other in drawn
            if other is not mine
        )
    ]


def drawn() -> list[str]:
    """Return the keys of the networks of Fig. 3."""
    return [network.key for network in survey().values() if network.figure == "3"]


def counted_pareto() -> list[Network]:
    """Return the best networks of Fig. 3 by what we count."""
    return pareto({key: of(key, "macs") for key in drawn()})


def printed_pareto() -> list[Network]:
    """Return the best by what the survey prints, which is nothing for SqueezeNet."""
    costs = {key: survey()[key].survey_macs for key in drawn()}
    return pareto({key: macs for key, macs in costs.items() if macs is not None})


def names(networks: Sequence[Network]) -> Answer:
    """Return how many networks there are, and their names."""
    return len(networks), ", ".join(network.network for network in networks)


def alexnet_linear(column: str) -> Answer:
    """Return what share of AlexNet lies in its linear layers."""
    if column == "macs":
        return share(of("alexnet", "matmul_macs") / of("alexnet", "macs"))
    layers = [m for m in models.alexnet().modules() if isinstance(m, nn.Linear)]
    return share(sum(map(parameter_count, layers)) / of("alexnet", "params"))


def partial_share() -> Answer:
    """Return the share of FasterNet-T0 in its partial convolutions."""
    costs = [
        blocks * partial_cost(T0.channels * 2**stage, 3, 56 // 2**stage).macs
        for stage, blocks in enumerate(T0.blocks)
    ]
    return share(sum(costs) / of("fasternet_t0", "macs"))


# SqueezeNet with Deep Compression.


@cache
def squeezenet_layers() -> list[nn.Conv2d]:
    """Return the convolutions, which are all that has weights."""
    net = squeezenet()
    return [layer for layer in net.modules() if isinstance(layer, nn.Conv2d)]


def kept() -> float:
    """Return how many weights pruning leaves."""
    return DENSITY * sum(layer.weight.numel() for layer in squeezenet_layers())


def gap_bits() -> float:
    """Return the entropy of the gap between two weights that are left, in bits.

    Weights that are left at random with probability p have gaps of a geometric
    distribution, whose entropy is that of one weight's fate, divided by p.
    """
    p = DENSITY
    return -(p * math.log2(p) + (1 - p) * math.log2(1 - p)) / p


def compressed(bits: int, index_bits: float = INDEX_BITS) -> float:
    """Return the bytes of values, indices, a codebook per layer, and the biases.

    Codebooks and biases are 32-bit floats. Gaps that do not fit into the index, which
    cost a padding zero each, are one in six hundred, and left out.
    """
    layers = squeezenet_layers()
    biases = sum(layer.bias.numel() for layer in layers if layer.bias is not None)
    return kept() * (bits + index_bits) / 8 + 4 * (len(layers) * 2**bits + biases)


def smaller(size: float) -> Answer:
    """Return by what factor a size is smaller than AlexNet in 32 bits."""
    return decimal(4 * of("alexnet", "params") / size, 0)


COMPRESSION: dict[str, Callable[[], Answer]] = {
    "squeezenet_mb": lambda: megabytes(4 * of("squeezenet", "params")),
    "squeezenet_mib": lambda: mebibytes(4 * of("squeezenet", "params")),
    "alexnet_mb": lambda: megabytes(4 * of("alexnet", "params")),
    "alexnet_mib": lambda: mebibytes(4 * of("alexnet", "params")),
    "dc_kept": lambda: (kept(), f"{kept() / 1e6:.2f} million"),
    "dc_gap_bits": lambda: decimal(gap_bits(), 1),
    "dc_8bit_values_mb": lambda: megabytes(kept()),
    "dc_8bit_ratio_paper": lambda: decimal(ALEXNET_MB / SQUEEZENET_8BIT_MB, 0),
    "dc_6bit_ratio_paper": lambda: decimal(ALEXNET_MB / SQUEEZENET_6BIT_MB, 0),
}
for width in (8, 6):
    COMPRESSION |= {
        f"dc_{width}bit_mb": lambda w=width: megabytes(compressed(w)),
        f"dc_{width}bit_bound_mb": lambda w=width: megabytes(compressed(w, gap_bits())),
        f"dc_{width}bit_ratio": lambda w=width: smaller(compressed(w)),
        f"dc_{width}bit_ratio_bound": lambda w=width: smaller(
            compressed(w, gap_bits())
        ),
    }

# Ratios, shares and differences.

RATIOS = {  # key: first, second, column, places
    "squeezenet_alexnet_params": ("alexnet", "squeezenet", "params", 1),
    "squeezenet_alexnet_macs": ("squeezenet", "alexnet", "macs", 2),
    "efficientnet_v2_xl_alexnet_macs": ("efficientnet_v2_xl", "alexnet", "macs", 0),
    "efficientnet_v2_xl_alexnet_params": ("efficientnet_v2_xl", "alexnet", "params", 1),
    "shufflenet_v1_mobilenet_v1_macs": ("shufflenet_v1", "mobilenet_v1", "macs", 2),
    "shufflenet_v1_mobilenet_v1_075_macs": (
        "shufflenet_v1",
        "mobilenet_v1_075",
        "macs",
        2,
    ),
    "shufflenet_v1_20_mobilenet_v1_macs": (
        "shufflenet_v1_20",
        "mobilenet_v1",
        "macs",
        2,
    ),
    "shufflenet_v2_shufflenet_v1_macs": ("shufflenet_v2", "shufflenet_v1", "macs", 2),
    "fasternet_t1_ghostnet_v1_13_macs": ("fasternet_t1", "ghostnet_v1_13", "macs", 2),
    "fasternet_t1_ghostnet_v1_13_fvcore": (
        "fasternet_t1",
        "ghostnet_v1_13",
        "fvcore_total",
        2,
    ),
}
SHARED = ("mobilenet_v1", "mobilenet_v2", "ghostnet_v1", "shufflenet_v2")
KINDS = ("dense", "depthwise", "pointwise")
CLAIMS: dict[str, Callable[[], Answer]] = {
    "squeezenet_alexnet_more": lambda: share(
        ratio("squeezenet", "alexnet", "macs") - 1, 0
    ),
    "alexnet_linear_params_share": lambda: alexnet_linear("params"),
    "alexnet_linear_macs_share": lambda: alexnet_linear("macs"),
    "fasternet_t0_partial_share": partial_share,
    "imagenet_classes": lambda: digits(of("resnet50", "classes")),
    "imagenet_train": lambda: digits(TRAINING_IMAGES),
    "imagenet_val": lambda: digits(VALIDATION_IMAGES),
    "efficientnet_v2_l_top1": lambda: percent(EFFICIENTNET_V2_L_TOP1),
    "mobilenet_v1_075_top1": lambda: percent(MOBILENET_V1_075_TOP1),
    "shufflenet_v1_20_top1": lambda: percent(SHUFFLENET_V1_20_TOP1),
    "gain_shufflenet_v1": lambda: points(top1("shufflenet_v1") - top1("mobilenet_v1")),
    "gain_shufflenet_v1_fair": lambda: points(
        top1("shufflenet_v1") - MOBILENET_V1_075_TOP1
    ),
    "gain_shufflenet_v1_20_fair": lambda: points(
        SHUFFLENET_V1_20_TOP1 - top1("mobilenet_v1")
    ),
    "gain_shufflenet_v2": lambda: points(top1("shufflenet_v2") - top1("shufflenet_v1")),
    "gain_squeezenet": lambda: points(top1("squeezenet") - top1("alexnet")),
    "gain_fasternet_t1": lambda: points(top1("fasternet_t1") - top1("ghostnet_v1_13")),
    "gain_imagenet": lambda: points(top1("efficientnet_v2_xl") - top1("alexnet")),
    "gain_ghostnet_v2": lambda: points(top1("ghostnet_v2") - top1("ghostnet_v1")),
    "fasternet_rate_survey": lambda: decimal(
        float(survey_texts()["fasternet_t1"]["survey_macs"])
        / float(survey_texts()["ghostnet_v1_13"]["survey_macs"])
        * ARM_SPEED_UP,
        1,
    ),
    "fasternet_rate_counted": lambda: decimal(
        ratio("fasternet_t1", "ghostnet_v1_13", "macs") * ARM_SPEED_UP, 1
    ),
    "pareto_fig3": lambda: names(counted_pareto()),
    "pareto_fig3_count": lambda: digits(len(counted_pareto())),
    "pareto_fig3_printed": lambda: names(printed_pareto()),
    "fig3_count": lambda: digits(len(drawn())),
}


def of_network(key: str) -> dict[str, Callable[[], Answer]]:
    """Return the numbers of one network that was counted."""
    total = counts()[key]["fvcore_total"]
    found: dict[str, Callable[[], Answer]] = {
        "params": lambda: digits(of(key, "params")),
        "mparams": lambda: (
            of(key, "params"),
            f"{of(key, 'params') / 1e6:.2f} million",
        ),
        "macs": lambda: amount(of(key, "macs")),
        "input": lambda: digits(of(key, "input_size")),
    }
    if total:
        found["fvcore"] = lambda: amount(int(total))
        found["fvcore_excess"] = lambda: share(int(total) / of(key, "macs") - 1)
    return found


def of_survey(key: str) -> dict[str, Callable[[], Answer]]:
    """Return the numbers of one network that the survey prints."""
    row = survey_texts()[key]
    found: dict[str, Callable[[], Answer]] = {}
    if row["survey_top1"]:
        found["top1"] = lambda: percent(top1(key))
    for column in ("macs", "params"):
        if row[f"survey_{column}"]:
            found[f"survey_{column}"] = partial(printed, row[f"survey_{column}"])
            if row[f"our_{column}"]:
                found[f"{column}_off"] = partial(off, key, column)
    if row["verdict"]:
        found["verdict"] = lambda: (0, row["verdict"])
    return found


def all_numbers() -> dict[str, Callable[[], Answer]]:
    """Return how to compute each number, by its key."""
    numbers = CLAIMS | COMPRESSION
    for key, (first, second, column, places) in RATIOS.items():
        numbers[key] = partial(
            lambda f, s, c, p: decimal(ratio(f, s, c), p), first, second, column, places
        )
    for key in counts():
        numbers |= {f"{key}_{name}": get for name, get in of_network(key).items()}
    for key in survey():
        numbers |= {f"{key}_{name}": get for name, get in of_survey(key).items()}
    for key in SHARED:
        for kind in KINDS:
            numbers[f"{key}_{kind}_share"] = partial(
                lambda k, column: share(of(k, column) / of(k, "macs")),
                key,
                f"{kind}_macs",
            )
    return {f"net_{key}": get for key, get in numbers.items()}


if __name__ == "__main__":
    seeds_from_command_line(__doc__)  # accepted as everywhere; nothing here is random
    fill_numbers(__file__, all_numbers(), SOURCES)
