"""Stopping early: the teacher before it is finished, or the teaching before the end.

Paper: Cho and Hariharan, "On the Efficacy of Knowledge Distillation", ICCV 2019,
https://arxiv.org/abs/1910.01348.

A large teacher can be beyond what a small student is able to imitate. Two remedies:

    the teacher     trained for fewer epochs, so that it does less that is beyond reach
    the teaching    loss = (1 - alpha) CE + alpha T^2 KL    in the first epochs
                    loss = CE                               in the others

Both are only about *when*: the losses are those of :mod:`effdl.distill.kd`.

What differs: the paper's teachers run through a whole schedule that is shorter. So does
ours if it is trained with fewer epochs, which needs nothing new. Here the teachers are
snapshots of one long training: that costs one training for any number of them, but a
snapshot is taken at a high learning rate and is noisier.

Before trusting it: the epoch to stop at is one more setting. Chosen on the data that is
reported, some epoch always looks better than the last.
"""

import copy
from collections.abc import Sequence
from itertools import count

from torch import Tensor, nn

from effdl.data.digits import Split
from effdl.distill.checks import check_share, check_temperature
from effdl.distill.kd import kd_loss
from effdl.distill.recipe import TEN_EPOCHS, Recipe, train_student
from effdl.distill.teacher import answers, numbered
from effdl.train import train_classifier


def snapshots(
    network: nn.Module,
    split: Split,
    epochs: Sequence[int],
    recipe: Recipe = TEN_EPOCHS,
) -> dict[int, nn.Module]:
    """Return copies of a network in the state after some epochs of its training.

    Exactly :func:`effdl.train.train_classifier` with the settings of the recipe.
    Raises ``ValueError`` if an epoch is out of range.

    Args:
        network: Maps (N, ...) to logits (N, C); trained in place, to the end.
        split: Inputs and targets.
        epochs: After how many, each 1 to ``recipe.epochs``.
        recipe: How long and how fast.

    Returns:
        From epoch to network, in evaluation mode, in the order of time.

    Example:
        >>> import torch
        >>> split = Split(torch.eye(2).repeat(50, 1), torch.arange(2).repeat(50))
        >>> kept = snapshots(nn.Linear(2, 2), split, [10, 2])
        >>> [*kept], kept[2].training
        ([2, 10], False)
    """
    for epoch in epochs:
        _check_epoch("epochs", epoch, 1, recipe)
    steps, kept = count(1), {}
    per_epoch = len(split.batches(recipe.batch_size))

    def keep() -> None:
        epoch, rest = divmod(next(steps), per_epoch)
        if not rest and epoch in epochs:
            kept[epoch] = copy.deepcopy(network).eval()

    train_classifier(
        network,
        split,
        epochs=recipe.epochs,
        learning_rate=recipe.learning_rate,
        batch_size=recipe.batch_size,
        weight_decay=recipe.weight_decay,
        seed=recipe.seed,
        after_step=keep,
    )
    return kept


def distil_at_first(
    student: nn.Module,
    teacher: nn.Module,
    split: Split,
    recipe: Recipe = TEN_EPOCHS,
    *,
    taught_epochs: int,
    temperature: float = 4.0,
    alpha: float = 0.9,
) -> list[float]:
    """Return the mean loss of every epoch; in the later ones there is no teacher.

    The learning rate goes on as if nothing had happened. With 0 taught epochs this is
    plain training, with all of them :func:`effdl.distill.kd.distil`. The teacher stays
    exactly as it is. Raises ``ValueError`` if it is in training mode, or
    ``taught_epochs`` is not from 0 to the epochs of the recipe.

    Args:
        student: Maps (N, ...) to logits (N, C); trained in place.
        teacher: Maps the same inputs to logits of the same classes; in evaluation mode.
        split: Inputs and targets.
        recipe: How long and how fast, altogether.
        taught_epochs: How many of the epochs have the teacher.
        temperature: T, above 0.
        alpha: The teacher's share while there is one, 0 to 1.

    Example:
        >>> import torch
        >>> split = Split(torch.eye(2).repeat(50, 1), torch.arange(2).repeat(50))
        >>> teacher, student = nn.Linear(2, 2).eval(), nn.Linear(2, 2)
        >>> len(distil_at_first(student, teacher, split, taught_epochs=4))
        10
    """
    _check_epoch("taught_epochs", taught_epochs, 0, recipe)
    check_share(alpha=alpha)
    check_temperature(temperature)
    taught, steps = answers(teacher, split.inputs), count()
    last = taught_epochs * len(split.batches(recipe.batch_size))

    def loss_of(inputs: Tensor, which: Tensor) -> Tensor:
        return kd_loss(
            student(inputs),
            taught[which],
            split.targets[which],
            temperature=temperature,
            alpha=alpha if next(steps) < last else 0.0,
        )

    return train_student(student, numbered(split), loss_of, recipe)


def _check_epoch(name: str, epoch: int, least: int, recipe: Recipe) -> None:
    """Require an epoch that the recipe has.

    Raises:
        ValueError: If it has not.
    """
    if not least <= epoch <= recipe.epochs:
        raise ValueError(
            f"{name} must be from {least} to {recipe.epochs}, the epochs of the "
            f"recipe, got {epoch}"
        )
