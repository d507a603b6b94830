"""Architecture parameters: one number for every candidate on every edge.

Paper: Liu et al., "DARTS: Differentiable Architecture Search", ICLR 2019,
https://arxiv.org/abs/1806.09055, section 2.2.

    alpha[e, k]    how much the search wants candidate k on edge e: a logit

An edge is a place where one operation is to be chosen: an edge of a cell, or a layer
of a chain. What turns logits into the weights of a mixture is not decided here, but by
a relaxation (:mod:`effdl.nas.gradient.relaxations`).

Methods that drop candidates during the search make them *inactive*: their logit counts
as minus infinity, so that any relaxation gives them the weight 0. An edge with fewer
candidates than another is filled up with inactive ones.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Architecture(nn.Module):
    """The logits of a search, and which candidates are left.

    Args:
        candidates: Names of the candidates of each edge, in the supernet's order.
        spread: Standard deviation of the logits at the start; 0 makes all equal.

    Raises:
        ValueError: If there is no edge, an edge has no candidate or the same one twice,
            or ``spread`` is negative.

    Attributes:
        candidates: As given, (edges,) of tuples.
        logits: The parameter, (edges, K); K is the largest number of candidates.
        active: Which candidates are left, bool, (edges, K).

    Example:
        >>> found = Architecture([("skip", "conv")] * 2, spread=0)
        >>> found.masked_logits().softmax(dim=1)
        tensor([[0.5000, 0.5000],
                [0.5000, 0.5000]], grad_fn=<SoftmaxBackward0>)
    """

    active: Tensor

    def __init__(
        self, candidates: Sequence[Sequence[str]], *, spread: float = 1e-3
    ) -> None:
        super().__init__()
        self.candidates = tuple(map(tuple, candidates))
        if not self.candidates:
            raise ValueError("candidates is empty; give the names for each edge")
        for edge, names in enumerate(self.candidates):
            if not names or len(set(names)) < len(names):
                raise ValueError(
                    f"candidates[{edge}] must name different operations, at least one, "
                    f"got {list(names)}"
                )
        if not spread >= 0:
            raise ValueError(f"spread must be 0 or larger, got {spread}")
        shape = (len(self.candidates), max(map(len, self.candidates)))
        self.logits = nn.Parameter(spread * torch.randn(shape))
        active = torch.zeros(shape, dtype=torch.bool)
        for edge, names in enumerate(self.candidates):
            active[edge, : len(names)] = True
        self.register_buffer("active", active)

    def forward(self) -> Tensor:
        """Return :meth:`masked_logits`."""
        return self.masked_logits()

    def masked_logits(self) -> Tensor:
        """Return the logits (edges, K), minus infinity where a candidate is inactive.

        Raises:
            ValueError: If an active logit is infinite or not a number.
        """
        if not bool(torch.isfinite(self.logits).all()):
            edge = int((~self.logits.isfinite()).any(dim=1).nonzero()[0])
            raise ValueError(
                f"logits of edge {edge} are {self.logits[edge].tolist()}; they must be "
                "finite: try a smaller learning rate of the architecture"
            )
        return self.logits.masked_fill(~self.active, -torch.inf)

    def keep_(self, edge: int, names: Sequence[str]) -> None:
        """Make all candidates of an edge inactive but these, in place.

        Args:
            edge: Its number, from 0.
            names: Those left, at least one; active until now.

        Raises:
            ValueError: If there is none, or one is no active candidate.
        """
        left = self.left(edge)
        if not names or not set(names) <= set(left):
            raise ValueError(
                f"names must be one or more of {list(left)}, which are active on edge "
                f"{edge}, got {list(names)}"
            )
        for place, name in enumerate(self.candidates[edge]):
            self.active[edge, place] = name in names

    def left(self, edge: int) -> tuple[str, ...]:
        """Return the names of the active candidates of an edge.

        Args:
            edge: Its number, from 0.
        """
        named = zip(self.candidates[edge], self.active[edge].tolist(), strict=False)
        return tuple(name for name, is_active in named if is_active)

    def strongest(self, *, never: Sequence[str] = ("none",)) -> tuple[str, ...]:
        """Return the active candidate with the highest logit on every edge.

        Args:
            never: Names that are not chosen; unless nothing else is left on an edge.
        """
        with torch.no_grad():
            logits = self.masked_logits().tolist()
        chosen = []
        for edge, names in enumerate(self.candidates):
            left = self.left(edge)
            allowed = [name for name in left if name not in never] or list(left)
            chosen.append(max(allowed, key=lambda n: logits[edge][names.index(n)]))
        return tuple(chosen)

    def one_hot(self, chosen: Sequence[str]) -> Tensor:
        """Return the weights (edges, K) of one discrete architecture: 1 where chosen.

        Args:
            chosen: One candidate for each edge.

        Raises:
            ValueError: If there are too few or too many, or one is no candidate.
        """
        if len(chosen) != len(self.candidates):
            raise ValueError(
                f"chosen must name {len(self.candidates)} candidates, one per edge, "
                f"got {len(chosen)}"
            )
        weights = torch.zeros_like(self.logits)
        for edge, (name, names) in enumerate(zip(chosen, self.candidates, strict=True)):
            if name not in names:
                raise ValueError(
                    f"chosen[{edge}] must be one of {list(names)}, got {name!r}"
                )
            weights[edge, names.index(name)] = 1.0
        return weights.detach()
