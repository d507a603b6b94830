"""The numbers that the page on lottery tickets prints.

A page prints {{ key }}. lottery_ticket.py and lottery_stability.py run before. Numbers
of edge-popup and of graphs are means over three seeds, computed here.
"""

from __future__ import annotations

from functools import cache
from statistics import mean, stdev

import torch
import torch.nn.functional as F
from torch.optim import SGD, Adam

from _lottery import SPARSITIES, digits, test_accuracy
from _numbers import Answer, fill_numbers
from _results import read_table, seeds_from_command_line
from effdl.blocks import plain_mlp
from effdl.data.files import data_path
from effdl.prune.edge_popup import popup_, signed_constant_
from effdl.prune.graph_tickets import (
    GatedGraphNet,
    block_graph,
    gate_penalty,
    prune_and_rewind_,
)
from effdl.prune.recipe import Recipe
from effdl.seed import seeded
from effdl.train import fit, warm_up_cosine

SOURCES = ("results/lottery_stability.csv", "results/lottery_ticket.csv")
SEEDS = (0, 1, 2)
MIDDLE, LAST = SPARSITIES[2], SPARSITIES[-1]


@cache
def column(net: str, sparsity: float, name: str) -> list[float]:
    """Return the test accuracies of all seeds."""
    rows = read_table(data_path("results/lottery_ticket.csv"))
    chosen = [r for r in rows if r["net"] == net and float(r["sparsity"]) == sparsity]
    return [float(row[name]) for row in chosen]


def percent(values: list[float]) -> Answer:
    """Return the mean of accuracies as the pages print it."""
    return mean(values), f"{100 * mean(values):.1f} %"


def points(values: list[float]) -> Answer:
    """Return the mean of differences and its standard error, in points."""
    error = stdev(values) / len(values) ** 0.5
    sign = "minus " if mean(values) < 0 else ""
    told = f"{sign}{100 * abs(mean(values)):.1f} ± {100 * error:.1f} points"
    return mean(values), told


def gain(sparsity: float, name: str, over: str) -> Answer:
    """Return by how much one column is above another, seed by seed."""
    pairs = zip(
        column("mlp", sparsity, name), column("mlp", sparsity, over), strict=True
    )
    return points([a - b for a, b in pairs])


def hill(step: int, name: str = "barrier") -> Answer:
    """Return the mean barrier of copies that part at a step, in points."""
    rows = read_table(data_path("results/lottery_stability.csv"))
    values = [float(r[name]) for r in rows if int(r["step"]) == step]
    return mean(values), f"{100 * mean(values):.1f} points"


@cache
def popped_up(seed: int) -> float:
    """Return the test accuracy of the best half of random weights, ten epochs."""
    with seeded(seed):
        net = plain_mlp()
        signed_constant_(net, kept=0.5)
        scores = popup_(net, 0.5)

    def sgd(_parameters: object) -> SGD:
        return SGD(scores, 0.4, 0.9)

    Recipe(digits().train, sgd, factor=warm_up_cosine, seed=seed)(net)
    return test_accuracy(net)


@cache
def cut_edges(seed: int) -> dict[str, float]:
    """Return the share of edges across blocks, of all and of those that went."""
    with seeded(seed):
        block = torch.arange(300) % 3
        graph = block_graph(block, inside=0.06, across=0.02)
        features = F.one_hot(block, 3) + 1.5 * torch.randn(300, 3)
        known = torch.randperm(300)[:200]
        net = GatedGraphNet(graph, (3, 16, 3))

    def loss_of(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        loss = F.cross_entropy(net(x)[known], y[known])
        return loss + gate_penalty(net, edges=1e-4, weights=1e-4)

    first = net.weights()
    for _ in range(7):
        adam = Adam(net.parameters(), 0.02)
        fit(net, loss_of, [(features, block)], adam, epochs=100)
        prune_and_rewind_(net, first)
    across = (block[net.edges[0]] != block[net.edges[1]]).float()
    labelled = torch.isin(net.edges, known).all(dim=0)
    gone = ~net.left["edges"]
    return {
        "all": across.mean().item(),
        "known": across[labelled & gone].mean().item(),
        "others": across[~labelled & gone].mean().item(),
    }


def edges(which: str) -> Answer:
    """Return a share of edges as the pages print it."""
    value = mean(cut_edges(seed)[which] for seed in SEEDS)
    return value, f"{100 * value:.0f} %"


NUMBERS = {
    "lottery_seeds": lambda: (n := len(column("mlp", MIDDLE, "ticket")), str(n)),
    "lottery_dense": lambda: percent(column("mlp", MIDDLE, "dense")),
    "lottery_ticket": lambda: percent(column("mlp", MIDDLE, "ticket")),
    "lottery_reinit": lambda: percent(column("mlp", MIDDLE, "reinit")),
    "lottery_shuffled": lambda: percent(column("mlp", MIDDLE, "shuffled")),
    "lottery_uniform": lambda: percent(column("mlp", MIDDLE, "uniform")),
    "lottery_last_ticket": lambda: percent(column("mlp", LAST, "ticket")),
    "lottery_last_reinit": lambda: percent(column("mlp", LAST, "reinit")),
    "lottery_last_one_shot": lambda: percent(column("mlp", LAST, "one_shot")),
    "lottery_one_shot": lambda: percent(column("mlp", MIDDLE, "one_shot")),
    "lottery_rewound": lambda: gain(MIDDLE, "rewound", "ticket"),
    "lottery_last_rewound": lambda: gain(LAST, "rewound", "ticket"),
    "lottery_rate": lambda: gain(MIDDLE, "rate_rewound", "ticket"),
    "lottery_last_rate": lambda: gain(LAST, "rate_rewound", "ticket"),
    "lottery_conv_dense": lambda: percent(column("conv", 0.875, "dense")),
    "lottery_conv_ticket": lambda: percent(column("conv", 0.875, "ticket")),
    "lottery_conv_reinit": lambda: percent(column("conv", 0.875, "reinit")),
    "lottery_conv_shuffled": lambda: percent(column("conv", 0.875, "shuffled")),
    "lottery_conv_rewound": lambda: percent(column("conv", 0.875, "rewound")),
    "lottery_hill_first": lambda: hill(0),
    "lottery_hill_late": lambda: hill(180),
    "lottery_hill_strangers": lambda: hill(0, "strangers"),
    "lottery_popup": lambda: percent([popped_up(seed) for seed in SEEDS]),
    "lottery_edges_all": lambda: edges("all"),
    "lottery_edges_known": lambda: edges("known"),
    "lottery_edges_others": lambda: edges("others"),
}


if __name__ == "__main__":
    seeds_from_command_line(__doc__)  # for --help; nothing is drawn from these
    fill_numbers(__file__, NUMBERS, SOURCES)
