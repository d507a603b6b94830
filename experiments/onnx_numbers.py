"""The numbers that the pages print about INT8 in ONNX Runtime, and about SpaceEvo.

A page prints {{ key }}. Accuracies, errors and shares are means of all seeds, on test.
The score of a space is computed from two additive fits to drawn networks: one to their
validation accuracies, one to their measured milliseconds.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from itertools import product

import numpy as np
import pandas as pd

from _numbers import Answer, fill_numbers
from _results import DATA, seeds_from_command_line
from effdl.nas.evolution import AgingEvolution
from effdl.nas.ranking import spearman
from effdl.quant.int8_space import (
    ElasticStage,
    Measure,
    Space,
    additive_quality,
    mutated_space,
    nets_of,
    space_score,
)
from int8_space import BLOCKS, NETS, STAGES, WIDTHS, drawn_net

SOURCES = (
    "results/int8_runtime.csv",
    "results/int8_latency.csv",
    "results/int8_space.csv",
    "results/deep_compression.csv",
)
NAMES = {
    "plain": "plain_net(8)",
    "mobile": "small_mobilenet_v2",
    "mlp": "plain_mlp",
}
ARITHMETICS = (
    "float",
    "fake",
    "engine",
    "ours",
    *(f"static_{s}_{b}" for s in ("channel", "tensor") for b in (8, 7)),
)
SEARCHES, LOOKS = 50, 64
CHOICES = [ElasticStage(b, w) for b in BLOCKS for w in (WIDTHS[:2], WIDTHS[1:])]
SPACES: list[Space] = list(product(CHOICES, repeat=STAGES))


@cache
def table(name: str) -> pd.DataFrame:
    """Return a table of results."""
    return pd.read_csv(DATA / "results" / f"{name}.csv")


def runtime(net: str, column: str) -> float:
    """Return the mean of a column over the seeds of a network."""
    rows = table("int8_runtime")
    return float(rows.loc[rows["network"] == NAMES[net], column].mean())


def percent(value: float, digits: int = 1) -> Answer:
    """Return a share as the pages print it."""
    return value, f"{100 * value:.{digits}f} %"


def accuracy(net: str, name: str) -> Answer:
    """Return the mean test accuracy in one arithmetic."""
    return percent(runtime(net, name))


def error(net: str, name: str) -> Answer:
    """Return the mean relative error of the logits."""
    return percent(runtime(net, f"error_{name}"), 2)


def apart(net: str, column: str) -> Answer:
    """Return a share of logits that differ."""
    return percent(runtime(net, column), 2)


def most(column: str) -> Answer:
    """Return the largest difference in steps, over all networks and seeds."""
    value = int(table("int8_runtime")[column].max())
    return value, str(value)


def smaller(net: str, name: str) -> Answer:
    """Return how many times smaller a file is than that in floats."""
    value = runtime(net, "bytes_float") / runtime(net, f"bytes_{name}")
    return value, f"{value:.2f}"


def flags() -> Answer:
    """Return what the processor of the tables can do with bytes."""
    words = str(table("int8_runtime")["flags"].iloc[0]).split()
    return len(words), " ".join(words)


def row(model: str, batch: int, channels: int = 1) -> pd.Series:
    """Return the row of a time."""
    rows = table("int8_latency")
    chosen = rows[["model", "batch", "channels"]] == [model, batch, channels]
    return rows[chosen.all(axis=1)].iloc[0]


def milliseconds(model: str, batch: int, name: str) -> Answer:
    """Return a median with its quartiles."""
    found = row(model, batch)
    median, low, high = (
        float(found[f"{name}_{part}_ms"]) for part in ("median", "low", "high")
    )
    digits = 2 if median >= 1 else 3
    return median, f"{median:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def ratio(model: str, batch: int, channels: int = 1) -> Answer:
    """Return how many times faster INT8 was."""
    value = float(row(model, batch, channels)["ratio"])
    return value, f"{value:.2f}"


@cache
def measured(name: str) -> list[float]:
    """Return a column for the drawn networks, by their seeds."""
    rows = table("int8_space")
    if name.endswith("_ms"):
        rows = table("int8_latency")
        rows = rows[rows["model"] == "chain"]
    return rows.set_index("seed")[name].loc[[*range(NETS)]].tolist()


@cache
def left_out(name: str) -> float:
    """Return the rank correlation of predictions for networks left out of the fit."""
    nets, values = [drawn_net(seed) for seed in range(NETS)], measured(name)
    found = [
        additive_quality(nets[:i] + nets[i + 1 :], values[:i] + values[i + 1 :])(
            nets[i]
        )
        for i in range(NETS)
    ]
    return spearman(np.array(found), np.array(values))


def correlation(name: str) -> Answer:
    """Return it as the pages print it."""
    value = left_out(name)
    return value, f"{value:.2f}"


@cache
def scores(time: str) -> dict[Space, float]:
    """Return the score of every space under the median of the drawn networks' times."""
    nets = [drawn_net(seed) for seed in range(NETS)]
    quality, duration = (
        remembered(additive_quality(nets, measured(n))) for n in ("validation", time)
    )
    budget = float(np.median([duration(net) for net in nets]))
    return {s: space_score(s, quality, duration, budget) for s in SPACES}


def remembered(predict: Measure) -> Measure:
    """Return the same prediction, computed once for each network."""
    known = {net: predict(net) for space in SPACES for net in nets_of(space)}
    return lambda net: known[net] if net in known else predict(net)


@cache
def searches() -> tuple[float, float]:
    """Return mean scores of the best of so many spaces: evolved, and drawn."""
    known, found = scores("int8_median_ms"), []
    for seed in range(SEARCHES):
        random = np.random.default_rng(seed)
        search = AgingEvolution(
            partial(drawn_space, random), partial(neighbour, random), random
        )
        seen = []
        for _ in range(LOOKS):
            space = search.ask()
            seen.append(known[space])
            search.tell(space, seen[-1])
        drawn = [known[drawn_space(random)] for _ in range(LOOKS)]
        found.append((max(seen), max(drawn)))
    evolved, by_luck = np.mean(found, axis=0)
    return float(evolved), float(by_luck)


def drawn_space(random: np.random.Generator) -> Space:
    """Return a random space."""
    return tuple(CHOICES[i] for i in random.integers(len(CHOICES), size=STAGES))


def neighbour(random: np.random.Generator, space: Space) -> Space:
    """Return a space that differs in one choice of one stage."""
    return mutated_space(space, BLOCKS, [WIDTHS[:2], WIDTHS[1:]], random)


def best_blocks(time: str) -> Answer:
    """Return how many blocks of the best space are plain, and all of them."""
    known = scores(time)
    space = max(known, key=lambda s: known[s])
    names = [stage.block.__name__ for stage in space]
    return names.count("conv_relu"), ", ".join(f"`{name}`" for name in names)


def all_spaces() -> Answer:
    """Return the mean score of all spaces."""
    return percent(float(np.mean([*scores("int8_median_ms").values()])))


def best_space() -> Answer:
    """Return the highest score of all spaces."""
    return percent(max(scores("int8_median_ms").values()))


def stage(before: str, after: str, net: str = "linear") -> Answer:
    """Return by how much one stage of Deep Compression alone makes the file smaller."""
    rows = table("deep_compression")
    rows = rows[(rows["net"] == net) & (rows["bits"] == "paper")]
    value = float((rows[f"{before}_bytes"] / rows[f"{after}_bytes"]).mean())
    return value, f"{value:.1f}"


NUMBERS: dict[str, Callable[[], Answer]] = {
    "onnx_flags": flags,
    "onnx_most_apart": partial(most, "engine_most_apart"),
    "onnx_fake_most_apart": partial(most, "fake_most_apart"),
    "onnx_fit_accuracy": partial(correlation, "validation"),
    "onnx_fit_int8": partial(correlation, "int8_median_ms"),
    "onnx_fit_float": partial(correlation, "float_median_ms"),
    "onnx_space_evolved": lambda: percent(searches()[0]),
    "onnx_space_drawn": lambda: percent(searches()[1]),
    "onnx_space_best": best_space,
    "onnx_space_mean": all_spaces,
    "onnx_space_blocks_int8": partial(best_blocks, "int8_median_ms"),
    "onnx_space_blocks_float": partial(best_blocks, "float_median_ms"),
    "onnx_stage_pruned": partial(stage, "dense", "pruned"),
    "onnx_stage_shared": partial(stage, "pruned", "shared"),
    "onnx_stage_coded": partial(stage, "shared", "coded"),
    "onnx_stages": partial(stage, "dense", "coded"),
}
for _net in NAMES:
    for _name in ARITHMETICS:
        NUMBERS[f"onnx_{_net}_{_name}"] = partial(accuracy, _net, _name)
        if _name != "float":
            NUMBERS[f"onnx_{_net}_error_{_name}"] = partial(error, _net, _name)
    for _column in ("engine_apart", "engine_two_apart", "fake_apart"):
        NUMBERS[f"onnx_{_net}_{_column}"] = partial(apart, _net, _column)
    for _name in ("ours", "static_channel_8"):
        NUMBERS[f"onnx_{_net}_smaller_{_name}"] = partial(smaller, _net, _name)
for _key, _model in (("wide", "plain_net(32)"), ("linear", "plain_mlp 3 x 1024")):
    for _batch in (1, 64):
        NUMBERS[f"onnx_{_key}_{_batch}_ratio"] = partial(ratio, _model, _batch)
        for _name in ("float", "int8", "torch"):
            NUMBERS[f"onnx_{_key}_{_batch}_{_name}"] = partial(
                milliseconds, _model, _batch, _name
            )
for _block, _channels in product(BLOCKS, (32, 64)):
    NUMBERS[f"onnx_{_block.__name__}_{_channels}"] = partial(
        ratio, _block.__name__, 1, _channels
    )


if __name__ == "__main__":
    seeds_from_command_line(__doc__)  # for --help; nothing here is random
    fill_numbers(__file__, NUMBERS, SOURCES)
