"""MiR: mimic the last features on few images, then put the teacher's head on.

Paper: Wang et al., "Compressing Models with Few Samples: Mimicking then Replacing",
CVPR 2022, https://arxiv.org/abs/2201.02620.

A classifier is a body f and a head h. The pruned student's body learns to put out what
the teacher's does, on a few images without labels,

    loss  =  mean of (f_s(x) - f_t(x))^2            the head plays no part

and afterwards the teacher's head takes the place of the student's. No block in between
is aligned, so inside nothing has to have the teacher's sizes. A linear head passes
on what is left of the error, and no more:

    ||h(f_s(x)) - h(f_t(x))||  <=  ||W_h|| ||f_s(x) - f_t(x)||      ||W_h|| spectral

What differs: we could read the abstract and outlines, not the program. The features
are taken before the mean over all pixels, which the paper found better than behind it.
The training is that of all our chapters.

Before trusting it: the student must have as many last channels as the teacher, so the
last layer of the body cannot lose any. With few images batch norm in training mode
sees few, too; fold it first (:func:`effdl.quant.graph.fold_batch_norm`).
"""

import copy
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from effdl.data.digits import Split
from effdl.distill.checks import check_teacher
from effdl.distill.recipe import TEN_EPOCHS, Recipe, train_student
from effdl.distill.taps import tapped
from effdl.distill.teacher import answers


def mimic_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Return the mean squared difference of features, a scalar.

    Args:
        student: Features (N, ...).
        teacher: Features of the same inputs, of the same shape. They take no gradient.

    Raises:
        ValueError: If the shapes differ.

    Example:
        >>> mimic_loss(torch.tensor([[1.0, 2.0]]), torch.tensor([[1.0, 4.0]]))
        tensor(2.)
    """
    if student.shape != teacher.shape:
        raise ValueError(
            f"student has features {tuple(student.shape)} and teacher "
            f"{tuple(teacher.shape)}; leave the last channels of the body in place"
        )
    return F.mse_loss(student, teacher.detach())


def mimic(
    student: nn.Module,
    teacher: nn.Module,
    inputs: Tensor,
    layer: str,
    recipe: Recipe = TEN_EPOCHS,
) -> list[float]:
    """Return the mean loss of every epoch of mimicking the teacher's features.

    What follows the layer learns nothing. Raises ``ValueError`` if the teacher is in
    training mode, a network has no layer of that name, or as :func:`mimic_loss`.

    Args:
        student: Trained in place.
        teacher: In eval mode; left as it is.
        inputs: The few images, (N, ...); no labels.
        layer: The last of the body, in both networks.
        recipe: How long and how fast.

    Example:
        >>> teacher = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1)).eval()
        >>> student = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
        >>> losses = mimic(student, teacher, torch.eye(2), "0")
        >>> losses[-1] < losses[0]
        True
    """
    check_teacher(teacher)
    wanted = answers(_Body(teacher, layer).eval(), inputs)
    body, numbers = _Body(student, layer), Split(inputs, torch.arange(len(inputs)))

    def loss_of(batch: Tensor, which: Tensor) -> Tensor:
        return mimic_loss(body(batch), wanted[which])

    return train_student(student, numbers, loss_of, recipe)


def with_head(student: nn.Module, teacher: nn.Module, head: Sequence[str]) -> nn.Module:
    """Return a copy of the student with copies of the teacher's layers in its head.

    Args:
        student: Left as it is.
        teacher: Left as it is.
        head: Names of the layers to replace, in both networks.

    Raises:
        ValueError: If one of the networks has no layer of a name.

    Example:
        >>> student, teacher = nn.Sequential(nn.Linear(2, 1)), nn.Sequential(nn.Tanh())
        >>> with_head(student, teacher, ["0"])
        Sequential(
          (0): Tanh()
        )
    """
    composed = copy.deepcopy(student)
    for name in head:
        for model in (composed, teacher):
            if not name or name not in dict(model.named_modules()):
                known = [key for key, _ in model.named_modules() if key]
                raise ValueError(
                    f"head has {name!r}, which is no layer of both networks; "
                    f"one has {known}"
                )
        composed.set_submodule(name, copy.deepcopy(teacher.get_submodule(name)))
    return composed


def mir(
    student: nn.Module,
    teacher: nn.Module,
    inputs: Tensor,
    recipe: Recipe = TEN_EPOCHS,
    *,
    layer: str,
    head: Sequence[str],
) -> nn.Module:
    """Return a new network, in eval mode: the student's trained body, teacher's head.

    Raises ``ValueError`` as :func:`mimic` and :func:`with_head` do.

    Args:
        student: Pruned; left as it is.
        teacher: In eval mode; left as it is.
        inputs: The few images, (N, ...); no labels.
        recipe: How long and how fast.
        layer: The last of the body, in both networks.
        head: The layers with weights behind it.

    Example:
        >>> teacher = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1)).eval()
        >>> student = copy.deepcopy(teacher)
        >>> net = mir(student, teacher, torch.eye(2), layer="0", head=["1"])
        >>> torch.equal(net[1].weight, teacher[1].weight)
        True
    """
    body = copy.deepcopy(student)
    mimic(body, teacher, inputs, layer, recipe)
    return with_head(body, teacher, head).eval()


class _Body(nn.Module):
    """A network that puts out what one of its layers does."""

    def __init__(self, model: nn.Module, layer: str) -> None:
        super().__init__()
        self.model, self.layer = model, layer

    def forward(self, x: Tensor) -> Tensor:
        with tapped(self.model, [self.layer]) as taps:
            self.model(x)
            return taps[self.layer]
