"""Mean teacher: one teacher, the moving average of the student's own weights.

Paper: Tarvainen and Valpola, "Mean teachers are better role models", NeurIPS 2017,
https://arxiv.org/abs/1703.01780, section 2.

There is nobody else. The teacher begins as the student, and after step t

    theta'_t = a theta'_(t-1) + (1 - a) theta_t,      a = min(1 - 1 / (t + 1), decay)

so it is a function of the path that the student took:

    theta'_t = a^t theta_0 + (1 - a) sum over k <= t of a^(t - k) theta_k    constant a
    theta'_t = mean of theta_0, ..., theta_t            while (t + 1) (1 - decay) <= 1

Few inputs have labels, most do not. All are shown to both networks, each with noise of
its own, eta and eta', and the student is drawn to what the teacher says:

    loss = CE(student(x, eta), label)                          inputs with a label
         + weight ramp(t) mean square of softmax(student(x, eta))
                                      less softmax(teacher(x, eta'))      all inputs
    ramp = exp(-5 (1 - t / R)^2) up to step R, then 1

The teacher takes no gradient. With decay = 0 it *is* the student after each step.

Buffers: the average moves weights and running statistics of batch norm alike, and
copies counters; the teacher answers in evaluation mode. So all of it is a function of
the student's path, and of no batch.

What differs: the authors' teacher is in training mode and gathers statistics of its
own. Their decay is 0.99 while the ramp rises and 0.999 after it; here it is one.

Before trusting it: the noise is what there is to learn from. The training is in
:mod:`effdl.distill.mean_teacher_training`.
"""

import copy
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from effdl.distill.checks import check_logits, check_share


def mean_teacher_of(student: nn.Module) -> nn.Module:
    """Return the teacher before the first step: a copy, in evaluation mode, frozen.

    Args:
        student: Stays as it is.

    Example:
        >>> teacher = mean_teacher_of(nn.Linear(2, 2))
        >>> teacher.training, teacher.weight.requires_grad
        (False, False)
    """
    return copy.deepcopy(student).eval().requires_grad_(requires_grad=False)


def decay_at(step: int, decay: float) -> float:
    """Return a for the average after a step: the plain mean first, then ``decay``.

    Args:
        step: t, 1 after the first step.
        decay: The largest a.

    Example:
        >>> [decay_at(step, 0.75) for step in (1, 2, 3, 4, 5)]
        [0.5, 0.6666666666666667, 0.75, 0.75, 0.75]
    """
    return min(1 - 1 / (step + 1), decay)


@torch.no_grad()
def follow_(teacher: nn.Module, student: nn.Module, decay: float) -> None:
    """Move the teacher, in place: a of itself and 1 - a of the student.

    Weights and floating-point buffers move; what is whole, such as counters, is copied.

    Args:
        teacher: Made by :func:`mean_teacher_of`.
        student: Stays as it is.
        decay: a, 0 to 1.

    Raises:
        ValueError: If the two are not of the same kind.

    Example:
        >>> student = nn.Linear(1, 1, bias=False)
        >>> teacher = mean_teacher_of(student)
        >>> _ = nn.init.zeros_(teacher.weight), nn.init.ones_(student.weight)
        >>> follow_(teacher, student, 0.75)
        >>> teacher.weight.item()
        0.25
    """
    check_share(decay=decay)
    now, mean = student.state_dict(), teacher.state_dict()
    shapes = [{name: x.shape for name, x in kept.items()} for kept in (now, mean)]
    if shapes[0] != shapes[1]:
        raise ValueError("teacher has other layers than student; use mean_teacher_of")
    for name, value in now.items():
        if value.is_floating_point():
            mean[name].lerp_(value, 1 - decay)
        else:
            mean[name].copy_(value)


def consistency_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Return the mean square of the difference of probabilities, a scalar.

    Args:
        student: Logits, (N, C).
        teacher: Logits, (N, C). They take no gradient.

    Example:
        >>> yes, no = torch.tensor([[50.0, 0.0]]), torch.tensor([[0.0, 50.0]])
        >>> float(consistency_loss(yes, no))
        1.0
    """
    check_logits(student, teacher)
    return F.mse_loss(student.softmax(dim=1), teacher.detach().softmax(dim=1))


def ramp_up(step: float, length: float) -> float:
    """Return exp(-5 (1 - t / R)^2), from 0.0067 at 0 to 1 at R and after.

    Args:
        step: t, 0 or more.
        length: R, above 0.

    Example:
        >>> [round(ramp_up(step, 10), 4) for step in (0, 5, 10, 20)]
        [0.0067, 0.2865, 1.0, 1.0]
    """
    return math.exp(-5 * (1 - min(step / length, 1.0)) ** 2)
