"""Training a student on images that are made while it learns, not loaded.

Papers: Chen et al., "Data-Free Learning of Student Networks", ICCV 2019,
https://arxiv.org/abs/1904.01186, algorithm 1, and Micaelli and Storkey, "Zero-shot
Knowledge Transfer via Adversarial Belief Matching", NeurIPS 2019,
https://arxiv.org/abs/1905.09768, algorithm 1. Both alternate:

    x   = G(z)                                   one batch
    G  <- G - rate * slope of its loss(x)        one step; the loss is the method's
    S  <- S - rate * slope of KL(T(x) || S(x))   ``student_steps`` steps on the same x

The student's part is :func:`effdl.train.fit`, as everywhere: :class:`Imagined` is a
pass over batches, and the generator takes its step before a batch is handed out. The
control, images of noise and no generator, is the same pass with another ``draw``.

The teacher T is in evaluation mode. A slope of the generator's loss passes *through*
it, and reaches no parameter but the generator's: T keeps its weights, its averages and
its empty gradients.

What differs: both learn by Adam, with a rate that rises and falls as a cosine. The
default rates were chosen on digit scenes; those of Micaelli and Storkey are 0.002 for
the student and 0.001 for the generator.

Before trusting it: without data nobody can choose a setting on validation data either.
Whoever reports a data-free result tuned on real images has used them.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.optim import Adam
from torch.optim.lr_scheduler import LambdaLR

from effdl.checks import check_positive
from effdl.distill.checks import check_teacher
from effdl.distill.generator import Generator
from effdl.distill.kd import soft_loss
from effdl.train import fit, warm_up_cosine

Draw = Callable[[], Tensor]
StudentLoss = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Game:
    """How long and how fast generator and student learn.

    ``ValueError`` if a number is out of range.

    Attributes:
        epochs: Passes; a pass is only what a mean loss is reported for.
        rounds: Batches of a pass, each with one step of the generator.
        student_steps: Steps of the student on every batch.
        batch_size: Images.
        learning_rate: The student's highest.
        generator_rate: The generator's highest.
    """

    epochs: int = 10
    rounds: int = 25
    student_steps: int = 10
    batch_size: int = 100
    learning_rate: float = 0.02
    generator_rate: float = 0.002

    def __post_init__(self) -> None:
        check_positive(epochs=self.epochs, rounds=self.rounds)
        check_positive(student_steps=self.student_steps, batch_size=self.batch_size)
        if not (self.learning_rate > 0 and self.generator_rate > 0):  # nan is not
            raise ValueError(
                "learning_rate and generator_rate must be above 0, "
                f"got {self.learning_rate} and {self.generator_rate}"
            )


SMALL_GAME = Game()


class Imagined:
    """Passes over batches that are drawn, with the teacher's logits as targets.

    Args:
        draw: Returns a batch of images, (n, ...).
        teacher: Maps them to logits; in evaluation mode.
        game: Has the lengths.

    Example:
        >>> game = Game(rounds=2, student_steps=3)
        >>> batches = Imagined(lambda: torch.randn(4, 2), nn.Identity().eval(), game)
        >>> len(batches), len(list(batches))
        (6, 6)
    """

    def __init__(self, draw: Draw, teacher: nn.Module, game: Game) -> None:
        check_teacher(teacher)
        self.draw, self.teacher, self.game = draw, teacher, game

    def __len__(self) -> int:
        return self.game.rounds * self.game.student_steps

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for _ in range(self.game.rounds):
            images = self.draw()
            with torch.no_grad():
                logits = self.teacher(images)
            for _ in range(self.game.student_steps):
                yield images, logits


def learning_draw(
    generator: Generator, loss_of: Callable[[Tensor], Tensor], game: Game
) -> Draw:
    """Return a draw that lets the generator take a step with every batch.

    Args:
        generator: Put into training mode; changed by every draw.
        loss_of: Maps its images, with their gradient, to a scalar to make small.
        game: Has the lengths and the rate.

    Example:
        >>> generator = Generator(4, width=2)
        >>> before = generator.to_image.weight.clone()
        >>> draw = learning_draw(generator, lambda images: images.std(), Game())
        >>> images = draw()
        >>> images.requires_grad, torch.equal(before, generator.to_image.weight)
        (False, False)
    """
    weights = list(generator.parameters())
    adam = Adam(weights, game.generator_rate)
    steps = game.epochs * game.rounds
    schedule = LambdaLR(adam, lambda step: warm_up_cosine(step, steps))

    def draw() -> Tensor:
        generator.train()
        images = generator(generator.noise(game.batch_size))
        adam.zero_grad()
        loss_of(images).backward(inputs=weights)  # and nobody else's gradients
        adam.step()
        schedule.step()
        return images.detach()

    return draw


def learn_imagined(
    student: nn.Module, imagined: Imagined, loss_of: StudentLoss | None = None
) -> list[float]:
    """Return the mean loss of every pass of training ``student`` in place.

    Args:
        student: Put into training mode.
        imagined: What it learns from.
        loss_of: Maps images and the teacher's logits to a scalar; None for KL to the
            teacher at temperature 1.

    Example:
        >>> teacher, student = nn.Linear(2, 2).eval(), nn.Linear(2, 2)
        >>> game = Game(epochs=2, rounds=10, learning_rate=0.1)
        >>> noise = Imagined(lambda: torch.randn(50, 2), teacher, game)
        >>> losses = learn_imagined(student, noise)
        >>> losses[-1] < losses[0]
        True
    """
    game = imagined.game
    steps = game.epochs * len(imagined)
    adam = Adam(student.parameters(), game.learning_rate)
    schedule = LambdaLR(adam, lambda step: warm_up_cosine(step, steps))

    def plain(images: Tensor, logits: Tensor) -> Tensor:
        return soft_loss(student(images), logits, 1.0)

    return fit(
        student,
        loss_of or plain,
        imagined,
        adam,
        epochs=game.epochs,
        after_step=schedule.step,
    )
