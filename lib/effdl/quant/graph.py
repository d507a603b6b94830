"""A network as a list of operations, and batch norm folded into what stands before it.

Paper: Krishnamoorthi, "Quantizing Deep Convolutional Networks for Efficient Inference:
A Whitepaper", 2018, https://arxiv.org/abs/1806.08342, section 3.2.2.

A trained batch norm multiplies and adds the same numbers in every image. So does the
convolution or linear layer before it, and one of them is enough:

    k = gamma / sqrt(variance + eps)
    weight' = k weight          bias' = beta + k (bias - mean)      for each channel

The folded network computes the same, but for rounding, and has no batch norm left.

The list of operations comes from torch.fx. A network whose ``forward`` branches on the
values of its input cannot be traced; checks of the input by :mod:`effdl.checks` are
left out of the list.
"""

import copy
import operator

import torch
import torch.nn.functional as F
from torch import fx, nn

from effdl import checks

BatchNorm = nn.BatchNorm1d | nn.BatchNorm2d
Weighted = nn.Conv2d | nn.Linear
ADDITIONS = {operator.add, operator.iadd, torch.add}
RELUS = {F.relu, F.relu6, torch.relu}


def traced(model: nn.Module) -> fx.GraphModule:
    """Return a copy of a network whose operations can be listed and changed.

    Names of layers and parameters stay as they are.

    Args:
        model: Left as it is. If it was traced before, the copy is another one.

    Example:
        >>> [node.op for node in traced(nn.Sequential(nn.ReLU())).graph.nodes]
        ['placeholder', 'call_module', 'output']
    """
    copied = copy.deepcopy(model)
    if isinstance(copied, fx.GraphModule):
        return copied
    found = [f for name, f in vars(checks).items() if name.startswith("check_")]
    graph = fx.Tracer(autowrap_functions=tuple(found)).trace(copied)
    listed = fx.GraphModule(copied, graph)
    listed.graph.eliminate_dead_code()  # the checks, whose results nothing uses
    listed.recompile()
    return listed


def layer_at(model: fx.GraphModule, node: fx.Node) -> nn.Module | None:
    """Return the layer that a node calls; None if it calls a function.

    Args:
        model: Traced.
        node: One of its operations.

    Example:
        >>> net = traced(nn.Sequential(nn.ReLU()))
        >>> [layer_at(net, node) for node in net.graph.nodes]
        [None, ReLU(), None]
    """
    if node.op != "call_module":
        return None
    return model.get_submodule(str(node.target))


def is_relu(model: fx.GraphModule, node: fx.Node) -> bool:
    """Return whether a node is ReLU or ReLU6, as a layer or as a function.

    Args:
        model: Traced.
        node: One of its operations.

    Example:
        >>> net = traced(nn.Sequential(nn.ReLU()))
        >>> [is_relu(net, node) for node in net.graph.nodes]
        [False, True, False]
    """
    layer = layer_at(model, node)
    return isinstance(layer, nn.ReLU | nn.ReLU6) or node.target in RELUS


def is_addition(node: fx.Node) -> bool:
    """Return whether a node adds two tensors, as a shortcut does.

    Args:
        node: Of a traced network.

    Example:
        >>> class Shortcut(nn.Module):
        ...     def forward(self, x):
        ...         return x + x.relu()
        >>> [is_addition(node) for node in traced(Shortcut()).graph.nodes]
        [False, False, True, False]
    """
    tensors = [a for a in node.args if isinstance(a, fx.Node)]
    return node.target in ADDITIONS and len(tensors) == 2 and not node.kwargs


def fold_batch_norm(model: nn.Module) -> fx.GraphModule:
    """Return a copy in which every batch norm is part of the layer before it.

    Args:
        model: Trained, in eval mode: the folded statistics no longer change.

    Raises:
        ValueError: If the network is in training mode, or a batch norm does not follow
            a convolution or linear layer that nothing else uses.

    Example:
        >>> from effdl.blocks import conv_bn
        >>> net = conv_bn(1, 4, 3).eval()
        >>> folded, x = fold_batch_norm(net), torch.rand(2, 1, 5, 5)
        >>> torch.allclose(folded(x), net(x), atol=1e-6)
        True
        >>> [type(layer).__name__ for layer in folded.children()]
        ['Conv2d', 'ReLU']
    """
    if model.training:
        raise ValueError("model is in training mode; call model.eval() before folding")
    folded = traced(model)
    for node in list(folded.graph.nodes):
        norm = layer_at(folded, node)
        if not isinstance(norm, BatchNorm):
            continue
        before = node.args[0]
        layer = layer_at(folded, before)
        calls = [n for n in folded.graph.nodes if layer_at(folded, n) is layer]
        if not isinstance(layer, Weighted) or len(before.users) * len(calls) > 1:
            raise ValueError(
                f"batch norm {node.target} follows {before.target}, which is no "
                "convolution or linear layer of its own; it cannot be folded"
            )
        fold_into_(layer, norm)
        node.replace_all_uses_with(before)
        folded.graph.erase_node(node)
    folded.delete_all_unused_submodules()
    folded.recompile()
    return folded


def fold_into_(layer: Weighted, norm: BatchNorm) -> None:
    """Change a layer so that it computes what it and the batch norm did together.

    Args:
        layer: Convolution or linear layer without parametrizations: what is written
            to a computed weight is lost.
        norm: With running statistics; left as it is.

    Raises:
        ValueError: If ``norm`` has no running statistics or no gamma and beta.

    Example:
        >>> layer, norm = nn.Linear(1, 1, bias=False), nn.BatchNorm1d(1, eps=0)
        >>> norm.running_mean.fill_(2.0), norm.running_var.fill_(4.0)
        (tensor([2.]), tensor([4.]))
        >>> layer.weight.data.fill_(6.0)
        tensor([[6.]])
        >>> fold_into_(layer, norm)
        >>> layer.weight.item(), layer.bias.item()
        (3.0, -1.0)
    """
    if norm.running_mean is None or norm.running_var is None or not norm.affine:
        raise ValueError(
            "norm must have running statistics, gamma and beta; got "
            f"{norm}; make it with affine=True and track_running_stats=True"
        )
    with torch.no_grad():
        factor = norm.weight / (norm.running_var + norm.eps).sqrt()
        bias = torch.zeros_like(factor) if layer.bias is None else layer.bias
        shift = norm.bias + factor * (bias - norm.running_mean)
        shape = [-1] + [1] * (layer.weight.ndim - 1)
        layer.weight.copy_(factor.reshape(shape) * layer.weight)
        layer.bias = nn.Parameter(shift)


def check_folded(model: fx.GraphModule) -> None:
    """Require a network without batch norm.

    Args:
        model: Traced.

    Raises:
        ValueError: If there is one; it is named.

    Example:
        >>> check_folded(traced(nn.Sequential(nn.Linear(2, 2))))
    """
    for name, layer in model.named_modules():
        if isinstance(layer, BatchNorm):
            raise ValueError(f"{name} is a batch norm; call fold_batch_norm first")
