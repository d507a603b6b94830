"""Quantizers at every weight and activation of a network, and their calibration.

Paper: Jacob et al., "Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference", CVPR 2018, https://arxiv.org/abs/1712.05877,
section 3.

    folded = fold_batch_norm(net.eval())
    quantized = insert_quantizers(folded, weight=..., activation=...)
    calibrate_(quantized, batches)
    train_classifier(quantized, ...)      quantization-aware training, if you like

Where activations are rounded: the input; after every convolution, linear layer,
addition and mean over pixels, or after the ReLU that follows at once, because an
integer kernel does both in one go.

Which quantizers is up to two functions, called with names. So layers may have different
bits, and the first and the last may be left alone.
"""

from collections.abc import Callable, Iterable

from torch import Tensor, fx, nn
from torch.nn.utils import parametrize

from effdl.measure.probe import evaluating
from effdl.quant.graph import (
    Weighted,
    check_folded,
    is_addition,
    is_relu,
    layer_at,
    traced,
)
from effdl.quant.quantizers import ActivationQuantizer

INPUT = "input"


def insert_quantizers(
    model: nn.Module,
    *,
    weight: Callable[[str, Tensor], nn.Module | None],
    activation: Callable[[str], nn.Module | None],
) -> fx.GraphModule:
    """Return a copy with a quantizer at every weight and every activation.

    Args:
        model: Without batch norm, or ``ValueError``; it is left as it is. Each
            activation needs a name of its own: a ReLU called twice, or a layer
            called "input", would share the quantizer made last.
        weight: Called with the name of a layer and its weight; returns a module that
            maps the weight to the one to compute with, or None to leave it.
        activation: Called with the name of the operation that puts the activation out,
            such as "0.conv", "add" or "input"; returns a module, or None.

    Example:
        >>> from effdl.quant.observers import Extremes
        >>> from effdl.quant.quantizers import WeightQuantizer
        >>> net = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
        >>> quantized = insert_quantizers(
        ...     net,
        ...     weight=lambda name, w: WeightQuantizer(8),
        ...     activation=lambda name: ActivationQuantizer(Extremes(), 8),
        ... )
        >>> list(quantizers_of(quantized))
        ['input', '1', '2']
    """
    copied = traced(model)
    check_folded(copied)
    seen: set[nn.Module] = set()
    for node in list(copied.graph.nodes):
        layer = layer_at(copied, node)
        if isinstance(layer, Weighted) and layer not in seen:
            seen.add(layer)
            quantizer = weight(str(node.target), layer.weight)
            if quantizer is not None:
                parametrize.register_parametrization(
                    layer, "weight", quantizer, unsafe=True
                )
        if _is_rounded(copied, node):
            name = INPUT if node.op == "placeholder" else name_of(node)
            _insert_(copied, node, name, activation(name))
    copied.recompile()
    return copied


def name_of(node: fx.Node) -> str:
    """Return the name of the layer that a node calls, or of the node itself.

    Args:
        node: Of a traced network.

    Example:
        >>> net = traced(nn.Sequential(nn.ReLU()))
        >>> [name_of(node) for node in net.graph.nodes]
        ['input_1', '0', 'output']
    """
    return str(node.target) if node.op == "call_module" else node.name


def quantizers_of(model: fx.GraphModule) -> dict[str, nn.Module]:
    """Return the quantizers of activations by the name of what they round.

    Args:
        model: What :func:`insert_quantizers` returned.

    Example:
        >>> quantizers_of(traced(nn.Sequential(nn.ReLU())))
        {}
    """
    found = {}
    for node in model.graph.nodes:
        if node.op == "call_module" and str(node.target).startswith("quantizer."):
            before = node.args[0]
            name = INPUT if before.op == "placeholder" else name_of(before)
            found[name] = model.get_submodule(str(node.target))
    return found


def calibrate_(model: fx.GraphModule, batches: Iterable[tuple[Tensor, Tensor]]) -> None:
    """Let the observers see batches; from then on the network rounds.

    The network ends in eval mode or training mode as it was. What was observed before
    still counts, so calibrate a fresh copy.

    Args:
        model: What :func:`insert_quantizers` returned.
        batches: Inputs (N, ...) with anything.

    Raises:
        ValueError: If there is no batch. NaN and infinity are refused, too.

    Example:
        >>> import torch
        >>> from effdl.quant.observers import Extremes
        >>> quantized = insert_quantizers(
        ...     nn.Sequential(nn.ReLU()),
        ...     weight=lambda name, w: None,
        ...     activation=lambda name: ActivationQuantizer(Extremes(), 1),
        ... )
        >>> calibrate_(quantized, [(torch.tensor([0.0, 3.0]), None)])
        >>> quantized(torch.tensor([1.0, 2.0]))
        tensor([0., 3.])
    """
    found = quantizers_of(model).values()
    layers = [q for q in found if isinstance(q, ActivationQuantizer)]
    for layer in layers:
        layer.observing, layer.quantizing = True, False
    count = 0
    with evaluating(model):
        for inputs, _ in batches:
            model(inputs)
            count += 1
    if not count:
        raise ValueError("batches is empty; calibrate with a few hundred inputs")
    for layer in layers:
        layer.observing, layer.quantizing = False, True


def _is_rounded(model: fx.GraphModule, node: fx.Node) -> bool:
    if node.op == "placeholder":
        return True
    users = list(node.users)
    if len(users) == 1 and is_relu(model, users[0]):
        return False  # its ReLU is rounded instead
    layer = layer_at(model, node)
    computes = isinstance(layer, Weighted | nn.AdaptiveAvgPool2d) or is_addition(node)
    return computes or is_relu(model, node)


def _insert_(
    model: fx.GraphModule, node: fx.Node, name: str, quantizer: nn.Module | None
) -> None:
    if quantizer is None:
        return
    target = f"quantizer.{name.replace('.', '_')}"
    model.add_submodule(target, quantizer)
    users = list(node.users)
    with model.graph.inserting_after(node):
        rounded = model.graph.call_module(target, (node,))
    for user in users:
        user.replace_input_with(node, rounded)
