"""How the counters run a model: once, on copies of the inputs, leaving no trace.

Every counter of this package needs the same three things: inputs that are known to
be tensors, a model that comes back exactly as it was, and the tensors in whatever
the model returns.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

Inputs = Tensor | Sequence[Tensor]

PLAIN = (int, float, complex, bool, str, bytes, type(None))


def as_inputs(inputs: Inputs) -> tuple[Tensor, ...]:
    """Return the positional arguments of a model as a tuple of tensors.

    Args:
        inputs: One batch (N, ...), or several tensors for a model that takes several.

    Raises:
        ValueError: If something is not a tensor, or a tensor has no elements.

    Example:
        >>> [x.shape for x in as_inputs(torch.zeros(1, 3))]
        [torch.Size([1, 3])]
    """
    tensors = (inputs,) if isinstance(inputs, Tensor) else inputs
    if not isinstance(tensors, (tuple, list)) or not tensors:
        raise ValueError(
            f"inputs must be a tensor or a tuple of tensors, got {inputs!r}"
        )
    for tensor in tensors:
        if not isinstance(tensor, Tensor):
            raise ValueError(
                "inputs must be a tensor or a tuple of tensors, "
                f"got a {type(tensor).__name__}; torch.as_tensor makes one"
            )
        if tensor.numel() == 0:
            raise ValueError(f"inputs is an empty batch, shape {tuple(tensor.shape)}")
    return tuple(tensors)


def clones(inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Return copies, so that a model that starts in place spoils nothing.

    Args:
        inputs: Tensors of any shape.

    Example:
        >>> x = torch.zeros(2)
        >>> clones((x,))[0].add_(1), x
        (tensor([1., 1.]), tensor([0., 0.]))
    """
    return tuple(x.detach().clone() for x in inputs)


def tensors_in(outputs: object) -> tuple[Tensor, ...]:
    """Return the tensors in what a model returned, in order.

    Looks into tuples, lists, dicts and whatever else PyTorch knows as a container.
    Plain numbers, strings and None are passed over.

    Args:
        outputs: What the forward of a model returned.

    Raises:
        ValueError: If there is no tensor, or an object that may hide one.

    Example:
        >>> len(tensors_in({"logits": torch.zeros(2), "loss": None}))
        1
    """
    tensors = tensor_leaves(outputs)
    hidden = [x for x in tree_leaves(outputs) if not isinstance(x, (Tensor, *PLAIN))]
    if hidden or not tensors:
        found = type(hidden[0]).__name__ if hidden else type(outputs).__name__
        raise ValueError(
            f"the model must return tensors, got a {found}; "
            "wrap it in a module whose forward returns the tensors alone"
        )
    return tuple(tensors)


def tensor_leaves(tree: object) -> list[Tensor]:
    """Return every tensor in nested containers, passing over everything else.

    Args:
        tree: Tuples, lists and dicts of anything.

    Example:
        >>> len(tensor_leaves([torch.zeros(1), {"a": torch.zeros(2), "b": object()}]))
        2
    """
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put a model into evaluation mode inside the block, for a run that is timed.

    Restores the mode of every submodule, and touches nothing else.

    Args:
        model: The model to run inside the block.

    Yields:
        Nothing.

    Example:
        >>> layer = nn.Dropout()
        >>> with evaluating(layer):
        ...     layer.training
        False
        >>> layer.training
        True
    """
    modes = [(module, module.training) for module in model.modules()]
    try:
        model.eval()
        yield
    finally:
        for module, mode in modes:
            module.training = mode


@contextmanager
def undisturbed(model: nn.Module, *, training: bool = False) -> Iterator[None]:
    """Put a model into one mode inside the block, and everything back after it.

    Restores the mode of every submodule (a frozen batch norm in a training model
    stays frozen), the buffers, ``requires_grad`` and the random state.

    In inference all parameters require a gradient inside the block. PyTorch would
    otherwise replace a whole transformer layer by one fused operator, inside which
    no counter sees anything.

    Args:
        model: The model to run inside the block.
        training: Whether to run it in training mode, with the parameters frozen that
            are frozen, or in evaluation mode.

    Yields:
        Nothing.

    Example:
        >>> norm = nn.BatchNorm1d(2).train()
        >>> with undisturbed(norm):
        ...     norm.training
        False
        >>> norm.training
        True
    """
    restore = _remember(model)
    with torch.random.fork_rng(), torch.enable_grad():
        try:
            model.train(training)
            if not training:
                _require_gradients(model)
            yield
        finally:
            restore()


def _require_gradients(model: nn.Module) -> None:
    """Make every parameter that can have a gradient require one."""
    for parameter in model.parameters():
        if parameter.is_floating_point():
            parameter.requires_grad_()


def _remember(model: nn.Module) -> Callable[[], None]:
    """Return a function that puts modes, flags and buffers back to what they are."""
    modules = list(model.modules())
    modes = [module.training for module in modules]
    flags = [(p, p.requires_grad) for p in model.parameters()]
    buffers = [
        (module, name, buffer, buffer.clone())
        for module in modules
        for name, buffer in module.named_buffers(recurse=False)
    ]

    def restore() -> None:
        for module, mode in zip(modules, modes, strict=True):
            module.training = mode
        for parameter, flag in flags:
            parameter.requires_grad_(flag)
        with torch.no_grad():
            for module, name, buffer, before in buffers:
                setattr(module, name, buffer.copy_(before))

    return restore
