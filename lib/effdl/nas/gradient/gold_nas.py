"""GOLD-NAS: one level, a price that rises, and weak operations that are dropped.

Paper: Bi et al., "GOLD-NAS: Gradual, One-Level, Differentiable", 2020,
https://arxiv.org/abs/2007.03331.

Sigmoid gates do not compete, so with the loss alone all operations would stay. A price
makes them compete (:mod:`effdl.nas.gradient.gate_pruning` has it):

    w and alpha minimise   L_train + lambda * price,    price_k = 1 + mu cost_k

After every epoch all operations below a low share are dropped, and of those below a
higher one a few more. Was that enough, lambda falls; otherwise it rises, by steps that
grow:

    enough:      lambda <- lambda / factor,      step <- start
    too few:     step   <- factor * step,        lambda <- lambda + step

So one search passes through a family of networks, each smaller than the one before.

What differs: price and pace follow a public reimplementation, sunsmarterjie/GOLD_NAS,
and were not compared with the paper itself. Costs are in units of the mean operation,
so that mu does not hang on a unit. The paper's cells differ from each other; here all
have one set of gates.

The whole training data may be used: there is no validation batch. What the family's
members are worth is not known before they are trained alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from effdl.nas.gradient.architecture import Architecture
from effdl.nas.gradient.gate_pruning import (
    NONE,
    PACE,
    Pace,
    drop_weak_,
    gold_price,
    operations_left,
)
from effdl.nas.gradient.method import Method, SearchEpoch
from effdl.nas.gradient.relaxations import sigmoid_weights
from effdl.nas.gradient.steps import Searching, one_level_step
from effdl.nas.hardware.expected_cost import CostTable


class Member(NamedTuple):
    """One network that a search passed through.

    Attributes:
        left: The operations of every edge; none is an edge without.
        cost: Their sum and the base, in the table's unit.
        epoch: From which it was there, from 0.
    """

    left: tuple[tuple[str, ...], ...]
    cost: float
    epoch: int


class GoldNas:
    """What GOLD-NAS puts into a search, and the family of networks that comes of it.

    Args:
        architecture: The one to be searched.
        table: What each of its candidates costs.
        nodes: The number of the node that each edge enters, (edges,).
        mu: How much an operation's cost counts beside its being there, 0 or more.
        pace: How fast operations go.
        cheapest: The search stops when what is left costs no more.

    Raises:
        ValueError: If the numbers of edges differ, ``mu`` is negative, or no operation
            costs anything while ``mu`` is above 0.

    Attributes:
        weight: Of the price now, lambda.
        family: The networks passed, the whole one first; each cheaper, or as cheap.

    Example:
        >>> found = Architecture([("none", "skip", "conv")] * 2)
        >>> table = CostTable(1.0, torch.tensor([[0.0, 0.0, 3.0]] * 2))
        >>> gold = GoldNas(found, table, [1, 1])
        >>> gold.family[0].cost
        7.0
    """

    def __init__(
        self,
        architecture: Architecture,
        table: CostTable,
        nodes: Sequence[int],
        *,
        mu: float = 1.0,
        pace: Pace = PACE,
        cheapest: float = 0.0,
    ) -> None:
        there = operations_left(architecture)
        if not len(nodes) == len(table.extra) == len(there):
            raise ValueError(
                f"nodes and table must be of {len(there)} edges, as the architecture, "
                f"got {len(nodes)} and {len(table.extra)}"
            )
        mean = float(table.extra[there].mean())
        if not mu >= 0 or (mu > 0 and not mean > 0):
            raise ValueError(
                "mu must be 0 or larger, and 0 if nothing costs anything, got "
                f"{mu} and a mean cost of {mean}"
            )
        self.table, self.nodes, self.pace = table, tuple(nodes), pace
        uniform = torch.ones_like(table.extra)
        self.prices = uniform + mu * table.extra / mean if mu else uniform
        self.cheapest = cheapest
        self.weight, self._step = 0.0, pace.start
        self.family = [self._member(architecture, 0)]

    def method(self) -> Method:
        """Return the functions that enter :func:`~effdl.nas.gradient.search.search`."""
        return Method(
            relax=sigmoid_weights,
            objective=self.objective,
            step=one_level_step,
            after_epoch=self.after_epoch,
        )

    def objective(self, loss: Tensor, gates: Tensor, searching: Searching) -> Tensor:
        """Return the loss and lambda times the price."""
        there = operations_left(searching.architecture)
        return loss + self.weight * gold_price(gates, self.prices, there, self.nodes)

    def after_epoch(self, searching: Searching, epochs: list[SearchEpoch]) -> bool:
        """Drop what is weak and change lambda.

        Returns:
            Whether what is left is cheap enough to stop.
        """
        found, gates = searching.architecture, epochs[-1].weights
        dropped = drop_weak_(found, gates, self.nodes, pace=self.pace)
        if dropped >= self.pace.enough:
            self.weight, self._step = self.weight / self.pace.factor, self.pace.start
        else:
            self._step *= self.pace.factor
            self.weight += self._step
        if dropped:
            self.family.append(self._member(found, len(epochs)))
        return self.family[-1].cost <= self.cheapest

    def _member(self, architecture: Architecture, epoch: int) -> Member:
        there = operations_left(architecture)
        cost = self.table.base + float(self.table.extra[there].sum())
        edges = range(len(there))
        left = (tuple(n for n in architecture.left(e) if n != NONE) for e in edges)
        return Member(tuple(left), cost, epoch)
