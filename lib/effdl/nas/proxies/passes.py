"""Count the passes that a proxy takes: is it one forward and one backward?

Paper: Abdelfattah et al., "Zero-Cost Proxies for Lightweight NAS", ICLR 2021,
https://arxiv.org/abs/2101.08134, whose proxies cost "a single minibatch": most do, but
GraSP goes back twice, the kernel of :mod:`effdl.nas.proxies.ntk` once for every input,
and :mod:`effdl.nas.proxies.linear_regions` forward over thousands of inputs.

Two layers are watched. The first one with weights runs once in every forward pass, and
a gradient arrives at what the last one put out once in every backward pass from the
logits. So copies of the model count, too, and forward passes that leave out its end.
"""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn


@dataclass
class Passes:
    """How often a network was run.

    Attributes:
        forward: Forward passes.
        backward: Backward passes, those of second order included.
        inputs: Inputs of all forward passes together.
    """

    forward: int = 0
    backward: int = 0
    inputs: int = 0


def count_passes(model: nn.Module, run: Callable[[], object]) -> Passes:
    """Return how many passes through the model the function takes.

    Args:
        model: What the function works on; its hooks come back as they were.
        run: Computes a proxy of ``model``, such as ``lambda: snip_score(model, x, y)``.

    Raises:
        ValueError: If the model has no linear or convolutional layer.

    Example:
        >>> import torch
        >>> from effdl.nas.proxies.ntk import ntk_matrix
        >>> layer = nn.Linear(2, 3)
        >>> count_passes(layer, lambda: ntk_matrix(layer, torch.randn(5, 2)))
        Passes(forward=1, backward=5, inputs=5)
    """
    layers = [m for m in model.modules() if isinstance(m, nn.Linear | nn.Conv2d)]
    if not layers:
        raise ValueError(f"{type(model).__name__} has no linear or convolutional layer")
    passes = Passes()

    def arrived(_gradient: Tensor) -> None:
        passes.backward += 1

    def began(_layer: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
        passes.forward += 1
        passes.inputs += len(output)

    def ended(_layer: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if output.requires_grad:
            output.register_hook(arrived)

    first = layers[0].register_forward_hook(began)
    last = layers[-1].register_forward_hook(ended)
    try:
        run()
    finally:
        first.remove()
        last.remove()
    return passes
