"""What quantized weights shift on average, taken off the bias.

Paper: Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias
Correction", ICCV 2019, https://arxiv.org/abs/1906.04721, section 4.2 and, for data in
place of assumptions, its appendix.

Rounded weights are off by e = w' - w, and a channel's output by sum of e x. Inputs
behind a ReLU are not 0 on average, so neither is this:

    E[y'] - E[y] = sum of e E[x]

Depthwise layers have few weights in a sum, so their errors do not cancel. Subtracted
from the bias, the mean is right again and costs nothing. Means are over images and
pixels, for each output channel, before the ReLU. Layers are corrected one by one, from
the input on, since what is corrected before changes the input of what comes after.

The mean alone is repaired, not the spread. If the mean was estimated from few images,
their noise goes into the bias.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, fx, nn

from effdl.measure.probe import evaluating
from effdl.quant.graph import Weighted, layer_at


def channel_means(
    model: fx.GraphModule, name: str, batches: Iterable[tuple[Tensor, Tensor]]
) -> Tensor:
    """Return the mean output of a layer over inputs and pixels, (out,), float64.

    Args:
        model: Traced; in eval mode until it is done.
        name: Of the layer, whose output is (N, out) or (N, out, H, W).
        batches: Inputs (N, ...) with anything.

    Raises:
        ValueError: If there is no batch.

    Example:
        >>> from effdl.quant.graph import traced
        >>> net = traced(nn.Sequential(nn.Identity()))
        >>> x = torch.tensor([[1.0, 2.0], [3.0, 2.0]])
        >>> channel_means(net, "0", [(x, None)]).tolist()
        [2.0, 2.0]
    """
    total, count = torch.zeros(()).double(), 0

    def add(_module: nn.Module, _inputs: object, output: Tensor) -> None:
        nonlocal total, count
        rows = output.movedim(1, -1).flatten(0, -2).double()
        total, count = total + rows.sum(0), count + len(rows)

    hook = model.get_submodule(name).register_forward_hook(add)
    try:
        with evaluating(model), torch.no_grad():
            for inputs, _ in batches:
                model(inputs)
    finally:
        hook.remove()
    if not count:
        raise ValueError("batches is empty; take a few hundred inputs")
    return total / count


def correct_biases_(
    quantized: fx.GraphModule,
    model: fx.GraphModule,
    batches: Iterable[tuple[Tensor, Tensor]],
) -> dict[str, Tensor]:
    """Change the biases so that every layer has the mean outputs it had in floats.

    The quantized network runs as it is; calibrate it before. Layers without a bias get
    one.

    Args:
        quantized: What :func:`~effdl.quant.insert.insert_quantizers` made of ``model``.
        model: The network in floats, folded.
        batches: Inputs (N, ...) with anything; gone through twice for every layer.

    Returns:
        What was taken off, by the name of the layer, (out,).

    Raises:
        ValueError: If ``model`` lacks a layer. Empty batches are refused, too.

    Example:
        >>> from effdl.quant.graph import traced
        >>> from effdl.quant.insert import insert_quantizers
        >>> from effdl.quant.quantizers import WeightQuantizer
        >>> net, x = traced(nn.Sequential(nn.Linear(4, 3))), torch.rand(50, 4)
        >>> quantized = insert_quantizers(
        ...     net,
        ...     weight=lambda name, w: WeightQuantizer(3),
        ...     activation=lambda name: None,
        ... )
        >>> _ = correct_biases_(quantized, net, [(x, None)])
        >>> torch.allclose(quantized(x).mean(0), net(x).mean(0), atol=1e-5)
        True
    """
    known = dict(model.named_modules())
    shifts = {}
    batches = list(batches)
    for node in quantized.graph.nodes:
        layer, name = layer_at(quantized, node), str(node.target)
        if not isinstance(layer, Weighted):
            continue
        if name not in known:
            raise ValueError(f"model has no layer {name}; is it of another network?")
        expected = channel_means(model, name, batches)
        shift = (channel_means(quantized, name, batches) - expected).to(layer.weight)
        bias = torch.zeros_like(shift) if layer.bias is None else layer.bias.detach()
        layer.bias = nn.Parameter(bias - shift)
        shifts[name] = shift
    return shifts
