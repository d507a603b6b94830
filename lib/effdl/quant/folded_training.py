"""Batch norm folded while the network trains, so that it learns what it will use.

Paper: Jacob et al., "Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference", CVPR 2018, https://arxiv.org/abs/1712.05877,
section 3.2.

    folding = fold_in_training(net)
    quantized = insert_quantizers(folding, weight=..., activation=...)
    train_classifier(quantized, ...)
    freeze_statistics_(quantized)
    train_classifier(quantized, ...)
    finish_folding_(quantized)                  now as any folded network

Freeze late in training, when running statistics are good: from then on the network
trains on exactly what it will compute. A network may start from random weights here.

The layer is :class:`effdl.quant.folded_conv.FoldedConv2d`. Convolutions only; a linear
layer with batch norm is refused.
"""

from typing import cast

import torch
from torch import fx, nn
from torch.nn.utils import parametrize

from effdl.quant.folded_conv import ChannelNorm, FoldedConv2d
from effdl.quant.graph import BatchNorm, layer_at, traced


def fold_in_training(model: nn.Module) -> fx.GraphModule:
    """Return a copy in which convolution and batch norm are one layer that learns.

    Args:
        model: Trained or not, in the mode that the copy is to have. Every convolution
            is to run once.

    Raises:
        ValueError: If a batch norm does not follow a convolution that nothing else
            uses. A channel with gamma 0 is refused, too.

    Example:
        >>> from effdl.blocks import conv_bn
        >>> folding = fold_in_training(conv_bn(1, 4, 3))
        >>> [type(layer).__name__ for layer in folding.children()]
        ['ParametrizedFoldedConv2d', 'ReLU']
    """
    copied = traced(model)
    for node in list(copied.graph.nodes):
        norm = layer_at(copied, node)
        if not isinstance(norm, BatchNorm):
            continue
        before = node.args[0]
        conv = layer_at(copied, before)
        if not isinstance(conv, nn.Conv2d) or len(before.users) > 1:
            raise ValueError(
                f"batch norm {node.target} follows {before.target}, which is no "
                "convolution of its own; train first and call fold_batch_norm"
            )
        folded = FoldedConv2d(conv, cast(nn.BatchNorm2d, norm))
        copied.set_submodule(str(before.target), folded.train(norm.training))
        node.replace_all_uses_with(before)
        copied.graph.erase_node(node)
    copied.delete_all_unused_submodules()
    copied.recompile()
    return copied


def freeze_statistics_(model: nn.Module) -> None:
    """Let training use running statistics from now on, which stand still.

    Args:
        model: What :func:`fold_in_training` returned, with or without quantizers.

    Example:
        >>> net = nn.Sequential(FoldedConv2d(nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1)))
        >>> freeze_statistics_(net)
        >>> net[0].norm.frozen
        True
    """
    for layer in model.modules():
        if isinstance(layer, ChannelNorm):
            layer.frozen = True


def finish_folding_(model: fx.GraphModule) -> None:
    """Turn all these layers into ordinary convolutions; what rounds them stays.

    Args:
        model: What :func:`fold_in_training` returned, with or without quantizers. In
            eval mode it computes the same afterwards.

    Example:
        >>> from effdl.blocks import conv_bn
        >>> net = fold_in_training(conv_bn(1, 4, 3))
        >>> finish_folding_(net)
        >>> [type(layer).__name__ for layer in net.children()]
        ['Conv2d', 'ReLU']
    """
    for name, layer in list(model.named_modules()):
        if isinstance(layer, FoldedConv2d):
            model.set_submodule(name, _finished(layer))


def _finished(layer: FoldedConv2d) -> nn.Conv2d:
    chains = cast(nn.ModuleDict, layer.parametrizations)
    chain = cast(parametrize.ParametrizationList, chains["weight"])
    fold, *rounding = chain
    plain = nn.Conv2d(
        layer.in_channels,
        layer.out_channels,
        layer.kernel_size,  # type: ignore[arg-type]
        layer.stride,  # type: ignore[arg-type]
        layer.padding,  # type: ignore[arg-type]
        layer.dilation,  # type: ignore[arg-type]
        layer.groups,
        padding_mode=layer.padding_mode,
    ).train(layer.training)
    with torch.no_grad():
        plain.weight.copy_(fold(chain.original))
        plain.bias = nn.Parameter(layer.folded_bias())
    for quantizer in rounding:
        parametrize.register_parametrization(plain, "weight", quantizer, unsafe=True)
    return plain
