"""Tf-KD: a teacher that is no network, and label smoothing as its limit.

Paper: Yuan et al., "Revisiting Knowledge Distillation via Label Smoothing
Regularization", CVPR 2020, https://arxiv.org/abs/1909.11723, sections 3 and 4.2.

The virtual teacher is right about everything and equally unsure about the rest: of C
classes

    p(label) = a,   p(other) = (1 - a) / (C - 1)          a = 0.99
    loss     = (1 - alpha) CE + alpha T^2 KL(p_T || q_T)

p_T is p softened: softmax(log(p) / T). So this is distillation with the teacher logits
log p, and all of :mod:`effdl.distill.kd` holds. Its two ends:

    T = 1       label smoothing by epsilon = alpha (1 - a) C / (C - 1): same slope
    T large     the logits are drawn to log p, less its mean: a fixed gap of
                log(a (C - 1) / (1 - a)), 6.8 for ten classes

Whatever it does, it does without knowledge of what resembles what. Beside it, the gain
of a real teacher shows how much of that is knowledge.

What differs: the authors' program softens the *probabilities*, softmax(p / T), which
at T = 20 differs from uniform by half a percentage point, does not soften the student,
and multiplies the divergence by another constant. At T = 1 that is no label smoothing.

Before trusting it: it is a regulariser, with three settings for one effect.
"""

import math

import torch
from torch import Tensor, nn

from effdl.data.digits import Split
from effdl.distill.kd import learn_answers
from effdl.distill.recipe import TEN_EPOCHS, Recipe


def virtual_logits(targets: Tensor, classes: int, *, correct: float = 0.99) -> Tensor:
    """Return log p of the virtual teacher, (N, C).

    Args:
        targets: Class indices, (N,).
        classes: C, at least 2.
        correct: a, above 1 / C (it would not know the label) and below 1.

    Raises:
        ValueError: If a number is out of range.

    Example:
        >>> virtual_logits(torch.tensor([1]), 3, correct=0.8).exp()
        tensor([[0.1000, 0.8000, 0.1000]])
    """
    if classes < 2:
        raise ValueError(f"classes must be at least 2, got {classes}")
    if not 1 / classes < correct < 1:  # nan is neither
        raise ValueError(
            f"correct must be above 1 / {classes} and below 1, got {correct}; "
            "the paper has 0.9 or more"
        )
    other = math.log((1 - correct) / (classes - 1))
    logits = torch.full((len(targets), classes), other)
    return logits.scatter(1, targets[:, None], math.log(correct))


def equal_smoothing(
    classes: int, *, correct: float = 0.99, alpha: float = 0.1
) -> float:
    """Return the label smoothing that the virtual teacher is at T = 1, its epsilon.

    As in ``torch.nn.functional.cross_entropy``: the target is (1 - epsilon) of the
    label and epsilon / C of every class.

    Args:
        classes: C, at least 2.
        correct: a.
        alpha: The virtual teacher's share.

    Example:
        >>> round(equal_smoothing(10, correct=0.91, alpha=0.5), 6)
        0.05
    """
    return alpha * (1 - correct) * classes / (classes - 1)


def train_without_teacher(
    student: nn.Module,
    split: Split,
    recipe: Recipe = TEN_EPOCHS,
    *,
    correct: float = 0.99,
    temperature: float = 20.0,
    alpha: float = 0.1,
) -> list[float]:
    """Return the mean loss of every epoch of training with the virtual teacher.

    Args:
        student: Maps (N, ...) to logits (N, C); trained in place.
        split: Inputs and targets. Every class occurs: C is the largest target plus 1.
        recipe: How long and how fast.
        correct: a, above 1 / C and below 1.
        temperature: T, above 0; 1 is label smoothing.
        alpha: The virtual teacher's share, 0 to 1.

    Example:
        >>> split = Split(torch.eye(2).repeat(50, 1), torch.arange(2).repeat(50))
        >>> losses = train_without_teacher(nn.Linear(2, 2), split)
        >>> losses[-1] < losses[0]
        True
    """
    classes = int(split.targets.max()) + 1
    return learn_answers(
        student,
        virtual_logits(split.targets, classes, correct=correct),
        split,
        recipe,
        temperature=temperature,
        alpha=alpha,
    )
