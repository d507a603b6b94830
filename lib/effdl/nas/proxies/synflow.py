"""SynFlow as a zero-cost proxy: how much can flow through a network, without data.

Papers: Tanaka et al., "Pruning neural networks without any data by iteratively
conserving synaptic flow", NeurIPS 2020, https://arxiv.org/abs/2006.05467, and,
for the sum over a network, Abdelfattah et al., "Zero-Cost Proxies for Lightweight NAS",
ICLR 2021, https://arxiv.org/abs/2101.08134, section 3.

Replace all parameters by their absolute values, leave batch norm out, and send an
input of ones through. With ReLU, everything is positive and the network is linear in
every layer: R, the sum of the outputs, is a sum over all paths of the product of |w|
along the path.

    R   = sum of the outputs
    s_j = |w_j| dR/d|w_j|          the share of R on paths through weight j
    S   = log sum_j s_j            natural logarithm; the larger, the better

Conservation (theorem 2 of the paper): without biases, the s_j of any layer that all
paths cross add up to R. So in a plain chain of L layers S = log(L R).

What differs: the second paper takes no logarithm; the public tables of scores hold it.

Before trusting S: nothing is normalised, so R grows by a factor with every layer in a
row and S is mostly the length of the longest chain of convolutions. All is float64
here: in NAS-Bench-201 S reaches 93, and float32 ends at 88.7. The data
are never seen: a data set enters by its image size and its number of classes.
"""

import copy
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from effdl.checks import check_positive
from effdl.nas.proxies.weights import connection_weights, finite_sum, gradients


def synflow_score(model: nn.Module, input_shape: Sequence[int]) -> float:
    """Return S, the logarithm of the flow through all weights together.

    Takes the arguments of :func:`synaptic_flow` and raises its errors.

    Returns:
        S; minus infinity if nothing flows from input to output.

    Example:
        >>> model = nn.Linear(2, 3, bias=False)
        >>> _ = nn.init.constant_(model.weight, -1.0)
        >>> synflow_score(model, (2,)) == math.log(6)
        True
    """
    total = finite_sum(synaptic_flow(model, input_shape).values())
    return math.log(total) if total > 0 else -math.inf


def synaptic_flow(model: nn.Module, input_shape: Sequence[int]) -> dict[str, Tensor]:
    """Return s_j for every weight of every linear and convolutional layer.

    Works on a copy in evaluation mode, so the network itself is never touched. Biases
    take part with their absolute values, but have no score.

    Args:
        model: The network, as initialised. Batch norm of any kind becomes the
            identity; other norms stay and spoil the conservation.
        input_shape: Shape of one sample without the batch, such as (3, 32, 32).

    Returns:
        From parameter name to a tensor shaped like that parameter, in float64. Weights
        that the output does not depend on are 0.

    Raises:
        ValueError: If the model has no weight to score, a size is below 1, or the flow
            exceeds float64.

    Example:
        >>> model = nn.Linear(2, 1, bias=False)
        >>> _ = model.weight.data.copy_(torch.tensor([[3.0, -4.0]]))
        >>> synaptic_flow(model, (2,))
        {'weight': tensor([[3., 4.]], dtype=torch.float64)}
    """
    for position, size in enumerate(input_shape):
        check_positive(**{f"input_shape[{position}]": size})
    bare = _without_batch_norm(copy.deepcopy(model).double().eval())
    weights = connection_weights(bare)
    with torch.no_grad():
        for parameter in bare.parameters():
            parameter.abs_()
    ones = next(iter(weights.values())).new_ones(1, *input_shape)
    with torch.enable_grad():
        for weight in weights.values():
            weight.requires_grad_()
        flow = bare(ones).sum()  # R
    if not flow.isfinite():
        raise ValueError(
            f"the flow is {flow.item()}, beyond float64; "
            "start the network from smaller weights"
        )
    slopes = gradients(flow, weights)
    return {name: (w.detach() * slopes[name]).abs() for name, w in weights.items()}


def _without_batch_norm(module: nn.Module) -> nn.Module:
    """Return the module with every batch norm inside replaced by the identity."""
    if isinstance(module, _BatchNorm):
        return nn.Identity()
    for name, child in module.named_children():
        setattr(module, name, _without_batch_norm(child))
    return module
