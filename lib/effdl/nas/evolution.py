"""Aging evolution: the best of a few has a child, and the oldest of all dies.

Paper: Real et al., "Regularized Evolution for Image Classifier Architecture Search",
AAAI 2019, https://arxiv.org/abs/1802.01548, section 3.2.

    at first     draw P members at random
    then         of S drawn from the population, the best becomes a parent;
                 its child, one mutation away, joins; the oldest leaves

A member dies of age, not of its score. So one lucky score cannot stay for ever: to
last, a design has to be found good again in its children.

The strategy knows its space through two functions, and works in any.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

import numpy as np

from effdl.checks import check_positive

Member = TypeVar("Member")


class AgingEvolution(Generic[Member]):
    """The strategy of aging evolution, for :func:`effdl.nas.search.run_search`.

    Args:
        sample: Returns a random member of the space.
        mutate: Returns a member near to one.
        random: Draws the tournaments.
        population: P, how many are alive.
        tournament: S, how many compete to become a parent; drawn with repetition.

    Example:
        >>> random = np.random.default_rng(0)
        >>> search = AgingEvolution(
        ...     lambda: 0, lambda n: n + int(random.choice([-1, 1])), random,
        ...     population=4, tournament=3,
        ... )
        >>> for _ in range(60):
        ...     number = search.ask()
        ...     search.tell(number, -abs(number - 5.0))  # the best number is 5
        >>> abs(search.alive[-1][0] - 5) <= 2
        True
    """

    def __init__(
        self,
        sample: Callable[[], Member],
        mutate: Callable[[Member], Member],
        random: np.random.Generator,
        *,
        population: int = 16,
        tournament: int = 5,
    ) -> None:
        check_positive(population=population, tournament=tournament)
        self.sample, self.mutate, self.random = sample, mutate, random
        self.population, self.tournament = population, tournament
        self.alive: deque[tuple[Member, float]] = deque(maxlen=population)

    def ask(self) -> Member:
        """Return a random member while the population grows, then a child."""
        if len(self.alive) < self.population:
            return self.sample()
        drawn = self.random.integers(self.population, size=self.tournament)
        parent, _ = max((self.alive[i] for i in drawn), key=lambda pair: pair[1])
        return self.mutate(parent)

    def tell(self, member: Member, score: float, /) -> None:
        """Let a member join with its score, the higher the better; the oldest dies."""
        self.alive.append((member, score))
