"""Training with few labels and a mean teacher.

Paper: Tarvainen and Valpola, "Mean teachers are better role models", NeurIPS 2017,
https://arxiv.org/abs/1703.01780, section 2; the parts are in
:mod:`effdl.distill.mean_teacher`.

A step shows a batch without labels and one with labels together, with noise, to the
student, and again, with other noise, to the teacher:

    loss = CE of what has labels + weight ramp(t) mean square of softmax differences

then the teacher follows. An epoch is one pass over the inputs without labels; those
with labels come round again and again.

What differs: the ramp rises over a share of the steps, not over a number of epochs.

Before trusting it: compare with weight = 0, the same labels, noise and steps. Noise
that makes more of few labels is a gain without any teacher. And a student that has
learned by heart what is labelled leaves nothing to disagree about.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from effdl.data.digits import Split
from effdl.distill.checks import check_share, check_teacher
from effdl.distill.mean_teacher import consistency_loss, decay_at, follow_, ramp_up
from effdl.distill.recipe import TEN_EPOCHS, Recipe, train_student


@dataclass(frozen=True)
class Consistency:
    """How the student is drawn to its mean teacher.

    ``ValueError`` if a number is out of range.

    Attributes:
        weight: Of the squared difference, 0 or more; 0 is training on labels alone,
            and what has none is not shown.
        decay: The largest a, 0 to 1; 0 makes the student its own teacher.
        ramp: Share of the steps over which the weight rises, above 0.
    """

    weight: float = 100.0
    decay: float = 0.99
    ramp: float = 0.25

    def __post_init__(self) -> None:
        check_share(decay=self.decay)
        if not (0 <= self.weight < math.inf and self.ramp > 0):  # nan is neither
            raise ValueError(
                "weight must be at least 0 and ramp above 0, "
                f"got {self.weight} and {self.ramp}"
            )


AS_IN_THE_PAPER = Consistency()


def train_with_mean_teacher(
    student: nn.Module,
    teacher: nn.Module,
    labelled: Split,
    unlabelled: Tensor,
    recipe: Recipe = TEN_EPOCHS,
    *,
    noise: Callable[[Tensor], Tensor],
    consistency: Consistency = AS_IN_THE_PAPER,
) -> list[float]:
    """Return the mean loss of every epoch of training with few labels.

    Trains ``student`` and moves ``teacher``, both in place. Raises ``ValueError`` if
    the teacher is in training mode.

    Args:
        student: Maps (N, ...) to logits (N, C).
        teacher: From :func:`~effdl.distill.mean_teacher.mean_teacher_of`.
        labelled: Inputs and targets, one at least.
        unlabelled: Inputs without, (N, ...). An epoch is a pass over these.
        recipe: How long and how fast; a step has a batch of each kind.
        noise: Returns inputs of the same shape, changed at random at every call. Call
            this function inside ``with seeded(...)`` to repeat it.
        consistency: Weight, decay and ramp.

    Example:
        >>> from effdl.distill.mean_teacher import mean_teacher_of
        >>> split = Split(torch.eye(2), torch.arange(2))
        >>> student = nn.Linear(2, 2)
        >>> losses = train_with_mean_teacher(
        ...     student,
        ...     mean_teacher_of(student),
        ...     split,
        ...     torch.rand(40, 2),
        ...     noise=lambda x: x + 0.1 * torch.randn_like(x),
        ... )
        >>> len(losses)
        10
    """
    check_teacher(teacher)
    shown = Split(unlabelled, torch.arange(len(unlabelled)))
    steps = recipe.epochs * len(shown.batches(recipe.batch_size))
    rising, steps_done = consistency.ramp * steps, count(1)
    known = _endless(labelled, recipe)
    progress = count()

    def loss_of(inputs: Tensor, _which: Tensor) -> Tensor:
        some, targets = next(known)
        if consistency.weight == 0:
            return F.cross_entropy(student(noise(some)), targets)
        both = torch.cat([some, inputs])
        logits = student(noise(both))
        with torch.no_grad():
            taught = teacher(noise(both))
        pull = consistency.weight * ramp_up(next(progress), rising)
        hard = F.cross_entropy(logits[: len(some)], targets)
        return hard + pull * consistency_loss(logits, taught)

    def after_step() -> None:
        follow_(teacher, student, decay_at(next(steps_done), consistency.decay))

    return train_student(student, shown, loss_of, recipe, after_step=after_step)


def _endless(split: Split, recipe: Recipe) -> Iterator[tuple[Tensor, Tensor]]:
    batches = split.batches(recipe.batch_size, seed=recipe.seed)
    while True:
        yield from batches
