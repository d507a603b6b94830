"""FitNets: first learn the middle of the teacher, then its answers.

Paper: Romero et al., "FitNets: Hints for Thin Deep Nets", ICLR 2015,
https://arxiv.org/abs/1412.6550, sections 2.2 to 2.4.

The hint u_h(x) is what a middle layer of the teacher puts out, v_g(x) what the guided
layer of the student does. As the student is thinner, a convolution r, the regressor, is
learned between them. Its kernel is as large as brings the sizes together:

    stage 1   1/2 ||u_h(x) - r(v_g(x))||^2             up to the guided layer, and r
              k = N_g - N_h + 1                        sides of r, of v_g and of u_h
    stage 2   CE + lambda KL of softened answers       all layers; r is dropped
              lambda from 4 down to 1, linearly

With alpha = lambda / (1 + lambda) stage 2 is the distillation of
:mod:`effdl.distill.kd`, its loss divided by 1 + lambda, and alpha goes from 0.8 to 0.5.

What differs: the square of stage 1 is averaged over features, not summed, so the same
learning rate serves layers of all sizes. Networks are trained with batch norm by the
recipe of all chapters, not with maxout and RMSprop. The soft term has the factor T^2.

Before trusting it: in the paper hints make networks trainable that are so deep that
nothing else did. Where the student trains well anyway, do not expect that much.
"""

from collections.abc import Callable
from itertools import count

import torch.nn.functional as F
from torch import Tensor, nn

from effdl.data.digits import Split
from effdl.distill.checks import check_temperature
from effdl.distill.feature_training import Inner, distil_features, each_layer
from effdl.distill.features import check_maps
from effdl.distill.kd import kd_loss
from effdl.distill.recipe import TEN_EPOCHS, Recipe, train_student
from effdl.distill.soft_gradients import alpha_of
from effdl.distill.teacher import answers, numbered


def hint_regressor(
    guided: Tensor,
    hint: Tensor,
    *,
    activation: Callable[..., nn.Module] | None = nn.ReLU,
) -> nn.Sequential:
    """Return r: a convolution without padding from the guided layer's maps to the hint.

    Args:
        guided: Features of the student, (N, c, h, w); only the shape counts.
        hint: Features of the teacher, (N, C, H, W), no larger than the student's.
        activation: The one that the hint has been through; None if there is none.

    Raises:
        ValueError: If the hint is larger.

    Example:
        >>> import torch
        >>> hint_regressor(torch.ones(1, 8, 8, 8), torch.ones(1, 48, 6, 6))[0]
        Conv2d(8, 48, kernel_size=(3, 3), stride=(1, 1))
    """
    check_maps(guided, hint, same_channels=False)
    sides = [g - h + 1 for g, h in zip(guided.shape[2:], hint.shape[2:], strict=True)]
    if min(sides) < 1:
        raise ValueError(
            f"hint has {tuple(hint.shape[2:])} pixels and guided only "
            f"{tuple(guided.shape[2:])}; guide an earlier layer of the student"
        )
    conv = nn.Conv2d(guided.shape[1], hint.shape[1], (sides[0], sides[1]))
    return nn.Sequential(conv, *([activation()] if activation else []))


def hint_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Return half the mean squared difference, a scalar.

    Args:
        student: Features after the regressor, (N, C, H, W).
        teacher: The hint, of the same shape. It takes no gradient.

    Raises:
        ValueError: If the shapes differ.

    Example:
        >>> import torch
        >>> float(hint_loss(torch.zeros(1, 2, 1, 1), torch.full((1, 2, 1, 1), 3.0)))
        4.5
    """
    if student.shape != teacher.shape:
        raise ValueError(
            f"student has shape {tuple(student.shape)} and teacher "
            f"{tuple(teacher.shape)}; put a hint_regressor between them"
        )
    return F.mse_loss(student, teacher.detach()) / 2


def learn_hints(
    student: nn.Module,
    teacher: nn.Module,
    split: Split,
    layers: tuple[str, str],
    regressor: nn.Module,
    recipe: Recipe = TEN_EPOCHS,
) -> list[float]:
    """Return the mean loss of every epoch of stage 1; labels and answers play no part.

    Trains the student up to the guided layer and the regressor, both in place. Running
    averages of batch norm above the guided layer move, parameters there do not.

    Args:
        student: The network, trained in place.
        teacher: In evaluation mode, not changed.
        split: Inputs; the targets are not used.
        layers: Names of the guided layer and of the hint.
        regressor: Between them; see :func:`hint_regressor`.
        recipe: How long and how fast.

    Example:
        >>> import torch
        >>> split = Split(torch.rand(100, 1, 4, 4), torch.zeros(100, dtype=torch.long))
        >>> nets = [nn.Sequential(nn.Conv2d(1, c, 1), nn.Flatten()) for c in (2, 3)]
        >>> r = nn.Conv2d(2, 3, 1)
        >>> losses = learn_hints(nets[0], nets[1].eval(), split, ("0", "0"), r)
        >>> losses[-1] < losses[0]
        True
    """
    guided, hint = layers
    loss = each_layer(hint_loss, [regressor])
    inner = Inner(loss, [guided], [hint], beside=regressor)
    return distil_features(student, teacher, split, inner, recipe, answer=None)


def annealed_alpha(
    step: int, steps: int, weights: tuple[float, float] = (4.0, 1.0)
) -> float:
    """Return the teacher's share alpha, while lambda goes from one value to another.

    Raises ``ValueError`` if lambda is below 0 or not finite.

    Args:
        step: Number of steps done before this one.
        steps: Number of steps altogether.
        weights: lambda at the first step and at the last.

    Example:
        >>> [annealed_alpha(step, 3) for step in range(3)]
        [0.8, 0.7142857142857143, 0.5]
    """
    first, last = weights
    return alpha_of(first + (last - first) * step / max(1, steps - 1))


def distil_annealed(
    student: nn.Module,
    teacher: nn.Module,
    split: Split,
    recipe: Recipe = TEN_EPOCHS,
    *,
    temperature: float = 4.0,
    weights: tuple[float, float] = (4.0, 1.0),
) -> list[float]:
    """Return the mean loss of every epoch of stage 2, distillation with falling share.

    Raises ``ValueError`` if the teacher is in training mode.

    Args:
        student: Maps (N, ...) to logits (N, C); trained in place, as stage 1 left it.
        teacher: Maps the same inputs to logits of the same classes; in evaluation mode.
        split: Inputs and targets.
        recipe: How long and how fast.
        temperature: T, above 0.
        weights: lambda at the first step and at the last.

    Example:
        >>> import torch
        >>> split = Split(torch.eye(2).repeat(50, 1), torch.arange(2).repeat(50))
        >>> teacher, student = nn.Linear(2, 2).eval(), nn.Linear(2, 2)
        >>> len(distil_annealed(student, teacher, split))
        10
    """
    check_temperature(temperature)
    taught, done = answers(teacher, split.inputs), count()
    steps = recipe.epochs * len(split.batches(recipe.batch_size))

    def loss_of(inputs: Tensor, which: Tensor) -> Tensor:
        return kd_loss(
            student(inputs),
            taught[which],
            split.targets[which],
            temperature=temperature,
            alpha=annealed_alpha(next(done), steps, weights),
        )

    return train_student(student, numbered(split), loss_of, recipe)
