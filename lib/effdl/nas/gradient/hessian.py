"""RobustDARTS: stop when the validation loss becomes sharp in alpha.

Paper: Zela et al., "Understanding and Robustifying Differentiable Architecture Search",
ICLR 2020, https://arxiv.org/abs/1909.09656, sections 4 and 5.

    H       = d2 L_val(w, alpha) / d alpha2           on one batch, w as it is
    lambda  = largest eigenvalue of H
    stop at epoch i if  mean lambda(i - back) / mean lambda(i) < ratio
    and return the architecture of epoch i - back     means of the last ``window``

The mixture that was searched with and the cell that is cut out of it are far apart in
alpha. Where the loss is sharp, much is lost on the way.

H is never written down: H v is the gradient of (dL/dalpha) . v, and power iteration
needs nothing else. It finds the eigenvalue of largest size. If that one is negative,
iterating with H - lambda I finds the largest.

What differs: the authors' program writes H down and adds the decay of alpha to its
diagonal, and compares over four measurements. No epoch before the tenth of 50 can be
returned, as there. Their other cures are not here: a larger decay of w
(R-DARTS L2) is ``Rates(weight_decay=...)``; dropping whole candidates by chance
(R-DARTS DP) is not written.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from effdl.checks import check_positive
from effdl.nas.gradient.method import SearchEpoch
from effdl.nas.gradient.steps import Batch, Searching

Product = Callable[[Tensor], Tensor]


def hessian_product(loss: Tensor, parameter: Tensor) -> Product:
    """Return the function that multiplies the second derivative of a loss by a vector.

    Args:
        loss: A scalar that depends on ``parameter``.
        parameter: Any shape; vectors have the same.

    Example:
        >>> x = torch.tensor([1.0, 2.0], requires_grad=True)
        >>> hessian_product((x**3).sum(), x)(torch.ones(2)).tolist()
        [6.0, 12.0]
    """
    [gradient] = torch.autograd.grad(loss, parameter, create_graph=True)

    def product(vector: Tensor) -> Tensor:
        [column] = torch.autograd.grad(
            gradient, parameter, vector, retain_graph=True, materialize_grads=True
        )
        return column

    return product


def dominant_eigenvalue(
    product: Product, start: Tensor, *, steps: int = 100, tolerance: float = 1e-4
) -> tuple[float, Tensor]:
    """Return the eigenvalue of largest size of a symmetric matrix, and its vector.

    Args:
        product: Multiplies by the matrix.
        start: Where power iteration begins; not 0, and no vector that the matrix
            sends to 0.
        steps: Products at most.
        tolerance: Ends when the eigenvalue changes by less than this share of it.

    Raises:
        ValueError: If ``start`` is 0.

    Example:
        >>> scales = torch.tensor([1.0, -3.0])
        >>> value, vector = dominant_eigenvalue(lambda v: scales * v, torch.ones(2))
        >>> round(value, 3)
        -3.0
    """
    check_positive(steps=steps)
    if not start.norm() > 0:
        raise ValueError("start is 0 or not finite; give another vector")
    vector, value = start / start.norm(), torch.inf
    for _ in range(steps):
        image = product(vector)
        before, value = value, float((vector * image).sum())
        size = image.norm()
        if size == 0:
            break
        vector = image / size
        if abs(value - before) <= tolerance * abs(value):
            break
    return value, vector


def largest_eigenvalue(
    product: Product, start: Tensor, *, steps: int = 100, tolerance: float = 1e-4
) -> tuple[float, Tensor]:
    """Return the largest eigenvalue of a symmetric matrix, and its vector.

    Takes the arguments of :func:`dominant_eigenvalue`.

    Example:
        >>> scales = torch.tensor([1.0, -3.0])
        >>> round(largest_eigenvalue(lambda v: scales * v, torch.ones(2))[0], 3)
        1.0
    """
    value, vector = dominant_eigenvalue(
        product, start, steps=steps, tolerance=tolerance
    )
    if value >= 0:
        return value, vector
    shifted, vector = dominant_eigenvalue(
        lambda v: product(v) - value * v, start, steps=steps, tolerance=tolerance
    )
    return shifted + value, vector


class EigenvalueStop:
    """The ``after_epoch`` that stops when the largest eigenvalue has grown.

    Args:
        batch: Validation inputs and classes, the same after every epoch.
        window: Epochs in a mean.
        back: How many epochs are compared over, and gone back.
        ratio: Stops below it, above 0 and at most 1.
        earliest: First epoch, from 0, that may be returned.

    Raises:
        ValueError: If ``ratio`` or ``earliest`` is out of range.

    Attributes:
        eigenvalues: One for each epoch.
        epoch: Of the architecture to return, from 0: the last one if nothing stops.

    Example:
        >>> stop = EigenvalueStop((torch.zeros(1, 1, 4, 4), torch.zeros(1).long()))
        >>> [stop.judge([1.0] * n) for n in (5, 20)], stop.judge([1.0] * 15 + [2.0] * 5)
        ([False, False], True)
    """

    def __init__(
        self,
        batch: Batch,
        *,
        window: int = 5,
        back: int = 5,
        ratio: float = 0.75,
        earliest: int = 10,
    ) -> None:
        check_positive(window=window, back=back)
        if not 0 < ratio <= 1:
            raise ValueError(f"ratio must be above 0 and at most 1, got {ratio}")
        if earliest < 0:
            raise ValueError(f"earliest must be 0 or larger, got {earliest}")
        self.batch, self.window, self.back = batch, window, back
        self.ratio, self.earliest = ratio, earliest
        self.eigenvalues: list[float] = []
        self.epoch = -1
        self._vector: Tensor | None = None

    def __call__(self, searching: Searching, epochs: list[SearchEpoch]) -> bool:
        """Return whether the search ends, and note the eigenvalue down."""
        logits = searching.architecture.logits
        if self._vector is None:  # a vector of ones would be sent to 0 by a softmax
            self._vector = torch.arange(1.0, logits.numel() + 1).sin().to(logits)
            self._vector = self._vector.view_as(logits)
        loss = searching.loss(self.batch, searching.weights())
        value, self._vector = largest_eigenvalue(
            hessian_product(loss, logits), self._vector, steps=30, tolerance=0.01
        )
        self.eigenvalues.append(value)
        self.epoch = len(epochs) - 1
        stops = self.judge(self.eigenvalues)
        if stops:
            self.epoch -= self.back
        return stops

    def judge(self, eigenvalues: Sequence[float]) -> bool:
        """Return whether a search with these eigenvalues ends now."""
        last = len(eigenvalues) - 1
        if last - self.back < self.earliest:
            return False
        then, now = (self._mean(eigenvalues, i) for i in (last - self.back, last))
        return then < self.ratio * now

    def _mean(self, eigenvalues: Sequence[float], epoch: int) -> float:
        seen = eigenvalues[max(0, epoch + 1 - self.window) : epoch + 1]
        return sum(seen) / len(seen)
