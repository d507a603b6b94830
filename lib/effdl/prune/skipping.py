"""Which multiply-adds an accelerator can skip, by what it looks at.

Papers: Albericio et al., "Cnvlutin: Ineffectual-Neuron-Free Deep Neural Network
Computing", ISCA 2016, https://doi.org/10.1109/ISCA.2016.11 (zero activations); Zhang et
al., "Cambricon-X: An Accelerator for Sparse Neural Networks", MICRO 2016,
https://doi.org/10.1109/MICRO.2016.7783723 (zero weights); Parashar et al., "SCNN: An
Accelerator for Compressed-sparse Convolutional Neural Networks", ISCA 2017,
https://arxiv.org/abs/1708.04485 (both). The others are in ``ACCELERATORS``.

A product w x adds nothing if w or x is 0. Of all products of a layer for a batch

    weights        those with w != 0                  known before the first input
    activations    those with x != 0                  known when the input is there
    both           those with w != 0 and x != 0

have to be done, whatever the order. If w and x were 0 independently of each other, the
share of both would be the product of the shares.

Before trusting it: what is left is a bound. A machine also has to find the products
that count, and to share them among its elements; see :mod:`effdl.prune.eie`. The zeros
that a convolution pads its input with count as zero activations.

Speedups in ``ACCELERATORS`` are the papers' own, each over another machine and other
networks: they order nothing. Where an index format could not be read, none is given.
"""

import copy
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from typing import NamedTuple

import torch
from torch import Tensor, nn

from effdl.measure.probe import evaluating
from effdl.nas.proxies.weights import Connected, connected_layers
from effdl.prune.pruned import plain_copy


class Macs(NamedTuple):
    """Multiply-adds of a layer, or of several, for one batch.

    Attributes:
        dense: All of them.
        weights: Those by a weight that is not 0.
        activations: Those by an activation that is not 0.
        both: Those by neither.
    """

    dense: int
    weights: int
    activations: int
    both: int


class Accelerator(NamedTuple):
    """A machine for sparse networks, and what its authors say of it.

    Attributes:
        name: Of the machine.
        cite: Key of the paper in the book's bibliography.
        where: Venue and year.
        skips: Whose zeros it skips: "weights", "activations" or "both".
        finds: How it knows where the non-zeros are; empty where we could not read it.
        speedup: The factor in the paper's abstract.
        over: What the factor is over.
    """

    name: str
    cite: str
    where: str
    skips: str
    finds: str
    speedup: float
    over: str


ACCELERATORS = (
    Accelerator(
        "EIE", "han2016eie", "ISCA 2016", "both",
        "columns, runs of zeros in 4 bits", 13, "a GPU, the network uncompressed",
    ),
    Accelerator(
        "Cnvlutin", "albericio2016cnvlutin", "ISCA 2016", "activations",
        "an offset beside each activation", 1.37, "a dense accelerator",
    ),
    Accelerator(
        "Cambricon-X", "zhang2016cambriconx", "MICRO 2016", "weights",
        "", 7.23, "a dense accelerator",
    ),
    Accelerator(
        "SCNN", "parashar2017scnn", "ISCA 2017", "both",
        "", 2.7, "a dense accelerator of the same size",
    ),
    Accelerator(
        "Cambricon-S", "zhou2018cambricons", "MICRO 2018", "both",
        "one index for a group of weights", 1.71, "a sparse accelerator",
    ),
    Accelerator(
        "Eyeriss v2", "chen2019eyeriss", "JETCAS 2019", "both",
        "compressed columns", 12.6, "Eyeriss; sparse against dense MobileNet",
    ),
    Accelerator(
        "SparTen", "gondimalla2019sparten", "MICRO 2019", "both",
        "one bit for each value", 4.7, "a dense accelerator, simulated",
    ),
    Accelerator(
        "SIGMA", "qin2020sigma", "HPCA 2020", "both",
        "one bit for each value", 5.7, "systolic arrays, on sparse irregular matrices",
    ),
)  # fmt: skip


def layer_macs(layer: Connected, x: Tensor) -> Macs:
    """Return the multiply-adds of one layer for one batch.

    Args:
        layer: Linear or convolutional, with its zeros in the weight itself.
        x: Its input, batch first.

    Raises:
        ValueError: If the layer holds a mask.

    Example:
        >>> layer = nn.Linear(2, 1)
        >>> _ = layer.weight.data.copy_(torch.tensor([[0.0, 3.0]]))
        >>> layer_macs(layer, torch.tensor([[1.0, 1.0], [1.0, 0.0]]))
        Macs(dense=4, weights=2, activations=3, both=1)
    """
    if not isinstance(layer.weight, nn.Parameter):
        raise ValueError("layer holds a mask; count on effdl.prune.pruned.plain_copy")
    products = copy.deepcopy(layer).double()  # adds ones, and so counts exactly
    products.bias = None
    inputs = x.ne(0).double()
    left = layer.weight.detach().ne(0)
    with torch.no_grad():
        products.weight.copy_(left)
        output = products(inputs)
        both = output.sum()
        products.weight.fill_(1)
        activations = products(inputs).sum()
    places = output.numel() // layer.weight.shape[0]  # each weight is used at all
    return Macs(
        dense=places * left.numel(),
        weights=places * int(left.sum()),
        activations=round(float(activations)),
        both=round(float(both)),
    )


def model_macs(model: nn.Module, inputs: Tensor) -> dict[str, Macs]:
    """Return the multiply-adds of every linear and convolutional layer for one batch.

    Args:
        model: The network, pruned or not; it is left as it is, and run in evaluation
            mode. A layer that runs twice counts twice.
        inputs: One batch.

    Example:
        >>> net = nn.Sequential(nn.Linear(3, 2), nn.ReLU(), nn.Linear(2, 1))
        >>> [macs.dense for macs in model_macs(net, torch.ones(5, 3)).values()]
        [30, 10]
    """
    copied = plain_copy(model)
    seen: dict[str, list[Tensor]] = {}
    layers = connected_layers(copied)
    with ExitStack() as stack:
        for name, layer in layers.items():
            handle = layer.register_forward_pre_hook(_recorder(seen, name))
            stack.callback(handle.remove)
        stack.enter_context(evaluating(copied))
        stack.enter_context(torch.no_grad())
        copied(inputs.clone())
    return {
        name: total_macs(layer_macs(layers[name], x) for x in given)
        for name, given in seen.items()
    }


def total_macs(macs: Iterable[Macs]) -> Macs:
    """Return the sums over layers or runs.

    Args:
        macs: At least one.

    Example:
        >>> total_macs([Macs(4, 2, 3, 1), Macs(4, 4, 4, 4)])
        Macs(dense=8, weights=6, activations=7, both=5)
    """
    return Macs(*(sum(column) for column in zip(*macs, strict=True)))


def _recorder(
    seen: dict[str, list[Tensor]], name: str
) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
    """Return a hook that appends a layer's input."""
    return lambda _, given: seen.setdefault(name, []).append(given[0].clone())
