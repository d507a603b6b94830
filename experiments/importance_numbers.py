"""The numbers that the pages print about importance criteria.

A page prints {{ key }}. importance_criteria.py and channel_criteria.py run before; what
is not in their tables is computed here, for the networks of the same seeds.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import nn

from _numbers import Answer, fill_numbers
from _results import Row, read_table, seeds_from_command_line
from effdl.blocks import plain_mlp
from effdl.data.files import data_path
from effdl.prune.data_free import merge_neurons
from effdl.prune.magnitude import magnitude_scores
from effdl.prune.obd import exact_curvature, hutchinson_curvature
from effdl.prune.obd_backward import backward_curvature
from effdl.prune.sensitivity import chosen_weights, shrink_insensitive
from effdl.prune.thresholds import global_masks
from effdl.seed import seeded
from effdl.train import train_classifier
from importance_criteria import (
    MIDDLE,
    WIDTHS,
    digits,
    images,
    on_test,
    trained,
    true_increases,
)

SOURCES = ("results/importance_criteria.csv", "results/channel_criteria.csv")
SEEDS = (0, 1, 2)  # of what is computed here
CRITERIA = {
    "random": "random",
    "magnitude": "magnitude",
    "lamp": "LAMP",
    "snip": "SNIP",
    "sensitivity": "sensitivity",
    "weighted": "weight times sensitivity",
    "hutchinson": "OBD, Hutchinson",
    "backward": "OBD, backward",
    "exact": "OBD, exact",
    "layer": "layer-wise OBS",
    "wood": "WoodFisher",
    "obs": "OBS",
    "both": "slope and curvature",
    "truth": "truth",
    "other": "other images",
    "layer_step": "layer-wise OBS, with step",
    "wood_step": "WoodFisher, with step",
    "obs_step": "OBS, with step",
}
COLUMNS = ("only_50", "only_75", "only_90", "net_75", "global_75", "tuned_875")
CHANNELS = {
    "norm": "filter norm",
    "scale": "batch-norm scale",
    "2017": "Taylor 2017",
    "2019": "Taylor 2019",
    "other": "other images",
}


def table(source: str) -> list[Row]:
    """Return the rows of one of the tables."""
    return read_table(data_path(source))


def percent(share: float) -> Answer:
    """Return an accuracy or a share as the pages print it."""
    return share, f"{100 * share:.1f} %"


def correlation(value: float) -> Answer:
    """Return a correlation as the pages print it."""
    return value, f"{value:.2f}"


def values(source: str, criterion: str, column: str) -> list[float]:
    """Return what all seeds have in a column."""
    rows = [row for row in table(source) if row["criterion"] == criterion]
    return [float(row[column]) for row in rows if row[column]]


def mean_of(source: str, criterion: str, column: str) -> float:
    """Return the mean over the seeds."""
    return float(np.mean(values(source, criterion, column)))


def truth_gap() -> Answer:
    """Return by how much the truth prunes worse than magnitude, in points."""
    gaps = np.subtract(
        values(SOURCES[0], "magnitude", "only_50"),
        values(SOURCES[0], "truth", "only_50"),
    )
    return float(gaps.mean()), f"{100 * gaps.mean():.1f}"


def truth_wins(column: str) -> Answer:
    """Return in how many seeds the truth prunes better than magnitude."""
    ours = values(SOURCES[0], "truth", column)
    theirs = values(SOURCES[0], "magnitude", column)
    wins = int(np.greater(ours, theirs).sum())
    return wins, str(wins)


def falling() -> float:
    """Return the share of the weights without which the loss is lower."""
    return float(np.mean([(true_increases(s) < 0).float().mean() for s in SEEDS]))


@cache
def curvature_error(way: str) -> float:
    """Return the relative error of an estimate of the curvature."""
    found = []
    for seed in SEEDS:
        net, (x, y) = trained(seed), images(seed)
        exact = exact_curvature(net, x, y, names=[MIDDLE])[MIDDLE]
        with seeded(seed):
            ways = {"backward": backward_curvature, "hutchinson": hutchinson_curvature}
            h = ways[way](net, x, y)[MIDDLE]
        found.append(float((h - exact).norm() / exact.norm()))
    return float(np.mean(found))


def merged(count: int) -> float:
    """Return the test accuracy after mergers in the first hidden layer."""
    found = []
    for seed in SEEDS:
        net: Any = copy.deepcopy(trained(seed))
        net[1], net[3], _ = merge_neurons(net[1], net[3], count)
        found.append(on_test(net))
    return float(np.mean(found))


@cache
def faded(seed: int, rate: float) -> nn.Module:
    """Return a network that shrank, or not, what moved no output."""
    with seeded(seed):
        net = plain_mlp(WIDTHS)
    few = digits().train.inputs[:32]
    after_step = shrink_insensitive(net, few, rate=rate, every=10)
    train_classifier(net, digits().train, seed=seed, after_step=after_step)
    return net.eval()


def near_zero(rate: float) -> float:
    """Return the share of weights below a hundredth."""
    weights = [
        torch.cat([w.detach().flatten() for w in chosen_weights(net).values()])
        for net in (faded(seed, rate) for seed in SEEDS)
    ]
    return float(np.mean([(w.abs() < 0.01).float().mean() for w in weights]))


def faded_pruned(rate: float) -> float:
    """Return the test accuracy after magnitude took seven eighths of all weights."""
    found = []
    for seed in SEEDS:
        net = copy.deepcopy(faded(seed, rate))
        masks = global_masks(magnitude_scores(net), 0.875)
        for name, mask in masks.items():
            net.get_parameter(name).data *= mask
        found.append(on_test(net))
    return float(np.mean(found))


def faded_dense(rate: float) -> float:
    """Return the test accuracy before anything was pruned."""
    return float(np.mean([on_test(faded(seed, rate)) for seed in SEEDS]))


def mean(
    source: str, criterion: str, column: str, show: Callable[[float], Answer]
) -> Callable[[], Answer]:
    """Return how the mean over the seeds is computed."""
    return lambda: show(mean_of(source, criterion, column))


def numbers() -> dict[str, Callable[[], Answer]]:
    """Return how each number is computed."""
    weights, channels = SOURCES
    found: dict[str, Callable[[], Answer]] = {}
    for slug, name in CRITERIA.items():
        if values(weights, name, "correlation"):
            rank = mean(weights, name, "correlation", correlation)
            found[f"criteria_{slug}_rank"] = rank
        for column in COLUMNS:
            if values(weights, name, column):
                share = mean(weights, name, column, percent)
                found[f"criteria_{slug}_{column}"] = share
    for slug, name in CHANNELS.items():
        for column in ("pooled", "within"):
            rank = mean(channels, name, column, correlation)
            found[f"criteria_channel_{slug}_{column}"] = rank
    seeds = len(values(weights, "magnitude", "correlation"))
    return found | {
        "criteria_seeds": lambda: (seeds, str(seeds)),
        "criteria_dense": lambda: percent(mean_of(weights, "magnitude", "dense")),
        "criteria_truth_gap": truth_gap,
        "criteria_truth_wins": lambda: truth_wins("only_50"),
        "criteria_truth_wins_75": lambda: truth_wins("only_75"),
        "criteria_falling": lambda: percent(falling()),
        "criteria_backward_error": lambda: correlation(curvature_error("backward")),
        "criteria_hutchinson_error": lambda: correlation(curvature_error("hutchinson")),
        "criteria_merged_5": lambda: percent(merged(5)),
        "criteria_merged_10": lambda: percent(merged(10)),
        "criteria_merged_20": lambda: percent(merged(20)),
        "criteria_small": lambda: percent(near_zero(0.0)),
        "criteria_faded_small": lambda: percent(near_zero(0.001)),
        "criteria_plain_dense": lambda: percent(faded_dense(0.0)),
        "criteria_faded_dense": lambda: percent(faded_dense(0.001)),
        "criteria_plain_pruned": lambda: percent(faded_pruned(0.0)),
        "criteria_faded_pruned": lambda: percent(faded_pruned(0.001)),
    }


if __name__ == "__main__":
    seeds_from_command_line(__doc__)  # for --help; the seeds are those of the tables
    fill_numbers(__file__, numbers(), SOURCES)
