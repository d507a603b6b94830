"""A discriminator that tells the teacher's logits from the student's.

Paper: Xu et al., "Training Shallow and Thin Networks for Acceleration via Knowledge
Distillation with Conditional Adversarial Networks", 2017,
https://arxiv.org/abs/1709.00513.

No image is generated here: the student is the generator, and what it makes are logits.
The data are real. A discriminator d reads a vector of logits z and says how likely it
is the teacher's. With t the teacher's logits and s the student's:

    L(d)        = - mean of log d(t)  -  mean of log (1 - d(s))
    L(student)  = CE(s, label) + |s - t| / C  - share * mean of log d(s)

so d learns which features of logits still give the student away, in place of a loss
that somebody chose. For distributions P of t and Q of s the best d is P / (P + Q), and

    L(best d)   = 2 log 2 - 2 JS(P, Q)

with the Jensen-Shannon divergence JS: 2 log 2 and d = 1/2 where P = Q. This is the
identity of every GAN.

"Conditional": d also says which class the input has, from the logits of either, and
both d and the student are rewarded for a right answer, by ``label_share``.

What differs: only the abstract of the paper was at hand, so sizes, weights and the
form of the conditioning are ours.

Before trusting it: three weights, and two networks that learn against each other.
Without the L1 term it is enough that logits *look* like the teacher's, for whatever
input. A plain distillation loss is the control.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Adam

from effdl.checks import check_positive
from effdl.data.digits import Split
from effdl.distill.checks import check_logits, check_share
from effdl.distill.recipe import TEN_EPOCHS, Recipe, train_student
from effdl.distill.teacher import answers, numbered


class LogitDiscriminator(nn.Module):
    """Reads logits (N, C); says whose they are, and which class the input has.

    Args:
        classes: C.
        hidden: Units of both hidden layers.

    Example:
        >>> whose, which = LogitDiscriminator(10)(torch.zeros(4, 10))
        >>> whose.shape, which.shape
        (torch.Size([4]), torch.Size([4, 10]))
    """

    def __init__(self, classes: int, hidden: int = 64) -> None:
        super().__init__()
        check_positive(classes=classes, hidden=hidden)
        self.body = nn.Sequential(
            nn.Linear(classes, hidden),
            nn.LeakyReLU(0.2),
            nn.Linear(hidden, hidden),
            nn.LeakyReLU(0.2),
        )
        self.whose = nn.Linear(hidden, 1)
        self.which = nn.Linear(hidden, classes)

    def forward(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logit of "the teacher's", (N,), and logits of classes, (N, C)."""
        x = self.body(logits)
        return self.whose(x)[:, 0], self.which(x)


def discriminator_loss(teachers: Tensor, students: Tensor) -> Tensor:
    """Return L(d), a scalar.

    Args:
        teachers: Its logits of "the teacher's" for logits of the teacher, (N,).
        students: The same for logits of the student, (M,).

    Example:
        >>> blind = torch.zeros(4)
        >>> round(discriminator_loss(blind, blind).item(), 4)  # 2 log 2
        1.3863
    """
    return F.softplus(-teachers).mean() + F.softplus(students).mean()


def best_discriminator(p: Tensor, q: Tensor) -> tuple[Tensor, float]:
    """Return the best d for two discrete distributions, and its loss.

    Args:
        p: Probabilities of the teacher's outputs, (K,).
        q: Of the student's, (K,). Where both are 0, d is 1/2: nobody asks.

    Returns:
        d, (K,), and 2 log 2 - 2 JS(P, Q).

    Example:
        >>> same = torch.tensor([0.5, 0.5])
        >>> d, loss = best_discriminator(same, same)
        >>> d.tolist(), round(loss, 4)
        ([0.5, 0.5], 1.3863)
    """
    both = p + q
    d = torch.where(both > 0, p / both, 0.5)
    return d, float(-(torch.xlogy(p, d) + torch.xlogy(q, 1 - d)).sum())


def distil_adversarially(
    student: nn.Module,
    teacher: nn.Module,
    split: Split,
    discriminator: LogitDiscriminator,
    recipe: Recipe = TEN_EPOCHS,
    *,
    share: float = 0.1,
    label_share: float = 0.1,
    rate: float = 1e-3,
) -> list[float]:
    """Return the student's mean loss of every epoch; trains it and the discriminator.

    The teacher answers once about every input, and stays exactly as it is.
    Raises ``ValueError`` if it is in training mode.

    Args:
        student: Maps (N, ...) to logits (N, C); trained in place.
        teacher: Maps the same inputs to logits of the same classes; evaluation mode.
        split: Inputs and targets.
        discriminator: Of C classes; trained in place, a step before each of the
            student's.
        recipe: How long and how fast the student learns.
        share: Weight of the adversarial term, 0 to 1.
        label_share: Weight of what the discriminator says about the class, 0 to 1.
        rate: The discriminator's, by Adam.

    Example:
        >>> split = Split(torch.eye(2).repeat(50, 1), torch.arange(2).repeat(50))
        >>> teacher, student = nn.Linear(2, 2).eval(), nn.Linear(2, 2)
        >>> judge = LogitDiscriminator(2, hidden=4)
        >>> losses = distil_adversarially(student, teacher, split, judge)
        >>> losses[-1] < losses[0]
        True
    """
    check_share(share=share, label_share=label_share)
    taught = answers(teacher, split.inputs)
    weights = list(discriminator.parameters())
    adam = Adam(weights, rate)

    def judge(t: Tensor, s: Tensor, targets: Tensor) -> None:
        (whose_t, which_t), (whose_s, which_s) = discriminator(t), discriminator(s)
        named = F.cross_entropy(which_t, targets) + F.cross_entropy(which_s, targets)
        adam.zero_grad()
        (discriminator_loss(whose_t, whose_s) + label_share * named).backward()
        adam.step()

    def loss_of(inputs: Tensor, which: Tensor) -> Tensor:
        s, t, targets = student(inputs), taught[which], split.targets[which]
        check_logits(s, t)
        judge(t, s.detach(), targets)
        whose, named = discriminator(s)
        fooled = F.softplus(-whose).mean()  # - log d(s)
        right = F.cross_entropy(named, targets)
        loss = F.cross_entropy(s, targets) + F.l1_loss(s, t)
        return loss + share * fooled + label_share * right

    return train_student(student, numbered(split), loss_of, recipe)
