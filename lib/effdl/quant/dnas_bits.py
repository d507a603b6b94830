"""DNAS for bits: every layer in several precisions at once, of which one is drawn.

Paper: Wu et al., "Mixed Precision Quantization of ConvNets via Differentiable Neural
Architecture Search", 2018, https://arxiv.org/abs/1812.00090, section 4.

    y_l = sum over k of  m[l, k] layer_lk(x)       K copies, each with its bits
    cost = sum over l, k of  m[l, k] n_l b_k       weight bits

Every copy has weights of its own, so that memory and work are K times those of one
network. How m is drawn, and what learns, is in :mod:`effdl.quant.dnas_search`.

If one-hot m are drawn with the probabilities p, the mean cost is that of
:func:`~effdl.nas.hardware.expected_cost.expected_cost` with p for m.

What differs: only weights are searched for; activations have the bits that they had
before. In the paper a candidate of 0 bits takes a layer away; here none does.
"""

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, fx, nn
from torch.nn.utils import parametrize

from effdl.nas.gradient.mixed import MixedOperation
from effdl.nas.hardware.expected_cost import CostTable
from effdl.quant.bit_choices import Bits, LayerSize
from effdl.quant.graph import Weighted, layer_at, traced
from effdl.quant.quantizers import WeightQuantizer


class ParallelBits(nn.Module):
    """Copies of a layer with different bits; their outputs are weighted.

    Args:
        layer: A convolution or linear layer, not quantized; left as it is.
        candidates: Bits, 2 to 16 each.

    Attributes:
        shares: m, (K,); to be set before the network runs. Even at first.

    Example:
        >>> edges = ParallelBits(nn.Linear(4, 3), [2, 8])
        >>> edges(torch.zeros(5, 4)).shape
        torch.Size([5, 3])
    """

    def __init__(self, layer: Weighted, candidates: Sequence[int]) -> None:
        super().__init__()
        self.mixed = MixedOperation({str(b): _rounded(layer, b) for b in candidates})
        self.shares = torch.full((len(candidates),), 1 / len(candidates))

    def forward(self, x: Tensor) -> Tensor:
        """Return the weighted sum, shaped like the layer's output."""
        return self.mixed(x, self.shares)


def parallel_bits(model: nn.Module, candidates: Sequence[int]) -> fx.GraphModule:
    """Return a copy with :class:`ParallelBits` in place of every layer with weights.

    Args:
        model: Without batch norm; its activations may be quantized already, see
            :func:`~effdl.quant.insert.insert_quantizers`.
        candidates: Bits of the edges.

    Example:
        >>> net = parallel_bits(nn.Sequential(nn.Linear(4, 3)), [2, 8])
        >>> [type(layer).__name__ for layer in net.children()]
        ['ParallelBits']
    """
    copied = traced(model)
    for node in copied.graph.nodes:
        layer = layer_at(copied, node)
        if isinstance(layer, Weighted):
            copied.set_submodule(str(node.target), ParallelBits(layer, candidates))
    return copied


def edges_of(model: fx.GraphModule) -> dict[str, ParallelBits]:
    """Return the parallel edges by the name of their layer, in the network's order.

    Args:
        model: What :func:`parallel_bits` returned.

    Example:
        >>> list(edges_of(parallel_bits(nn.Sequential(nn.Linear(4, 3)), [2, 8])))
        ['0']
    """
    layers = ((str(n.target), layer_at(model, n)) for n in model.graph.nodes)
    return {name: edge for name, edge in layers if isinstance(edge, ParallelBits)}


def bits_table(sizes: Sequence[LayerSize], candidates: Sequence[int]) -> CostTable:
    """Return the weight bits of each candidate of each layer.

    Args:
        sizes: Of the layers.
        candidates: Bits.

    Example:
        >>> bits_table([LayerSize("0", 10, 0)], [2, 8]).extra
        tensor([[20., 80.]])
    """
    rows = [[float(size.weights * b) for b in candidates] for size in sizes]
    return CostTable(0.0, torch.tensor(rows))


def take_bits(model: fx.GraphModule, bits: Bits) -> fx.GraphModule:
    """Return a copy with one edge of each layer, and the weights that it learned.

    Args:
        model: What :func:`parallel_bits` returned; left as it is.
        bits: Of each layer, in the network's order.

    Raises:
        ValueError: If an edge has no such candidate.

    Example:
        >>> net = take_bits(parallel_bits(nn.Sequential(nn.Linear(4, 3)), [2, 8]), (8,))
        >>> [type(layer).__name__ for layer in net.children()]
        ['ParametrizedLinear']
    """
    copied = copy.deepcopy(model)
    for (name, edge), chosen in zip(edges_of(copied).items(), bits, strict=True):
        candidates = edge.mixed.candidates
        if str(chosen) not in candidates:
            raise ValueError(
                f"bits of layer {name} must be one of {list(candidates)}, got {chosen}"
            )
        copied.set_submodule(name, candidates[str(chosen)])
    return copied


def _rounded(layer: Weighted, bits: int) -> nn.Module:
    """Return a copy of a layer whose weight is rounded."""
    copied = copy.deepcopy(layer)
    quantizer = WeightQuantizer(bits)
    parametrize.register_parametrization(copied, "weight", quantizer, unsafe=True)
    return copied
