"""Gradients with respect to the images, and how alike those of two images are.

Paper: Mellor et al., "Neural Architecture Search without Training",
https://arxiv.org/abs/2006.04647, first version (2020). Both
:mod:`effdl.nas.proxies.jacov` and :mod:`effdl.nas.proxies.epe` are made of them.

A batch is sent through the network, and the sum of all its logits is differentiated
with respect to every pixel:

    J_n = d(sum over m, k of logits_mk) / d x_n         one row for every image n
    C   = correlation matrix of the rows J_1 .. J_N     (N, N)

The sum runs over all images m, though only image n seems to matter. Without batch norm
it is so, and one backward pass gives the N gradients. Batch norm in training mode ties
the images of a batch together, and J_n then holds the influence of x_n on the others,
too. The authors of both proxies compute it like this; N separate gradients would be
another quantity.
"""

import torch
from torch import Tensor, nn

from effdl.measure.probe import as_inputs, undisturbed


def input_gradients(model: nn.Module, inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Return J, and the logits, from one forward and one backward pass.

    Runs in training mode, with batch statistics. The model comes back as it was:
    weights, ``.grad``, buffers, modes, random state, also after an error.

    Args:
        model: Maps a batch (N, ...) to logits (N, K).
        inputs: One batch, (N, ...), of floating-point numbers.

    Returns:
        J as (N, d), one row of d pixels for every image, in float64 on the CPU; and
        the logits (N, K).

    Raises:
        ValueError: If ``inputs`` is empty or has no gradient, or the outputs are not
            logits that depend on it.

    Example:
        >>> net = nn.Linear(2, 1)
        >>> _ = nn.init.constant_(net.weight, 3.0)
        >>> input_gradients(net, torch.zeros(1, 2))[0]
        tensor([[3., 3.]], dtype=torch.float64)
    """
    (batch,) = as_inputs((inputs,))
    if not batch.is_floating_point():
        raise ValueError(
            f"inputs must be floating-point numbers, got {batch.dtype}; use .float()"
        )
    with undisturbed(model, training=True):
        images = batch.detach().requires_grad_()
        logits = model(images.clone())  # the model may begin in place
        _check_logits(logits, len(batch), type(model).__name__)
        (gradient,) = torch.autograd.grad(
            logits.sum(), images, allow_unused=True, materialize_grads=True
        )
    return gradient.flatten(1).cpu().double(), logits.detach()


def correlation(rows: Tensor) -> Tensor:
    """Return the correlation matrix of the rows, (N, N), with 1 on the diagonal.

    Args:
        rows: One vector for every image, (N, d).

    Raises:
        ValueError: If a row is the same everywhere, or not finite: it has no
            correlation with any other.

    Example:
        >>> correlation(torch.tensor([[0.0, 1.0, 0.0, 1.0], [2.0, 0.0, 2.0, 0.0]]))
        tensor([[ 1., -1.],
                [-1.,  1.]])
    """
    centred = rows - rows.mean(dim=1, keepdim=True)  # (N, d)
    length = centred.norm(dim=1, keepdim=True)  # (N, 1)
    largest = rows.abs().amax(dim=1, keepdim=True)
    rounding = torch.finfo(rows.dtype).eps * largest * rows.shape[1]
    usable = (length > rounding) & length.isfinite()
    if not usable.all():
        row = int((~usable).flatten().nonzero()[0])
        raise ValueError(
            f"row {row} is the same in all {rows.shape[1]} places, or not finite, and "
            "has no correlation; is its gradient 0?"
        )
    unit = centred / length
    return (unit @ unit.T).clamp(-1, 1).fill_diagonal_(1)


def _check_logits(logits: object, images: int, name: str) -> None:
    """Require logits (N, K) that depend on what went in.

    Raises:
        ValueError: If they are not.
    """
    if not isinstance(logits, Tensor) or logits.ndim != 2 or len(logits) != images:
        got = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits)
        raise ValueError(
            f"{name} must return logits ({images}, K) for {images} images, got {got}; "
            "wrap it in a module whose forward returns the logits alone"
        )
    if not logits.requires_grad:
        raise ValueError(
            f"the logits of {name} do not depend on inputs; is every path cut?"
        )
