"""Paths between two solutions: how hard is it to get from one to the other?

Papers: Evci et al., "The Difficulty of Training Sparse Neural Networks", 2019,
https://arxiv.org/abs/1906.10732, section 4; Garipov et al., "Loss Surfaces, Mode
Connectivity, and Fast Ensembling of DNNs", NeurIPS 2018,
https://arxiv.org/abs/1802.10026 (how the curve is trained).

Sparse training from scratch ends higher than pruning. Is the better solution hidden
behind a barrier? Both have one mask, so the line between them keeps all zeros:

    w(t) = (1 - t) a + t b                             from a (t = 0) to b (t = 1)
    w(t) = (1 - t)^2 a + 2 t (1 - t) c + t^2 b         quadratic Bezier curve
    c    minimises the mean of L(w(t)) over t, uniform from 0 to 1

    barrier = max over t of   L(w(t)) - ((1 - t) L(a) + t L(b))

With c in the middle of a and b, where it starts, the curve is the line. If c has to
keep the zeros, the curve lies in the sparse subspace; without masks it may go through
dense space, and come back to sparse ends. The minimum over all curves can only be lower
the more freedom c has. What training finds need not be.

What differs: the first paper trains curves of order two and three, of ResNet-50. Here
one order, and networks without batch norm: its statistics belong to one point, and
would have to be collected anew at every t.

Before reading a barrier: it is a maximum over the t that were tried, of one loss. And a
curve that was not trained long enough has one that no path needs to have.
"""

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from effdl.data.digits import Split
from effdl.nas.proxies.weights import LossFunction
from effdl.prune.masks import Masks
from effdl.prune.pruned import plain_copy

Point = Mapping[str, Tensor]


def bezier_point(
    start: Point, control: Point, end: Point, t: float
) -> dict[str, Tensor]:
    """Return the point of a quadratic Bezier curve, exactly its ends at t = 0 and 1.

    Args:
        start: From name to tensor: a.
        control: The same names and shapes: c.
        end: The same names and shapes: b.
        t: Place on the curve.

    Example:
        >>> points = [{"w": torch.tensor([value])} for value in (0.0, 4.0, 1.0)]
        >>> bezier_point(*points, 0.5)
        {'w': tensor([2.2500])}
    """
    return {
        name: (1 - t) ** 2 * start[name] + 2 * t * (1 - t) * c + t**2 * end[name]
        for name, c in control.items()
    }


class BezierPath(nn.Module):
    """A curve from one network to another. Its only parameters are those of c.

    Untrained it is the line. To train it, let :func:`effdl.train.fit` minimise the loss
    of its output: every call draws a t of its own.

    Args:
        start: A network, pruned or not, without batch norm; it is left as it is.
        end: One of the same architecture.
        masks: The weights that c may have; None for all of them, which leads through
            dense space.

    Raises:
        ValueError: If a network has batch norm or other buffers, the two have different
            parameters, or masks name something else.

    Example:
        >>> path = BezierPath(nn.Linear(2, 1), nn.Linear(2, 1))
        >>> path(torch.ones(3, 2)).shape, path(torch.ones(3, 2), 0.5).shape
        (torch.Size([3, 1]), torch.Size([3, 1]))
    """

    def __init__(
        self, start: nn.Module, end: nn.Module, *, masks: Masks | None = None
    ) -> None:
        super().__init__()
        net = plain_copy(start).eval()
        if next(net.buffers(), None) is not None:
            raise ValueError(
                "start has buffers, such as the statistics of batch norm, which belong "
                "to one point; use a network without"
            )
        self._net = (net,)  # in a tuple, so that its parameters are not the path's
        self._start, self._end = _parameters(start), _parameters(end)
        shapes = [{n: p.shape for n, p in q.items()} for q in (self._start, self._end)]
        if shapes[0] != shapes[1]:
            raise ValueError("start and end must have parameters of the same shapes")
        self._masks = dict(masks or {})
        if unknown := [n for n in self._masks if n not in self._start]:
            raise ValueError(f"masks names {unknown}, which the networks do not have")
        self._names = list(self._start)
        self.control = nn.ParameterList(
            (self._start[name] + self._end[name]) / 2 for name in self._names
        )

    def at(self, t: float) -> dict[str, Tensor]:
        """Return the parameters at t, by name; gradients reach c.

        Args:
            t: From 0 to 1.
        """
        control = dict(zip(self._names, self.control, strict=True))
        for name, mask in self._masks.items():
            control[name] = torch.where(mask, control[name], 0)
        return bezier_point(self._start, control, self._end, t)

    def forward(self, x: Tensor, t: float | None = None) -> Tensor:
        """Return the output of the network at t.

        Args:
            x: Inputs, (N, ...).
            t: Place on the curve; None draws one, uniformly from 0 to 1.
        """
        place = torch.rand(()).item() if t is None else t
        return functional_call(self._net[0], self.at(place), (x,))


@torch.no_grad()
def losses_along(
    path: BezierPath,
    split: Split,
    places: Sequence[float],
    *,
    loss_fn: LossFunction = F.cross_entropy,
) -> list[float]:
    """Return the loss at each place of a path.

    Args:
        path: Trained or not.
        split: Inputs and targets, all in one batch.
        places: Values of t.
        loss_fn: Maps output and targets to a scalar.

    Example:
        >>> path = BezierPath(nn.Linear(2, 2), nn.Linear(2, 2))
        >>> split = Split(torch.ones(3, 2), torch.tensor([0, 1, 1]))
        >>> len(losses_along(path, split, [0.0, 0.5, 1.0]))
        3
    """
    return [float(loss_fn(path(split.inputs, t), split.targets)) for t in places]


def barrier(losses: Sequence[float], places: Sequence[float]) -> float:
    """Return how far the losses rise above the line between the first and the last.

    Args:
        losses: At least two, one for each place.
        places: Rising values of t.

    Returns:
        At least 0, because at the ends nothing rises.

    Raises:
        ValueError: If the numbers differ, there are fewer than two, or places fall.

    Example:
        >>> barrier([1.0, 3.0, 2.0], [0.0, 0.5, 1.0])
        1.5
    """
    if len(losses) != len(places) or len(places) < 2:
        raise ValueError(
            f"losses and places must be equally many, two or more, got {len(losses)} "
            f"and {len(places)}"
        )
    if list(places) != sorted(set(places)):
        raise ValueError(f"places must rise, got {list(places)}")
    first, last, length = losses[0], losses[-1], places[-1] - places[0]
    shares = [(t - places[0]) / length for t in places]
    return max(
        loss - ((1 - s) * first + s * last)
        for loss, s in zip(losses, shares, strict=True)
    )


def _parameters(model: nn.Module) -> dict[str, Tensor]:
    named = plain_copy(model).named_parameters()
    return {name: parameter.detach() for name, parameter in named}
