"""The slopes of distillation by hand, and what the survey's Eq. (20) would do.

Paper: Hinton et al., "Distilling the Knowledge in a Neural Network", 2015,
https://arxiv.org/abs/1503.02531, section 2.1.

With student logits s, teacher logits t, q = softmax(s / T), p = softmax(t / T):

    d KL(p || q) / d s_i = (q_i - p_i) / T                       exactly
                         ~ (s_i - t_i) / (C T^2)                 T large, means 0

The second line comes from exp(x) ~ 1 + x, twice. Without zero means it holds for the
centred logits. So T^2 KL has a slope that settles as T grows, and the student then
matches logits. "Scales as 1/T^2" is this limit and no more. As T falls, q and p become
one-hot: where student and teacher choose different classes the slope goes as 1/T, and
where they agree it dies out as exp(-gap / T), faster than any power.

The survey prints its Eq. (20) as CE(y, y*) + a T^2 CE(y, z), with y the same in both
terms: the student is not softened. Taken at its word, the second term is smallest at

    softmax(y) = z, that is y = t / T + constant

a student whose logits are T times too small. With softmax(y / T) in its place it is
smallest at y = t + constant. The sum of the terms, as opposed to a weighted mean, is a
matter of convention: CE + a S = (1 + a) ((1 - alpha) CE + alpha S), alpha = a / (1+a).

What differs: our losses are means over inputs, so all slopes carry a 1/N.

Before trusting it: these are slopes along logits. Those along weights are these times
the student's Jacobian. There is no T in it, so the limit of a large T is the same.
"""

import torch.nn.functional as F
from torch import Tensor

from effdl.distill.checks import check_logits, check_share, check_temperature
from effdl.distill.kd import softened


def soft_gradient(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Return the slope of ``soft_loss`` along the student's logits, T (q - p) / N.

    Raises ``ValueError`` if the shapes differ or T is not above 0.

    Args:
        student: Logits s, (N, C).
        teacher: Logits t, (N, C).
        temperature: T, above 0.

    Example:
        >>> import torch
        >>> s, t = torch.tensor([[0.0, 0.0]]), torch.tensor([[200.0, 0.0]])
        >>> soft_gradient(s, t, 2.0)
        tensor([[-1.,  1.]])
    """
    check_logits(student, teacher)
    gap = softened(student, temperature) - softened(teacher, temperature)
    return temperature * gap / len(student)


def limit_gradient(student: Tensor, teacher: Tensor) -> Tensor:
    """Return what :func:`soft_gradient` becomes as T grows, (N, C).

    The difference of the logits, each centred, over C N.
    Raises ``ValueError`` if the shapes differ.

    Args:
        student: Logits s, (N, C).
        teacher: Logits t, (N, C).

    Example:
        >>> import torch
        >>> limit_gradient(torch.tensor([[5.0, 1.0]]), torch.tensor([[0.0, 0.0]]))
        tensor([[ 1., -1.]])
    """
    check_logits(student, teacher)
    gap = student - teacher
    return (gap - gap.mean(dim=1, keepdim=True)) / gap.numel()


def printed_loss(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Return T^2 CE(softmax(s), p), the survey's second term at its word, a scalar.

    Not for training: it asks for a student that is T times too soft.
    Raises ``ValueError`` if the shapes differ or T is not above 0.

    Args:
        student: Logits s, (N, C); they are not softened.
        teacher: Logits t, (N, C). They take no gradient.
        temperature: T, above 0, for the teacher alone.

    Example:
        >>> import torch
        >>> logits = torch.tensor([[2.0, 0.0]], requires_grad=True)
        >>> printed_loss(logits, logits, 4.0).backward()
        >>> bool(logits.grad.abs().min() > 1)  # teacher and student agree, and yet
        True
    """
    check_logits(student, teacher)
    soft = softened(teacher.detach(), temperature)
    return temperature**2 * F.cross_entropy(student, soft)


def printed_minimiser(teacher: Tensor, temperature: float) -> Tensor:
    """Return the centred student logits at which :func:`printed_loss` is smallest.

    Args:
        teacher: Logits t, (N, C).
        temperature: T, above 0; ``ValueError`` if not.

    Example:
        >>> import torch
        >>> printed_minimiser(torch.tensor([[8.0, 0.0]]), 4.0)
        tensor([[ 1., -1.]])
    """
    check_temperature(temperature)
    return (teacher - teacher.mean(dim=-1, keepdim=True)) / temperature


def alpha_of(weight: float) -> float:
    """Return the share alpha with the minimum of CE + a S, for a weight a.

    (1 + a) times the weighted mean is the sum: with plain SGD and no weight decay, a
    learning rate (1 + a) times as high makes the same steps.

    Args:
        weight: a, the survey's alpha, at least 0.

    Raises:
        ValueError: If it is below 0 or infinite.

    Example:
        >>> alpha_of(9.0)
        0.9
    """
    if not 0 <= weight < float("inf"):  # nan is neither
        raise ValueError(
            f"weight must be at least 0 and finite, got {weight}; "
            "for the teacher alone use alpha = 1"
        )
    return weight / (1 + weight)


def weight_of(alpha: float) -> float:
    """Return the weight a with the minimum of (1 - alpha) CE + alpha S, for alpha.

    Args:
        alpha: The teacher's share, at least 0 and below 1.

    Raises:
        ValueError: If it is 1, where the sum has no such weight, or out of range.

    Example:
        >>> weight_of(0.75)
        3.0
    """
    check_share(alpha=alpha)
    if alpha == 1:
        raise ValueError("alpha must be below 1, got 1; no weight removes the labels")
    return alpha / (1 - alpha)
