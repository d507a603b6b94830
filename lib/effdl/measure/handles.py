"""Multiply-adds of single operators, from the shapes of what goes in and out.

Formulas on shapes first; the table ``HANDLES`` at the end lifts them to the nodes of
a traced graph, in the form that fvcore's ``set_op_handle`` takes.
"""

from collections.abc import Callable, Sequence
from math import isqrt, prod
from typing import Any

import torch

from effdl.measure.einsum import Shape, einsum_macs

Node = Any  # torch._C.Value, a private class
Handle = Callable[[list[Node], list[Node]], dict[str, int]]


def conv_macs(x: Shape, weight: Shape, out: Shape, *, transposed: bool = False) -> int:
    """Return the MACs of a convolution in any number of dimensions.

    Every element of the kernel meets every position of the output, or, transposed,
    of the input. Positions in the padding count, as everywhere in the literature.

    Args:
        x: Shape of the input, (N, c, ...).
        weight: Shape of the weight, (n, c / groups, k, ...), or, transposed,
            (c, n / groups, k, ...).
        out: Shape of the output, (N, n, ...).
        transposed: Whether the convolution is a transposed one.

    Example:
        >>> conv_macs((1, 3, 8, 8), (16, 3, 3, 3), (1, 16, 6, 6))
        15552
    """
    positions = (x if transposed else out)[2:]
    return x[0] * prod(weight) * prod(positions)


def matmul_macs(a: Shape, b: Shape) -> int:
    """Return the MACs of ``a @ b``, vectors and broadcasting included.

    Args:
        a: Shape (..., rows, inner) or (inner,).
        b: Shape (..., inner, columns) or (inner,).

    Example:
        >>> matmul_macs((8, 1, 4, 5), (3, 5, 6))  # 8 * 3 products of 4x5 with 5x6
        2880
    """
    a = a if len(a) > 1 else (1, *a)
    b = b if len(b) > 1 else (*b, 1)
    batch = torch.broadcast_shapes(tuple(a[:-2]), tuple(b[:-2]))
    return prod(batch) * a[-2] * a[-1] * b[-1]


def attention_macs(query: Shape, key: Shape, value: Shape) -> int:
    """Return the MACs of attention: query times key, then the weights times value.

    Softmax and scaling are not counted. A causal mask saves nothing here, though a
    kernel may skip what it hides.

    Args:
        query: Shape (..., heads, L_q, d_k).
        key: Shape (..., key heads, L_k, d_k).
        value: Shape (..., key heads, L_k, d_v).

    Example:
        >>> attention_macs((1, 3, 10, 8), (1, 3, 20, 8), (1, 3, 20, 4))
        7200
    """
    return prod(query[:-1]) * key[-2] * (query[-1] + value[-1])


def recurrent_macs(steps_times_batch: int, weights: Sequence[Shape]) -> int:
    """Return the MACs of an LSTM, GRU or plain recurrent layer.

    Every element of every weight matrix is used once a step; biases are skipped.

    Args:
        steps_times_batch: Sequence length times N.
        weights: Shapes of all parameters of all layers and directions.

    Example:
        >>> recurrent_macs(6, [(20, 4), (20, 5), (20,), (20,)])
        1080
    """
    return steps_times_batch * sum(prod(w) for w in weights if len(w) == 2)


def _shape(node: Node) -> list[int]:
    """Return the shape of a tensor of the graph."""
    return list(node.type().sizes())


def _conv(inputs: list[Node], outputs: list[Node]) -> dict[str, int]:
    """Return the count of aten::_convolution and aten::_convolution_mode."""
    transposed = len(inputs) > 7 and bool(inputs[6].toIValue())
    x, weight, out = map(_shape, (*inputs[:2], outputs[0]))
    return {"conv": conv_macs(x, weight, out, transposed=transposed)}


def _matmul(name: str, first: int = 0) -> Handle:
    """Return a handle for two factors, the first of them input number ``first``."""

    def handle(inputs: list[Node], _outputs: list[Node]) -> dict[str, int]:
        return {name: matmul_macs(_shape(inputs[first]), _shape(inputs[first + 1]))}

    return handle


def _linear(inputs: list[Node], _outputs: list[Node]) -> dict[str, int]:
    return {"linear": prod(_shape(inputs[0])) * _shape(inputs[1])[0]}


def _contraction(name: str) -> Handle:
    """Return a handle for a contraction without batch dimensions."""

    def handle(inputs: list[Node], outputs: list[Node]) -> dict[str, int]:
        # MACs = |a| |b| / inner and |out| = |a| |b| / inner^2.
        sizes = [prod(_shape(node)) for node in (*inputs[:2], outputs[0])]
        return {name: isqrt(prod(sizes))}

    return handle


def _attention(inputs: list[Node], _outputs: list[Node]) -> dict[str, int]:
    return {"attention": attention_macs(*map(_shape, inputs[:3]))}


def _einsum(inputs: list[Node], _outputs: list[Node]) -> dict[str, int]:
    shapes = [_shape(node) for node in inputs[1].node().inputs()]
    path = [node.toIValue() for node in inputs[2].node().inputs()]  # none: empty
    return {"einsum": einsum_macs(inputs[0].toIValue(), *shapes, path=path)}


def _recurrent(name: str) -> Handle:
    """Return a handle for a recurrent layer, on padded or on packed sequences."""

    def handle(inputs: list[Node], _outputs: list[Node]) -> dict[str, int]:
        lists = [n.node() for n in inputs if n.node().kind() == "prim::ListConstruct"]
        # The lists hold the parameters and, of an LSTM, two states of 3 dimensions.
        weights = [_shape(node) for nodes in lists for node in nodes.inputs()]
        return {name: recurrent_macs(prod(_shape(inputs[0])[:-1]), weights)}

    return handle


HANDLES: dict[str, Handle] = {
    "aten::_convolution": _conv,
    "aten::_convolution_mode": _conv,
    "aten::linear": _linear,
    "aten::matmul": _matmul("matmul"),
    "aten::mm": _matmul("matmul"),
    "aten::mv": _matmul("matmul"),
    "aten::dot": _matmul("matmul"),
    "aten::bmm": _matmul("bmm"),
    "aten::addmm": _matmul("addmm", first=1),
    "aten::addmv": _matmul("addmv", first=1),
    "aten::addbmm": _matmul("addbmm", first=1),
    "aten::baddbmm": _matmul("baddbmm", first=1),
    "aten::inner": _contraction("inner"),
    "aten::tensordot": _contraction("tensordot"),
    "aten::einsum": _einsum,
    "aten::scaled_dot_product_attention": _attention,
    "aten::lstm": _recurrent("lstm"),
    "aten::gru": _recurrent("gru"),
    "aten::rnn_tanh": _recurrent("rnn"),
    "aten::rnn_relu": _recurrent("rnn"),
}
