"""FSP: the student turns one layer into the next as the teacher does.

Paper: Yim et al., "A Gift from Knowledge Distillation: Fast Optimization, Network
Minimization and Transfer Learning", CVPR 2017,
https://doi.org/10.1109/CVPR.2017.754, section 3.

The flow of the solution procedure, FSP, between two layers with maps F (m channels) and
G (n channels) of the same size is the mean over pixels of their products:

    P_ij  = 1 / (H W)  sum_hw F_ihw G_jhw               a matrix (m, n) for each input
    loss  = sum over pairs of layers, mean over inputs, of ||P_S - P_T||_F^2

Where features are, the matrix does not say; which channels act together, it does.

What differs: maps of different sizes are averaged to the smaller one, where the paper
takes maxima. The paper trains in two stages, first on this loss alone; here the loss is
a function, to be used for either.

Before trusting it: P_ij compares channel i of the student with channel i of the
teacher, so both need as many channels. For a thinner student that takes a map beside
it. And P grows with the square of the features: deep layers may drown the others.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from effdl.distill.features import check_maps, same_size


def flow_matrix(first: Tensor, second: Tensor) -> Tensor:
    """Return P of every input, (N, m, n).

    Args:
        first: Maps of a layer, (N, m, H, W).
        second: Maps of a later layer, (N, n, h, w).

    Example:
        >>> first = torch.tensor([[[[1.0, 2.0]]]])
        >>> second = torch.tensor([[[[1.0, 1.0]], [[3.0, 0.0]]]])
        >>> flow_matrix(first, second)
        tensor([[[1.5000, 1.5000]]])
    """
    check_maps(first, second, same_channels=False)
    first, second = (maps.flatten(2) for maps in same_size(first, second))
    return first @ second.transpose(1, 2) / first.shape[2]


def flow_loss(student: Sequence[Tensor], teacher: Sequence[Tensor]) -> Tensor:
    """Return how far the matrices between layers in a row are apart, a scalar.

    Args:
        student: Maps of two layers or more, (N, C, H, W) each, from the input on.
        teacher: Maps of as many layers of as many channels. They take no gradient.

    Raises:
        ValueError: If there are fewer than two layers, or not as many of both.

    Example:
        >>> maps = [torch.rand(2, 3, 4, 4), torch.rand(2, 5, 2, 2)]
        >>> float(flow_loss(maps, maps))
        0.0
    """
    if len(student) != len(teacher) or len(student) < 2:
        raise ValueError(
            "student and teacher must have as many layers, two at least, "
            f"got {len(student)} and {len(teacher)}"
        )
    for small, large in zip(student, teacher, strict=True):
        check_maps(small, large, same_channels=True)
    pairs = zip(pairwise(student), pairwise(teacher), strict=True)
    losses = [
        (flow_matrix(*small) - flow_matrix(*large).detach()).square().sum((1, 2)).mean()
        for small, large in pairs
    ]
    return torch.stack(losses).sum()
