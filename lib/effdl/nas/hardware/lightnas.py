"""LightNAS: a multiplier that is learned, so that the search ends at one latency.

Paper: Luo et al., "You Only Search Once: On Lightweight Differentiable Architecture
Search for Resource-Constrained Embedded Platforms", DAC 2022,
https://arxiv.org/abs/2208.14446; equations 11 and 12 of the survey. With the term in
rho it is the method of multipliers for equality constraints.

    g(alpha) = LAT(alpha) / T - 1
    objective of alpha     L_val + lambda g + (rho / 2) g^2     rho = 0 in the paper
    after every step       lambda <- lambda + rate g            up: lambda MAXIMISES

So lambda rises as long as the network is too slow, and falls while it is too fast. Its
derivative is g: where it rests, LAT = T. That is a statement about rest, and nothing
makes the search come to rest. Three things stand between equation 12 and LAT = T:

    it circles     descent in alpha and ascent in lambda go around a saddle point; rho
                   damps this (:mod:`effdl.nas.hardware.lagrangian`), a small rate
                   makes it slow
    it jumps       LAT(alpha) is the mean over architectures; the one that is kept is an
                   argmax, and among discrete latencies T need not occur
                   (while the mixture is soft, both have little to do with each other:
                   :func:`sharpened_softmax`)
    it is a model  LAT comes from a table or a predictor, not from the device

What the authors' code (stepbuystep/LightNAS, search_imagenet.py) adds to the paper, as
arguments here: g of the argmax in the update (``of=strongest_cost``), a negative lambda
set to 0 while the network is too slow (``reset_negative``), and steps of alpha that
shrink with |g| once the argmax was near T in the last ninth (``damp_within``).

What differs: the relaxation is the search's own (theirs draws one path), and lambda
moves after every step of alpha, as in their code; equation 12 moves both at once.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from effdl.nas.gradient.architecture import Architecture
from effdl.nas.gradient.steps import Searching
from effdl.nas.hardware.expected_cost import CostTable, check_target, expected_cost

CostOf = Callable[[Searching, CostTable], float]

DAMP_FROM = 8 / 9  # the last 10 of the authors' 90 epochs
SHARPENING = 30.0  # how much smaller the temperature is at the end


def sharpened_softmax(architecture: Architecture, progress: float = 0.0) -> Tensor:
    """Return softmax(logits * 30^progress), (edges, K): mixtures that end as choices.

    While a mixture is soft, its mean cost says nothing about the cost of its argmax.
    The authors draw paths at a temperature that falls; this is that without the draw.

    Args:
        architecture: Inactive candidates get the weight 0.
        progress: Share of the search that is done, 0 to 1.

    Example:
        >>> space = Architecture([("skip", "conv")], spread=0)
        >>> with torch.no_grad():
        ...     space.logits[0, 0] += 0.1
        >>> [sharpened_softmax(space, p)[0, 0].item() for p in (0, 1)]
        [0.52..., 0.95...]
    """
    return (architecture.masked_logits() * SHARPENING**progress).softmax(dim=1)


def mean_cost(searching: Searching, table: CostTable) -> float:
    """Return the cost of the mixture as it is now: LAT(alpha).

    Args:
        searching: Its relaxation is asked; one that draws gives a new sample.
        table: Of the same edges and candidates.

    Example:
        >>> mean_cost.__name__  # the default of LearnedMultiplier
        'mean_cost'
    """
    with torch.no_grad():
        return float(expected_cost(searching.weights(), table))


def strongest_cost(searching: Searching, table: CostTable) -> float:
    """Return the cost of the architecture that would be kept now.

    Args:
        searching: Its architecture is asked for the strongest candidates.
        table: Of the same edges and candidates.

    Example:
        >>> strongest_cost.__name__  # what the authors' code does
        'strongest_cost'
    """
    found = searching.architecture.strongest()
    return float(expected_cost(searching.architecture.one_hot(found), table))


class LearnedMultiplier:
    """The objective and the multiplier of LightNAS, for a ``Method`` of the search.

    Use it as ``Method(objective=it.objective, after_step=it.after_step)``.

    Args:
        table: Costs of the candidates.
        target: T, in the unit of the table. ``ValueError`` with the range if no
            architecture is on one of its sides.
        architecture: Which candidates are left.
        rate: Step of lambda.
        rho: Weight of the term that damps; 0 is equation 11.
        of: Whose cost moves lambda.
        reset_negative: Whether lambda is set to 0 if it is negative while the cost is
            above the target.
        damp_within: Once the strongest architecture has been within so much of the
            target (in the table's unit) in the last ninth of the search, the step of
            alpha is the one it began with times ``|g|``. None: never.

    Attributes:
        value: lambda, 0 at first.
        history: After every step lambda, and cost over target of the mixture.

    Example:
        >>> table = CostTable(0.0, torch.tensor([[1.0, 3.0]]))
        >>> space = Architecture([("skip", "conv")], spread=0)
        >>> it = LearnedMultiplier(table, 1.6, space, rate=0.1)
        >>> it.value = 2.0
        >>> loss, weights = torch.tensor(1.0), torch.tensor([[0.5, 0.5]])
        >>> it.objective(loss, weights, None)  # 1 + 2 (2 / 1.6 - 1)
        tensor(1.5000)
    """

    def __init__(
        self,
        table: CostTable,
        target: float,
        architecture: Architecture,
        *,
        rate: float = 5e-4,
        rho: float = 0.0,
        of: CostOf = mean_cost,
        reset_negative: bool = False,
        damp_within: float | None = None,
    ) -> None:
        check_target(target, table, architecture)
        if not (0 < rate < math.inf and 0 <= rho < math.inf):
            raise ValueError(
                f"rate must be above 0 and rho 0 or larger, both finite, got {rate} "
                f"and {rho}"
            )
        self.table, self.target = table, target
        self.rate, self.rho, self.of = rate, rho, of
        self.reset_negative, self.damp_within = reset_negative, damp_within
        self.value = 0.0
        self.history: list[tuple[float, float]] = []
        self._full_rate: float | None = None  # of alpha; not None: damping has begun

    def objective(
        self, loss: Tensor, weights: Tensor, _searching: Searching | None
    ) -> Tensor:
        """Return loss + lambda g + rho g^2 / 2, for the architecture to minimise.

        Args:
            loss: Cross-entropy of a batch.
            weights: Of all edges, (edges, K).
        """
        excess = expected_cost(weights, self.table) / self.target - 1
        return loss + self.value * excess + 0.5 * self.rho * excess**2

    def after_step(self, searching: Searching) -> None:
        """Move lambda up by rate g.

        Args:
            searching: What is asked for the cost; the step size of its architecture's
                optimiser changes if ``damp_within`` is given.
        """
        excess = self.of(searching, self.table) / self.target - 1
        self.value += self.rate * excess
        if self.reset_negative and excess > 0 and self.value < 0:
            self.value = 0.0
        if self.damp_within is not None and searching.progress >= DAMP_FROM:
            self._damp(searching, self.damp_within)
        ratio = mean_cost(searching, self.table) / self.target
        self.history.append((self.value, ratio))

    def _damp(self, searching: Searching, within: float) -> None:
        """Scale the step of alpha by ``|g|`` of the strongest, once it was near."""
        off = abs(strongest_cost(searching, self.table) - self.target)
        groups = searching.architecture_optimizer.param_groups
        if self._full_rate is None and off < within:
            self._full_rate = groups[0]["lr"]
        if self._full_rate is not None:
            for group in groups:
                group["lr"] = self._full_rate * off / self.target
