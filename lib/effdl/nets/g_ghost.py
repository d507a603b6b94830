"""G-Ghost stage: derive channels of a whole stage cheaply, without depthwise layers.

Paper: Han et al., "GhostNets on Heterogeneous Devices via Cheap Operations", IJCV 2022,
https://arxiv.org/abs/2201.03297. The Ghost convolution of :mod:`effdl.conv.ghost` is
their C-Ghost, for CPUs. G-Ghost is for GPUs, which compute dense layers fast, but wait
for memory in depthwise ones.

Maps resemble one another not only within a layer but also from block to block of a
stage. So the n blocks of a stage work on (1 - l) c of the c channels only; the other
l c are derived from the maps before the first of them in one step (l for lambda):

    Yc_0, Yg_0 = split(Y_0)                       (1 - l) c and l c channels
    Yc_i       = block_i(Yc_i-1)                  i = 1 ... n: complicated features
    z          = means over all pixels of [Y_0, Yc_1, ..., Yc_n]
    Yg         = relu(cheap(Yg_0) + W z + b)      ghost features
    Y_n        = [Yc_n, Yg]

cheap is a pointwise layer with batch norm. The term W z + b, the mix, tells the ghosts
what the blocks found, one number a channel and image.

A block whose layers map all channels to all channels keeps (1 - l)^2 of its weights:
0.36 for the paper's l = 0.4. cheap and mix add l^2 c^2 + l (1 + n (1 - l)) c^2. With
one k x k layer a block, the stage therefore saves the factor

    n k^2 / (n k^2 (1 - l)^2 + l^2 + l + n l (1 - l))      towards 1 / (1 - l)^2

Y_0 comes from the stage's first, strided block, which stays as it is; counted with it,
a stage keeps more than (1 - l)^2. The authors' RegNets leave the last block whole, too,
take l = 0.5, round to groups, and have two layers with batch norm in place of W z + b.
The multiply-adds of the mix are next to none, its weights are not.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from effdl.blocks import conv_bn
from effdl.checks import check_images, check_positive


class GGhostStage(nn.Module):
    """Blocks on some of the channels, the other channels derived in one step.

    Args:
        blocks: At least one; each maps (N, c', H, W) to the same shape, where c' is
            ``complicated_channels(channels, share)``.
        channels: Channels c of input and output.
        share: Share l of the channels that are ghosts; above 0 and below 1.

    Raises ``ValueError`` if there is no block, or ``share`` leaves one of the two parts
    without a channel.

    Example:
        >>> width = complicated_channels(64)
        >>> stage = GGhostStage([conv_bn(width, width, 3) for _ in range(2)], 64)
        >>> stage(torch.zeros(1, 64, 8, 8)).shape
        torch.Size([1, 64, 8, 8])
    """

    def __init__(
        self, blocks: Sequence[nn.Module], channels: int, *, share: float = 0.4
    ) -> None:
        super().__init__()
        check_positive(blocks=len(blocks))
        self.channels = channels
        self.complicated = complicated_channels(channels, share)
        ghosts = channels - self.complicated
        self.blocks = nn.ModuleList(blocks)
        self.cheap = conv_bn(ghosts, ghosts, 1, activation=None)
        self.mix = nn.Linear(channels + len(blocks) * self.complicated, ghosts)

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, c, H, W) for x of (N, c, H, W).

        Raises:
            ValueError: If ``x`` is not a batch of c feature maps, or a block changes
                the shape.
        """
        check_images(x, self.channels)
        features, ghosts = x.tensor_split((self.complicated,), dim=1)
        means = [x.mean(dim=(2, 3))]  # (N, c), then (N, c') a block
        for block in self.blocks:
            shape = features.shape
            features = block(features)
            if features.shape != shape:
                raise ValueError(
                    f"blocks must keep the shape {tuple(shape)}, got "
                    f"{tuple(features.shape)}; use stride 1 and as many channels"
                )
            means.append(features.mean(dim=(2, 3)))
        mixed = self.mix(torch.cat(means, dim=1))[:, :, None, None]  # (N, l c, 1, 1)
        return torch.cat((features, F.relu(self.cheap(ghosts) + mixed)), dim=1)


def complicated_channels(channels: int, share: float = 0.4) -> int:
    """Return c' = (1 - l) c, rounded down: the channels that the blocks work on.

    Args:
        channels: Channels c of the stage.
        share: Share l of the channels that are ghosts.

    Raises:
        ValueError: If ``channels`` is below 1, or one of the parts has no channel.

    Example:
        >>> complicated_channels(64), complicated_channels(64, 0.5)
        (38, 32)
    """
    check_positive(channels=channels)
    kept = (1 - share) * channels + 1e-9  # (1 - 0.9) * 10 is 0.9999999999999998
    complicated = math.floor(kept) if 0 < share < 1 else 0
    if not 1 <= complicated < channels:
        raise ValueError(
            f"share must leave some of {channels} channels to the blocks and some to "
            f"the ghosts, got {share}; 0.4 is usual"
        )
    return complicated


def stage_weights(
    channels: int, blocks: int, kernel_size: int = 3, *, share: float = 0.4
) -> tuple[int, int]:
    """Return the weights of n blocks of one k x k layer, ordinary and G-Ghost.

    Those of convolutions and of the mix, without biases and batch norm.

    Raises ``ValueError`` if a number is below 1, or ``share`` leaves one of the two
    parts without a channel.

    Args:
        channels: Channels c of the stage.
        blocks: Number n of blocks.
        kernel_size: Side k of their kernels.
        share: Share l of the channels that are ghosts.

    Example:
        >>> ordinary, with_ghosts = stage_weights(100, blocks=3)
        >>> ordinary, with_ghosts, round(ordinary / with_ghosts, 2)
        (270000, 110000, 2.45)
    """
    check_positive(blocks=blocks, kernel_size=kernel_size)
    complicated = complicated_channels(channels, share)
    ghosts = channels - complicated
    dense = blocks * kernel_size**2  # weights for each pair of channels
    mix = ghosts * (channels + blocks * complicated)
    return dense * channels**2, dense * complicated**2 + ghosts**2 + mix
