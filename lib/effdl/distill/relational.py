"""Relational distillation: distances and angles between inputs carry over.

Paper: Park et al., "Relational Knowledge Distillation", CVPR 2019,
https://arxiv.org/abs/1904.05068, section 3.

Every input of a batch is a point, its features. The student may put the points
elsewhere, but their figure should be the teacher's.

    distances   d_ij  = ||x_i - x_j||_2 / mean of all such lengths in the batch
    angles      a_ijk = cos of the angle at x_j between x_i and x_k
    losses      mean of huber(d^S_ij - d^T_ij) over pairs of different inputs,
                mean of huber(a^S_ijk - a^T_ijk) over triples of different inputs
    huber(e)    = e^2 / 2 if |e| <= 1, else |e| - 1/2

Moving or turning all points changes neither, nor does scaling them. The number of
features may differ.

What differs: the authors' program averages over all i, j, k, equal ones included, at
which both networks have the same; so its losses are ours times (b - 1) / b and
(b - 1)(b - 2) / b^2 for a batch of b. The factors 25 and 50 of a later benchmark are
the caller's business; we keep their ratio.

Before trusting it: angles of b inputs take memory for b^3 numbers. And a distance says
nothing about classes: a teacher that is wrong passes on a wrong figure as faithfully.
"""

import torch.nn.functional as F
from torch import Tensor

from effdl.distill.features import check_same_inputs

SMALLEST = 1e-12  # what lengths are divided by at least


def distance_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Return how far the relative distances are apart, a scalar.

    Args:
        student: Features of two inputs or more, (b, ...).
        teacher: Features of the same inputs, (b, ...). They take no gradient.

    Raises:
        ValueError: If there is only one input.

    Example:
        >>> import torch
        >>> points = torch.tensor([[0.0, 0.0], [3.0, 4.0], [0.0, 4.0]])
        >>> float(distance_loss(10 * points, points)) < 1e-12
        True
    """
    check_same_inputs(student, teacher)
    if len(student) < 2:
        raise ValueError("distances need at least 2 inputs, got 1; use larger batches")
    return F.smooth_l1_loss(_distances(student), _distances(teacher.detach()))


def angle_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Return how far the cosines of all angles are apart, a scalar.

    Args:
        student: Features of three inputs or more, (b, ...).
        teacher: Features of the same inputs, (b, ...). They take no gradient.

    Raises:
        ValueError: If there are fewer than three inputs.

    Example:
        >>> import torch
        >>> right = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
        >>> line = torch.tensor([[0.0], [1.0], [2.0]])
        >>> float(angle_loss(right, right)), round(float(angle_loss(line, right)), 3)
        (0.0, 0.583)
    """
    check_same_inputs(student, teacher)
    inputs = len(student)
    if inputs < 3:
        raise ValueError(
            f"angles need at least 3 inputs, got {inputs}; use larger batches"
        )
    total = F.smooth_l1_loss(
        _cosines(student), _cosines(teacher.detach()), reduction="sum"
    )
    return total / (inputs * (inputs - 1) * (inputs - 2))


def relational_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Return the distance loss plus twice the angle loss, a scalar.

    Args:
        student: Features of three inputs or more, (b, ...).
        teacher: Features of the same inputs, (b, ...). They take no gradient.

    Example:
        >>> import torch
        >>> points = torch.tensor([[0.0, 0.0], [3.0, 4.0], [0.0, 4.0]])
        >>> float(relational_loss(points, points))
        0.0
    """
    return distance_loss(student, teacher) + 2 * angle_loss(student, teacher)


def _distances(features: Tensor) -> Tensor:
    """Return the lengths between all b (b - 1) / 2 pairs, their mean 1."""
    lengths = F.pdist(features.flatten(1))
    return lengths / lengths.mean().clamp_min(SMALLEST)


def _cosines(features: Tensor) -> Tensor:
    """Return a_ijk at [j, i, k], (b, b, b); 0 if j is i or k, 1 if i is k only."""
    points = features.flatten(1)
    arms = F.normalize(points[None] - points[:, None], dim=2, eps=SMALLEST)
    return arms @ arms.transpose(1, 2)
