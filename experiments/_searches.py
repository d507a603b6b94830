"""Differentiable searches on the four-node cell, one function for each method.

A setting says on what and how long to search; a method is a function of a setting and
a seed that returns what it found:

    METHODS["DARTS"](setting, seed) -> Found(run, epochs, cell)

Digits, supernet, batches and rates are the same for all methods of a setting. Where a
method needs a setting of its own, its function says so.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from effdl.data.digits import Split
from effdl.nas.cell_space import EDGES, OPERATIONS, Cell
from effdl.nas.cellbench import load_cellbench
from effdl.nas.gradient.architecture import Architecture
from effdl.nas.gradient.auxiliary_skip import (
    auxiliary_architecture,
    auxiliary_edge,
    with_auxiliary_skip,
)
from effdl.nas.gradient.beta_decay import beta_decay_objective
from effdl.nas.gradient.early_stopping import (
    either,
    restore_,
    stop_at_skips,
    stop_when_stable,
)
from effdl.nas.gradient.fair_darts import gated_cell, zero_one_objective
from effdl.nas.gradient.found_cell import found_cell
from effdl.nas.gradient.gdas import GDAS
from effdl.nas.gradient.hessian import EigenvalueStop
from effdl.nas.gradient.method import DARTS, Method, SearchEpoch
from effdl.nas.gradient.mixed_net import MixedCell, prepare_for_search_, small_mixed_net
from effdl.nas.gradient.partial_channels import (
    EdgeArchitecture,
    PartialChannels,
    edge_normalised_weights,
)
from effdl.nas.gradient.perturbation import select_by_perturbation_
from effdl.nas.gradient.proxyless import PROXYLESS
from effdl.nas.gradient.relaxations import sigmoid_weights
from effdl.nas.gradient.search import Rates, search
from effdl.nas.gradient.second_order import second_order_step
from effdl.nas.gradient.snas import SNAS
from effdl.nas.gradient.steps import one_level_step, weight_step

EARLY, PARTS, TUNING = 8, 4, 2  # epochs, K of PC-DARTS, epochs of PT-DARTS
NAMES = [OPERATIONS] * len(EDGES)
CONVOLUTIONS = ("nor_conv_1x1", "nor_conv_3x3")


@dataclass(frozen=True)
class Setting:
    """On what to search, and how long.

    Attributes:
        train: Images for the weights.
        validation: Images for the architecture.
        rates: Learning rates.
        cells: Cells in every stage of the supernet.
        epochs: Passes over ``train``.
        batch: Images at once.
    """

    train: Split
    validation: Split
    rates: Rates
    cells: int
    epochs: int
    batch: int = 64


@dataclass
class Run:
    """What one search works with and leaves."""

    setting: Setting
    supernet: nn.Module
    architecture: Architecture
    seed: int
    kept: int = -1  # epoch that is returned, from 0
    seconds: float = 0.0
    note: str = ""  # largest eigenvalues, or how many evaluations a selection took

    def go(self, method: Method = DARTS, **changes: object) -> list[SearchEpoch]:
        """Search in the setting but for some changes, and return the epochs."""
        here = replace(self.setting, **changes)
        parts = (here.train, here.validation)
        done = search(
            self.supernet,
            self.architecture,
            *(part.batches(here.batch, seed=self.seed) for part in parts),
            epochs=here.epochs,
            method=method,
            rates=here.rates,
        )
        self.kept = len(done) - 1
        self.seconds += done[-1].seconds
        return done


class Found(NamedTuple):
    """A run, what its epochs left, and its cell."""

    run: Run
    epochs: list[SearchEpoch]
    cell: Cell


def start(
    setting: Setting,
    seed: int,
    *,
    supernet: nn.Module | None = None,
    architecture: Architecture | None = None,
) -> Run:
    """Return a run that has not begun."""
    supernet = supernet or small_mixed_net(cells=setting.cells)
    return Run(setting, supernet, architecture or Architecture(NAMES), seed)


def strongest(run: Run, epochs: list[SearchEpoch]) -> Found:
    """Return the run with the cell of the strongest operations."""
    return Found(run, epochs, found_cell(run.architecture))


def with_method(method: Method, setting: Setting, seed: int) -> Found:
    """Run a method that needs nothing but its functions."""
    run = start(setting, seed)
    return strongest(run, run.go(method))


def all_images(setting: Setting) -> Split:
    """Return both parts as one: for a single level."""
    parts = (setting.train, setting.validation)
    inputs, targets = (
        torch.cat([getattr(part, name) for part in parts])
        for name in ("inputs", "targets")
    )
    return Split(inputs, targets)


def on_one_level(method: Method, setting: Setting, seed: int) -> Found:
    """Run a method with one level on all images of both parts."""
    run = start(setting, seed)
    return strongest(run, run.go(method, train=all_images(setting)))


def darts_minus(setting: Setting, seed: int) -> Found:
    """An auxiliary skip that fades out."""
    run = start(
        setting,
        seed,
        supernet=small_mixed_net(cells=setting.cells, make_edge=auxiliary_edge),
        architecture=auxiliary_architecture(NAMES),
    )
    return strongest(run, run.go(Method(relax=with_auxiliary_skip())))


def fair_open(setting: Setting, seed: int) -> Found:
    """FairDARTS, with only those gates that are open."""
    run, epochs, _ = METHODS["FairDARTS"](setting, seed)
    return Found(run, epochs, gated_cell(run.architecture))


def robust(setting: Setting, seed: int) -> Found:
    """Stop when the largest eigenvalue grows, and go back: to epoch 9 at the earliest.

    It is judged on 100 images.
    """
    run = start(setting, seed)
    [batch, *_] = setting.validation.batches(100)
    rule = EigenvalueStop(batch, earliest=EARLY)
    epochs = run.go(Method(after_epoch=rule))
    run.kept = rule.epoch
    run.note = " ".join(f"{value:.3g}" for value in rule.eigenvalues)
    restore_(run.architecture, epochs[rule.epoch])
    return strongest(run, epochs)


def large_decay(setting: Setting, seed: int) -> Found:
    """The largest weight decay that RobustDARTS tries: 27 times the usual one."""
    run = start(setting, seed)
    return strongest(run, run.go(rates=replace(setting.rates, weight_decay=81e-4)))


def perturbed(setting: Setting, seed: int) -> Found:
    """Plain search, then selection by perturbation with epochs of tuning."""
    run = start(setting, seed)
    epochs = run.go()
    rate = setting.rates.weights / 10
    slow = replace(setting.rates, weights=rate, weights_end=rate)

    def tune() -> None:
        run.go(Method(step=weight_step), epochs=TUNING, rates=slow)

    random = np.random.default_rng(seed)
    parts = (run.supernet, run.architecture, setting.validation, random)
    run.note = str(select_by_perturbation_(*parts, tune=tune).evaluations)
    run.kept = len(epochs) - 1
    return strongest(run, epochs)


def partial_channels(setting: Setting, seed: int) -> Found:
    """A quarter of the channels in the mixture, a number for each edge; no warm-up."""
    net = small_mixed_net(cells=setting.cells)
    for place, layer in enumerate(net.layers):
        if isinstance(layer, MixedCell):
            width = layer.edges[0].candidates["nor_conv_1x1"].conv.in_channels
            make_edge = partial(PartialChannels, parts=PARTS)
            net.layers[place] = MixedCell(width // PARTS, OPERATIONS, make_edge)
    prepare_for_search_(net, MixedCell)
    found = EdgeArchitecture(NAMES, [target for _, target in EDGES])
    run = start(setting, seed, supernet=net, architecture=found)
    return strongest(run, run.go(Method(relax=edge_normalised_weights)))


FAIR = Method(relax=sigmoid_weights, objective=zero_one_objective())
PLUS = Method(after_epoch=either(stop_at_skips(), stop_when_stable(CONVOLUTIONS)))

METHODS: dict[str, Callable[[Setting, int], Found]] = {
    "DARTS": partial(with_method, DARTS),
    "second order": partial(with_method, Method(step=second_order_step)),
    "second order, wide": partial(
        with_method, Method(step=partial(second_order_step, radius=0.1))
    ),
    "one level": partial(on_one_level, Method(step=one_level_step)),
    "PC-DARTS": partial_channels,
    "DARTS-": darts_minus,
    "FairDARTS": partial(with_method, FAIR),
    "FairDARTS, open gates": fair_open,
    "beta-DARTS": partial(with_method, Method(objective=beta_decay_objective())),
    "DARTS+": partial(with_method, PLUS),
    "RobustDARTS, stop": robust,
    "RobustDARTS, L2": large_decay,
    "PT-DARTS": perturbed,
    "GDAS": partial(with_method, GDAS),
    "SNAS": partial(on_one_level, SNAS),
    "ProxylessNAS": partial(with_method, PROXYLESS),
}


def looked_up(cell: Cell, part: str) -> float:
    """Return a mean accuracy of the benchmark, nan if a cell is disconnected."""
    table = load_cellbench()
    return float(table.mean(part)[table.row(cell)]) if table.has_row(cell) else np.nan
