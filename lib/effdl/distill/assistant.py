"""Teacher assistants: a chain of networks, each taught by the one before.

Paper: Mirzadeh et al., "Improved Knowledge Distillation via Teacher Assistant", AAAI
2020, https://arxiv.org/abs/1902.03393.

A student that is far smaller than its teacher can learn less from it than from a
smaller teacher. So a network of medium size learns from the teacher first, and then
teaches the student:

    T -> S                  plain distillation
    T -> TA -> S            one assistant
    T -> TA1 -> TA2 -> S    and so on, by ever smaller networks

Every arrow is a distillation as in :mod:`effdl.distill.kd`. The paper prefers an
assistant whose accuracy, not whose size, lies half-way between that of T and that of S.
With a TA of T's own layout the chain is plain distillation from a teacher that was
distilled from itself; with a TA of S's layout it is a student born again.

An arrow costs multiply-adds: with F those of a forward pass of one input, N inputs and
E epochs,

    3 F(pupil) N E      a pass forward, two backward (inputs, weights)
    + F(teacher) N      every input is asked about once

What differs: the authors hand on the weights of the best epoch, we those of the last.

Before trusting it: a chain trains more networks than plain distillation does, so
compare at equal multiply-adds, too, not only at equal epochs of the student. And it is
disputed: Cho and Hariharan, "On the Efficacy of Knowledge Distillation", ICCV 2019,
https://arxiv.org/abs/1910.01348, find that a sequence of distillations does not help.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import nn

from effdl.data.digits import Split
from effdl.distill.kd import distil
from effdl.distill.recipe import TEN_EPOCHS, Recipe
from effdl.measure.macs import count_macs


@dataclass(frozen=True)
class Lesson:
    """What became of one arrow of a chain.

    Attributes:
        losses: The mean loss of every epoch of the pupil.
        macs: Multiply-adds of this training, the questions to the teacher included.
    """

    losses: list[float]
    macs: int


def distil_chain(
    teacher: nn.Module,
    pupils: Sequence[nn.Module],
    split: Split,
    recipe: Recipe = TEN_EPOCHS,
    *,
    temperature: float = 4.0,
    alpha: float = 0.9,
) -> list[Lesson]:
    """Return one lesson per pupil: the teacher teaches the first, it the second, ...

    The teacher stays exactly as it is. Raises ``ValueError`` if it is in training mode.

    Args:
        teacher: Maps (N, ...) to logits (N, C); in evaluation mode.
        pupils: The assistants and at last the student, all of the same classes.
            Trained in place one after the other, and left in evaluation mode.
        split: Inputs and targets, the same for all.
        recipe: How long and how fast, the same for all.
        temperature: T, above 0.
        alpha: The teacher's share, 0 to 1.

    Raises:
        ValueError: If there is no pupil, or a network stands in the chain twice.

    Example:
        >>> import torch
        >>> split = Split(torch.eye(2).repeat(50, 1), torch.arange(2).repeat(50))
        >>> assistant, student = nn.Linear(2, 2), nn.Linear(2, 2)
        >>> chain = distil_chain(nn.Linear(2, 2).eval(), [assistant, student], split)
        >>> [lesson.macs for lesson in chain]  # 3 * 4 * 100 * 10 + 4 * 100
        [12400, 12400]
    """
    if not pupils:
        raise ValueError("pupils is empty; give at least the student")
    networks = [teacher, *pupils]
    if len({id(network) for network in networks}) < len(networks):
        raise ValueError(
            "a network stands in the chain twice; give copies (copy.deepcopy), or it "
            "would change while it teaches"
        )
    lessons = []
    for teaching, pupil in zip(networks, pupils, strict=False):
        losses = distil(
            pupil, teaching, split, recipe, temperature=temperature, alpha=alpha
        )
        pupil.eval()
        asked = _forward_macs(teaching, split)
        lessons.append(Lesson(losses, training_macs(pupil, split, recipe) + asked))
    return lessons


def training_macs(network: nn.Module, split: Split, recipe: Recipe = TEN_EPOCHS) -> int:
    """Return the multiply-adds 3 F N E of a training without a teacher.

    A little too many: the first layer needs no slope along its inputs. What an
    optimiser computes is left out.

    Args:
        network: The one that is trained; comes back as it was.
        split: Inputs and targets.
        recipe: Its epochs count.

    Example:
        >>> import torch
        >>> split = Split(torch.eye(2), torch.arange(2))
        >>> training_macs(nn.Linear(2, 2), split, Recipe(epochs=5))
        120
    """
    return 3 * _forward_macs(network, split) * recipe.epochs


def half_way(accuracies: Mapping[str, float], teacher: str, student: str) -> str:
    """Return the assistant whose accuracy is nearest to the mean of the two ends.

    Args:
        accuracies: Of networks that learned without a teacher, by name; the ends are
            among them. Take those on validation data.
        teacher: Name of one end.
        student: Name of the other.

    Returns:
        A name that is neither end; of equally near ones, the first.

    Raises:
        ValueError: If there is no third network, or an end is missing.

    Example:
        >>> half_way({"S": 0.6, "A": 0.78, "B": 0.86, "T": 0.9}, "T", "S")
        'A'
    """
    missing = {teacher, student} - accuracies.keys()
    between = [name for name in accuracies if name not in (teacher, student)]
    if missing or not between:
        raise ValueError(
            f"accuracies must have {teacher!r}, {student!r} and one more, "
            f"got {[*accuracies]}"
        )
    mean = (accuracies[teacher] + accuracies[student]) / 2
    return min(between, key=lambda name: abs(accuracies[name] - mean))


def _forward_macs(network: nn.Module, split: Split) -> int:
    """Return the multiply-adds of one pass over all inputs."""
    return count_macs(network, split.inputs[:1]).total * len(split)
