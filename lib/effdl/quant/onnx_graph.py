"""A graph of ONNX operations on rounded numbers, put together by hand.

Paper: Jacob et al., "Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference", CVPR 2018, https://arxiv.org/abs/1712.05877,
section 2, whose integers and scales are what is stored.

ONNX writes a rounded network as operations in floats with pairs around them:

    q = QuantizeLinear(x, s, z) = saturate(round(x / s) + z)      x' = s (q - z)
    DequantizeLinear(q, s, z) = x'

The integers of weights and biases are stored, each with a DequantizeLinear. A runtime
with integer kernels takes an operation, the DequantizeLinear at its inputs and the
QuantizeLinear at its output together, and never makes the floats.

QuantizeLinear saturates where the type of its zero point ends. So a grid must be all
of uint8; one of fewer bits has no end to stop at.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from effdl.quant.grid import Grid
from effdl.quant.onnx_files import INPUT, OUTPUT, onnx

OPSET, FORMAT = 19, 9  # of 2023: the operations needed here have not changed since


class QdqGraph:
    """Operations in the order in which they were added.

    Values are called by names; that of the input is ``INPUT``.

    Example:
        >>> import torch
        >>> from effdl.quant.grid import affine_grid
        >>> from effdl.quant.onnx_files import OnnxNet
        >>> grid = affine_grid(torch.tensor(0.0), torch.tensor(25.5), bits=8)
        >>> graph = QdqGraph()
        >>> rounded = graph.rounded(INPUT, grid)
        >>> net = OnnxNet(graph.model(rounded, inputs=(3,), outputs=(3,)))
        >>> net(torch.tensor([[-1.0, 0.26, 99.0]])).round(decimals=4)
        tensor([[ 0.0000,  0.3000, 25.5000]])
    """

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def operation(
        self,
        kind: str,
        inputs: Sequence[str],
        attributes: Mapping[str, int | Sequence[int]] | None = None,
    ) -> str:
        """Return the name of the result of an operation, which is added.

        Args:
            kind: Its name in ONNX.
            inputs: Names of values.
            attributes: By their names in ONNX.
        """
        name = f"{kind.lower()}.{len(self.nodes)}"
        node = onnx.helper.make_node(kind, inputs, [name], name)
        for key, value in (attributes or {}).items():
            node.attribute.append(onnx.helper.make_attribute(key, value))
        self.nodes.append(node)
        return name

    def constant(self, value: NDArray[np.generic]) -> str:
        """Return the name of numbers that are stored from now on.

        Args:
            value: Of the type they are to have.
        """
        name = f"constant.{len(self.constants)}"
        self.constants.append(onnx.numpy_helper.from_array(np.asarray(value), name))
        return name

    def rounded(self, value: str, grid: Grid) -> str:
        """Return the name of a value after the pair that rounds it, which is added.

        Args:
            value: Its name.
            grid: From 0 to 255, for a whole tensor.

        Raises:
            ValueError: If it is another grid.
        """
        if (grid.lowest, grid.highest, grid.axis) != (0, 255, None):
            raise ValueError(
                "grid must go from 0 to 255 for a whole tensor, got "
                f"{grid.lowest} to {grid.highest}, axis={grid.axis}; "
                "take 8 bits, affine, unsigned"
            )
        zero = grid.zero_point.numpy().astype(np.uint8)
        parameters = [self.constant(grid.scale.numpy()), self.constant(zero)]
        integers = self.operation("QuantizeLinear", [value, *parameters])
        return self.operation("DequantizeLinear", [integers, *parameters])

    def stored(self, integers: Tensor, scale: Tensor, kind: type[np.integer]) -> str:
        """Return the name of scale times q, of which the integers q are stored.

        Args:
            integers: Any shape.
            scale: () or one for each index of the first dimension.
            kind: Type to store, such as ``np.int8``.

        Raises:
            ValueError: If an integer is beyond the type.
        """
        limits = np.iinfo(kind)
        low, high = int(integers.min()), int(integers.max())
        if low < limits.min or high > limits.max:
            raise ValueError(
                f"integers must fit into {limits.dtype}, got {low} to {high}; "
                "take fewer bits, or a larger scale"
            )
        inputs = [
            self.constant(integers.numpy().astype(kind)),
            self.constant(scale.float().numpy()),
            self.constant(np.zeros(scale.shape, kind)),
        ]
        return self.operation("DequantizeLinear", inputs, {"axis": 0})

    def model(
        self, output: str, *, inputs: Sequence[int], outputs: Sequence[int]
    ) -> onnx.ModelProto:
        """Return the checked model.

        Args:
            output: Name of the value to put out.
            inputs: Shape of one input, without the batch.
            outputs: Shape of one output.
        """
        last = onnx.helper.make_node("Identity", [output], [OUTPUT], OUTPUT)
        found = onnx.helper.make_model(
            onnx.helper.make_graph(
                [*self.nodes, last],
                "effdl",
                [_described(INPUT, inputs)],
                [_described(OUTPUT, outputs)],
                self.constants,
            ),
            opset_imports=[onnx.helper.make_opsetid("", OPSET)],
            ir_version=FORMAT,
        )
        onnx.checker.check_model(found, full_check=True)
        return found


def _described(name: str, shape: Sequence[int]) -> onnx.ValueInfoProto:
    float32 = onnx.TensorProto.FLOAT
    return onnx.helper.make_tensor_value_info(name, float32, ["batch", *shape])
