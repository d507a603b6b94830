"""Merge neurons that do alike: pruning without a single input.

Paper: Srinivas and Babu, "Data-free Parameter Pruning for Deep Neural Networks", BMVC
2015, https://arxiv.org/abs/1507.06149.

Two neurons i, j of a layer with the same incoming weights put out the same. Then j can
go, if what comes next gets a_i + a_j of neuron i, a being the outgoing weights:

    s_ij = <a_j^2>  ||W_i - W_j||^2        W with the bias, mean over the next layer
    merge the pair with the smallest s:  a_i <- a_i + a_j,  j is deleted;  repeat

With ReLU, and any function of slope at most 1, this changes the outputs of the next
layer by no more than sqrt(s_ij) ||(x, 1)||, in the root of their mean square.

The survey files it under pruning of weights. It takes whole neurons, and leaves a
smaller dense layer: it is structured. Of the same kind but different: SynFlow
(:mod:`effdl.nas.proxies.synflow`) scores single weights without data.

Before trusting it: the bound knows nothing of where x is, so inputs that are never
large count as much as the others. A neuron that is a multiple of another could be
merged exactly with ReLU, too, and is not found. When to stop is left to the reader:
the accumulated saliencies bend upwards somewhere.
"""

import copy
from typing import NamedTuple

import torch
from torch import Tensor, nn

from effdl.checks import check_positive


class Merged(NamedTuple):
    """Two layers with fewer neurons in between.

    Attributes:
        first: Makes the neurons.
        second: Reads them.
        saliencies: s of every merger in its order, (count,).
    """

    first: nn.Linear
    second: nn.Linear
    saliencies: Tensor


def merge_saliency(incoming: Tensor, outgoing: Tensor) -> Tensor:
    """Return s_ij of merging neuron j into neuron i, (n, n); infinite for i = j.

    Args:
        incoming: W, a neuron in every row, (n, inputs); with the bias as a column.
        outgoing: a, a neuron in every column, (outputs, n).

    Raises:
        ValueError: If they do not have the same n.

    Example:
        >>> incoming = torch.tensor([[1.0, 0.0], [1.0, 2.0]])
        >>> merge_saliency(incoming, torch.tensor([[3.0, 1.0]]))
        tensor([[inf,  4.],
                [36., inf]])
    """
    if incoming.ndim != 2 or outgoing.ndim != 2 or len(incoming) != outgoing.shape[1]:
        raise ValueError(
            "incoming must be (n, inputs) and outgoing (outputs, n), got "
            f"{tuple(incoming.shape)} and {tuple(outgoing.shape)}"
        )
    distances = (incoming[:, None] - incoming[None]).square().sum(dim=2)  # (n, n)
    saliency = distances * outgoing.square().mean(dim=0)
    return saliency.fill_diagonal_(torch.inf)


def merge_neurons(first: nn.Linear, second: nn.Linear, count: int) -> Merged:
    """Return two new layers with ``count`` neurons fewer between them.

    Args:
        first: Makes n neurons, with or without bias. An elementwise activation may
            follow it.
        second: Reads the n neurons.
        count: How many go, less than n.

    Raises:
        ValueError: If the layers do not fit, ``count`` is too large, or a weight is
            not finite.

    Example:
        >>> first, second = nn.Linear(3, 8), nn.Linear(8, 2)
        >>> merge_neurons(first, second, 3).first
        Linear(in_features=3, out_features=5, bias=True)
    """
    check_positive(count=count)
    incoming, outgoing = first.weight.detach(), second.weight.detach().clone()
    if first.bias is not None:
        incoming = torch.cat([incoming, first.bias.detach()[:, None]], dim=1)
    if count >= len(incoming):
        raise ValueError(f"count must be below {len(incoming)}, got {count}")
    if not (incoming.isfinite().all() and outgoing.isfinite().all()):
        raise ValueError("a weight is nan or infinite; no distance to it is defined")
    kept = torch.ones(len(incoming), dtype=torch.bool)
    seen = []
    for _ in range(count):
        saliency = merge_saliency(incoming, outgoing)
        saliency[~kept], saliency[:, ~kept] = torch.inf, torch.inf
        into, goes = divmod(int(saliency.argmin()), len(kept))
        seen.append(saliency[into, goes])
        outgoing[:, into] += outgoing[:, goes]
        kept[goes] = False
    smaller, reader = copy.deepcopy(first), copy.deepcopy(second)
    smaller.weight = nn.Parameter(first.weight.detach()[kept])
    if first.bias is not None:
        smaller.bias = nn.Parameter(first.bias.detach()[kept])
    reader.weight = nn.Parameter(outgoing[:, kept])
    smaller.out_features = reader.in_features = int(kept.sum())
    return Merged(smaller, reader, torch.stack(seen))
