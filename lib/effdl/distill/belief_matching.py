"""Adversarial belief matching: images on which student and teacher still disagree.

Papers: Micaelli and Storkey, "Zero-shot Knowledge Transfer via Adversarial Belief
Matching", NeurIPS 2019, https://arxiv.org/abs/1905.09768, and Fang et al., "Data-Free
Adversarial Distillation", 2019, https://arxiv.org/abs/1912.11006 (DFAD).

One number, two players. With teacher T, student S and images x = G(z):

    D(x)        = KL(T(x) || S(x))     or, in DFAD, the mean of |T(x) - S(x)| of logits
    generator   one step up D          find where they differ
    student     ten steps down D       and stop differing there

Where S = T everywhere, D has its minimum 0, its slope is 0, and the generator stands
still. DFAD takes L1 because the slope of KL along logits fades as p gets near one-hot,
and that of L1 does not.

How alike the two are *between* classes is measured by transition curves: from an image
both call i, walk K steps down the cross-entropy of S to class j, and watch both p_j.

    x <- x - rate * slope of CE(S(x), j)
    MTE = mean over images, classes j, steps of |p_j of S - p_j of T|

the mean transition error.

What differs: the authors add attention transfer, 250 times, to a KL that their program
also divides by the classes; here it comes in as ``beside`` if wanted. They clip
gradients to a norm of 5, make images anew with the same z after the generator's step,
and DFAD draws new images for each of the student's steps; here a round is one batch.

Before trusting it: the generator wins easily. It finds images far from any data, and a
small student has to spend its capacity there.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from effdl.checks import check_positive
from effdl.distill.checks import check_logits, check_teacher
from effdl.distill.generator import Generator
from effdl.distill.imagined import (
    SMALL_GAME,
    Game,
    Imagined,
    learn_imagined,
    learning_draw,
)
from effdl.measure.probe import evaluating

Divergence = Callable[[Tensor, Tensor], Tensor]


def belief_divergence(student: Tensor, teacher: Tensor) -> Tensor:
    """Return KL(p || q), the mean over inputs, with a gradient to both.

    Args:
        student: Logits (N, C), of q.
        teacher: Logits (N, C), of p.

    Example:
        >>> logits = torch.tensor([[1.0, 0.0]])
        >>> belief_divergence(logits, logits).item()
        0.0
    """
    check_logits(student, teacher)
    q, p = student.log_softmax(dim=1), teacher.log_softmax(dim=1)
    return F.kl_div(q, p, reduction="batchmean", log_target=True)


def logit_distance(student: Tensor, teacher: Tensor) -> Tensor:
    """Return the mean of |s - t| over inputs and classes: the divergence of DFAD.

    Args:
        student: Logits s, (N, C).
        teacher: Logits t, (N, C).

    Example:
        >>> logit_distance(torch.zeros(2, 3), torch.ones(2, 3)).item()
        1.0
    """
    check_logits(student, teacher)
    return F.l1_loss(student, teacher)


def match_beliefs(
    student: nn.Module,
    teacher: nn.Module,
    generator: Generator,
    game: Game = SMALL_GAME,
    *,
    divergence: Divergence = belief_divergence,
    beside: Callable[[Tensor], Tensor] | None = None,
) -> list[float]:
    """Return the student's mean loss of every pass; trains it and the generator.

    No image is needed. Raises ``ValueError`` if the teacher is in training mode.

    Args:
        student: Maps (N, ...) to logits (N, C); trained in place.
        teacher: Maps the same inputs to logits; in evaluation mode, and not changed.
        generator: Of images of that shape; trained in place.
        game: How long and how fast.
        divergence: Maps logits of student and teacher to a scalar of at least 0.
        beside: Maps images to a scalar that is added to the student's loss only.

    Example:
        >>> from effdl.blocks import plain_net
        >>> teacher, student = plain_net(2).eval(), plain_net(1)
        >>> game = Game(epochs=2, rounds=1, student_steps=2, batch_size=8)
        >>> len(match_beliefs(student, teacher, Generator(4, width=2), game))
        2
    """
    check_teacher(teacher)

    def disagreement(images: Tensor) -> Tensor:
        return -divergence(student(images), teacher(images))

    def loss_of(images: Tensor, logits: Tensor) -> Tensor:
        loss = divergence(student(images), logits)
        return loss if beside is None else loss + beside(images)

    imagined = Imagined(learning_draw(generator, disagreement, game), teacher, game)
    return learn_imagined(student, imagined, loss_of)


def transition_curves(
    student: nn.Module,
    teacher: nn.Module,
    images: Tensor,
    *,
    steps: int = 30,
    rate: float = 1.0,
) -> tuple[Tensor, Tensor]:
    """Return p_j of student and teacher on the way to every other class j.

    Only images that both put into the same class are used; the walk follows the
    student's slope. Both networks are in evaluation mode meanwhile, and not changed.

    Args:
        student: Maps images to logits (N, C).
        teacher: Maps the same images to logits of the same classes.
        images: (N, ...).
        steps: K; the first is the image itself.
        rate: Of a step.

    Returns:
        Two tensors (M, C - 1, K), M the number of images used.

    Raises:
        ValueError: If the two agree on no image.

    Example:
        >>> net = nn.Linear(2, 3)
        >>> curves, same = transition_curves(net, net, torch.randn(4, 2), steps=5)
        >>> curves.shape, torch.equal(curves, same)
        (torch.Size([4, 2, 5]), True)
    """
    check_positive(steps=steps)
    with evaluating(student), evaluating(teacher):
        with torch.no_grad():
            found, wanted = student(images), teacher(images)
        check_logits(found, wanted)
        same = found.argmax(dim=1) == wanted.argmax(dim=1)
        if not same.any():
            raise ValueError("student and teacher agree on no image; give others")
        others = found.shape[1] - 1
        start = found.argmax(dim=1)[same].repeat_interleave(others)
        ahead = torch.arange(1, others + 1).repeat(int(same.sum()))
        classes = ((start + ahead) % (others + 1))[:, None]  # (M (C - 1), 1)
        x = images[same].repeat_interleave(others, dim=0)
        pairs = []
        for _ in range(steps):
            x = x.detach().requires_grad_()
            logits = student(x)
            with torch.no_grad():
                both = (logits.softmax(dim=1), teacher(x).softmax(dim=1))
            pairs.append([p.gather(1, classes)[:, 0].view(-1, others) for p in both])
            loss = F.cross_entropy(logits, classes[:, 0], reduction="sum")
            x = x - rate * torch.autograd.grad(loss, x)[0]
    curves, theirs = (torch.stack(list(p), dim=2) for p in zip(*pairs, strict=True))
    return curves, theirs


def transition_error(student: Tensor, teacher: Tensor) -> float:
    """Return the mean transition error, 0 to 1.

    Args:
        student: Its curves, from :func:`transition_curves`.
        teacher: The other's.

    Example:
        >>> transition_error(torch.zeros(1, 2, 3), torch.full((1, 2, 3), 0.25))
        0.25
    """
    return float((student - teacher).abs().mean())
