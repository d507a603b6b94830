"""Gather and scatter channels: how a sparse layer gets at the channels that it kept.

Papers: Huang et al., "CondenseNet: An Efficient DenseNet using Learned Group
Convolutions", CVPR 2018, https://arxiv.org/abs/1711.09224, section 3.1 (its "index
layer"); Yang et al., "CondenseNet V2: Sparse Feature Reactivation for Deep Networks",
CVPR 2021, https://arxiv.org/abs/2104.04382 (the way back).

Training leaves each group of a layer with channels of its own choice. A group
convolution wants them side by side, so they are copied there, or back:

    gather     y_m = x_index(m)                             m = 0..M-1
    scatter    y_j = sum of the x_m with index(m) = j       j = 0..C-1

The index may name a channel twice, or never: gathered twice, it is copied; scattered
twice, it is added up; scattered to never, it is 0. Scatter is the transpose of gather:
as 0/1 matrices, M x C and C x M, they are each other's transposed.

No weights and no MACs, but not free: every number is read and written once, and a
scatter reads it again if its place is taken. (The authors' code multiplies by the C x M
matrix instead: C M H W multiplications that their count of FLOPs leaves out.)
"""

from torch import Tensor, nn

from effdl.checks import check_positive


class GatherChannels(nn.Module):
    """Layer that copies the channels of an index side by side.

    Args:
        index: Channels to copy, int64, (M,); a buffer, and part of the state.

    Raises:
        ValueError: If ``index`` is empty, has another rank, or a negative number.

    Example:
        >>> import torch
        >>> x = torch.tensor([1.0, 2.0, 3.0]).reshape(1, 3, 1, 1)
        >>> GatherChannels(torch.tensor([2, 0, 2]))(x).flatten().tolist()
        [3.0, 1.0, 3.0]
    """

    index: Tensor

    def __init__(self, index: Tensor) -> None:
        super().__init__()
        _check_index(index)
        self.register_buffer("index", index)

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, M, H, W) for x of (N, C, H, W)."""
        return x.index_select(1, self.index)


class ScatterChannels(nn.Module):
    """Layer that adds each channel to the one that the index names, from 0.

    Args:
        index: Where each of the M channels goes, int64, (M,); a buffer, and part of
            the state.
        channels: Channels C of the output; above every number of ``index``.

    Raises:
        ValueError: If ``index`` is empty, has another rank, or a number outside
            0..``channels`` - 1.

    Example:
        >>> import torch
        >>> x = torch.tensor([1.0, 2.0, 4.0]).reshape(1, 3, 1, 1)
        >>> ScatterChannels(torch.tensor([2, 0, 2]), 4)(x).flatten().tolist()
        [2.0, 0.0, 5.0, 0.0]
    """

    index: Tensor

    def __init__(self, index: Tensor, channels: int) -> None:
        super().__init__()
        check_positive(channels=channels)
        _check_index(index)
        if index.max() >= channels:
            raise ValueError(
                f"index must be below channels={channels}, got {int(index.max())}"
            )
        self.channels = channels
        self.register_buffer("index", index)

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, C, H, W) for x of (N, M, H, W)."""
        empty = x.new_zeros(x.shape[0], self.channels, *x.shape[2:])
        return empty.index_add(1, self.index, x)


def _check_index(index: Tensor) -> None:
    """Require a list of channels.

    Raises:
        ValueError: If it is none.
    """
    if index.dim() != 1 or len(index) == 0:
        shape = tuple(index.shape)
        raise ValueError(f"index must list at least one channel, got shape {shape}")
    if index.min() < 0:
        raise ValueError(
            f"index must be 0 or larger, got {int(index.min())}; count from the start"
        )
