"""HardCoRe-NAS: a search that is never outside of the latency constraint.

Paper: Nayman et al., "HardCoRe-NAS: Hard Constrained diffeRentiable Neural Architecture
Search", ICML 2021, https://arxiv.org/abs/2102.11646.

The weights of the mixtures are searched for themselves, without logits:

    minimise L_val(w)   over  S = { rows of w in the simplex, LAT(w) <= T }

S is convex, for LAT is linear. Frank-Wolfe moves towards points of S only, and so stays
in it from a feasible start on (:mod:`effdl.nas.hardware.frank_wolfe`):

    s = argmin over s in S of <d L_val / d w, s>        w <- w + gamma_k (s - w)

How s is found, and how the end of a search becomes one architecture of cost T at most:
:mod:`effdl.nas.hardware.budget_programme`. That is a bound, and not LAT = T.

With a choice of depth, too, LAT is bilinear, and the programme of each of the two
blocks has the other fixed. Layer i of stage s runs if the stage is at least i deep:

    LAT(a, b) = base + sum over s, i of  (sum over d >= i of b[s, d]) <a[s, i], c[s, i]>

What differs: the authors draw a block at random for every step, use a general solver,
and start at the most balanced point of S, where this takes the point of S between equal
weights and the cheapest architecture. Their supernet is trained before; here both go on
together. When not to trust it: LAT is still the table's.
"""

import torch
from torch import Tensor

from effdl.nas.gradient.architecture import Architecture
from effdl.nas.gradient.steps import Batch, Searching, weight_step
from effdl.nas.hardware.budget_programme import within_budget
from effdl.nas.hardware.expected_cost import CostTable, check_target, expected_cost
from effdl.nas.hardware.frank_wolfe import step_size


def probabilities(architecture: Architecture, _progress: float = 0.0) -> Tensor:
    """Return the architecture's numbers as they are, (edges, K): a relaxation.

    Args:
        architecture: Holds weights in the place of logits.

    Example:
        >>> space = Architecture([("skip", "conv")], spread=0)
        >>> _ = FrankWolfeStep(CostTable(0.0, torch.tensor([[0.0, 2.0]])), 0.5, space)
        >>> probabilities(space).tolist()
        [[0.75, 0.25]]
    """
    return architecture.logits * architecture.active


def bilinear_cost(operations: Tensor, depths: Tensor, table: CostTable) -> Tensor:
    """Return the mean cost where operations and depths are drawn apart, a scalar.

    Args:
        operations: a, weights of the candidates, (stages * layers, K).
        depths: b, of how many layers a stage has, (stages, layers); b[s, 0] is for one.
        table: Costs, (stages * layers, K), stage after stage.

    Example:
        >>> table = CostTable(1.0, torch.tensor([[2.0], [4.0]]))
        >>> bilinear_cost(torch.ones(2, 1), torch.tensor([[0.75, 0.25]]), table)
        tensor(4.)
    """
    return expected_cost(operations, operation_table(depths, table))


def operation_table(depths: Tensor, table: CostTable) -> CostTable:
    """Return the costs of operations while depths are fixed, (stages * layers, K).

    Args:
        depths: (stages, layers).
        table: As for :func:`bilinear_cost`.

    Example:
        >>> table = CostTable(1.0, torch.tensor([[2.0], [4.0]]))
        >>> operation_table(torch.tensor([[0.75, 0.25]]), table).extra.tolist()
        [[2.0], [1.0]]
    """
    runs = depths.flip(1).cumsum(1).flip(1)  # at least so deep, (stages, layers)
    return CostTable(table.base, runs.reshape(-1, 1) * table.extra)


def depth_table(operations: Tensor, table: CostTable) -> CostTable:
    """Return the costs of depths while operations are fixed, extra (stages, layers).

    Args:
        operations: (stages, layers, K): this says how long a stage is.
        table: As for :func:`bilinear_cost`.

    Example:
        >>> table = CostTable(1.0, torch.tensor([[2.0], [4.0]]))
        >>> depth_table(torch.ones(1, 2, 1), table).extra
        tensor([[2., 6.]])
    """
    each = (operations * table.extra.reshape(operations.shape)).sum(dim=2)
    return CostTable(table.base, each.cumsum(dim=1))


class FrankWolfeStep:
    """A ``step`` of the search that keeps the mixture's cost at T or below.

    Use it with ``Method(relax=probabilities, step=it)``. Making it sets the
    architecture to a feasible start; inactive candidates have and keep the weight 0.

    Args:
        table: Costs of the candidates.
        target: T, in the unit of the table. ``ValueError`` with the range if no
            architecture is on one of its sides.
        architecture: Whose numbers are the weights from now on; changed in place.
        scale: Of gamma. At 1 the first step forgets the start.
        momentum: Share of the last gradient in the next: it comes from one batch.

    Raises:
        ValueError: If ``scale`` is not in (0, 1] or ``momentum`` not in [0, 1).

    Attributes:
        history: Cost of the mixture over target, at the start and after every step.

    Example:
        >>> space = Architecture([("skip", "conv")], spread=0)
        >>> it = FrankWolfeStep(CostTable(0.0, torch.tensor([[0.0, 2.0]])), 0.5, space)
        >>> it.move_(space, torch.tensor([[0.0, 1.0]]))  # conv is worse: no more of it
        >>> [round(ratio, 6) for ratio in it.history]
        [1.0, 0.9]
    """

    def __init__(
        self,
        table: CostTable,
        target: float,
        architecture: Architecture,
        *,
        scale: float = 0.1,
        momentum: float = 0.9,
    ) -> None:
        check_target(target, table, architecture)
        if not (0 < scale <= 1 and 0 <= momentum < 1):
            raise ValueError(
                "scale must be above 0 and at most 1, and momentum 0 or larger and "
                f"below 1, got {scale} and {momentum}"
            )
        self.table, self.target = table, target
        self.scale, self.momentum = scale, momentum
        self._mean: Tensor | None = None
        active = architecture.active
        equal = active / active.sum(dim=1, keepdim=True)
        dear = table.extra.masked_fill(~active, torch.inf)
        cheapest = torch.zeros_like(equal)
        cheapest.scatter_(1, dear.argmin(dim=1, keepdim=True), 1.0)
        high, low = (float(expected_cost(w, table)) for w in (equal, cheapest))
        part = 1.0 if high <= target else (target - low) / (high - low)
        with torch.no_grad():
            architecture.logits.copy_(cheapest.lerp(equal, part))
        self.history = [part * high / target + (1 - part) * low / target]

    def __call__(self, searching: Searching, train: Batch, validation: Batch) -> float:
        """Return the training loss of a step of weights and supernet.

        Args:
            searching: Changed in place: first its architecture, then its supernet.
            train: The batch for w.
            validation: The batch for the architecture.
        """
        space = searching.architecture
        weights = searching.weights()
        runs = [row.nonzero().flatten().tolist() for row in space.active]
        loss = searching.loss(validation, weights, runs)
        objective = searching.objective(loss, weights, searching)
        [gradient] = torch.autograd.grad(objective, [space.logits])
        self.move_(space, gradient)
        return weight_step(searching, train, validation)

    def move_(self, architecture: Architecture, gradient: Tensor) -> None:
        """Move the weights towards the best point of S, in place.

        Args:
            architecture: Its weights.
            gradient: Of the objective, (edges, K).
        """
        last, k = self._mean, len(self.history) - 1
        mean = gradient if last is None else last.lerp(gradient, 1 - self.momentum)
        self._mean = mean
        allowed = mean.masked_fill(~architecture.active, torch.inf)
        point = within_budget(allowed, self.table, self.target)
        with torch.no_grad():
            architecture.logits.lerp_(point, self.scale * step_size(k))
            cost = float(expected_cost(architecture.logits, self.table))
        self.history.append(cost / self.target)
