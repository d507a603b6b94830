"""DIST: agree with the teacher in the relations, not in the probabilities themselves.

Paper: Huang et al., "Knowledge Distillation from A Stronger Teacher", NeurIPS 2022,
https://arxiv.org/abs/2205.10536.

With the softened probabilities p of the teacher and q of the student, (N, C),

    between = 1 - mean over inputs n  of Pearson(p[n, :], q[n, :])
    within  = 1 - mean over classes c of Pearson(p[:, c], q[:, c])
    loss    = CE + beta T^2 between + gamma T^2 within

The first compares how an input spreads over the classes, the second how a class spreads
over the inputs of the batch. Pearson's correlation forgets mean and spread, so

    between does not change if a row n becomes a_n p[n, :] + b_n       with a_n > 0
    within does not change if a column c becomes a_c p[:, c] + b_c     with a_c > 0

and their sum is blind only to what both are blind to, such as one a and b for all. A
strong teacher is sure of itself, a small student cannot be; here it need not.

What differs: a row or a column without any spread has no correlation. It counts as 0,
as in programs that add a small number below the fraction; we bound the norms by it
instead, and so change nothing elsewhere.

Before trusting it: "within" depends on who else is in the batch. The weight of
the labels is 1 here and not 1 - alpha, so a comparison with kd_loss compares learning
rates, too. We have seen T = 1 and T = 4, beta and gamma of 1 and 2 in use; choose.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from effdl.data.digits import Split
from effdl.distill.checks import check_logits, check_temperature
from effdl.distill.kd import softened
from effdl.distill.recipe import TEN_EPOCHS, Recipe, train_student
from effdl.distill.teacher import answers, numbered

SPREAD = 1e-8  # norms below it count as no spread


def between_classes(student: Tensor, teacher: Tensor) -> Tensor:
    """Return 1 - Pearson's correlation of rows, the mean over inputs, a scalar: 0 to 2.

    Args:
        student: Probabilities q, (N, C).
        teacher: Probabilities p, (N, C), or rows that rise with them linearly.

    Example:
        >>> import torch
        >>> q = torch.tensor([[0.5, 0.3, 0.2]])
        >>> round(float(between_classes(q, 10 * q + 3)), 4)
        0.0
    """
    return 1 - (_standardised(student) * _standardised(teacher)).sum(dim=1).mean()


def within_classes(student: Tensor, teacher: Tensor) -> Tensor:
    """Return the same for columns, the mean over classes.

    Args:
        student: Probabilities q, (N, C); with one input it is 1.
        teacher: Probabilities p, (N, C), or columns that rise with them linearly.

    Example:
        >>> import torch
        >>> q = torch.tensor([[0.9, 0.1], [0.4, 0.6]])
        >>> float(within_classes(q, q.flip(0)))
        2.0
    """
    return between_classes(student.T, teacher.T)


def dist_loss(
    student: Tensor,
    teacher: Tensor,
    *,
    temperature: float = 1.0,
    beta: float = 1.0,
    gamma: float = 1.0,
) -> Tensor:
    """Return T^2 (beta between + gamma within) of logits, a scalar. No labels.

    Args:
        student: Logits s, (N, C).
        teacher: Logits t, (N, C). They take no gradient.
        temperature: T, above 0, for both.
        beta: Weight of the rows, at least 0.
        gamma: Weight of the columns, at least 0.

    Raises:
        ValueError: If a weight is below 0.

    Example:
        >>> import torch
        >>> logits = torch.tensor([[2.0, 0.0], [0.0, 1.0]])
        >>> round(abs(float(dist_loss(logits, logits))), 4)
        0.0
    """
    check_temperature(temperature)
    check_logits(student, teacher)
    if not (beta >= 0 and gamma >= 0):  # nan is neither
        raise ValueError(f"beta and gamma must be at least 0, got {beta} and {gamma}")
    q, p = softened(student, temperature), softened(teacher.detach(), temperature)
    rows, columns = between_classes(q, p), within_classes(q, p)
    return temperature**2 * (beta * rows + gamma * columns)


def distil_relations(
    student: nn.Module,
    teacher: nn.Module,
    split: Split,
    recipe: Recipe = TEN_EPOCHS,
    *,
    temperature: float = 1.0,
    beta: float = 1.0,
    gamma: float = 1.0,
) -> list[float]:
    """Return the mean loss CE + dist_loss of every epoch of training ``student``.

    The teacher stays exactly as it is. Raises ``ValueError`` if it is in training mode.

    Args:
        student: Maps (N, ...) to logits (N, C); trained in place.
        teacher: Maps the same inputs to logits of the same classes; in evaluation mode.
        split: Inputs and targets.
        recipe: How long and how fast.
        temperature: T, above 0.
        beta: Weight of the rows, at least 0.
        gamma: Weight of the columns, at least 0.

    Example:
        >>> import torch
        >>> split = Split(torch.eye(2).repeat(50, 1), torch.arange(2).repeat(50))
        >>> teacher, student = nn.Identity().eval(), nn.Linear(2, 2)
        >>> losses = distil_relations(student, teacher, split)
        >>> losses[-1] < losses[0]
        True
    """
    taught = answers(teacher, split.inputs)

    def loss_of(inputs: Tensor, which: Tensor) -> Tensor:
        logits = student(inputs)
        relations = dist_loss(
            logits, taught[which], temperature=temperature, beta=beta, gamma=gamma
        )
        return F.cross_entropy(logits, split.targets[which]) + relations

    return train_student(student, numbered(split), loss_of, recipe)


def _standardised(rows: Tensor) -> Tensor:
    """Return rows of mean 0 and norm 1, or of zeros if they have no spread."""
    return F.normalize(rows - rows.mean(dim=1, keepdim=True), dim=1, eps=SPREAD)
