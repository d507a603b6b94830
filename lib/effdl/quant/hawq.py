"""HAWQ-V2: how much a layer suffers from rounding, by the trace of its Hessian.

Paper: Dong et al., "HAWQ-V2: Hessian Aware trace-Weighted Quantization of Neural
Networks", NeurIPS 2020, https://arxiv.org/abs/1911.03852, sections 3.1 and 3.3.

    Omega_l(b) = tr(H_l) / n_l * sum of (Q_b(W_l) - W_l)^2

H_l is the second derivative of the loss in the n_l weights of layer l. Where the loss
is at a minimum, rounding costs (1/2) d^T H d for a small error d. If H were c I, then
c = tr(H) / n, and the cost would be exactly Omega / 2. It is not, and Omega is what
the cost would be on average if d pointed anywhere with equal likelihood.

The trace needs no Hessian. For v with entries +1 and -1, drawn evenly,

    E[v^T H v] = tr(H)          Hutchinson; one product H v for each draw

Its variance is twice the sum of the squares off the diagonal: a diagonal H needs one
draw only.

What differs: weights only; the paper treats activations likewise. A batch of the
training data stands for all of them. Batch norm is folded before.

When not to trust it: errors of 2 bits are not small, a trained network is not quite at
a minimum, and Omega of two layers adds up although harm does not.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from effdl.checks import check_positive
from effdl.measure.probe import evaluating
from effdl.nas.gradient.hessian import Product, hessian_product
from effdl.quant.graph import Weighted
from effdl.quant.quantizers import WeightQuantizer


def hutchinson(product: Product, like: Tensor, draws: int) -> Tensor:
    """Return estimates of a trace, (draws,): their mean is the estimate to use.

    The signs come from PyTorch's generator.

    Args:
        product: Multiplies by the matrix.
        like: Gives the shape of a vector.
        draws: How many.

    Example:
        >>> scales = torch.tensor([1.0, 2.0, 4.0])
        >>> hutchinson(lambda v: scales * v, torch.zeros(3), draws=2)
        tensor([7., 7.])
    """
    check_positive(draws=draws)
    found = []
    for _ in range(draws):
        v = torch.randint_like(like, 2) * 2 - 1
        found.append((v * product(v)).sum())
    return torch.stack(found).detach()


def exact_trace(product: Product, like: Tensor) -> Tensor:
    """Return a trace, (): one product for each entry of a vector, so for small ones.

    Args:
        product: Multiplies by the matrix.
        like: Gives the shape of a vector.

    Example:
        >>> exact_trace(lambda v: 3 * v, torch.zeros(2, 2))
        tensor(12.)
    """
    total = torch.zeros((), dtype=like.dtype)
    for place in range(like.numel()):
        unit = torch.zeros_like(like)
        unit.view(-1)[place] = 1
        total = total + product(unit).reshape(-1)[place].detach()
    return total


def layer_traces(
    model: nn.Module, batch: tuple[Tensor, Tensor], *, draws: int = 50
) -> dict[str, float]:
    """Return tr(H_l) / n_l of every layer, by its name, in the order of definition.

    The loss is the cross-entropy of the batch. The network runs in eval mode.

    Args:
        model: Maps (N, ...) to logits (N, C). Neither it nor its gradients change.
        batch: Inputs and classes.
        draws: Of Hutchinson's signs, the same number for each layer.

    Example:
        >>> net = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
        >>> batch = (torch.rand(8, 1, 2, 2), torch.arange(8) % 3)
        >>> list(layer_traces(net, batch, draws=2))
        ['1']
    """
    inputs, targets = batch
    found = {}
    with evaluating(model), torch.enable_grad():
        for name, layer in model.named_modules():
            if isinstance(layer, Weighted):
                weight = layer.weight
                loss = F.cross_entropy(model(inputs), targets)
                seen = hutchinson(hessian_product(loss, weight), weight, draws)
                found[name] = float(seen.mean()) / weight.numel()
    return found


def sensitivities(
    model: nn.Module, traces: dict[str, float], quantizers: Sequence[WeightQuantizer]
) -> list[list[float]]:
    """Return Omega of each candidate of each layer, in the order of the traces.

    A negative trace, which a network off its minimum may have, counts as 0.

    Args:
        model: Not rounded.
        traces: What :func:`layer_traces` returned.
        quantizers: The candidates.

    Raises:
        ValueError: If the model has no such layer.

    Example:
        >>> layer = nn.Linear(2, 1)
        >>> _ = layer.weight.data.copy_(torch.tensor([[1.0, 0.25]]))
        >>> sensitivities(nn.Sequential(layer), {"0": 2.0}, [WeightQuantizer(2)])
        [[0.125]]
    """
    layers = dict(model.named_modules())
    found = []
    for name, trace in traces.items():
        layer = layers.get(name)
        if not isinstance(layer, Weighted):
            raise ValueError(f"traces must be of layers of the model, got {name!r}")
        weight = layer.weight.detach()
        errors = [float((q(weight) - weight).square().sum()) for q in quantizers]
        found.append([max(trace, 0.0) * error for error in errors])
    return found
