"""A teacher that is not sure of itself: noise on its logits as a regulariser.

Paper: Sau and Balasubramanian, "Deep Model Compression: Distilling Knowledge from Noisy
Teachers", 2016, https://arxiv.org/abs/1610.09650.

In every step, an input is picked with a probability a, and the teacher's logits for it
become

    t' = (1 + xi) t,     xi ~ N(0, sigma^2), one number for every logit

and the student regresses them, as in logit matching. The paper reads this as a penalty.
On average over the noise,

    E || s - t' ||^2 = || s - t ||^2 + a sigma^2 || t ||^2

and the second term does not depend on the student: its expected slope is unchanged.
So the squared loss has no regulariser in its mean. What is left is noise in the slope,
of variance a sigma^2 t_i^2 along logit i, the same kind that small batches have. With
a softmax behind the noise this is no longer true: the mean of softened noisy logits is
another distribution than the softened mean.

What differs: the draw is one for each input; public re-implementations draw one for
the whole batch. We know the paper from its abstract and such programs, not its text.

Before trusting it: the noise is proportional to the logit. A logit of 0 has none, and
adding a constant to all logits, which changes no prediction, changes the noise.
"""

import torch
from torch import Tensor, nn

from effdl.data.digits import Split
from effdl.distill.checks import check_logits, check_share
from effdl.distill.logit_matching import MATCHING, logit_loss
from effdl.distill.recipe import Recipe, train_student
from effdl.distill.teacher import answers, numbered


def noisy_logits(logits: Tensor, sigma: float = 0.5, share: float = 0.5) -> Tensor:
    """Return the logits, those of some inputs times 1 + xi; drawn anew at every call.

    Torch's global generator decides, so call it inside ``with seeded(...)``.
    Raises ``ValueError`` if a number is out of range.

    Args:
        logits: Of the teacher, (N, C).
        sigma: Deviation of xi, at least 0; 0 returns the logits.
        share: Probability a that an input is picked, 0 to 1.

    Example:
        >>> noisy_logits(torch.tensor([[0.0, 3.0]]), sigma=0.0)
        tensor([[0., 3.]])
    """
    _check_noise(sigma, share)
    picked = torch.rand(len(logits), 1, device=logits.device) < share
    return torch.where(picked, (1 + sigma * torch.randn_like(logits)) * logits, logits)


def expected_noisy_loss(
    student: Tensor, teacher: Tensor, sigma: float = 0.5, share: float = 0.5
) -> Tensor:
    """Return the mean of ``logit_loss`` over the noise, in closed form, a scalar.

    Raises ``ValueError`` if the shapes differ or a number is out of range.

    Args:
        student: Logits s, (N, C).
        teacher: Logits t without noise, (N, C). They take no gradient.
        sigma: Deviation of xi, at least 0.
        share: Probability a that an input is picked, 0 to 1.

    Example:
        >>> t = torch.tensor([[3.0, 4.0]])
        >>> expected_noisy_loss(t, t, sigma=1.0, share=0.5)  # 25 / 2 / 2
        tensor(6.2500)
    """
    _check_noise(sigma, share)
    constant = teacher.detach().square().sum(dim=1).mean() / 2
    return logit_loss(student, teacher) + share * sigma**2 * constant


def gradient_noise(teacher: Tensor, sigma: float = 0.5, share: float = 0.5) -> Tensor:
    """Return the variance of the slope of ``logit_loss`` along every logit, (N, C).

    Of the loss as the mean over inputs: a sigma^2 t_i^2 / N^2, whatever the student.
    Raises ``ValueError`` if a number is out of range or the logits are no (N, C).

    Args:
        teacher: Logits t without noise, (N, C).
        sigma: Deviation of xi, at least 0.
        share: Probability a that an input is picked, 0 to 1.

    Example:
        >>> gradient_noise(torch.tensor([[3.0, 4.0]]), sigma=1.0, share=0.5)
        tensor([[4.5000, 8.0000]])
    """
    _check_noise(sigma, share)
    check_logits(teacher, teacher)
    return share * sigma**2 * teacher.square() / len(teacher) ** 2


def match_noisy_logits(
    student: nn.Module,
    teacher: nn.Module,
    split: Split,
    recipe: Recipe = MATCHING,
    *,
    sigma: float = 0.5,
    share: float = 0.5,
) -> list[float]:
    """Return the mean loss of every epoch of matching logits that are noisy each time.

    With ``sigma=0`` exactly :func:`effdl.distill.logit_matching.match_logits`. The loss
    cannot fall below its constant. Call it inside ``with seeded(...)``.
    Raises ``ValueError`` if the teacher is in training mode or a number out of range.

    Args:
        student: Maps (N, ...) to logits (N, C); trained in place.
        teacher: Maps the same inputs to logits of the same classes; in evaluation mode.
        split: Inputs; their targets may be anything.
        recipe: How long and how fast.
        sigma: Deviation of xi, at least 0.
        share: Probability a that an input is picked, 0 to 1.

    Example:
        >>> split = Split(torch.eye(2).repeat(50, 1), torch.zeros(100))
        >>> student, teacher = nn.Linear(2, 3), nn.Linear(2, 3).eval()
        >>> losses = match_noisy_logits(student, teacher, split, sigma=0.1)
        >>> losses[-1] < losses[0]
        True
    """
    _check_noise(sigma, share)
    taught = answers(teacher, split.inputs)

    def loss_of(inputs: Tensor, which: Tensor) -> Tensor:
        return logit_loss(student(inputs), noisy_logits(taught[which], sigma, share))

    return train_student(student, numbered(split), loss_of, recipe)


def _check_noise(sigma: float, share: float) -> None:
    """Require a deviation and a probability.

    Raises:
        ValueError: If sigma is below 0 or infinite.
    """
    check_share(share=share)
    if not 0 <= sigma < float("inf"):  # nan is neither
        raise ValueError(f"sigma must be at least 0 and finite, got {sigma}")
