"""Knowledge distillation: a student learns a teacher's whole distribution.

Paper: Hinton et al., "Distilling the Knowledge in a Neural Network", 2015,
https://arxiv.org/abs/1503.02531, sections 2 and 2.1.

With logits s of the student and t of the teacher, and a temperature T,

    p_i   = exp(t_i / T) / sum_j exp(t_j / T)            the teacher, softened
    q_i   = exp(s_i / T) / sum_j exp(s_j / T)            the student, by the same T
    loss  = (1 - alpha) CE(softmax(s), label) + alpha T^2 KL(p || q)

The slope of KL along s_i is (q_i - p_i) / T. For a large T and logits whose mean is 0
it becomes (s_i - t_i) / (C T^2) with C classes: the student matches logits, and T^2
keeps the share of the two terms the same whatever T is. For a small T it does not.

What differs: the paper has the cross-entropy of p and q in place of KL. They differ by
the entropy of p, which does not depend on the student, so the slopes are the same; KL
is 0 where student and teacher agree. The survey's Eq. (20) adds the terms instead of
weighing them, CE + a T^2 CE(p, q): that is (1 + a) times ours with alpha = a / (1 + a).

Before trusting it: alpha and T are two more settings to be chosen, on validation data.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from effdl.data.digits import Split
from effdl.distill.checks import check_logits, check_share, check_temperature
from effdl.distill.recipe import TEN_EPOCHS, Recipe, train_student
from effdl.distill.teacher import answers, numbered


def softened(logits: Tensor, temperature: float) -> Tensor:
    """Return the softmax of logits at a temperature, Eq. (19) of the survey.

    Args:
        logits: (..., C).
        temperature: T above 0; 1 is the plain softmax, a large one is near uniform.

    Example:
        >>> import torch
        >>> p = torch.tensor([0.02, 0.95, 0.01, 0.01, 0.01])
        >>> [round(float(value), 3) for value in softened(p.log(), 5.0)]
        [0.173, 0.375, 0.151, 0.151, 0.151]
    """
    check_temperature(temperature)
    return (logits / temperature).softmax(dim=-1)


def soft_loss(student: Tensor, teacher: Tensor, temperature: float | Tensor) -> Tensor:
    """Return T^2 KL(p || q), the mean over inputs, a scalar. The labels play no part.

    Args:
        student: Logits s, (N, C).
        teacher: Logits t, (N, C). They take no gradient.
        temperature: T, above 0, for both.

    Example:
        >>> import torch
        >>> logits = torch.tensor([[2.0, 0.0, -2.0]])
        >>> float(soft_loss(logits, logits, 4.0))
        0.0
    """
    check_temperature(temperature)
    check_logits(student, teacher)
    q = (student / temperature).log_softmax(dim=1)
    p = (teacher.detach() / temperature).log_softmax(dim=1)
    return temperature**2 * F.kl_div(q, p, reduction="batchmean", log_target=True)


def kd_loss(
    student: Tensor,
    teacher: Tensor,
    targets: Tensor,
    *,
    temperature: float | Tensor = 4.0,
    alpha: float = 0.9,
) -> Tensor:
    """Return (1 - alpha) CE + alpha T^2 KL, the mean over inputs, a scalar.

    Args:
        student: Logits s, (N, C).
        teacher: Logits t, (N, C). They take no gradient.
        targets: Class indices, (N,).
        temperature: T, above 0.
        alpha: The teacher's share, 0 to 1; 0 is plain training.

    Example:
        >>> import torch
        >>> s, t = torch.tensor([[0.0, 0.0]]), torch.tensor([[2.0, -2.0]])
        >>> float(kd_loss(s, t, torch.tensor([0]), alpha=0.0))  # the log of 2
        0.6931471824645996
    """
    check_share(alpha=alpha)
    hard = F.cross_entropy(student, targets)
    return (1 - alpha) * hard + alpha * soft_loss(student, teacher, temperature)


def distil(
    student: nn.Module,
    teacher: nn.Module,
    split: Split,
    recipe: Recipe = TEN_EPOCHS,
    *,
    temperature: float = 4.0,
    alpha: float = 0.9,
) -> list[float]:
    """Return the mean loss of every epoch of distilling ``teacher`` into ``student``.

    The teacher answers once about every input, and stays exactly as it is.
    Raises ``ValueError`` if it is in training mode.

    Args:
        student: Maps (N, ...) to logits (N, C); trained in place.
        teacher: Maps the same inputs to logits of the same classes; in evaluation mode.
        split: Inputs and targets.
        recipe: How long and how fast.
        temperature: T, above 0.
        alpha: The teacher's share, 0 to 1.

    Example:
        >>> import torch
        >>> split = Split(torch.eye(2).repeat(50, 1), torch.arange(2).repeat(50))
        >>> teacher, student = nn.Linear(2, 2).eval(), nn.Linear(2, 2)
        >>> losses = distil(student, teacher, split, alpha=1.0)
        >>> losses[-1] < losses[0]
        True
    """
    return learn_answers(
        student,
        answers(teacher, split.inputs),
        split,
        recipe,
        temperature=temperature,
        alpha=alpha,
    )


def learn_answers(
    student: nn.Module,
    taught: Tensor,
    split: Split,
    recipe: Recipe = TEN_EPOCHS,
    *,
    temperature: float = 4.0,
    alpha: float = 0.9,
) -> list[float]:
    """Return the mean loss of every epoch of teaching ``student`` given logits.

    Wherever they come from: one teacher, the mean of several, no network at all.

    Args:
        student: Maps (N, ...) to logits (N, C); trained in place.
        taught: Logits of the teacher for every input of the split, (N, C).
        split: Inputs and targets.
        recipe: How long and how fast.
        temperature: T, above 0.
        alpha: The teacher's share, 0 to 1.

    Raises:
        ValueError: If ``taught`` has not one row for each input.

    Example:
        >>> import torch
        >>> split = Split(torch.eye(2).repeat(50, 1), torch.arange(2).repeat(50))
        >>> losses = learn_answers(nn.Linear(2, 2), 5 * split.inputs, split, alpha=1.0)
        >>> losses[-1] < losses[0]
        True
    """
    check_share(alpha=alpha)
    check_temperature(temperature)
    if len(taught) != len(split):
        raise ValueError(
            f"taught must have {len(split)} rows, one for each input, got {len(taught)}"
        )

    def loss_of(inputs: Tensor, which: Tensor) -> Tensor:
        return kd_loss(
            student(inputs),
            taught[which],
            split.targets[which],
            temperature=temperature,
            alpha=alpha,
        )

    return train_student(student, numbered(split), loss_of, recipe)
