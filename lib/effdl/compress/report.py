"""What a network does and costs at any point of its compression: three numbers.

Paper: Jacob et al., "Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference", CVPR 2018, https://arxiv.org/abs/1712.05877,
sections 2.2 and 2.3, for what an integer network has to store.

    accuracy    of the network as it is, rounding if it rounds
    MACs        multiply-adds of one image, batch norm folded away
    bytes       float:     4 for each weight and bias
                rounding:  weights packed, b bits each; a bias of 4 and a factor of
                           5 bytes for each output channel; 5 for a mean over pixels

Multiply-adds do not see bits, and bytes do not see the size of the image. Neither is
time, which is measured in :mod:`effdl.compress.speed`.

What differs: eight bits to a byte is what a file can do. Our integer network keeps
every weight in a whole byte.
"""

import math
from typing import NamedTuple

from torch import Tensor, nn

from effdl.compress.rounding import deployed, unwrapped, weight_bits_of
from effdl.data.digits import Split
from effdl.measure.macs import count_macs
from effdl.quant.integer_layers import IntegerLayer
from effdl.quant.integer_net import stored_bytes, to_integers
from effdl.train import accuracy


class Report(NamedTuple):
    """One row of a table.

    Attributes:
        accuracy: Share of the split, 0 to 1.
        macs: Multiply-adds of one image.
        stored: Bytes.
    """

    accuracy: float
    macs: int
    stored: int


def report(network: nn.Module, split: Split) -> Report:
    """Return accuracy, multiply-adds and bytes.

    Args:
        network: In floats, or from :func:`effdl.compress.rounding.rounded`; it is left
            as it is.
        split: Images to be right about; validation to choose by, test to report.

    Example:
        >>> import torch
        >>> from effdl.blocks import conv_bn, mean_linear
        >>> net = nn.Sequential(conv_bn(1, 2, 3), *mean_linear(2, 10)).eval()
        >>> split = Split(torch.zeros(4, 1, 5, 5), torch.zeros(4, dtype=torch.int64))
        >>> report(net, split)[1:]  # 25 * 2 * 9 + 20; 4 * (18 + 2 + 20 + 10)
        (470, 200)
    """
    hits = accuracy(network, split.batches(500))
    return Report(hits, macs_of(network, split.inputs[:1]), bytes_of(network))


def macs_of(network: nn.Module, image: Tensor) -> int:
    """Return the multiply-adds of one image; rounding does not change them.

    Args:
        network: As in :func:`report`.
        image: A batch of one, (1, ...).

    Example:
        >>> import torch
        >>> macs_of(nn.Linear(10, 3), torch.zeros(1, 10))
        30
    """
    rounds = weight_bits_of(network) is not None
    return count_macs(deployed(unwrapped(network) if rounds else network), image).total


def bytes_of(network: nn.Module) -> int:
    """Return the bytes that have to be stored, weights packed.

    The grids of activations, a few numbers for each layer, are not counted.

    Args:
        network: As in :func:`report`.

    Example:
        >>> import torch
        >>> from effdl.compress.rounding import rounded
        >>> net = nn.Sequential(nn.Linear(10, 3))
        >>> bytes_of(net), bytes_of(rounded(net, 4, torch.rand(9, 10)))
        (132, 42)
    """
    net, bits = deployed(network), weight_bits_of(network)
    if bits is None:
        return stored_bytes(net)
    integers = to_integers(net)
    layers = [m for m in integers.layers if isinstance(m, IntegerLayer)]
    whole = sum(m.weight.numel() * m.weight.element_size() for m in layers)
    packed = sum(math.ceil(m.weight.numel() * bits / 8) for m in layers)
    return stored_bytes(integers) - whole + packed
