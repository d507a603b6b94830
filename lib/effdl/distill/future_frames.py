"""Future frames as privileged information: a teacher that may look ahead.

Paper: Zhao et al., "Privileged Knowledge Distillation for Online Action Detection",
2020, https://arxiv.org/abs/2011.09158. (That the survey means this paper is likely from
its title, and not certain.)

Online detection says for every frame of a stream, at once, what is going on. While we
train, the rest of the recording is there. So a teacher may label frame t after looking
at frames t - k to t + w. The student has t - k to t, and the loss

    mean over frames of  (1 - alpha) CE(y_t, softmax(s_t)) + alpha T^2 KL(p_t || q_t)

with p_t and q_t the softened answers of teacher and student. A teacher that sees far
ahead knows what the student cannot know. So the gap is widened progressively: teachers
with windows w_1 < w_2 < ... take over from one another while the student trains.

What differs: the paper also puts auxiliary nodes into the student; they, its networks
and its videos are left out. Ours is a small convolution over time, and the streams are
drawn. In these, labels may begin and end a few frames off, as they do when people mark
a recording by hand.

Before trusting it: what only the future decides cannot be known before. In our streams
the student gains tenths of a point, from a teacher that smooths such labels.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from effdl.checks import check_positive
from effdl.data.digits import Split
from effdl.distill.checks import check_share, check_temperature
from effdl.distill.kd import kd_loss
from effdl.distill.recipe import TEN_EPOCHS, Recipe, train_student
from effdl.distill.teacher import answers, numbered

FRAMES, CHANNELS, KINDS = 40, 4, 3  # of a stream; kinds: nothing, one, the other
LASTS, RISES, EARLIEST = 12, 4, 6  # frames of an action; till it is clear; before it


def action_streams(n: int, *, noise: float = 1.0, late_by: int = 0) -> Split:
    """Return streams with one action each, and what is going on in every frame.

    An action lasts 12 frames and becomes clear within 4. Channel 0 moves in both kinds
    of action, channel 1 in one, channel 2 in the other, channel 3 in none.

    Args:
        n: Streams, at least 1; drawn from torch's generator.
        noise: Deviation of the noise in all channels.
        late_by: By how many frames, at most 6, a label may begin and end off.

    Returns:
        Frames (n, 4, 40) and kinds 0, 1 or 2 of shape (n, 40).

    Raises:
        ValueError: If ``late_by`` is out of range.

    Example:
        >>> streams = action_streams(5)
        >>> streams.inputs.shape, streams.targets.shape
        (torch.Size([5, 4, 40]), torch.Size([5, 40]))
    """
    check_positive(n=n)
    if not 0 <= late_by <= EARLIEST:
        raise ValueError(f"late_by must be from 0 to {EARLIEST}, got {late_by}")
    kind = torch.randint(1, KINDS, (n,))
    start = torch.randint(EARLIEST, FRAMES - LASTS - EARLIEST, (n, 1))
    off = torch.randint(-late_by, late_by + 1, (n, 2))
    time = torch.arange(FRAMES)
    age = time - start  # (n, frames)
    going_on = (age >= 0) & (age < LASTS)
    strength = 1.5 * ((age + 1) / RISES).clamp(0, 1) * going_on
    frames = noise * torch.randn(n, CHANNELS, FRAMES)
    frames[:, 0] += strength
    frames[torch.arange(n), kind] += strength
    marked = (age >= off[:, :1]) & (age < LASTS + off[:, 1:])
    return Split(frames, torch.where(marked, kind[:, None], 0))


class FrameNet(nn.Module):
    """A convolution over time that looks so far back and so far ahead, then a layer.

    Maps frames (N, c, F) to logits (N, classes, F).

    Args:
        past: Frames before t that it sees, at least 0.
        future: Frames after t that it sees; 0 makes it causal.
        channels: Channels c of a frame.
        hidden: Width.
        classes: Logits of a frame.

    Raises:
        ValueError: If ``past`` or ``future`` is below 0.

    Example:
        >>> FrameNet(past=8, future=0)(torch.zeros(2, 4, 40)).shape
        torch.Size([2, 3, 40])
    """

    def __init__(
        self,
        past: int,
        future: int,
        *,
        channels: int = CHANNELS,
        hidden: int = 16,
        classes: int = KINDS,
    ) -> None:
        super().__init__()
        check_positive(channels=channels, hidden=hidden, classes=classes)
        if past < 0 or future < 0:
            raise ValueError(
                f"past and future must be at least 0, got {past}, {future}"
            )
        self.around = past, future
        self.over_time = nn.Conv1d(channels, hidden, past + 1 + future)
        self.head = nn.Conv1d(hidden, classes, 1)

    def forward(self, frames: Tensor) -> Tensor:
        """Return logits (N, classes, F) of frames (N, c, F)."""
        logits: Tensor = self.head(self.over_time(pad(frames, self.around)).relu())
        return logits


def frame_accuracy(model: nn.Module, streams: Split) -> float:
    """Return the share of frames whose largest logit is at the target.

    Args:
        model: Maps frames (N, c, F) to logits (N, classes, F); in evaluation mode.
        streams: Frames, with targets (N, F).

    Example:
        >>> streams = Split(torch.eye(3)[None], torch.tensor([[0, 1, 0]]))
        >>> round(frame_accuracy(nn.Identity().eval(), streams), 3)
        0.667
    """
    hits = answers(model, streams.inputs).argmax(dim=1) == streams.targets
    return float(hits.double().mean())


def distil_frames(
    student: nn.Module,
    teachers: Sequence[nn.Module],
    streams: Split,
    recipe: Recipe = TEN_EPOCHS,
    *,
    temperature: float = 1.0,
    alpha: float = 0.9,
) -> list[float]:
    """Return the mean loss of every epoch of training the student in place.

    Each teacher answers once, and has an equal share of the steps. Raises
    ``ValueError`` if one is in training mode.

    Args:
        student: Maps frames (N, c, F) to logits (N, classes, F).
        teachers: One or more, in evaluation mode, in the order in which they teach.
        streams: Frames, with targets (N, F).
        recipe: How long and how fast; a batch is so many streams.
        temperature: T, above 0.
        alpha: The teacher's share, 0 to 1; 0 is plain training.

    Raises:
        ValueError: If there are no teachers.

    Example:
        >>> student, teacher = FrameNet(2, 0), FrameNet(2, 2).eval()
        >>> losses = distil_frames(student, [teacher], action_streams(20))
        >>> losses[-1] < losses[0]
        True
    """
    check_share(alpha=alpha)
    check_temperature(temperature)
    if not teachers:
        raise ValueError("teachers is empty; give at least one")
    taught = [answers(teacher, streams.inputs) for teacher in teachers]
    steps = recipe.epochs * -(-len(streams) // recipe.batch_size)
    done = [0]

    def loss_of(inputs: Tensor, which: Tensor) -> Tensor:
        now = taught[done[0] * len(taught) // steps]
        return kd_loss(
            _by_frame(student(inputs)),
            _by_frame(now[which]),
            streams.targets[which].flatten(),
            temperature=temperature,
            alpha=alpha,
        )

    def finish_step() -> None:
        done[0] += 1

    split = numbered(streams)
    return train_student(student, split, loss_of, recipe, after_step=finish_step)


def _by_frame(logits: Tensor) -> Tensor:
    return logits.transpose(1, 2).flatten(0, 1)  # (N F, classes)
