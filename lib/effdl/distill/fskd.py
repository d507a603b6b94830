"""FSKD: ten images and no label; one 1 x 1 convolution per block, in closed form.

Paper: Li et al., "Few Sample Knowledge Distillation for Efficient Network Compression",
CVPR 2020, https://arxiv.org/abs/1812.01839, section 3.

A pruned network puts out something else than its teacher at every block, and most of
it is undone by mixing the channels. With one column per image and pixel in X,

    Q  =  argmin ||Q X_student - X_teacher||^2  =  X_t X_s^T (X_s X_s^T)^-1

a matrix of channels by channels for each block, from the first to the last: later
blocks see what the earlier, mended ones put out. A 1 x 1 convolution behind another
convolution is a product of matrices, so Q costs nothing once it is merged:

    W'[o] = sum over c of  Q[o, c] W[c]        b' = Q b

No ReLU and no batch norm may stand in between: X is taken before the ReLU, and batch
norm folded first. A linear layer is mended in the same way. It is least squares on
features, not a distillation of logits; there is no loss to follow and no step size.

What differs: where images are so few that many Q fit equally well, the nearest to the
identity is taken, and ``ridge`` may hold it there. If a block has lost some of its
outputs, they are left out of its teacher's X: so does the authors' program, while the
paper speaks of equal outputs.

Before trusting it: Q mixes what the block still computes; what is lost for all pixels
stays lost. Zeros of a pruned kernel do not survive the merging. A network must have
the teacher's block outputs, or some of their channels.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, fx, nn

from effdl.distill.layer_errors import layer_at, seen_at
from effdl.distill.least_squares import as_rows, nearest_solution
from effdl.quant.graph import fold_batch_norm


def aligning_matrix(student: Tensor, teacher: Tensor, *, ridge: float = 0.0) -> Tensor:
    """Return Q, (C, C), that brings the student's features nearest to the teacher's.

    Args:
        student: Features (N, C, ...).
        teacher: Features of the same images, of the same shape.
        ridge: The pull of Q towards the identity, at least 0.

    Raises:
        ValueError: If the shapes differ.

    Example:
        >>> features = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
        >>> aligning_matrix(features, 3 * features).round()
        tensor([[3., 0.],
                [0., 3.]])
    """
    if student.shape != teacher.shape:
        raise ValueError(
            f"student has features {tuple(student.shape)} and teacher "
            f"{tuple(teacher.shape)}; align blocks of equal outputs, or say in keep "
            "which channels of the teacher the student has"
        )
    x, y = as_rows(student), as_rows(teacher)
    return nearest_solution(x, y, torch.eye(x.shape[1]).to(x), ridge=ridge).T


def merge_(layer: nn.Conv2d | nn.Linear, q: Tensor) -> None:
    """Change a layer in place: its outputs, multiplied by Q, become its outputs.

    Args:
        layer: Convolution without groups, or linear layer.
        q: (C, C) for its C outputs.

    Raises:
        ValueError: If the layer has groups.

    Example:
        >>> layer, x = nn.Linear(3, 2), torch.ones(1, 3)
        >>> before = layer(x)
        >>> merge_(layer, torch.tensor([[2.0, 0.0], [0.0, 1.0]]))
        >>> (layer(x) / before).round()
        tensor([[2., 1.]], grad_fn=<RoundBackward0>)
    """
    if getattr(layer, "groups", 1) != 1:
        raise ValueError(
            f"layer has {layer.groups} groups, and no channel of another group can "
            "be mixed in; align behind the 1 x 1 convolution that follows"
        )
    with torch.no_grad():
        layer.weight.copy_((q @ layer.weight.flatten(1)).view_as(layer.weight))
        if layer.bias is not None:
            layer.bias.copy_(q @ layer.bias)


def fskd(
    student: nn.Module,
    teacher: nn.Module,
    inputs: Tensor,
    names: list[str],
    *,
    keep: Mapping[str, Tensor] | None = None,
    ridge: float = 0.0,
) -> fx.GraphModule:
    """Return a copy of the student, aligned with the teacher block by block.

    The copy has no batch norm; otherwise it has the student's sizes. Both networks are
    left as they are. Raises ``ValueError`` if one is in training mode or a batch norm
    cannot be folded, and as :func:`aligning_matrix` and :func:`merge_` do.

    Args:
        student: A pruned or decomposed network, in eval mode.
        teacher: The network it was made from, in eval mode.
        inputs: The few images, (N, ...).
        names: The last layer of every block, the same in both, from the first on.
        keep: From layer name to True for a channel that the student still has, bool,
            (out,), such as :func:`effdl.compress.channels.largest_filters` returns.
        ridge: The pull of every Q towards the identity, at least 0.

    Example:
        >>> teacher = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1)).eval()
        >>> student = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1)).eval()
        >>> x = torch.eye(2)
        >>> aligned = fskd(student, teacher, x, ["0", "2"])
        >>> [name for name, _ in aligned.named_children()]
        ['0', '1', '2']
    """
    aligned, whole = fold_batch_norm(student), fold_batch_norm(teacher)
    for name in names:
        _, wanted = seen_at(whole, name, inputs)
        if keep is not None and name in keep:
            wanted = wanted[:, keep[name]]
        _, found = seen_at(aligned, name, inputs)
        layer = layer_at(aligned, name)
        merge_(layer, aligning_matrix(found, wanted, ridge=ridge))
    return aligned
