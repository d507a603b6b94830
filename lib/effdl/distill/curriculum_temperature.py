"""A temperature that learns to make things difficult: CTKD.

Paper: Li et al., "Curriculum Temperature for Knowledge Distillation", AAAI 2023,
https://arxiv.org/abs/2211.16231, section 3.

One number r, the same for all inputs, decides on the temperature,

    T = low + span sigmoid(r)

and is trained against the student: the student makes the distillation loss smaller, T
makes it larger. One backward pass does both, as between r and the loss stands a layer
that changes nothing forwards and turns the slope backwards:

    forward   r             backward   -strength dL/dr

A curriculum raises the strength from 0 to 1, as half a cosine over the first epochs:

    strength(e) = (1 - cos(pi min(e, E) / E)) / 2

so the temperature is pushed gently at first. With strength 0 only weight decay moves
it; without that, too, this is distillation with a fixed temperature.

What differs: of the two forms, one temperature for all and one for each input, only the
first is here. Settings are those of the authors' program (low 1, span 20, r = 1, ten
epochs, counted from 1). As there, r is an ordinary parameter, and weight decay pulls at
it as at all others, towards the middle of the range.

Before trusting it: it is T^2 KL, with T^2 in it, that T makes larger. Which way this
pushes depends on teacher and student; nothing says that the direction is good for the
student. And r learns with the student's rate: a few dozen steps can take T
half-way down.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx

from effdl.checks import check_positive
from effdl.data.digits import Split
from effdl.distill.checks import check_share
from effdl.distill.kd import kd_loss
from effdl.distill.recipe import TEN_EPOCHS, Recipe, train_student
from effdl.distill.teacher import answers, numbered


def reverse_gradient(value: Tensor, strength: float = 1.0) -> Tensor:
    """Return ``value``, whose slope becomes -strength times what it would be.

    Args:
        value: Any shape.
        strength: 0 stops the slope, 1 turns it around.

    Example:
        >>> r = torch.tensor(3.0, requires_grad=True)
        >>> (5 * reverse_gradient(r, 0.5)).backward()
        >>> r.grad
        tensor(-2.5000)
    """
    result: Tensor = _Reversed.apply(value, strength)
    return result


def curriculum_strength(epoch: int, epochs: int = 10) -> float:
    """Return the strength of an epoch: half a cosine from 0 to 1, then 1.

    Args:
        epoch: Counted from 1; 0 gives 0.
        epochs: When 1 is reached, at least 1; ``ValueError`` if not.

    Example:
        >>> [round(curriculum_strength(epoch), 2) for epoch in (0, 1, 5, 10, 11)]
        [0.0, 0.02, 0.5, 1.0, 1.0]
    """
    check_positive(epochs=epochs)
    return (1 - math.cos(math.pi * min(max(epoch, 0), epochs) / epochs)) / 2


class LearnedTemperature(nn.Module):
    """A temperature between two bounds, whose slope is turned around.

    Args:
        low: What it stays above, above 0.
        span: How far above ``low`` it can get, above 0.
        start: r at the beginning; 0 is the middle of the range.

    Raises:
        ValueError: If ``low`` or ``span`` is not above 0.

    Example:
        >>> round(LearnedTemperature()().item(), 2)
        15.62
        >>> LearnedTemperature(low=1.0, span=6.0, start=0.0)().item()
        4.0
    """

    def __init__(
        self, low: float = 1.0, span: float = 20.0, *, start: float = 1.0
    ) -> None:
        super().__init__()
        if not (0 < low < math.inf and 0 < span < math.inf):  # nan is neither
            raise ValueError(
                f"low and span must be above 0 and finite, got {low} and {span}"
            )
        self.low, self.span = low, span
        self.raw = nn.Parameter(torch.tensor(float(start)))

    def forward(self, strength: float = 0.0) -> Tensor:
        """Return T, a scalar.

        Args:
            strength: Of the turned slope; 0 for a temperature that stands still.
        """
        return self.low + self.span * reverse_gradient(self.raw, strength).sigmoid()


class CurriculumRun(NamedTuple):
    """What :func:`distil_with_curriculum` returns.

    Attributes:
        losses: Mean loss of every epoch.
        temperatures: At the end of every epoch.
    """

    losses: list[float]
    temperatures: list[float]


def distil_with_curriculum(
    student: nn.Module,
    teacher: nn.Module,
    split: Split,
    recipe: Recipe = TEN_EPOCHS,
    *,
    temperature: LearnedTemperature,
    alpha: float = 0.9,
    epochs: int = 10,
) -> CurriculumRun:
    """Return the course of distilling with a temperature that learns against it.

    Raises ``ValueError`` if the teacher is in training mode or alpha no share.

    Args:
        student: Maps (N, ...) to logits (N, C); trained in place.
        teacher: Maps the same inputs to logits of the same classes; in evaluation mode.
        split: Inputs and targets.
        recipe: How long and how fast, for the temperature, too.
        temperature: Trained in place.
        alpha: The teacher's share, 0 to 1.
        epochs: In how many the strength goes from 0 to 1.

    Example:
        >>> split = Split(torch.eye(2).repeat(50, 1), torch.arange(2).repeat(50))
        >>> nets = nn.Linear(2, 2), nn.Linear(2, 2).eval()
        >>> run = distil_with_curriculum(*nets, split, temperature=LearnedTemperature())
        >>> len(run.losses), len(run.temperatures)
        (10, 10)
    """
    check_share(alpha=alpha)
    check_positive(epochs=epochs)
    taught = answers(teacher, split.inputs)
    steps_of_epoch = len(split.batches(recipe.batch_size))
    path: list[float] = []

    def loss_of(inputs: Tensor, which: Tensor) -> Tensor:
        strength = curriculum_strength(1 + len(path) // steps_of_epoch, epochs)
        logits, targets = student(inputs), split.targets[which]
        how_soft = temperature(strength)
        return kd_loss(
            logits, taught[which], targets, temperature=how_soft, alpha=alpha
        )

    def look() -> None:
        path.append(temperature().item())

    losses = train_student(
        student, numbered(split), loss_of, recipe, beside=temperature, after_step=look
    )
    return CurriculumRun(losses, path[steps_of_epoch - 1 :: steps_of_epoch])


class _Context(FunctionCtx):
    strength: float


class _Reversed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: _Context, value: Tensor, strength: float) -> Tensor:
        ctx.strength = strength
        return value.view_as(value)

    @staticmethod
    def backward(ctx: _Context, grad: Tensor) -> tuple[Tensor, None]:
        return -ctx.strength * grad, None
