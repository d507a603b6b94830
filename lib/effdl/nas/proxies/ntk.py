"""Condition number of the neural tangent kernel: will gradient descent see all inputs?

Papers: Jacot et al., "Neural Tangent Kernel: Convergence and Generalization in Neural
Networks", NeurIPS 2018, https://arxiv.org/abs/1806.07572, and, as a proxy of accuracy,
Chen et al., "Neural Architecture Search on ImageNet in Four GPU Hours" (TE-NAS), ICLR
2021, https://arxiv.org/abs/2102.11535, section 3.1.1.

A small step along the gradient of one input changes the output for another by the
product of their gradients:

    g_n   = d(sum of the logits of input n) / d weights      N rows of P numbers
    Theta = G G^T                                            (N, N), the kernel
    kappa = lambda_max / lambda_min                          at least 1

While the kernel stays as it is, the error along an eigenvector fades at the rate of its
eigenvalue. kappa says how much slower the slowest is than the fastest: the lower, the
better. It is 1 if all gradients are orthogonal and equally long, and infinite if two
inputs have the same gradient.

Each g_n takes a backward pass of its own, N in all. They share one forward pass: with
batch norm in training mode the logits of one input depend on all inputs, and gradients
taken input by input would be those of another network.

As in the authors' code, the weights are the parameters called "weight" (those of batch
norm too), not the biases, and the logits are summed, which mixes the K kernels of a
K-class network into one. They use 72 images on NAS-Bench-201, three draws of weights
with the deviation sqrt(2 / fan out), training mode.

Before trusting it: kappa grows with N and differs between draws of the weights by a
factor that can exceed the one between two cells. Average over draws.
"""

from math import inf

import torch
from torch import Tensor, nn
from torch.func import functional_call

SINGULAR = 1e-10  # of the largest eigenvalue; float32 gradients resolve no less


def ntk_condition_number(model: nn.Module, inputs: Tensor) -> float:
    """Return kappa of the network for one batch; lower is better.

    Takes the arguments of :func:`ntk_matrix` and raises its errors.

    Example:
        >>> ntk_condition_number(nn.Linear(2, 3), torch.tensor([[1.0, 0], [0, 2]]))
        4.0
    """
    return condition_number(ntk_matrix(model, inputs))


def ntk_matrix(model: nn.Module, inputs: Tensor) -> Tensor:
    """Return Theta, the products of all pairs of gradients.

    The network runs in the mode it is in (a new one is in training mode) and comes back
    unchanged: weights, ``.grad`` fields and batch statistics stay as they were.

    Args:
        model: Maps (N, ...) to logits (N, ...).
        inputs: One batch (N, ...). Do not split it: batch norm would see other
            statistics.

    Returns:
        (N, N), float64, symmetric; from gradients in the precision of the model.

    Raises:
        ValueError: If the batch is empty, the model has no weight, its outputs are not
            one row per input or do not depend on a weight, or a gradient is not finite.

    Example:
        >>> ntk_matrix(nn.Linear(2, 3), torch.tensor([[1.0, 0], [1, 1]]))
        tensor([[3., 3.],
                [3., 6.]], dtype=torch.float64)
    """
    if inputs.numel() == 0:
        raise ValueError(f"inputs is an empty batch, shape {tuple(inputs.shape)}")
    name = type(model).__name__
    weights = _weights(model)
    if not weights:
        raise ValueError(f"{name} has no parameter called weight, so no kernel")
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    with torch.enable_grad():
        logits = functional_call(model, weights | buffers, (inputs.clone(),))
        if logits.ndim == 0 or len(logits) != len(inputs) or not logits.requires_grad:
            raise ValueError(
                f"{name} must return one row of logits per input ({len(inputs)}) that "
                f"depends on its weights, got shape {tuple(logits.shape)}"
            )
        sums = logits.reshape(len(inputs), -1).sum(dim=1).unbind()  # N scalars
    gradients = _gradients(sums, list(weights.values())).double()
    if not gradients.isfinite().all():
        raise ValueError(f"{name} has a gradient that is not finite; scale its inputs")
    return gradients @ gradients.T


def condition_number(kernel: Tensor) -> float:
    """Return the largest eigenvalue over the smallest.

    Args:
        kernel: Symmetric, no eigenvalue below 0 but for rounding, (N, N).

    Returns:
        At least 1; infinity if the smallest is not above ``SINGULAR`` of the largest.

    Example:
        >>> condition_number(torch.diag(torch.tensor([1.0, 2.0, 8.0])))
        8.0
        >>> condition_number(torch.ones(2, 2))
        inf
    """
    eigenvalues = torch.linalg.eigvalsh(kernel)  # ascending
    smallest, largest = eigenvalues[0].item(), eigenvalues[-1].item()
    return largest / smallest if smallest > SINGULAR * largest else inf


def _weights(model: nn.Module) -> dict[str, Tensor]:
    """Return leaves that share memory with the weights but not their ``.grad``."""
    return {
        name: parameter.detach().requires_grad_()
        for name, parameter in model.named_parameters()
        if "weight" in name.rpartition(".")[2]
    }


def _gradients(sums: tuple[Tensor, ...], weights: list[Tensor]) -> Tensor:
    """Return one row per input, (N, P): a backward pass for each."""
    rows = []
    for total in sums:
        parts = torch.autograd.grad(
            total, weights, retain_graph=True, allow_unused=True, materialize_grads=True
        )
        rows.append(torch.cat([part.flatten() for part in parts]))
    return torch.stack(rows)
