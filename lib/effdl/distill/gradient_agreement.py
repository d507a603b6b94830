"""AEKD: the step that no teacher objects to, found in the space of slopes.

Papers: Du et al., "Agree to Disagree: Adaptive Ensemble Knowledge Distillation in
Gradient Space", NeurIPS 2020; and, without a cap, for the tasks of one network: Sener
and Koltun, "Multi-Task Learning as Multi-Objective Optimization", NeurIPS 2018,
https://arxiv.org/abs/1810.04650, section 3.

Teacher k pulls the student's logits along g_k, the slope of its loss. Instead of the
mean of the K slopes take the shortest vector among their mixtures:

    minimise  | sum_k w_k g_k |^2 / 2      sum_k w_k = 1,  0 <= w_k <= cap

At the minimum d of cap = 1 every teacher has g_k . d >= |d|^2 (otherwise moving weight
to it would shorten d): a small step against d makes the loss of *all* teachers
smaller, or d = 0 and they cannot agree. The cap keeps a teacher that is nearly
satisfied, whose slope is short, from taking it all; cap = 1 / K is the plain mean, and
with a cap in between the promise is gone. For two teachers

    w_1 = (g_2 - g_1) . g_2 / |g_1 - g_2|^2      cut to [1 - cap, cap]

Only the K x K inner products enter. :func:`min_norm_weights` moves weight from the
teacher with the largest g_k . d to the one with the smallest, as far as is best, until
the two agree: the optimiser of support vector machines, whose one-class problem is
this one.

What differs: slopes are those along all logits of the batch. The authors' program
takes the mean of these slopes over the batch first, and lengths 1 where told to.

Before trusting it: agreement is about the logits of this batch. The step is taken in
the weights, where it need not hold, and with the labels' slope added.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from effdl.data.digits import Split
from effdl.distill.averaged_teachers import answers_of_all, mean_probabilities
from effdl.distill.checks import check_logits, check_share, check_temperature
from effdl.distill.kd import kd_loss
from effdl.distill.recipe import TEN_EPOCHS, Recipe, train_student
from effdl.distill.teacher import numbered

MOST_MOVES = 1000  # of weight; a handful of teachers takes some ten
EPSILON = 1e-12  # weights so near to 0 or to the cap have arrived there


def teacher_slopes(student: Tensor, teachers: Tensor, temperature: float) -> Tensor:
    """Return g, the slope of T^2 KL(p_k || q) along the student's logits, (K, N, C).

    Args:
        student: Logits, (N, C).
        teachers: Logits of K teachers, (K, N, C).
        temperature: T, above 0.

    Example:
        >>> logits = torch.tensor([[1.0, 0.0]])
        >>> teacher_slopes(logits, logits[None], 4.0)
        tensor([[[0., 0.]]])
    """
    check_temperature(temperature)
    for logits in teachers:
        check_logits(student, logits)
    q = (student.detach() / temperature).softmax(dim=1)
    p = (teachers.detach() / temperature).softmax(dim=2)
    return temperature * (q - p) / len(student)


def min_norm_weights(slopes: Tensor, cap: float = 1.0) -> Tensor:
    """Return w, (K,), of the shortest mixture of K vectors.

    Args:
        slopes: g of every teacher, (K, ...).
        cap: The largest weight, 1 / K to 1.

    Raises:
        ValueError: If the cap is outside, or there are no slopes.

    Example:
        >>> min_norm_weights(torch.tensor([[1.0, 0.0], [0.0, 3.0]]))
        tensor([0.9000, 0.1000])
        >>> min_norm_weights(torch.tensor([[1.0, 0.0], [0.0, 3.0]]), cap=0.6)
        tensor([0.6000, 0.4000])
    """
    count = len(slopes)
    if count == 0:
        raise ValueError("slopes is empty; give those of one teacher at least")
    if not (cap * count >= 1 - EPSILON and cap <= 1):  # nan is neither
        raise ValueError(f"cap must be from 1 / {count} to 1, got {cap}; 1 is no cap")
    flat = slopes.detach().double().flatten(1)
    products = flat @ flat.T  # (K, K)
    weights = products.new_full((count,), 1 / count)
    for _ in range(MOST_MOVES):
        along = products @ weights  # g_k . d
        below = torch.where(weights < cap - EPSILON, along, torch.inf)
        above = torch.where(weights > EPSILON, along, -torch.inf)
        to, off = int(below.argmin()), int(above.argmax())
        gap = above[off] - below[to]  # -inf if all are at the cap
        if not gap > 1e-9 * products.diagonal().max():
            break
        apart = products[to, to] + products[off, off] - 2 * products[to, off]
        most = torch.minimum(cap - weights[to], weights[off])
        move = torch.minimum(gap / apart, most)
        weights[to] += move
        weights[off] -= move
    return weights.to(slopes.dtype)


def agreement_loss(
    student: Tensor,
    teachers: Tensor,
    targets: Tensor,
    *,
    cap: float = 0.6,
    temperature: float = 4.0,
    alpha: float = 0.9,
) -> Tensor:
    """Return (1 - alpha) CE + alpha T^2 KL to the teachers, weighted, a scalar.

    One set of weights a batch; it takes no gradient. The divergence is that of the
    weighted mean of probabilities, without the constant.

    Args:
        student: Logits, (N, C).
        teachers: Logits of K teachers, (K, N, C).
        targets: Class indices, (N,).
        cap: The largest weight, 1 / K to 1.
        temperature: T, above 0.
        alpha: The teachers' share, 0 to 1.

    Example:
        >>> s, t = torch.zeros(1, 2), torch.tensor([[[2.0, 0.0]], [[0.0, 2.0]]])
        >>> loss = agreement_loss(s, t, torch.tensor([0]), alpha=1.0)
        >>> abs(float(loss)) < 1e-6  # they contradict each other
        True
    """
    check_share(alpha=alpha)
    weights = min_norm_weights(teacher_slopes(student, teachers, temperature), cap)
    taught = mean_probabilities(teachers, temperature, weights)
    return kd_loss(student, taught, targets, temperature=temperature, alpha=alpha)


def distil_agreement(
    student: nn.Module,
    teachers: Sequence[nn.Module],
    split: Split,
    recipe: Recipe = TEN_EPOCHS,
    *,
    cap: float = 0.6,
    temperature: float = 4.0,
    alpha: float = 0.9,
) -> list[float]:
    """Return the mean loss of every epoch of distilling teachers in agreement.

    Args:
        student: Maps (N, ...) to logits (N, C); trained in place.
        teachers: K networks in evaluation mode, of the same classes.
        split: Inputs and targets.
        recipe: How long and how fast.
        cap: The largest weight, 1 / K to 1.
        temperature: T, above 0.
        alpha: The teachers' share, 0 to 1.

    Example:
        >>> split = Split(torch.eye(2).repeat(50, 1), torch.arange(2).repeat(50))
        >>> teachers = [nn.Linear(2, 2).eval() for _ in range(2)]
        >>> losses = distil_agreement(nn.Linear(2, 2), teachers, split)
        >>> losses[-1] < losses[0]
        True
    """
    taught = answers_of_all(teachers, split.inputs)

    def loss_of(inputs: Tensor, which: Tensor) -> Tensor:
        return agreement_loss(
            student(inputs),
            taught[:, which],
            split.targets[which],
            cap=cap,
            temperature=temperature,
            alpha=alpha,
        )

    return train_student(student, numbered(split), loss_of, recipe)
