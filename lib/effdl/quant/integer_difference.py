"""Integers beside fake quantization: how many differ, and by how many steps.

Paper: Jacob et al., "Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference", CVPR 2018, https://arxiv.org/abs/1712.05877,
section 3: what training simulates is what inference will do.

From the same integers at the input of a layer, the two come to different outputs

    by rounding twice       in a share 2^-(n + 1), n the shift of M
    by the bias             which the integers round to s_w s_x: M / 2 of a step at most
    by float32              if a sum lies near the middle of two steps

by one step. So the next layer starts from others, and so on: at the end of a deep
network many integers differ, though the logits hardly do.
"""

from typing import NamedTuple

import torch
from torch import Tensor, fx, nn
from torch.utils.hooks import RemovableHandle

from effdl.measure.probe import evaluating
from effdl.quant.fake import quantize
from effdl.quant.insert import quantizers_of
from effdl.quant.integer_net import IntegerNet


class Difference(NamedTuple):
    """Of two tensors of integers.

    Attributes:
        share: How many differ, 0 to 1.
        largest: By how many steps at most.
    """

    share: float
    largest: int


def difference(first: Tensor, second: Tensor) -> Difference:
    """Return how two tensors of integers differ.

    Args:
        first: Any shape.
        second: Of the same shape.

    Raises:
        ValueError: If it is not.

    Example:
        >>> difference(torch.tensor([1, 5, 7, 9]), torch.tensor([1, 5, 7, 6]))
        Difference(share=0.25, largest=3)
    """
    if first.shape != second.shape:
        shapes = f"{tuple(first.shape)} and {tuple(second.shape)}"
        raise ValueError(f"first and second must have one shape, got {shapes}")
    steps = (first - second).abs()
    return Difference(float((steps > 0).double().mean()), int(steps.max()))


def fake_integers(
    quantized: fx.GraphModule, integers: IntegerNet, x: Tensor
) -> dict[str, Tensor]:
    """Return the integers of every activation in fake quantization, by its name.

    Args:
        quantized: The network in floats, in eval mode until it is done.
        integers: What :func:`~effdl.quant.integer_net.to_integers` made of it.
        x: Inputs (N, ...), floats.

    Example:
        >>> from effdl.quant.insert import calibrate_, insert_quantizers
        >>> from effdl.quant.integer_net import to_integers
        >>> from effdl.quant.observers import Extremes
        >>> from effdl.quant.quantizers import ActivationQuantizer, WeightQuantizer
        >>> net = insert_quantizers(
        ...     nn.Sequential(nn.Linear(1, 1)),
        ...     weight=lambda name, w: WeightQuantizer(8),
        ...     activation=lambda name: ActivationQuantizer(Extremes(), 8),
        ... )
        >>> calibrate_(net, [(torch.tensor([[0.0], [2.55]]), None)])
        >>> fake_integers(net, to_integers(net), torch.tensor([[1.0]]))["input"]
        tensor([[100]], dtype=torch.int32)
    """
    seen: dict[str, Tensor] = {}

    def watch(name: str, quantizer: nn.Module) -> RemovableHandle:
        def keep(_module: nn.Module, _inputs: object, output: Tensor) -> None:
            seen[name] = quantize(output, integers.grids[name])

        return quantizer.register_forward_hook(keep)

    hooks = [watch(*named) for named in quantizers_of(quantized).items()]
    try:
        with evaluating(quantized), torch.no_grad():
            quantized(x)
    finally:
        for hook in hooks:
            hook.remove()
    return seen


def differences(
    quantized: fx.GraphModule,
    integers: IntegerNet,
    x: Tensor,
    *,
    layer_by_layer: bool = False,
) -> dict[str, Difference]:
    """Return how integers and fake quantization differ after every layer, by name.

    Args:
        quantized: The network in floats.
        integers: What :func:`~effdl.quant.integer_net.to_integers` made of it.
        x: Inputs (N, ...), floats.
        layer_by_layer: Whether each integer layer gets what fake quantization put out
            before it, so that no differences are handed on.

    Example:
        >>> from effdl.quant.insert import calibrate_, insert_quantizers
        >>> from effdl.quant.integer_net import to_integers
        >>> from effdl.quant.observers import Extremes
        >>> from effdl.quant.quantizers import ActivationQuantizer, WeightQuantizer
        >>> net = insert_quantizers(
        ...     nn.Sequential(nn.Linear(3, 2)),
        ...     weight=lambda name, w: WeightQuantizer(8),
        ...     activation=lambda name: ActivationQuantizer(Extremes(), 8),
        ... )
        >>> x = torch.rand(9, 3)
        >>> calibrate_(net, [(x, None)])
        >>> differences(net, to_integers(net), x)["0"].largest <= 1
        True
    """
    faked = fake_integers(quantized, integers, x)
    found = {}
    results = {"input": faked["input"]}
    for (name, inputs), layer in zip(
        integers.inputs.items(), integers.layers, strict=True
    ):
        results[name] = layer(*(results[before] for before in inputs))
        if name in faked:
            found[name] = difference(results[name], faked[name])
            if layer_by_layer:
                results[name] = faked[name]
    return found
