"""The classifier's training of all chapters, with another loss.

The same steps as :func:`effdl.train.train_classifier`: the same order of the inputs,
the same optimiser, the same learning rates. So a student that had a teacher and one
that had none differ in their loss and in nothing else. Something that learns beside
the student and is dropped afterwards, such as a map from its features to the
teacher's, can come along.
"""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn
from torch.optim import SGD
from torch.optim.lr_scheduler import LambdaLR

from effdl.checks import check_positive, check_seed
from effdl.data.digits import Split
from effdl.train import fit, warm_up_cosine

Loss = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Recipe:
    """How long and how fast to train; as the arguments of ``train_classifier``.

    ``ValueError`` if a number is out of range.

    Attributes:
        epochs: Passes over the split.
        learning_rate: The highest rate, reached when a tenth of the steps is done.
        batch_size: Inputs of a step.
        weight_decay: Factor of the weights that is added to their gradient.
        seed: Decides on the order of the inputs.
    """

    epochs: int = 10
    learning_rate: float = 0.1
    batch_size: int = 100
    weight_decay: float = 5e-4
    seed: int = 0

    def __post_init__(self) -> None:
        check_positive(epochs=self.epochs, batch_size=self.batch_size)
        check_seed(self.seed)
        if not (self.learning_rate > 0 and self.weight_decay >= 0):  # nan is neither
            raise ValueError(
                "learning_rate must be above 0 and weight_decay at least 0, "
                f"got {self.learning_rate} and {self.weight_decay}"
            )


TEN_EPOCHS = Recipe()


def train_student(
    student: nn.Module,
    split: Split,
    loss_of: Loss,
    recipe: Recipe = TEN_EPOCHS,
    *,
    beside: nn.Module | None = None,
    after_step: Callable[[], None] | None = None,
) -> list[float]:
    """Return the mean loss of every epoch of training ``student`` in place.

    Args:
        student: Put into training mode; reached through ``loss_of`` only.
        split: Inputs, and what ``loss_of`` gets with them: targets, or numbers from
            :func:`effdl.distill.teacher.numbered` to look things up by.
        loss_of: Maps inputs (N, ...) and that to a scalar.
        recipe: How long and how fast.
        beside: Its parameters are trained, too. Its mode is left alone.
        after_step: Called after every step.

    Example:
        >>> import torch
        >>> from torch.nn.functional import cross_entropy
        >>> split = Split(torch.eye(2).repeat(50, 1), torch.arange(2).repeat(50))
        >>> net = nn.Linear(2, 2)
        >>> losses = train_student(net, split, lambda x, y: cross_entropy(net(x), y))
        >>> losses[0] > losses[-1]
        True
    """
    batches = split.batches(recipe.batch_size, seed=recipe.seed)
    steps = recipe.epochs * len(batches)
    parameters = [*student.parameters(), *(beside.parameters() if beside else ())]
    decay, rate = recipe.weight_decay, recipe.learning_rate
    sgd = SGD(parameters, rate, 0.9, 0, decay, nesterov=True)
    schedule = LambdaLR(sgd, lambda step: warm_up_cosine(step, steps))

    def finish_step() -> None:
        schedule.step()
        if after_step is not None:
            after_step()

    return fit(
        student, loss_of, batches, sgd, epochs=recipe.epochs, after_step=finish_step
    )
