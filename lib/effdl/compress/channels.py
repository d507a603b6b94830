"""Remove output channels from a chain of layers: a smaller dense network remains.

Paper: Li et al., "Pruning Filters for Efficient ConvNets", ICLR 2017,
https://arxiv.org/abs/1608.08710, section 3.1.

A filter is all that makes one output channel of a layer. Filters are compared by the
size of their weights, within the layer,

    size_o = sum over c and all pixels of |W[o, c]|

and the smallest go: with them their place in the batch norm behind, and the inputs of
the next layer that read their channels. What remains are ordinary layers.

What differs: all layers are cut at once by one share, and what is cut may also be said
channel by channel. Nothing is trained again here.

Before trusting it: a channel that is gone counts as 0. One of small weights can be
large behind its batch norm, so the network must be trained or aligned afterwards. The
layers must be a chain in the order in which they are listed, with nothing in between
that mixes channels. That is not checked further than by the numbers of channels.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from effdl.checks import check_share
from effdl.nas.proxies.weights import Connected, connected_layers
from effdl.prune.gate_removal import remove_closed
from effdl.prune.gdp import PolarizedLayer, with_gates

EXACT = 1e-30  # so small beside 1 that an open gate is 1 and not nearly 1


def filter_sizes(model: nn.Module) -> dict[str, Tensor]:
    """Return the sum of |weights| of every filter, for all layers but the last.

    The outputs of the last layer are the logits, and no channel to remove.

    Args:
        model: A chain of convolutions and linear layers, and what stands in between.

    Returns:
        From layer name to (out,).

    Example:
        >>> net = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 1))
        >>> _ = net[0].weight.data.copy_(torch.tensor([[1.0, -2.0], [0.0, 0.5]]))
        >>> {name: sizes.tolist() for name, sizes in filter_sizes(net).items()}
        {'0': [3.0, 0.5]}
    """
    layers = [*connected_layers(model).items()][:-1]
    return {n: m.weight.detach().abs().flatten(1).sum(dim=1) for n, m in layers}


def largest_filters(
    model: nn.Module, share: float, *, names: frozenset[str] | None = None
) -> dict[str, Tensor]:
    """Return which channels stay when each layer keeps the largest share of its own.

    Every layer keeps one at least. Of filters of the same size the first stay.

    Args:
        model: As in :func:`filter_sizes`.
        share: How many stay in each layer, rounded; above 0, at most 1.
        names: The layers that lose some; None for all but the last.

    Returns:
        From layer name to True for a channel that stays, bool, (out,).

    Raises:
        ValueError: If ``share`` is out of range, or ``names`` has one that is no layer
            of the model, or its last.

    Example:
        >>> keep = largest_filters(nn.Sequential(nn.Linear(2, 4), nn.Linear(4, 1)), 0.5)
        >>> {name: int(stays.sum()) for name, stays in keep.items()}
        {'0': 2}
    """
    check_share(share=share)
    sizes = filter_sizes(model)
    unknown = sorted((names or frozenset()) - sizes.keys())
    if unknown:
        raise ValueError(
            f"names has {unknown}, whose channels cannot go; choose from {[*sizes]}"
        )
    keep = {}
    for name, size in sizes.items():
        if names is None or name in names:
            count = max(1, round(share * len(size)))
            stay = size.argsort(descending=True, stable=True)[:count]
            keep[name] = torch.zeros_like(size, dtype=torch.bool)
            keep[name][stay] = True
    return keep


def remove_channels(model: nn.Module, keep: Mapping[str, Tensor] | float) -> nn.Module:
    """Return a smaller copy without some of the channels; the model is left as it is.

    In evaluation it computes what the network computes if the channels that are gone
    were 0 where the next layer reads them. Layer names stay.
    Raises ``ValueError`` also if a name is no layer of the model or its last, a mask is
    not bool or has not one entry per channel, a layer has groups, or all channels of a
    layer go.

    Args:
        model: A chain, such as :func:`effdl.blocks.plain_net`.
        keep: From layer name to True for a channel that stays, bool, (out,); layers
            that are not named keep all. Or the share that stays in each layer, the
            largest filters, as by :func:`largest_filters`.

    Raises:
        ValueError: If the next layer has another number of inputs.

    Example:
        >>> net = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 1))
        >>> remove_channels(net, 0.5)
        Sequential(
          (0): Linear(in_features=2, out_features=2, bias=True)
          (1): ReLU()
          (2): Linear(in_features=2, out_features=1, bias=True)
        )
    """
    if not isinstance(keep, Mapping):
        return remove_channels(model, largest_filters(model, keep))
    layers = connected_layers(model)
    _check_masks(layers, keep)
    gated = with_gates(model, eps=EXACT)
    gates = [m for m in gated.modules() if isinstance(m, PolarizedLayer)]
    for name, gate in zip([*layers][:-1], gates, strict=True):
        if name in keep:  # the gates of a layer stand before the next one
            if len(gate.phi) != len(keep[name]):
                raise ValueError(
                    f"keep[{name!r}] has {len(keep[name])} entries, but {len(gate.phi)}"
                    " inputs follow; channels go from chains only"
                )
            gate.phi.data = keep[name].to(gate.phi)
    return remove_closed(gated)


def _check_masks(layers: Mapping[str, Connected], keep: Mapping[str, Tensor]) -> None:
    for name, stays in keep.items():
        if name not in [*layers][:-1]:
            raise ValueError(
                f"keep has {name!r}, whose channels cannot go; "
                f"choose from {[*layers][:-1]}"
            )
        channels = len(layers[name].weight)
        if stays.dtype != torch.bool or stays.shape != (channels,):
            raise ValueError(
                f"keep[{name!r}] must be bool of shape ({channels},), got "
                f"{stays.dtype} of shape {tuple(stays.shape)}; True for what stays"
            )
    first = next(iter(layers.values()))
    if getattr(first, "groups", 1) != 1:
        raise ValueError(f"the first layer has {first.groups} groups; use a chain")
