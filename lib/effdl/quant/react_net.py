"""ReActNet: signs and ReLUs that learn where to bend, and a teacher's distribution.

Paper: Liu et al., "ReActNet: Towards Precise Binary Neural Network with Generalized
Activation Functions", ECCV 2020, https://arxiv.org/abs/2003.03488, sections 4.2 and
4.3.

    RSign    +1 if x >= a, else -1                      a for each channel
    RPReLU   x - g + z if x > g, else b (x - g) + z     g, z, b for each channel
    loss     mean over images of KL(p of a real network || p of the binary one)

A channel whose values are all on one side of 0 tells nothing by its sign. Moving the
threshold is all that RSign does, for one addition a number. RPReLU moves and reshapes
what follows. With a = g = z = 0 they are sign and PReLU.

What differs: the authors' networks are MobileNetV1 with two kinds of blocks; these are
the parts of it. At x = a the sign is +1.

The slope of the sign is that of :mod:`effdl.quant.bireal`.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from effdl.checks import check_images, check_positive
from effdl.quant.bireal import polynomial_sign


class RSign(nn.Module):
    """The sign with a learned threshold for each channel.

    Args:
        channels: C of the input.

    Attributes:
        threshold: a, (C, 1, 1), at first 0.

    Example:
        >>> layer = RSign(1)
        >>> _ = layer.threshold.data.fill_(0.5)
        >>> layer(torch.tensor([[[[0.4, 0.6]]]]))
        tensor([[[[-1.,  1.]]]], grad_fn=<AddBackward0>)
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        check_positive(channels=channels)
        self.threshold = nn.Parameter(torch.zeros(channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Return the signs, shaped like the input (N, C, H, W)."""
        check_images(x, channels=len(self.threshold))
        return polynomial_sign(x - self.threshold)


class RPReLU(nn.Module):
    """A PReLU with learned moves along both axes, for each channel.

    Args:
        channels: C of the input.
        slope: b at first.

    Attributes:
        before: g, (C, 1, 1), at first 0.
        after: z, of the same shape, at first 0.
        slope: b, of the same shape.

    Example:
        >>> layer = RPReLU(1)
        >>> layer(torch.tensor([[[[-4.0, 2.0]]]])).tolist()
        [[[[-1.0, 2.0]]]]
    """

    def __init__(self, channels: int, slope: float = 0.25) -> None:
        super().__init__()
        check_positive(channels=channels)
        self.before = nn.Parameter(torch.zeros(channels, 1, 1))
        self.after = nn.Parameter(torch.zeros(channels, 1, 1))
        self.slope = nn.Parameter(torch.full((channels, 1, 1), slope))

    def forward(self, x: Tensor) -> Tensor:
        """Return what is bent, shaped like the input (N, C, H, W)."""
        check_images(x, channels=len(self.before))
        moved = x - self.before
        return torch.where(moved > 0, moved, self.slope * moved) + self.after


def distribution_loss(logits: Tensor, teacher: Tensor) -> Tensor:
    """Return the mean divergence of a network's distributions from a teacher's, ().

    The labels are not looked at. The teacher takes no gradient.

    Args:
        logits: Of the binary network, (N, classes).
        teacher: Logits of the real one, of the same shape.

    Raises:
        ValueError: If the shapes differ.

    Example:
        >>> logits = torch.tensor([[0.0, 1.0], [2.0, 0.0]])
        >>> distribution_loss(logits, logits + 7).item()
        0.0
    """
    if logits.shape != teacher.shape or logits.ndim != 2:
        raise ValueError(
            "logits and teacher must be (N, classes), got shapes "
            f"{tuple(logits.shape)} and {tuple(teacher.shape)}; is it the same batch?"
        )
    real = teacher.detach().log_softmax(dim=1)
    binary = logits.log_softmax(dim=1)
    return F.kl_div(binary, real, reduction="batchmean", log_target=True)
