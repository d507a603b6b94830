"""The bits of a quantized network, read and changed layer by layer.

The networks are those of Wang et al., "HAQ: Hardware-Aware Automated Quantization with
Mixed Precision", CVPR 2019, https://arxiv.org/abs/1811.08886. One quantizer for each
weight, each with its own bits. A grid is made of the weight whenever it is read. So a
network need not be made again for other bits: its quantizers are told another number.
Ranges of activations do not follow; they are those of the calibration.
"""

from collections.abc import Sequence

from torch import fx, nn
from torch.nn.utils import parametrize

from effdl.quant.graph import layer_at
from effdl.quant.quantizers import WeightQuantizer


def set_bits_(model: fx.GraphModule, bits: Sequence[int]) -> None:
    """Change the bits of the weight quantizers of a network, in the network's order.

    Args:
        model: From :func:`~effdl.quant.insert.insert_quantizers`, with a
            :class:`~effdl.quant.quantizers.WeightQuantizer` at each weight, or
            ``ValueError``.
        bits: One number for each.

    Example:
        >>> from effdl.quant.insert import insert_quantizers
        >>> net = insert_quantizers(
        ...     nn.Sequential(nn.Linear(2, 1)),
        ...     weight=lambda name, w: WeightQuantizer(8),
        ...     activation=lambda name: None,
        ... )
        >>> set_bits_(net, [2])
        >>> [quantizer.bits for quantizer in weight_quantizers(net).values()]
        [2]
    """
    found = weight_quantizers(model).values()
    for quantizer, number in zip(found, bits, strict=True):
        quantizer.bits = WeightQuantizer(number).bits  # which checks the number


def weight_quantizers(model: fx.GraphModule) -> dict[str, WeightQuantizer]:
    """Return the weight quantizers by the name of their layer, in the network's order.

    Args:
        model: Network; what is not quantized is left out.

    Example:
        >>> from effdl.quant.graph import traced
        >>> weight_quantizers(traced(nn.Sequential(nn.Linear(2, 1))))
        {}
    """
    found = {}
    for node in model.graph.nodes:
        rounds = weight_rounding(layer_at(model, node))
        if isinstance(rounds, WeightQuantizer):
            found[str(node.target)] = rounds
    return found


def weight_rounding(layer: nn.Module | None) -> nn.Module | None:
    """Return what rounds the weight of a layer; None if nothing does.

    Args:
        layer: Any, or none.

    Example:
        >>> weight_rounding(nn.Linear(2, 1)) is None
        True
    """
    if layer is None or not parametrize.is_parametrized(layer, "weight"):
        return None
    parametrizations = layer.get_submodule("parametrizations.weight")
    return parametrizations.get_submodule("0")
