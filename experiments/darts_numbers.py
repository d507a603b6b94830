"""The numbers that the pages print about the cell of DARTS and its cheaper supernets.

A page prints {{ key }}. What searches found comes from gradient_search.py, which runs
before; what their supernets keep for the backward pass is counted here.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from torch import nn

from _numbers import Answer, fill_numbers
from _results import read_table, seeds_from_command_line
from effdl.data.files import data_path
from effdl.nas.gradient.darts_supernet import darts_architecture, small_darts_supernet
from effdl.nas.gradient.mixed_net import small_mixed_net
from effdl.nas.gradient.partial_channels import small_partial_net
from effdl.nas.gradient.progressive import STAGES, narrow_
from effdl.nas.gradient.relaxations import softmax_weights
from effdl.nas.gradient.saved import saved_elements
from effdl.seed import seeded

SOURCES = ("results/gradient_search.csv",)
SCENES = 64  # in a batch of the searches
HEAVIEST = ("sep_conv_5x5", "dil_conv_5x5", "sep_conv_3x3", "dil_conv_3x3")


def column(method: str, name: str) -> list[float]:
    """Return what all searches of a method found."""
    rows = read_table(data_path(SOURCES[0]))
    return [float(row[name]) for row in rows if row["method"] == method]


def mean(method: str, name: str) -> Answer:
    """Return the mean of an accuracy over the searches of a method."""
    return percent(float(np.mean(column(method, name))))


def gap(method: str) -> Answer:
    """Return what discretisation costs a method, with inherited weights."""
    lost = np.subtract(column(method, "mixture"), column(method, "discrete")).mean()
    return float(lost), f"{100 * lost:.0f} points"


def kept_by(net: nn.Module) -> int:
    """Return how many elements a supernet of the four-node cell keeps of a batch."""
    x, weights = torch.zeros(SCENES, 1, 12, 12), torch.full((6, 5), 0.2)
    return saved_elements(lambda: net(x, weights.requires_grad_()))


@cache
def kept_in_stage(stage: int, *, heaviest: bool) -> int:
    """Return how many elements a stage of P-DARTS keeps of one scene.

    Args:
        stage: Its number, from 0.
        heaviest: Whether the convolutions are left, and not candidates drawn at random.
    """
    net = small_darts_supernet(cells=STAGES[stage].cells)
    architecture = darts_architecture()
    with seeded(stage), torch.no_grad():
        nn.init.normal_(architecture.logits)
        if heaviest:
            for rank, name in enumerate(reversed(HEAVIEST), start=1):
                place = architecture.candidates[0].index(name)
                architecture.logits[:, place] += 10.0 * rank
    narrow_(architecture, STAGES[stage].candidates)
    x = torch.zeros(1, 1, 12, 12)
    return saved_elements(lambda: net(x, softmax_weights(architecture)))


def stage_ratio(stage: int, *, heaviest: bool) -> Answer:
    """Return what a stage keeps, as a multiple of the first stage."""
    first = kept_in_stage(0, heaviest=heaviest)
    return factor(kept_in_stage(stage, heaviest=heaviest) / first)


def percent(share: float) -> Answer:
    """Return an accuracy or a share as the pages print it."""
    return share, f"{100 * share:.1f} %"


def factor(number: float) -> Answer:
    """Return a ratio as the pages print it."""
    return number, f"{number:.2f}"


NUMBERS = {
    "darts_mixture": lambda: mean("DARTS", "mixture"),
    "darts_inherited": lambda: mean("DARTS", "discrete"),
    "darts_gap": lambda: gap("DARTS"),
    "darts_found": lambda: mean("DARTS", "test"),
    "darts_pc_mixture": lambda: mean("PC-DARTS", "mixture"),
    "darts_pc_inherited": lambda: mean("PC-DARTS", "discrete"),
    "darts_pc_found": lambda: mean("PC-DARTS", "test"),
    "darts_pc_kept": lambda: factor(
        kept_by(small_partial_net()) / kept_by(small_mixed_net())
    ),
    "darts_p_kept_2": lambda: stage_ratio(1, heaviest=False),
    "darts_p_kept_3": lambda: stage_ratio(2, heaviest=False),
    "darts_p_heaviest_2": lambda: stage_ratio(1, heaviest=True),
    "darts_p_heaviest_3": lambda: stage_ratio(2, heaviest=True),
}


if __name__ == "__main__":
    seeds_from_command_line(__doc__)  # for --help; nothing here is random
    fill_numbers(__file__, NUMBERS, SOURCES)
