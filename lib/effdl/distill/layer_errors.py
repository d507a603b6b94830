"""What layers of two networks see and put out, and how far they are apart over depth.

Paper: Bai et al., "Few Shot Network Compression via Cross Distillation", AAAI 2020,
https://arxiv.org/abs/1911.09450; errors of pruned layers propagate and accumulate.

    error of a layer  =  ||S - T|| / ||T||

with the outputs S and T of the student's and the teacher's layer, each in its own
network, for all images and pixels at once. They are taken before batch norm and ReLU.

Before trusting it: an error of 1 is what an output of zeros has. What an error means
for the decision behind it depends on its direction, and that is not seen here.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

Layer = nn.Conv2d | nn.Linear


def layer_at(model: nn.Module, name: str) -> Layer:
    """Return the convolution or linear layer of a name.

    Args:
        model: The network.
        name: As in ``model.named_modules()``.

    Raises:
        ValueError: If there is none.

    Example:
        >>> layer_at(nn.Sequential(nn.Linear(2, 3)), "0")
        Linear(in_features=2, out_features=3, bias=True)
    """
    layers = {n: m for n, m in model.named_modules() if isinstance(m, Layer)}
    if name not in layers:
        raise ValueError(
            f"{name!r} is no convolution or linear layer; choose of {[*layers]}"
        )
    return layers[name]


@torch.no_grad()
def seen_at(model: nn.Module, name: str, inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Return what a layer is given and what it puts out, without gradient.

    Copies, so that a ReLU that works in place does not reach them. Raises
    ``ValueError`` as :func:`layer_at` does.

    Args:
        model: Runs once, in the mode that it is in.
        name: Of a convolution or linear layer.
        inputs: Of the model, (N, ...).

    Example:
        >>> net = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
        >>> [tuple(x.shape) for x in seen_at(net, "2", torch.zeros(5, 2))]
        [(5, 3), (5, 1)]
    """
    layer = layer_at(model, name)
    found: list[tuple[Tensor, Tensor]] = []

    def look(_layer: nn.Module, given: tuple[Tensor, ...], output: Tensor) -> None:
        found.append((given[0].clone(), output.clone()))

    handle = layer.register_forward_hook(look)
    try:
        model(inputs)
    finally:
        handle.remove()
    return found[-1]


def relative_errors(
    student: nn.Module,
    teacher: nn.Module,
    inputs: Tensor,
    names: Sequence[str],
    *,
    keep: Mapping[str, Tensor] | None = None,
) -> dict[str, float]:
    """Return how far outputs of layers are from the teacher's, ``||S - T|| / ||T||``.

    Over all images and pixels together. Raises ``ValueError`` as :func:`seen_at` does.

    Args:
        student: In eval mode.
        teacher: In eval mode, with the same layer names.
        inputs: Images, better not those that the student was fitted to, (N, ...).
        names: The layers.
        keep: From layer name to True for a channel that the student still has, bool,
            (out,); layers that are not named have all.

    Example:
        >>> net = nn.Sequential(nn.Linear(2, 3))
        >>> relative_errors(net, net, torch.eye(2), ["0"])
        {'0': 0.0}
    """
    errors = {}
    for name in names:
        (_, found), (_, wanted) = (seen_at(m, name, inputs) for m in (student, teacher))
        if keep is not None and name in keep:
            wanted = wanted[:, keep[name]]
        errors[name] = float((found - wanted).norm() / wanted.norm())
    return errors
