"""SNIP as a zero-cost proxy: rate an untrained network by one gradient.

Papers: Lee et al., "SNIP: Single-shot Network Pruning based on Connection
Sensitivity", ICLR 2019, https://arxiv.org/abs/1810.02340, section 4.1, and, for
the sum over a network, Abdelfattah et al., "Zero-Cost Proxies for Lightweight
NAS", ICLR 2021, https://arxiv.org/abs/2101.08134, section 3.

Give every weight w_j a switch c_j, on at 1 and off at 0. A connection matters if
the loss L reacts when its switch starts to move:

    g_j = dL(c * w) / dc_j  at c = 1      the definition
        = w_j dL/dw_j                     by the chain rule: no switch is needed

    s_j = |g_j| / sum_k |g_k|             to prune: keep the largest s_j
    S   = sum_j |g_j|                     to rank networks: the larger, the better

The proxy cannot use s_j, which adds up to 1 in every network.

Before trusting S: it is a sum over weights, so large networks tend to score high;
plot it against the parameter count. It depends on the initialisation and on the
batch; give every candidate the same seed and the same batch.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from effdl.nas.proxies.weights import (
    LossFunction,
    finite_sum,
    gradients,
    loss_of_weights,
)


def snip_score(
    model: nn.Module,
    inputs: Tensor,
    targets: Tensor,
    *,
    loss_fn: LossFunction = F.cross_entropy,
) -> float:
    """Return S, the sum of all connection sensitivities of the network.

    Takes the arguments of :func:`connection_sensitivity` and raises its errors, and
    ``ValueError`` if a gradient is not finite.

    Example:
        >>> model = nn.Linear(2, 1, bias=False)
        >>> _ = nn.init.constant_(model.weight, 3.0)
        >>> snip_score(model, torch.ones(1, 2), torch.zeros(1, 1), loss_fn=F.mse_loss)
        72.0
    """
    sensitivity = connection_sensitivity(model, inputs, targets, loss_fn=loss_fn)
    return finite_sum(sensitivity.values())


def connection_sensitivity(
    model: nn.Module,
    inputs: Tensor,
    targets: Tensor,
    *,
    loss_fn: LossFunction = F.cross_entropy,
) -> dict[str, Tensor]:
    """Return |g_j| for every weight of every linear and convolutional layer.

    The network runs in the mode it is in (train or eval) and comes back unchanged:
    weights, ``.grad`` fields and batch-norm statistics stay as they were.

    Raises ``ValueError`` if the batch is empty, the model has no weight to score, or
    the loss is not a finite scalar that depends on the weights.

    Args:
        model: The network, as initialised.
        inputs: One batch, (N, ...). Do not split it: batch norm would see other
            statistics, and adding the scores of the parts counts the loss twice.
        targets: What ``loss_fn`` expects beside the output, (N, ...).
        loss_fn: Maps output and targets to a scalar, averaged over the batch.

    Returns:
        From parameter name to a tensor shaped like that parameter. Weights that the
        loss does not reach are 0.

    Example:
        >>> model = nn.Linear(2, 1, bias=False)
        >>> _ = nn.init.constant_(model.weight, 3.0)
        >>> x, y = torch.tensor([[1.0, 0.0]]), torch.zeros(1, 1)
        >>> connection_sensitivity(model, x, y, loss_fn=F.mse_loss)
        {'weight': tensor([[18.,  0.]])}
    """
    with torch.enable_grad():
        weights, loss = loss_of_weights(model, inputs, targets, loss_fn)
    slopes = gradients(loss, weights)
    return {name: (w.detach() * slopes[name]).abs() for name, w in weights.items()}
