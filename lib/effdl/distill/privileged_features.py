"""Privileged features in a shop: what happens after the click teaches what to show.

Paper: Xu et al., "Privileged Features Distillation at Taobao Recommendations", KDD
2020, https://arxiv.org/abs/1907.05171.

Whether a visitor who clicks on an item will buy it must be guessed *before* the click.
How long the visitor stays on the page says much about it, but only afterwards. So such
features X* feed a teacher. The student has the ordinary features X, and is what runs in
the shop. Both learn at the same time, from the same batches:

    loss = L_s(y, f_s(X)) + lambda L_d(f_t(X, X*), f_s(X)) + L_t(y, f_t(X, X*))

All three are binary cross-entropies; L_d moves the student only. A teacher that has
just begun knows nothing, so lambda is 0 in the first steps.

Unlike in :mod:`effdl.distill.generalized`, the teacher sees X *and* X*, and the student
does not wait until the teacher has finished.

What differs: the paper's networks read the history of a visitor, and student and
teacher share their embeddings; ours are whatever modules one passes and share nothing.
The data are drawn from a logistic model. Which weight the paper gives to L_s once
lambda is above 0 we could not look up; ours stays 1.

Before trusting it: in our data the student gains in few passes over few clicks. With
more clicks it ends where it ends without a teacher; with more passes, too, and lower
than after few. And lambda makes the student's
steps larger: compare with a student that is alone and takes larger steps.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from effdl.checks import check_positive
from effdl.data.digits import Split
from effdl.distill.privileged_tasks import PrivilegedData
from effdl.distill.recipe import TEN_EPOCHS, Recipe, train_student
from effdl.distill.teacher import numbered


def click_data(
    taste: Tensor,
    n: int,
    *,
    mood: float = 1.0,
    stay_noise: float = 0.3,
    offset: float = -2.0,
) -> PrivilegedData:
    """Return clicks, how the visitors behaved after them, and whether they bought.

    Nobody sees the wish z, of which X tells only a part:

        z   = <taste, X> + mood N(0, 1)
        X*  = two times z + stay_noise N(0, 1)       such as seconds and pages, scaled
        y   = 1 with probability sigmoid(z + offset)

    Args:
        taste: How features make an item wanted, (d,).
        n: Clicks, at least 1; drawn from torch's generator.
        mood: Deviation of what only the visitor knows.
        stay_noise: Deviation of what behaviour owes to other reasons.
        offset: Below 0, few of the visitors buy.

    Raises:
        ValueError: If ``taste`` is no vector or a deviation is below 0.

    Example:
        >>> data = click_data(torch.ones(20), 1000)
        >>> data.inputs.shape, data.privileged.shape
        (torch.Size([1000, 20]), torch.Size([1000, 2]))
    """
    check_positive(n=n)
    if taste.ndim != 1 or not len(taste):
        raise ValueError(f"taste must be one vector (d,), got {tuple(taste.shape)}")
    if not (mood >= 0 and stay_noise >= 0):  # nan is neither
        raise ValueError(
            f"mood and stay_noise must be at least 0, got {mood} and {stay_noise}"
        )
    x = torch.randn(n, len(taste))
    wish = x @ taste + mood * torch.randn(n)
    behaviour = wish[:, None] + stay_noise * torch.randn(n, 2)
    bought = torch.rand(n) < (wish + offset).sigmoid()
    return PrivilegedData(x, behaviour, bought.long())


def pfd_loss(
    student: Tensor, teacher: Tensor, targets: Tensor, weight: float
) -> Tensor:
    """Return L_s + lambda L_d + L_t, the mean over clicks, a scalar.

    Args:
        student: Logits of the student, (N,) or (N, 1).
        teacher: Logits of the teacher, of that shape; only L_t moves them.
        targets: Labels 0 and 1, (N,).
        weight: lambda, at least 0 and finite.

    Raises:
        ValueError: If shapes differ or ``weight`` is out of range.

    Example:
        >>> zero, one = torch.zeros(1), torch.ones(1)
        >>> round(float(pfd_loss(zero, zero, one, 0.5)), 4)  # 2.5 times the log of 2
        1.7329
    """
    if student.shape != teacher.shape or student.numel() != targets.numel():
        shapes = [tuple(t.shape) for t in (student, teacher, targets)]
        raise ValueError(
            f"student, teacher and targets have shapes {shapes}; give one logit each"
        )
    if not 0 <= weight < float("inf"):  # nan is neither
        raise ValueError(f"weight must be finite and at least 0, got {weight}")
    y = targets.reshape(student.shape).to(student.dtype)
    bce = F.binary_cross_entropy_with_logits
    distilled = bce(student, teacher.detach().sigmoid())
    return bce(student, y) + weight * distilled + bce(teacher, y)


def train_together(
    student: nn.Module,
    teacher: nn.Module,
    data: PrivilegedData,
    recipe: Recipe = TEN_EPOCHS,
    *,
    weight: float = 1.0,
    quiet_steps: int = 0,
) -> list[float]:
    """Return the mean loss of every epoch of training student and teacher in place.

    Args:
        student: Maps X (N, d) to logits (N, 1).
        teacher: Maps X and X* side by side, (N, d + e), to logits (N, 1). Put into
            training mode, and back into the mode that it had.
        data: X, X* and labels 0 and 1.
        recipe: How long and how fast, for both.
        weight: lambda; 0 trains the two side by side and nothing else.
        quiet_steps: Steps at the beginning in which lambda is 0.

    Raises:
        ValueError: If ``quiet_steps`` is below 0.

    Example:
        >>> data = click_data(torch.ones(4), 200)
        >>> losses = train_together(nn.Linear(4, 1), nn.Linear(6, 1), data)
        >>> losses[-1] < losses[0]
        True
    """
    if quiet_steps < 0:
        raise ValueError(f"quiet_steps must be at least 0, got {quiet_steps}")
    done = [0]

    def loss_of(inputs: Tensor, which: Tensor) -> Tensor:
        both = torch.cat([inputs, data.privileged[which]], dim=1)
        now = weight if done[0] >= quiet_steps else 0.0
        return pfd_loss(student(inputs), teacher(both), data.targets[which], now)

    def finish_step() -> None:
        done[0] += 1

    split, mode = numbered(Split(data.inputs, data.targets)), teacher.training
    teacher.train()
    try:
        return train_student(
            student, split, loss_of, recipe, beside=teacher, after_step=finish_step
        )
    finally:
        teacher.train(mode)
