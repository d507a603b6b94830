"""DARTS of second order: judge alpha by the weights that one more step would leave.

Paper: Liu et al., "DARTS: Differentiable Architecture Search", ICLR 2019,
https://arxiv.org/abs/1806.09055, section 2.3.

The first order takes w for a constant. The second lets w follow alpha for one step of
its own optimiser, with learning rate xi, momentum buffer m and weight decay:

    w'(alpha) = w - xi (momentum m + d L_train(w, alpha) / d w + decay w)

    gradient = d L_val(w', alpha) / d alpha
               - xi  (d2 L_train(w, alpha) / d alpha d w)  v,    v = d L_val / d w'

The product of the matrix with v is a slope of d L_train / d alpha along v. Two points
around the present w (not around w') give it, without any matrix:

    (d L_train(w + eps v) / d alpha - d L_train(w - eps v) / d alpha) / (2 eps)
    eps = 0.01 / |v|

With xi = 0 this is the first order. The price is three gradients more, and it is still
one step: w' is not w*(alpha). How far it goes towards it is the choice of xi.

When not to trust it: the error falls like eps^2 in smooth networks only. With ReLU the
slope jumps wherever a unit turns on or off between the two points, and a jump counts as
if it were spread over them. In the book's small supernet that makes a good part of the
gradient, and the more, the smaller eps is.

What differs: a search that draws its mixture keeps one draw for the whole gradient.
The first version of the authors' code moved w' where this moves w, and added weight
decay to v.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from effdl.nas.gradient.step_ahead import Values, loss_at, step_ahead, trainable
from effdl.nas.gradient.steps import Batch, Searching, weight_step


def second_order_step(
    searching: Searching, train: Batch, validation: Batch, *, radius: float = 0.01
) -> float:
    """Return the training loss of one step of DARTS that lets w follow alpha once.

    Args:
        searching: Changed in place: first its architecture, then its supernet.
        train: The batch for w, and for the step ahead.
        validation: The batch for alpha.
        radius: How far from w the two points lie, as a distance.

    Example:
        >>> second_order_step.__name__  # runs inside effdl.nas.gradient.search.search
        'second_order_step'
    """
    gradient = second_order_gradient(searching, train, validation, radius=radius)
    searching.move_architecture_(gradient)
    return weight_step(searching, train, validation)


def second_order_gradient(
    searching: Searching,
    train: Batch,
    validation: Batch,
    *,
    rate: float | None = None,
    radius: float = 0.01,
) -> tuple[Tensor, ...]:
    """Return the gradients of the architecture, with a finite difference; change none.

    Raises ``ValueError`` if the weights' optimiser is not plain SGD (momentum and decay
    are fine), and ``FloatingPointError`` if a loss is not finite.

    Args:
        searching: The search; only its random numbers move.
        train: The batch for the step ahead.
        validation: The batch to judge by.
        rate: Learning rate xi of the step ahead; None: that of the optimiser now.
        radius: How far from w the two points lie, as a distance.

    Example:
        >>> second_order_gradient.__name__  # what second_order_step moves along
        'second_order_gradient'
    """
    xi = _rate(searching) if rate is None else rate
    weights, alphas = searching.weights(), tuple(searching.architecture.parameters())
    drawn, now = weights.detach(), trainable(searching)
    moved = step_ahead(searching, train, drawn, rate=xi)
    ahead = {name: value.detach().requires_grad_() for name, value in moved.items()}

    loss = loss_at(searching, validation, weights, ahead)
    judged = searching.objective(loss, weights, searching)
    slopes = torch.autograd.grad(
        judged, (*alphas, *ahead.values()), retain_graph=True, materialize_grads=True
    )
    direct, direction = slopes[: len(alphas)], slopes[len(alphas) :]

    def slope(values: Values) -> Tensor:
        mixture = drawn.clone().requires_grad_()
        loss = loss_at(searching, train, mixture, values)
        return torch.autograd.grad(loss, mixture)[0]

    v = dict(zip(ahead, direction, strict=True))
    mixed = mixed_derivative(slope, now, v, radius=radius)
    indirect = torch.autograd.grad(weights, alphas, mixed)
    return tuple(d - xi * i for d, i in zip(direct, indirect, strict=True))


def exact_second_order_gradient(
    searching: Searching, train: Batch, validation: Batch, *, rate: float | None = None
) -> tuple[Tensor, ...]:
    """Return what :func:`second_order_gradient` approximates, by differentiating twice.

    It keeps the graph of the step ahead, and so takes memory: for small networks, to
    check with. All arguments are those of :func:`second_order_gradient`.

    Args:
        searching: The search; only its random numbers move.
        train: The batch for the step ahead.
        validation: The batch to judge by.
        rate: Learning rate xi of the step ahead; None: that of the optimiser now.

    Example:
        >>> exact_second_order_gradient.__name__  # see tests/nas/gradient
        'exact_second_order_gradient'
    """
    xi = _rate(searching) if rate is None else rate
    weights, alphas = searching.weights(), tuple(searching.architecture.parameters())
    ahead = step_ahead(searching, train, weights, rate=xi, keep_graph=True)
    loss = loss_at(searching, validation, weights, ahead)
    return torch.autograd.grad(searching.objective(loss, weights, searching), alphas)


def mixed_derivative(
    slope: Callable[[Values], Tensor],
    point: Values,
    direction: Values,
    *,
    radius: float = 0.01,
) -> Tensor:
    """Return the derivative of ``slope`` along a direction, by a central difference.

    The error is of order radius squared; none at all if ``slope`` is quadratic. A jump
    of ``slope`` between the two points adds jump / (2 eps), eps = radius / |direction|.

    Args:
        slope: Function of named tensors, such as the gradient of something else.
        point: Where to differentiate.
        direction: Along what, with the names of ``point``; its length counts, too.
        radius: How far from ``point`` to go, on either side, as a distance.

    Example:
        >>> def square(at: Values) -> Tensor:
        ...     return at["w"] ** 2
        >>> here, along = {"w": torch.tensor(3.0)}, {"w": torch.tensor(10.0)}
        >>> round(mixed_derivative(square, here, along).item(), 2)  # 2 * 3 * 10
        60.0
    """
    size = torch.stack([part.norm() for part in direction.values()]).norm()
    if size == 0:
        return torch.zeros_like(slope(point))
    eps = radius / size

    def moved(sign: float) -> Values:
        return {
            name: value.detach() + sign * eps * direction[name]
            for name, value in point.items()
        }

    return (slope(moved(1)) - slope(moved(-1))) / (2 * eps)


def _rate(searching: Searching) -> float:
    return float(searching.weight_optimizer.param_groups[0]["lr"])
