"""What the gradient proxies share: which weights count, the loss, its gradients.

A proxy rates a network that is going to be trained afterwards, so it may change
nothing in it. Here the network runs on

    detached weights     share memory with its own, but not their .grad
    cloned buffers       batch norm writes its statistics there
    a cloned batch       for networks whose first layer works in place

in the mode that it is in. Only the weights of linear and convolutional layers count:
no biases, no batch norm, no transposed convolution, no embedding.
"""

import math
from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor, nn
from torch.func import functional_call

from effdl.measure.probe import as_inputs, clones

LossFunction = Callable[[Tensor, Tensor], Tensor]

Connected = nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d


def connected_layers(model: nn.Module) -> dict[str, Connected]:
    """Return the linear and convolutional layers by name, in the model's order.

    Args:
        model: The network.

    Raises:
        ValueError: If there is none, or the weight of one is computed from others, as
            by weight norm.

    Example:
        >>> list(connected_layers(nn.Sequential(nn.Linear(2, 2), nn.ReLU())))
        ['0']
    """
    layers = {n: m for n, m in model.named_modules() if isinstance(m, Connected)}
    if not layers:
        raise ValueError(
            f"{type(model).__name__} has no linear or convolutional layer, so there is "
            "no weight to score"
        )
    for name, layer in layers.items():
        if not isinstance(layer.weight, nn.Parameter):
            raise ValueError(
                f"the weight of layer {name!r} is computed from other parameters; "
                "undo the weight norm or parametrization first"
            )
    return layers


def connection_weights(model: nn.Module) -> dict[str, nn.Parameter]:
    """Return the weights that count by name, one that layers share only once.

    Raises ``ValueError`` as :func:`connected_layers` does.

    Args:
        model: The network.

    Example:
        >>> list(connection_weights(nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))))
        ['0.weight']
    """
    ids = {id(layer.weight) for layer in connected_layers(model).values()}
    return {name: p for name, p in model.named_parameters() if id(p) in ids}


def loss_of_weights(
    model: nn.Module, inputs: Tensor, targets: Tensor, loss_fn: LossFunction
) -> tuple[dict[str, Tensor], Tensor]:
    """Return the weights that count, as leaves, and the loss as a function of them.

    Call it inside ``torch.enable_grad()``. The model comes back unchanged: weights,
    ``.grad`` fields, ``requires_grad`` and batch-norm statistics.

    Args:
        model: The network, run in the mode it is in.
        inputs: One batch, (N, ...).
        targets: What ``loss_fn`` expects beside the output, (N, ...).
        loss_fn: Maps output and targets to a scalar.

    Returns:
        From parameter name to leaf, and the loss.

    Raises:
        ValueError: If the batch is empty, the model has no weight to score, the loss
            is not a finite scalar, or it depends on none of the weights.

    Example:
        >>> layer = nn.Linear(2, 1, bias=False)
        >>> weights, loss = loss_of_weights(
        ...     layer, torch.ones(3, 2), torch.zeros(3, 1), nn.functional.mse_loss)
        >>> list(weights), loss.shape
        (['weight'], torch.Size([]))
    """
    batch = clones(as_inputs(inputs))
    counted = connection_weights(model)
    tensors = {name: p.detach() for name, p in model.named_parameters()}
    weights = {name: tensors[name].requires_grad_() for name in counted}
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    loss = loss_fn(functional_call(model, tensors | buffers, batch), targets)
    if not isinstance(loss, Tensor) or loss.ndim != 0 or not loss.isfinite():
        told = loss.detach() if isinstance(loss, Tensor) else repr(loss)
        raise ValueError(
            f"the loss must be a finite scalar, got {told}; "
            "does loss_fn average over the batch?"
        )
    if not loss.requires_grad:
        raise ValueError(
            "the loss depends on no linear or convolutional weight; does the model or "
            "loss_fn detach its output, or round it?"
        )
    return weights, loss


def gradients(
    value: Tensor, leaves: Mapping[str, Tensor], *, create_graph: bool = False
) -> dict[str, Tensor]:
    """Return d value / d leaf for every leaf, zeros for those it does not depend on.

    Args:
        value: A scalar.
        leaves: Tensors that require a gradient; their ``.grad`` is left alone.
        create_graph: Whether the gradients are to be differentiated again.

    Example:
        >>> x, y = torch.ones(2, requires_grad=True), torch.ones(1, requires_grad=True)
        >>> gradients((3 * x).sum(), {"x": x, "y": y})
        {'x': tensor([3., 3.]), 'y': tensor([0.])}
    """
    if not value.requires_grad or not leaves:
        return {name: torch.zeros_like(leaf) for name, leaf in leaves.items()}
    found = torch.autograd.grad(
        value,
        list(leaves.values()),
        create_graph=create_graph,
        allow_unused=True,
        materialize_grads=True,
    )
    return dict(zip(leaves, found, strict=True))


def finite_sum(terms: Iterable[Tensor]) -> float:
    """Return the sum over all elements of all tensors.

    Args:
        terms: Tensors of any shape.

    Raises:
        ValueError: If the sum is not finite.

    Example:
        >>> finite_sum([torch.ones(2, 3), torch.ones(1)])
        7.0
    """
    # float64: a float32 sum over millions of tiny terms would drop the smallest.
    total = sum(term.detach().sum(dtype=torch.float64).item() for term in terms)
    if not math.isfinite(total):
        raise ValueError(
            f"the score is {total}: gradients are infinite or undefined; "
            "scale the inputs or the initial weights down"
        )
    return total
