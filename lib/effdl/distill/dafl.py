"""DAFL: a generator learns to make what the teacher takes for its training data.

Paper: Chen et al., "Data-Free Learning of Student Networks", ICCV 2019,
https://arxiv.org/abs/1904.01186, section 3. The teacher T is what a discriminator is
in a GAN, but it is finished and never changes. For a batch of images x = G(z), with
logits T(x), features f(x) before the last layer, and p = softmax(T(x)):

    one-hot       mean of CE(p, argmax p)                  a class each
    activation    - mean of |f(x)|_1                       strong features
    balance       sum over classes of m log m              all classes alike
                  m = mean of p over the batch
    L(G)          = one-hot + 0.1 activation + 5 balance

The balance is minus the entropy of m: at least -log C, where all C classes are equally
likely in the mean, and at most 0, where all images are of one class. The one-hot term
falls to 0 as the teacher gets certain. Nothing is said about how an image looks.

The student learns beside it, from the same images, by the KL to the teacher.

What differs: natural logarithms (the authors' program has base 10, so 5 there is 2.2
here), and the norm of f as the paper writes it (the program has the mean over features
in place of the sum). The defaults are the paper's weights for MNIST. And the student
takes several steps per batch, the authors' one: a generator's step is the dearer one.

Before trusting it: the activation has no lower bound. Only the batch norm at the end
of the generator keeps it from winning. Noise without any generator is the control.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from effdl.checks import check_positive
from effdl.distill.checks import check_teacher
from effdl.distill.generator import Generator
from effdl.distill.imagined import (
    SMALL_GAME,
    Game,
    Imagined,
    learn_imagined,
    learning_draw,
)
from effdl.distill.taps import tapped


def one_hot_loss(logits: Tensor) -> Tensor:
    """Return the cross-entropy to the likeliest class, a scalar.

    Args:
        logits: The teacher's, (N, C).

    Example:
        >>> import torch
        >>> round(one_hot_loss(torch.zeros(3, 2)).item(), 4)  # the log of 2
        0.6931
    """
    return F.cross_entropy(logits, logits.argmax(dim=1))


def activation_loss(features: Tensor) -> Tensor:
    """Return minus the mean of the L1 norm of a sample's features, a scalar.

    Args:
        features: (N, ...).

    Example:
        >>> import torch
        >>> activation_loss(torch.tensor([[1.0, -2.0], [0.0, 1.0]])).item()
        -2.0
    """
    return -features.flatten(1).abs().sum(dim=1).mean()


def balance_loss(logits: Tensor) -> Tensor:
    """Return minus the entropy of the mean prediction, from -log C to 0, a scalar.

    Args:
        logits: The teacher's, (N, C).

    Example:
        >>> import torch
        >>> sure = 1000 * torch.eye(2)
        >>> round(balance_loss(sure).item(), 4), balance_loss(sure[:1]).item()
        (-0.6931, 0.0)
    """
    mean = logits.softmax(dim=1).mean(dim=0)
    return mean.xlogy(mean).sum()


def dafl_loss(
    logits: Tensor, features: Tensor, *, activation: float = 0.1, balance: float = 5.0
) -> Tensor:
    """Return the loss of the generator, a scalar.

    Args:
        logits: The teacher's, (N, C).
        features: Its features of the same images, (N, ...).
        activation: Weight of the activation loss.
        balance: Weight of the balance loss.

    Raises:
        ValueError: If there are no images, or a weight is below 0.

    Example:
        >>> import torch
        >>> loss = dafl_loss(1000 * torch.eye(2), torch.ones(2, 3), balance=0)
        >>> round(loss.item(), 4)
        -0.3
    """
    check_positive(images=len(logits))
    if not (activation >= 0 and balance >= 0):  # nan is not
        raise ValueError(
            f"activation and balance must be at least 0, got {activation} and {balance}"
        )
    return (
        one_hot_loss(logits)
        + activation * activation_loss(features)
        + balance * balance_loss(logits)
    )


def dafl(
    student: nn.Module,
    teacher: nn.Module,
    generator: Generator,
    features: str,
    game: Game = SMALL_GAME,
    *,
    activation: float = 0.1,
    balance: float = 5.0,
) -> list[float]:
    """Return the student's mean loss of every pass; trains it and the generator.

    No image is needed. Raises ``ValueError`` if the teacher is in training mode or has
    no layer of that name.

    Args:
        student: Maps (N, ...) to logits (N, C); trained in place.
        teacher: Maps the same inputs to logits; in evaluation mode, and not changed.
        generator: Of images of that shape; trained in place.
        features: Name of the teacher's layer whose outputs are to be strong.
        game: How long and how fast.
        activation: Weight of the activation loss.
        balance: Weight of the balance loss.

    Example:
        >>> from effdl.blocks import plain_net
        >>> teacher, student = plain_net(2).eval(), plain_net(1)
        >>> game = Game(epochs=2, rounds=1, batch_size=8)
        >>> len(dafl(student, teacher, Generator(4, width=2), "6", game))
        2
    """
    check_teacher(teacher)

    def loss_of(images: Tensor) -> Tensor:
        logits = teacher(images)
        return dafl_loss(logits, taps[features], activation=activation, balance=balance)

    with tapped(teacher, [features]) as taps:
        imagined = Imagined(learning_draw(generator, loss_of, game), teacher, game)
        return learn_imagined(student, imagined)
