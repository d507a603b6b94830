"""Our quantized network as an ONNX model with exactly our grids.

Paper: Jacob et al., "Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference", CVPR 2018, https://arxiv.org/abs/1712.05877,
section 2. What is stored, and what it stands for:

    activation   uint8   s_x (q - z), one scale for the tensor
    weight       int8    s_w q, one scale for each output channel, or for all
    bias         int32   s_x s_w q: the unit of the sums, which ONNX Runtime relies on

ONNX Runtime finds the pairs of :mod:`effdl.quant.onnx_graph`, computes in integers, and
so adds up the same numbers as an integer engine of ours. Left to it is how a sum is
brought to the scale of the output: it multiplies by a float and rounds, where others
multiply by an integer and shift. So outputs can be a step apart, now and then, and
layers that follow can make more of it.

Written are convolution, linear layer, ReLU, ReLU6, addition, mean over all pixels,
flattening, dropout. Whatever else there is is refused by name.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from effdl.measure.probe import evaluating
from effdl.quant.fixed_point import FixedPoint, real_value
from effdl.quant.graph import Weighted, is_addition, is_relu, layer_at
from effdl.quant.grid import Grid
from effdl.quant.integer_layers import IntegerLayer
from effdl.quant.integer_weights import integer_layer, weight_grid
from effdl.quant.onnx_files import INPUT, onnx
from effdl.quant.onnx_graph import QdqGraph
from effdl.quant.quantizers import ActivationQuantizer

UNROUNDED = (nn.Flatten, nn.Dropout, nn.Identity)  # what was rounded stays so


def qdq_model(quantized: fx.GraphModule, example: Tensor) -> onnx.ModelProto:
    """Return a calibrated network as an ONNX model that is computed in INT8.

    Args:
        quantized: What :func:`~effdl.quant.insert.insert_quantizers` returned, with
            weights of at most 8 bits and activations of 8; left as it is.
        example: Inputs (N, ...); only the shape of one of them matters.

    Raises ``ValueError`` that names an operation which cannot be written, or a weight
    or activation without quantizer or with one of other bits.

    Example:
        >>> from effdl.quant.insert import calibrate_, insert_quantizers
        >>> from effdl.quant.observers import Extremes
        >>> from effdl.quant.onnx_files import OnnxNet
        >>> from effdl.quant.quantizers import WeightQuantizer
        >>> x = torch.rand(64, 8)
        >>> quantized = insert_quantizers(
        ...     nn.Sequential(nn.Linear(8, 4)),
        ...     weight=lambda name, w: WeightQuantizer(8),
        ...     activation=lambda name: ActivationQuantizer(Extremes(), 8),
        ... )
        >>> calibrate_(quantized, [(x, None)])
        >>> ours, theirs = quantized(x), OnnxNet(qdq_model(quantized, x))(x)
        >>> grid = quantized.get_submodule("quantizer.0").grid()
        >>> int(steps_apart(ours, theirs, grid).max()) <= 1
        True
    """
    with evaluating(quantized), torch.no_grad():
        outputs = quantized(example).shape[1:]
        writer = _Writer(quantized)
        for node in quantized.graph.nodes:
            writer.add(node)
    return writer.graph.model(writer.last, inputs=example.shape[1:], outputs=outputs)


def steps_apart(first: Tensor, second: Tensor, grid: Grid) -> Tensor:
    """Return how many steps of a grid lie between two outputs, int64, 0 or more.

    Args:
        first: Values on the grid, any shape.
        second: Values on the grid, of the same shape.
        grid: One scale for all.

    Example:
        >>> from effdl.quant.grid import symmetric_grid
        >>> grid = symmetric_grid(torch.tensor(12.7), bits=8)
        >>> steps_apart(torch.tensor([0.3, 1.0]), torch.tensor([0.3, 0.8]), grid)
        tensor([0, 2])
    """
    return ((first - second).detach().abs() / grid.scale).round().long()


class _Writer:
    """Writes one node after the other; remembers names and grids of values."""

    def __init__(self, model: fx.GraphModule) -> None:
        self.model, self.graph = model, QdqGraph()
        self.names: dict[object, str] = {}
        self.grids: dict[object, Grid] = {}
        self.last = INPUT

    def add(self, node: fx.Node) -> None:
        layer, before = layer_at(self.model, node), node.args[0] if node.args else None
        if before in self.grids and isinstance(layer, UNROUNDED):
            self.grids[node] = self.grids[before]
        if node.op == "placeholder":
            name = INPUT
        elif node.op == "output" or isinstance(layer, nn.Dropout | nn.Identity):
            name = self.names[before]
        elif isinstance(layer, ActivationQuantizer):
            self.grids[node] = _grid_of(str(node.target), layer)
            name = self.graph.rounded(self.names[before], self.grids[node])
        elif isinstance(layer, Weighted):
            if before not in self.grids:
                raise ValueError(f"the input of {node.target} has no quantizer")
            name = self._weigh(node, layer, self.grids[before])
        else:
            name = self._compute(node, layer)
            if node in self.grids:  # a layer in integers needs its input just rounded
                name = self.graph.rounded(name, self.grids[node])
        self.names[node] = self.last = name

    def _compute(self, node: fx.Node, layer: nn.Module | None) -> str:
        inputs = [self.names[a] for a in node.args if isinstance(a, fx.Node)]
        if isinstance(layer, nn.ReLU6) or node.target is F.relu6:
            limits = (self.graph.constant(np.array(n, np.float32)) for n in (0, 6))
            return self.graph.operation("Clip", [*inputs, *limits])
        kinds = {
            "Relu": is_relu(self.model, node),
            "Add": is_addition(node),
            "Flatten": isinstance(layer, nn.Flatten) and layer.start_dim == 1,
            "GlobalAveragePool": isinstance(layer, nn.AdaptiveAvgPool2d)
            and layer.output_size in {1, (1, 1)},
        }
        found = [kind for kind, holds in kinds.items() if holds]
        if not found:
            raise ValueError(
                f"{node.name} is {layer or node.target}, which cannot be written; "
                "replace it, or leave it out of the network"
            )
        return self.graph.operation(found[0], inputs)

    def _weigh(self, node: fx.Node, layer: Weighted, seen: Grid) -> str:
        name = str(node.target)
        integers, scale = _stored_layer(name, layer, seen)
        bias = integers.bias.long()
        inputs = [
            self.names[node.args[0]],
            self.graph.stored(integers.weight, scale, np.int8),
            self.graph.stored(bias, scale * seen.scale.double(), np.int32),
        ]
        if isinstance(layer, nn.Linear):
            return self.graph.operation("Gemm", inputs, {"transB": 1})
        if isinstance(layer.padding, str) or layer.padding_mode != "zeros":
            raise ValueError(f"{name} pads not by a number of zeros; give a number")
        return self.graph.operation(
            "Conv",
            inputs,
            {
                "kernel_shape": layer.kernel_size,
                "strides": layer.stride,
                "pads": [*layer.padding, *layer.padding],
                "group": layer.groups,
            },
        )


def _grid_of(name: str, layer: ActivationQuantizer) -> Grid:
    if layer.quantizing:
        return layer.grid()
    raise ValueError(f"{name} does not round yet; call calibrate_ first")


def _stored_layer(
    name: str, layer: Weighted, seen: Grid
) -> tuple[IntegerLayer, Tensor]:
    # The integers that our engine stores, and the scales of the weights.
    try:
        axis = weight_grid(layer).axis
        found = integer_layer(layer, seen, seen)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
    stored = found.requantize
    scale = real_value(FixedPoint(stored.multiplier, stored.shift.int()))
    one = axis is None and bool((scale == scale[0]).all())
    return found, scale[0] if one else scale
