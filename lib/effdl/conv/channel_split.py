"""Channel split: half of the channels go through a branch, half wait for them.

Paper: Ma et al., "ShuffleNet V2: Practical Guidelines for Efficient CNN Architecture
Design", ECCV 2018, https://arxiv.org/abs/1807.11164, section 3.

    x1, x2 = split(x)                     c' and c - c' channels; here half and half
    y      = shuffle([x1, branch(x2)])    with 2 groups

A residual block adds and so touches all c channels; here concatenation takes the
place of the sum, and the branch works on half of the width. The shuffle sees to it
that the next unit's branch gets channels of both kinds.

Half of the channels of each unit are those of the unit before, untouched: after l
units, a share 2^-l has come through unchanged. The paper compares this with DenseNet,
where far layers are linked the less the further they are apart.

The saving is that of the narrower branch: a layer in it that maps half of the
channels to half of the channels has a quarter of the weights. Splitting makes two
views and copies nothing; concatenating and shuffling do.
"""

import torch
from torch import Tensor, nn

from effdl.checks import check_divides, check_images, check_positive
from effdl.conv.channel_shuffle import channel_shuffle


def channel_split(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the first and the second half of the channels, as views of ``x``.

    Raises ``ValueError`` if ``x`` is not a batch or c is odd.

    Args:
        x: Feature maps, (N, c, H, W), c even.

    Returns:
        Two tensors, (N, c / 2, H, W) each.

    Example:
        >>> first, second = channel_split(torch.zeros(1, 6, 2, 2))
        >>> first.shape
        torch.Size([1, 3, 2, 2])
    """
    check_images(x)
    check_divides("parts", 2, channels=x.shape[1])
    first, second = x.chunk(2, dim=1)
    return first, second


class SplitUnit(nn.Module):
    """Unit of ShuffleNet V2 with stride 1, around any branch.

    Args:
        branch: Maps the second half, (N, c / 2, H, W), to the same shape.

    Example:
        >>> unit = SplitUnit(nn.Identity())
        >>> unit(torch.arange(4.0).reshape(1, 4, 1, 1)).flatten().tolist()
        [0.0, 2.0, 1.0, 3.0]
    """

    def __init__(self, branch: nn.Module) -> None:
        super().__init__()
        self.branch = branch

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, c, H, W) for x of (N, c, H, W).

        Raises:
            ValueError: If ``x`` is not a batch, c is odd, or the branch changes the
                shape.
        """
        waiting, second = channel_split(x)
        worked = self.branch(second)
        if worked.shape != second.shape:
            raise ValueError(
                f"branch must keep the shape {tuple(second.shape)}, "
                f"got {tuple(worked.shape)}; use stride 1 and as many channels"
            )
        return channel_shuffle(torch.cat((waiting, worked), dim=1), groups=2)


def untouched_share(units: int) -> float:
    """Return the share 2^-l of channels that l units in a row pass on unchanged.

    Exact if 2^l divides the number of channels.

    Example:
        >>> untouched_share(3)
        0.125
    """
    check_positive(units=units)
    return 0.5**units
