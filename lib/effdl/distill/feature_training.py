"""Training with a loss on what layers inside say, beside the one on the answers.

Papers: the common form of Romero et al., "FitNets: Hints for Thin Deep Nets", ICLR
2015, https://arxiv.org/abs/1412.6550, and Zagoruyko and Komodakis, "Paying More
Attention to Attention", ICLR 2017, https://arxiv.org/abs/1612.03928.

    loss = answer(s, t, label) + weight * inner([A_S, ...], [A_T, ...])

s and t are logits, A what some layers put out, student and teacher layer by layer. The
answer part is cross-entropy, or distillation, or nothing at all. The inner part is any
function of two lists of features; :func:`each_layer` makes one of a loss on a pair.

The teacher is asked once about every input, without gradient, and stays as it is. What
its layers say is kept for all inputs: the smaller the maps, the better.

Before trusting a comparison: a weight that suits one inner loss is out by powers of ten
for another. Choose each on validation data.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from effdl.checks import check_positive
from effdl.data.digits import Split
from effdl.distill.checks import check_teacher
from effdl.distill.recipe import TEN_EPOCHS, Recipe, train_student
from effdl.distill.taps import tapped
from effdl.distill.teacher import numbered

PairLoss = Callable[[Tensor, Tensor], Tensor]
InnerLoss = Callable[[Sequence[Tensor], Sequence[Tensor]], Tensor]
AnswerLoss = Callable[[Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Inner:
    """A loss on inner layers: which, how much, and what is trained with it.

    ``ValueError`` if no layer is named, or the weight is not at least 0.

    Attributes:
        loss: Maps the student's features and the teacher's to a scalar.
        student: Names of layers of the student.
        teacher: Names of layers of the teacher.
        weight: Factor of the loss.
        beside: Trained with the student and then dropped, such as regressors.

    Example:
        >>> Inner(each_layer(F.mse_loss), ["1"], ["2"], weight=0.5).weight
        0.5
    """

    loss: InnerLoss
    student: Sequence[str]
    teacher: Sequence[str]
    weight: float = 1.0
    beside: nn.Module | None = None

    def __post_init__(self) -> None:
        for name, layers in {"student": self.student, "teacher": self.teacher}.items():
            if isinstance(layers, str) or not layers:
                raise ValueError(f'{name} must be a list of layers, such as ["2"]')
        if not 0 <= self.weight < float("inf"):  # nan is neither
            raise ValueError(
                f"weight must be at least 0 and finite, got {self.weight}; "
                "0 leaves the teacher's layers out"
            )


def each_layer(loss: PairLoss, maps: Sequence[nn.Module] | None = None) -> InnerLoss:
    """Return the sum of a loss over pairs of layers.

    Args:
        loss: Maps features of a student's layer and of the teacher's to a scalar.
        maps: One module a layer that the student's features go through first.

    Example:
        >>> inner = each_layer(F.mse_loss)
        >>> ones = torch.ones(2, 3)
        >>> float(inner([ones, ones], [0 * ones, 2 * ones]))
        2.0
    """

    def inner(student: Sequence[Tensor], teacher: Sequence[Tensor]) -> Tensor:
        own = student
        if maps is not None:
            own = [m(s) for m, s in zip(maps, student, strict=True)]
        pairs = zip(own, teacher, strict=True)
        return torch.stack([loss(s, t) for s, t in pairs]).sum()

    return inner


def label_loss(student: Tensor, _teacher: Tensor, targets: Tensor) -> Tensor:
    """Return the cross-entropy of the labels: the teacher's answer is not used.

    Args:
        student: Logits, (N, C).
        targets: Class indices, (N,).

    Example:
        >>> float(label_loss(torch.zeros(1, 2), torch.zeros(1, 2), torch.tensor([0])))
        0.6931471824645996
    """
    return F.cross_entropy(student, targets)


@torch.no_grad()
def answers_and_features(
    teacher: nn.Module, inputs: Tensor, names: Sequence[str], *, batch_size: int = 500
) -> tuple[Tensor, list[Tensor]]:
    """Return the teacher's outputs and its layers' for all inputs, without gradient.

    Raises ``ValueError`` if a layer of the teacher is in training mode, a name is of
    none, there are no inputs or the batch size is below 1.

    Args:
        teacher: Maps (n, ...) to logits (n, C). In evaluation mode.
        inputs: All inputs, (N, ...).
        names: Of layers.
        batch_size: How many are asked about at once; decides on memory only.

    Returns:
        Logits (N, C), and a tensor (N, ...) for every name.

    Example:
        >>> net = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 5)).eval()
        >>> logits, (inner,) = answers_and_features(net, torch.zeros(7, 2), ["0"])
        >>> logits.shape, inner.shape
        (torch.Size([7, 5]), torch.Size([7, 3]))
    """
    check_teacher(teacher)
    check_positive(batch_size=batch_size, inputs=len(inputs))
    rows = []
    with tapped(teacher, names) as taps:
        for part in inputs.split(batch_size):
            outputs = teacher(part)
            rows.append([outputs, *(taps[name] for name in names)])
    logits, *features = (torch.cat(column) for column in zip(*rows, strict=True))
    return logits, features


def distil_features(
    student: nn.Module,
    teacher: nn.Module,
    split: Split,
    inner: Inner,
    recipe: Recipe = TEN_EPOCHS,
    *,
    answer: AnswerLoss | None = label_loss,
) -> list[float]:
    """Return the mean loss of every epoch of training with a loss on inner layers.

    Raises ``ValueError`` if the teacher is in training mode, or a name is of no layer.

    Args:
        student: Maps (N, ...) to logits (N, C); trained in place.
        teacher: Maps the same inputs to logits (N, C); in evaluation mode.
        split: Inputs and targets.
        inner: The loss on inner layers, and which.
        recipe: How long and how fast.
        answer: Of the student's logits, the teacher's and the targets, such as
            :func:`effdl.distill.kd.kd_loss`; None for the inner loss alone. Then
            parameters that the student's named layers do not depend on stay as they
            are; running averages of batch norm there move, as in any forward pass.

    Example:
        >>> split = Split(torch.eye(2).repeat(50, 1), torch.arange(2).repeat(50))
        >>> nets = [nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 2)) for _ in range(2)]
        >>> inner = Inner(each_layer(F.mse_loss), ["0"], ["0"])
        >>> losses = distil_features(nets[0], nets[1].eval(), split, inner)
        >>> losses[-1] < losses[0]
        True
    """
    taught, shown = answers_and_features(teacher, split.inputs, inner.teacher)

    with tapped(student, inner.student) as taps:

        def loss_of(inputs: Tensor, which: Tensor) -> Tensor:
            logits = student(inputs)
            own = [taps[name] for name in inner.student]
            total = inner.weight * inner.loss(own, [layer[which] for layer in shown])
            if answer is None:
                return total
            return answer(logits, taught[which], split.targets[which]) + total

        return train_student(
            student, numbered(split), loss_of, recipe, beside=inner.beside
        )
