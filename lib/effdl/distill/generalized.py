"""Generalized distillation: the teacher sees what the student will never get.

Paper: Lopez-Paz et al., "Unifying distillation and privileged information", ICLR 2016,
https://arxiv.org/abs/1511.03643, section 4.

Every training example has ordinary features x, privileged features x*, and a label y.
x* is there while we train and never again: a report that was written after the scan,
the frames that came later, what a customer did after the click. In three steps,

    1   train a teacher f_t on (x*, y)
    2   ask it about the training data:  s_i = softmax(f_t(x*_i) / T)
    3   train a student f_s on x only:
        loss = mean_i  (1 - lambda) CE(y_i, softmax(f_s(x_i)))
                          + lambda  CE(s_i, softmax(f_s(x_i)))

lambda is called the imitation. With lambda = 0 the teacher is left out. With x* = x
and T = 1 the slopes are those of Hinton's distillation (:mod:`effdl.distill.kd`) with
alpha = lambda.

What differs: nothing in the loss as the paper prints it. It is not Hinton's for other
temperatures: the student is not softened, and there is no factor T^2. (The authors'
program does not soften the student either, but multiplies the second term by T^2.)

Before trusting it: x* must say something about how y depends on x. Cleaner labels and
the choice of relevant features do; cleaner inputs do next to nothing, however much
better the teacher becomes by them. See :mod:`effdl.distill.privileged_tasks`.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from effdl.data.digits import Split
from effdl.distill.checks import check_logits, check_share
from effdl.distill.kd import softened
from effdl.distill.recipe import TEN_EPOCHS, Recipe, train_student
from effdl.distill.teacher import answers, numbered


def generalized_loss(
    student: Tensor, soft: Tensor, targets: Tensor, *, imitation: float = 1.0
) -> Tensor:
    """Return (1 - lambda) CE(y) + lambda CE(s), the mean over inputs, a scalar.

    Args:
        student: Logits of the student on x, (N, C).
        soft: Probabilities s of the teacher on x*, (N, C). They take no gradient.
        targets: Class indices y, (N,).
        imitation: lambda, 0 to 1; 0 is plain training.

    Example:
        >>> import torch
        >>> logits = torch.zeros(1, 2)
        >>> soft = torch.tensor([[0.9, 0.1]])
        >>> round(float(generalized_loss(logits, soft, torch.tensor([0]))), 4)
        0.6931
    """
    check_share(imitation=imitation)
    check_logits(student, soft)
    hard = F.cross_entropy(student, targets)
    return (1 - imitation) * hard + imitation * F.cross_entropy(student, soft.detach())


def distil_privileged(
    student: nn.Module,
    teacher: nn.Module,
    split: Split,
    privileged: Tensor,
    recipe: Recipe = TEN_EPOCHS,
    *,
    temperature: float = 1.0,
    imitation: float = 1.0,
) -> list[float]:
    """Return the mean loss of every epoch of step 3, after doing step 2.

    The teacher answers once about every x*, and stays exactly as it is. The student is
    called with x alone, so it can be used where there is no x*. Raises ``ValueError``
    if the teacher is in training mode.

    Args:
        student: Maps x (N, ...) to logits (N, C); trained in place.
        teacher: Maps x* (N, ...) to logits of the same classes; finished, in
            evaluation mode.
        split: Inputs x and targets y.
        privileged: x*, one for each input.
        recipe: How long and how fast.
        temperature: T of the teacher's answers, above 0.
        imitation: lambda, 0 to 1.

    Raises:
        ValueError: If there are not as many x* as inputs.

    Example:
        >>> import torch
        >>> x = torch.eye(2).repeat(50, 1)
        >>> split = Split(x, torch.arange(2).repeat(50))
        >>> teacher, student = nn.Linear(1, 2).eval(), nn.Linear(2, 2)
        >>> losses = distil_privileged(student, teacher, split, x[:, :1])
        >>> losses[-1] < losses[0]
        True
    """
    check_share(imitation=imitation)
    if len(privileged) != len(split):
        raise ValueError(
            f"privileged has {len(privileged)} rows and split {len(split)}; "
            "give one x* for every input"
        )
    soft = softened(answers(teacher, privileged), temperature)

    def loss_of(inputs: Tensor, which: Tensor) -> Tensor:
        return generalized_loss(
            student(inputs), soft[which], split.targets[which], imitation=imitation
        )

    return train_student(student, numbered(split), loss_of, recipe)
