"""Which operations of a quantized network are one step on integers.

Paper: Jacob et al., "Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference", CVPR 2018, https://arxiv.org/abs/1712.05877,
section 2.4.

A quantizer stands behind what an integer kernel does in one go. So one step is, read
backwards, quantizer <- [ReLU or ReLU6] <- convolution, linear layer, addition or mean.
A ReLU between two quantizers is one, too. Dropout and identity are none.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from torch import fx, nn

from effdl.quant.graph import Weighted, is_addition, is_relu, layer_at
from effdl.quant.grid import Grid
from effdl.quant.insert import INPUT, name_of
from effdl.quant.integer_sums import IntegerAddition, IntegerMean, IntegerRescale
from effdl.quant.integer_weights import integer_layer

NOTHING, FLATTENS = nn.Dropout | nn.Identity, (torch.flatten, "flatten")


@runtime_checkable
class HasGrid(Protocol):
    """A quantizer of activations that all lie on one evenly spaced grid."""

    def grid(self) -> Grid:
        """Return the grid, one for the whole tensor."""


class Result(NamedTuple):
    """Integers somewhere in a network.

    Attributes:
        name: That of :func:`~effdl.quant.insert.quantizers_of`.
        grid: Which they are on.
    """

    name: str
    grid: Grid


class Step(NamedTuple):
    """One layer on integers.

    Attributes:
        name: Of its result.
        layer: Takes and returns int32.
        inputs: What it takes, by name.
        grid: Of its result.
    """

    name: str
    layer: nn.Module
    inputs: tuple[str, ...]
    grid: Grid


def step_of(
    model: fx.GraphModule, node: fx.Node, done: dict[fx.Node, Result]
) -> Step | None:
    """Return the step that ends at a node, and note its result down in ``done``.

    Known are convolutions, linear layers, ReLU, ReLU6, additions of two results, the
    mean over all pixels, flatten and dropout. All but the last two need a quantizer, or
    a ReLU behind them that has one. What is not known, or lacks a quantizer, or a range
    that was observed, is named in a ``ValueError``.

    Args:
        model: Quantized.
        node: One of its operations, after all before it.
        done: Where there are integers already; gets those of the node.

    Returns:
        The step; None if none ends here.

    Example:
        >>> from effdl.quant.graph import traced
        >>> net = traced(nn.Sequential(nn.Tanh()))
        >>> step_of(net, list(net.graph.nodes)[1], {})
        Traceback (most recent call last):
        ValueError: 0 is Tanh(), for which there are no integers here; do without it
    """
    layer = layer_at(model, node)
    if str(node.target).startswith("quantizer."):
        step = _rounded(model, node, done)
    elif node.op == "output" or isinstance(layer, NOTHING) or node.target is F.dropout:
        done[node] = results_of(done, node.all_input_nodes)[0]
        return None
    elif isinstance(layer, nn.Flatten) or node.target in FLATTENS:
        (before,) = results_of(done, node.all_input_nodes)
        step = Step(name_of(node), layer or _flatten(node), (before.name,), before.grid)
    else:
        _check_known(model, node)
        return None
    done[node] = Result(step.name, step.grid)
    return step if step.inputs else None


def results_of(done: dict[fx.Node, Result], nodes: Sequence[fx.Node]) -> list[Result]:
    """Return the integers that are put out at nodes.

    Args:
        done: Where there are integers.
        nodes: Some nodes.

    Raises:
        ValueError: If there are none at a node; it is named.

    Example:
        >>> from effdl.quant.graph import traced
        >>> net = traced(nn.Sequential(nn.ReLU()))
        >>> results_of({}, [list(net.graph.nodes)[1]])
        Traceback (most recent call last):
        ValueError: 0 has no quantizer behind it; insert one for every activation
    """
    for node in nodes:
        if node not in done:
            raise ValueError(
                f"{_result_name(node)} has no quantizer behind it; "
                "insert one for every activation"
            )
    return [done[node] for node in nodes]


def _rounded(model: fx.GraphModule, node: fx.Node, done: dict[fx.Node, Result]) -> Step:
    quantizer = model.get_submodule(str(node.target))
    last = node.all_input_nodes[0]
    name = _result_name(last)
    try:
        grid = _one_grid(quantizer)
        if last.op == "placeholder":
            return Step(name, quantizer, (), grid)
        ceiling = None
        while is_relu(model, last):
            six = last.target is F.relu6 or isinstance(layer_at(model, last), nn.ReLU6)
            ceiling = min(ceiling or math.inf, 6.0 if six else math.inf)
            if last.all_input_nodes[0] in done:
                break
            last = last.all_input_nodes[0]
        before = results_of(done, [a for a in last.args if isinstance(a, fx.Node)])
        layer = _integer_form(model, last, before, grid, ceiling)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
    return Step(name, layer, tuple(result.name for result in before), grid)


def _one_grid(quantizer: nn.Module) -> Grid:
    if not isinstance(quantizer, HasGrid):
        raise ValueError(f"its quantizer {quantizer} has no method grid()")
    grid = quantizer.grid()
    if grid.axis is not None:
        raise ValueError(f"its grid must have one scale, got axis={grid.axis}")
    return grid


def _integer_form(
    model: fx.GraphModule,
    node: fx.Node,
    before: list[Result],
    grid: Grid,
    ceiling: float | None,
) -> nn.Module:
    layer = layer_at(model, node)
    if isinstance(layer, Weighted):
        return integer_layer(layer, before[0].grid, grid, ceiling)
    if is_addition(node):
        return IntegerAddition(before[0].grid, before[1].grid, grid, ceiling)
    if isinstance(layer, nn.AdaptiveAvgPool2d):
        return IntegerMean(before[0].grid, grid, ceiling)
    return IntegerRescale(before[0].grid, grid, ceiling)


def _flatten(node: fx.Node) -> nn.Flatten:
    given = dict(zip(("start_dim", "end_dim"), node.args[1:], strict=False))
    options: dict[str, Any] = {"start_dim": 0} | given | node.kwargs
    return nn.Flatten(**options)


def _check_known(model: fx.GraphModule, node: fx.Node) -> None:
    layer = layer_at(model, node)
    known = isinstance(layer, Weighted) or is_relu(model, node)
    known |= is_addition(node) or node.op == "placeholder"
    if isinstance(layer, nn.AdaptiveAvgPool2d):
        known = layer.output_size in (1, (1, 1))
    if not known:
        raise ValueError(
            f"{name_of(node)} is {layer or node.target}, for which there are no "
            "integers here; do without it"
        )


def _result_name(node: fx.Node) -> str:
    return INPUT if node.op == "placeholder" else name_of(node)
