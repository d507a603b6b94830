"""A network that rounds and still learns, and the way back to one that does not.

Paper: Jacob et al., "Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference", CVPR 2018, https://arxiv.org/abs/1712.05877,
section 3.

To combine compressions in any order, a network must be able to go both ways:

    float network   --rounded-->     the same with quantizers, batch norm still learns
    rounding one    --unwrapped-->   float again: what it learned, nothing rounded
    either of them  --deployed-->    batch norm folded for good; what is shipped

``rounded`` has weights of some bits, a scale for each output channel, and activations
of 8 bits, with ranges that move while it trains. ``unwrapped`` takes the weights behind
the rounding, which training changes in small steps, not the rounded ones; so nothing
of the training is lost.

What differs: the paper quantizes once, at the end, and never goes back.

Before trusting it: the ranges of activations are lost on the way back, and are those
of one batch after rounding again. Train afterwards.
"""

import copy
from typing import cast

from torch import Tensor, fx, nn

from effdl.quant.folded_conv import FoldedConv2d
from effdl.quant.folded_training import finish_folding_, fold_in_training
from effdl.quant.graph import Weighted, fold_batch_norm
from effdl.quant.insert import calibrate_, insert_quantizers
from effdl.quant.observers import MovingAverage
from effdl.quant.quantizers import ActivationQuantizer, WeightQuantizer

ACTIVATION_BITS = 8


def weight_bits_of(model: nn.Module) -> int | None:
    """Return the bits that weights are rounded to, or None for a float network.

    Args:
        model: What :func:`rounded` returned, or a network without quantizers.

    Example:
        >>> weight_bits_of(nn.Linear(2, 2)) is None
        True
    """
    found = (m.bits for m in model.modules() if isinstance(m, WeightQuantizer))
    return next(found, None)


def rounded(model: nn.Module, bits: int, images: Tensor) -> fx.GraphModule:
    """Return a copy with a quantizer at every weight and every activation.

    It computes with rounded numbers, and is ready to be trained on.

    Args:
        model: A float network of convolutions, each with its batch norm or without,
            and linear layers. Trained, in whatever mode.
        bits: Of all weights, 2 to 16, or ``ValueError``.
        images: Inputs (N, ...) that decide on the first ranges of activations.

    Raises:
        ValueError: If the network rounds already.

    Example:
        >>> import torch
        >>> from effdl.blocks import plain_net
        >>> net, x = plain_net(2), torch.rand(8, 1, 16, 16)
        >>> small = rounded(net, 4, x)
        >>> weight_bits_of(small), small(x).shape
        (4, torch.Size([8, 10]))
    """
    found = weight_bits_of(model)
    if found is not None:
        raise ValueError(f"model rounds to {found} bits already; call unwrapped first")
    quantized = insert_quantizers(
        fold_in_training(model),
        weight=lambda _name, _weight: WeightQuantizer(bits),
        activation=lambda _name: ActivationQuantizer(MovingAverage(), ACTIVATION_BITS),
    )
    calibrate_(quantized, [(images, images)])
    return quantized


def unwrapped(model: nn.Module) -> fx.GraphModule:
    """Return a float copy without quantizers, batch norm a layer of its own again.

    Layer names stay; a batch norm is called like its convolution with "_norm" behind.

    Args:
        model: What :func:`rounded` returned, trained or not.

    Raises:
        ValueError: If it does not round.

    Example:
        >>> import torch
        >>> from effdl.blocks import conv_bn
        >>> net, x = conv_bn(1, 4, 3).eval(), torch.rand(2, 1, 5, 5)
        >>> again = unwrapped(rounded(net, 2, x))
        >>> torch.allclose(again(x), net(x), atol=1e-5)
        True
    """
    if weight_bits_of(model) is None or not isinstance(model, fx.GraphModule):
        raise ValueError("model has no quantizers to take away; it is in floats")
    copied = copy.deepcopy(model)
    for node in list(copied.graph.nodes):
        layer = copied.get_submodule(node.target) if _is_layer(node) else None
        if isinstance(layer, ActivationQuantizer):
            node.replace_all_uses_with(node.args[0])
            copied.graph.erase_node(node)
        elif isinstance(layer, FoldedConv2d):
            place = f"{node.target}_norm"
            copied.set_submodule(node.target, _plain(layer))
            copied.add_submodule(place, _norm_of(layer))
            with copied.graph.inserting_after(node):
                behind = copied.graph.call_module(place, (node,))
            node.replace_all_uses_with(behind, lambda user, it=behind: user is not it)
        elif isinstance(layer, Weighted):
            copied.set_submodule(node.target, _plain(layer))
    copied.delete_all_unused_submodules()
    copied.recompile()
    return copied


def deployed(model: nn.Module) -> fx.GraphModule:
    """Return a copy in eval mode without batch norm: what is counted and shipped.

    Args:
        model: In floats, or what :func:`rounded` returned; it is left as it is.

    Example:
        >>> from effdl.blocks import conv_bn
        >>> [type(layer).__name__ for layer in deployed(conv_bn(1, 4, 3)).children()]
        ['Conv2d', 'ReLU']
    """
    copied = copy.deepcopy(model).eval()
    if weight_bits_of(copied) is None:
        return fold_batch_norm(copied)
    finish_folding_(cast(fx.GraphModule, copied))
    return cast(fx.GraphModule, copied)


def _is_layer(node: fx.Node) -> bool:
    return node.op == "call_module"


def _plain(layer: Weighted) -> Weighted:
    """Return a new layer with the weight before any parametrization."""
    weight = layer.get_parameter("parametrizations.weight.original")
    bias = layer.bias is not None
    plain: Weighted
    if isinstance(layer, nn.Linear):
        plain = nn.Linear(layer.in_features, layer.out_features, bias)
    else:
        plain = nn.Conv2d(
            layer.in_channels,
            layer.out_channels,
            layer.kernel_size,  # type: ignore[arg-type]
            layer.stride,  # type: ignore[arg-type]
            layer.padding,  # type: ignore[arg-type]
            layer.dilation,  # type: ignore[arg-type]
            layer.groups,
            bias,
            layer.padding_mode,
        )
    state = {"weight": weight} | ({"bias": layer.bias} if bias else {})
    plain.load_state_dict(state)
    return plain.train(layer.training)


def _norm_of(layer: FoldedConv2d) -> nn.BatchNorm2d:
    """Return the batch norm that was folded in, as it is by now."""
    old = layer.norm
    norm = nn.BatchNorm2d(layer.out_channels, eps=old.eps, momentum=old.momentum)
    state = {
        "weight": old.gamma,
        "bias": old.beta,
        "running_mean": old.mean,
        "running_var": old.var,
    }
    norm.load_state_dict(state, strict=False)
    return norm.train(layer.training)
