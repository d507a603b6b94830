"""Several teachers averaged: their logits, or what they say is probable.

Papers: Hinton et al., "Distilling the Knowledge in a Neural Network", 2015,
https://arxiv.org/abs/1503.02531, section 1 (a student of an ensemble), and You et al.,
"Learning from Multiple Teacher Networks", KDD 2017,
https://doi.org/10.1145/3097983.3098135 (soft targets averaged).

K teachers with logits z_k, softened p_k = softmax(z_k / T), become one:

    logits          z = mean_k z_k           softmax(z / T) ~ product_k p_k^(1 / K)
    probabilities   p = mean_k p_k           as logits: z = T log p

The first is the geometric mean, scaled to sum 1: a class is likely if *no* teacher
rules it out. The second is the arithmetic mean: a class is likely if *some* teacher
says so. For a student q they are

    mean_k KL(p_k || q) = KL(p || q) + D,      D = mean_k KL(p_k || p)
    mean_k KL(q || p_k) = KL(q || softmax(z / T)) + a constant

D is the disagreement of the teachers, a Jensen-Shannon divergence. It knows nothing
of q: so K losses averaged have the slope of *one* loss with the mean of probabilities,
and training on K teachers costs what training on one does. And as -log is convex, the
cross-entropy of p with the labels is at most the mean of the members'. That is all
that holds by itself: of accuracy nothing does, and none of it is about the student.

What differs: You et al. also match the order of distances in inner layers.

Before trusting it: the mean of logits gives weight to a teacher for having large ones.
"""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from effdl.distill.checks import check_temperature
from effdl.distill.teacher import answers


class Averaged(nn.Module):
    """Several networks as one, in evaluation mode at once: teacher, or ensemble.

    Args:
        members: The networks. All of them map the same inputs to logits (N, C).
        average: Maps (K, N, C) to (N, C).

    Raises:
        ValueError: If there are no members.

    Example:
        >>> a, b = nn.Linear(2, 3), nn.Linear(2, 3)
        >>> x = torch.ones(1, 2)
        >>> both = Averaged([a, b]).eval()
        >>> torch.equal(both(x), (a(x) + b(x)) / 2)
        True
    """

    def __init__(
        self,
        members: Sequence[nn.Module],
        average: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        super().__init__()
        if not members:
            raise ValueError("members is empty; give one network at least")
        self.members = nn.ModuleList(members)
        self.average = average or mean_logits

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (N, C) for the inputs of every member, (N, ...)."""
        return self.average(torch.stack([member(x) for member in self.members]))


def answers_of_all(teachers: Sequence[nn.Module], inputs: Tensor) -> Tensor:
    """Return the logits of every teacher for all inputs, (K, N, C), without gradient.

    Raises ``ValueError`` if one is in training mode.

    Args:
        teachers: K networks in evaluation mode.
        inputs: All inputs, (N, ...).

    Raises:
        ValueError: If there are no teachers.

    Example:
        >>> answers_of_all([nn.Identity().eval()] * 2, torch.eye(3)).shape
        torch.Size([2, 3, 3])
    """
    if not teachers:
        raise ValueError("teachers is empty; give one at least")
    return torch.stack([answers(teacher, inputs) for teacher in teachers])


def mean_logits(logits: Tensor) -> Tensor:
    """Return the mean over teachers, (N, C): the geometric mean of probabilities.

    Args:
        logits: z of every teacher, (K, N, C).

    Example:
        >>> mean_logits(torch.tensor([[[2.0, 0.0]], [[0.0, 4.0]]]))
        tensor([[1., 2.]])
    """
    _check_several(logits)
    return logits.mean(dim=0)


def mean_probabilities(
    logits: Tensor, temperature: float = 1.0, weights: Tensor | None = None
) -> Tensor:
    """Return logits (N, C) whose softmax at T is the mean of the teachers' at T.

    Args:
        logits: z of every teacher, (K, N, C).
        temperature: T, above 0. Soften the result by the same T, no other.
        weights: Of the teachers, (K,), or of each for every input, (K, N); they sum
            to 1 over the teachers. 1 / K if missing.

    Raises:
        ValueError: If the weights have another shape.

    Example:
        >>> sure, torn = torch.tensor([[30.0, 0.0]]), torch.tensor([[0.0, 0.0]])
        >>> mean_probabilities(torch.stack([sure, torn])).softmax(dim=1)
        tensor([[0.7500, 0.2500]])
    """
    _check_several(logits)
    check_temperature(temperature)
    log_p = (logits / temperature).log_softmax(dim=2)
    if weights is None:
        return temperature * (log_p.logsumexp(dim=0) - math.log(len(logits)))
    if weights.shape not in (logits.shape[:1], logits.shape[:2]):
        raise ValueError(
            f"weights must be {tuple(logits.shape[:1])} or {tuple(logits.shape[:2])}, "
            f"got shape {tuple(weights.shape)}"
        )
    share = weights.log().reshape(*weights.shape, *[1] * (3 - weights.ndim))
    return temperature * (log_p + share).logsumexp(dim=0)


def disagreement(logits: Tensor, temperature: float = 1.0) -> Tensor:
    """Return D, how far the teachers are from their mean, (N,); at most log K.

    Args:
        logits: z of every teacher, (K, N, C).
        temperature: T, above 0.

    Example:
        >>> left, right = torch.tensor([[50.0, -50.0]]), torch.tensor([[-50.0, 50.0]])
        >>> round(float(disagreement(torch.stack([left, right]))), 4)
        0.6931
    """
    mean = mean_probabilities(logits, temperature) / temperature  # checks both
    log_p = (logits / temperature).log_softmax(dim=2)
    return (log_p.exp() * (log_p - mean)).sum(dim=2).mean(dim=0)


def _check_several(logits: Tensor) -> None:
    if logits.ndim != 3 or logits.numel() == 0:
        raise ValueError(
            "logits must be (K, N, C), those of K teachers, none of the three 0, "
            f"got shape {tuple(logits.shape)}; use torch.stack"
        )
