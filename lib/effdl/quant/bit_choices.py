"""How many bits should every layer have? The space of answers, and what they cost.

Paper: Wu et al., "Mixed Precision Quantization of ConvNets via Differentiable Neural
Architecture Search", 2018, https://arxiv.org/abs/1812.00090, which treats bits as a
search treats operations. So the space is a :class:`~effdl.nas.block_space.BlockSpace`
with one candidate, a quantizer, for each number of bits.

    size of the space      K^L               K candidates, L layers
    weights and inputs     (K_w K_a)^L       64^50 = 2^300 for 8 and 8 over 50 layers
    weight bits            sum over l of  n_l b_l              n_l weights
    bit operations         sum over l of  MACs_l b_l a_l       a_l bits of the input

K of them have the same bits everywhere. They are members of the space, so the best
member at a cost is never worse than the uniform one of that cost.

Before trusting bit operations: they count what a machine does that multiplies one bit
by one bit. An ordinary processor computes 8 bits or more, whatever the bits say.
"""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from effdl.checks import check_positive
from effdl.measure.probe import evaluating
from effdl.nas.block_space import BlockSpace
from effdl.quant.graph import Weighted
from effdl.quant.quantizers import WeightQuantizer

Bits = tuple[int, ...]
CANDIDATES = (2, 4, 8)


class LayerSize(NamedTuple):
    """What bits of a layer are multiplied by.

    Attributes:
        name: Of the layer.
        weights: How many it has.
        macs: Multiply-adds for one image.
    """

    name: str
    weights: int
    macs: int


def bit_space(layers: int, candidates: Sequence[int] = CANDIDATES) -> BlockSpace:
    """Return the space of bits for the weights of every layer.

    Args:
        layers: L, at least 1.
        candidates: Bits to choose from, 2 to 16 each; their order numbers the choices.

    Raises:
        ValueError: If a candidate is named twice. Also if there is none.

    Example:
        >>> space = bit_space(6)
        >>> space.size, space.names((0, 0, 1, 1, 2, 2))
        (729, ('2', '2', '4', '4', '8', '8'))
    """
    check_positive(layers=layers)
    makers = {str(bits): partial(WeightQuantizer, bits) for bits in candidates}
    if len(makers) < len(candidates):
        raise ValueError(f"candidates must differ, got {list(candidates)}")
    return BlockSpace((makers,) * layers)


def bits_of(space: BlockSpace, choices: Sequence[int]) -> Bits:
    """Return the bits that choices of :func:`bit_space` stand for.

    Args:
        space: Of bits.
        choices: Number of the candidate of each layer.

    Example:
        >>> bits_of(bit_space(3), (0, 1, 2))
        (2, 4, 8)
    """
    return tuple(map(int, space.names(choices)))


def uniform_choices(space: BlockSpace) -> list[tuple[int, ...]]:
    """Return the members with the same candidate in all layers, as candidates come.

    Args:
        space: Such as :func:`bit_space` returns.

    Example:
        >>> uniform_choices(bit_space(4))
        [(0, 0, 0, 0), (1, 1, 1, 1), (2, 2, 2, 2)]
    """
    return [(k,) * len(space.layers) for k in range(min(space.sizes))]


def layer_sizes(model: nn.Module, images: Tensor) -> list[LayerSize]:
    """Return the sizes of all convolutions and linear layers, in the order they run.

    Args:
        model: Every such layer runs once. It comes back as it was.
        images: A batch that it can read, (N, ...).

    Example:
        >>> net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(36, 2))
        >>> [tuple(size) for size in layer_sizes(net, torch.zeros(5, 1, 5, 5))]
        [('0', 36, 324), ('2', 72, 72)]
    """
    found: list[LayerSize] = []

    def note(layer: Weighted, name: str, y: Tensor) -> None:
        each = layer.weight[0].numel()  # multiply-adds of one output
        size = LayerSize(name, layer.weight.numel(), y[0].numel() * each)
        found.append(size)

    hooks = [
        layer.register_forward_hook(
            lambda layer, _x, y, name=name: note(layer, name, y)
        )
        for name, layer in model.named_modules()
        if isinstance(layer, Weighted)
    ]
    try:
        with evaluating(model), torch.no_grad():
            model(images)
    finally:
        for hook in hooks:
            hook.remove()
    return found


def weight_bits(bits: Sequence[int], sizes: Sequence[LayerSize]) -> int:
    """Return how many bits all weights take; scales and biases are left out.

    Args:
        bits: Of each layer, in the order of ``sizes``; ``ValueError`` if too few.
        sizes: What :func:`layer_sizes` returned.

    Example:
        >>> weight_bits((2, 8), [LayerSize("a", 100, 0), LayerSize("b", 10, 0)])
        280
    """
    return sum(b * size.weights for b, size in zip(bits, sizes, strict=True))


def bit_operations(
    bits: Sequence[int], inputs: Sequence[int], sizes: Sequence[LayerSize]
) -> int:
    """Return how often a bit of a weight meets a bit of an input, for one image.

    Args:
        bits: Of the weights of each layer; ``ValueError`` if too few.
        inputs: Bits of what each layer reads.
        sizes: What :func:`layer_sizes` returned.

    Example:
        >>> bit_operations((2, 8), (8, 4), [("a", 0, 100), ("b", 0, 10)])
        1920
    """
    return sum(
        macs * b * a for b, a, (_, _, macs) in zip(bits, inputs, sizes, strict=True)
    )
