"""Learned group convolution: training decides which inputs each group sees.

Paper: Huang et al., "CondenseNet: An Efficient DenseNet using Learned Group
Convolutions", CVPR 2018, https://arxiv.org/abs/1711.09224, section 3.

A group convolution settles before training which inputs a group of filters sees. This
1 x 1 layer of c inputs and n filters W starts dense instead. Its filters are dealt out
to G groups, and in each of C - 1 *condensing stages* every group drops the c / C
inputs that it makes the least of:

    group of filter i:  i mod G                                 i = 0..n-1
    s_gj = sum over the filters i of group g of |W_ij|          j = 0..c-1
    drop the c / C inputs j of the smallest s_gj, among those that group g still has

In the end a share 1 / C of the weights is left, and each group has c / C inputs of its
own choice; one input may serve several groups, or none. As all filters of a group kept
the same inputs, the layer is a group convolution behind a gather:

    y = shuffle(group_conv(x[:, index]))        G c / C channels, G groups

When the stages happen, and whole networks: :mod:`effdl.conv.condensing`. The filters of
a group agree sooner on what to drop with the group lasso, times 1e-5, in the loss:

    lasso = sum over g, j of sqrt(sum over the filters i of group g of W_ij^2)

The paper cuts the filters into G blocks and permutes the outputs, so that each group of
the next group convolution gets some of every block. Dealing the filters out builds that
permutation in. Mind the time: training pays for the dense layer to its last step, and
the deployed layer copies G c / C channels before it computes.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from effdl.checks import check_divides, check_images, check_positive
from effdl.conv.channel_gather import GatherChannels
from effdl.conv.channel_shuffle import shuffle_order


def condensed_mask(weight: Tensor, mask: Tensor, groups: int, drop: int) -> Tensor:
    """Return the mask after one stage: per group, the weakest inputs are dropped.

    Args:
        weight: Filters, (n, c); filter i is in group i mod G.
        mask: Ones and zeros, (n, c), equal for all filters of a group.
        groups: Groups G, a divisor of n.
        drop: How many more inputs each group loses.

    Raises:
        ValueError: If ``drop`` is below 1 or leaves a group without input, or G does
            not divide n.

    Example:
        >>> weight = torch.tensor([[3.0, -1.0, 2.0], [1.0, 2.0, -4.0]])
        >>> condensed_mask(weight, torch.ones(2, 3), groups=2, drop=1).tolist()
        [[1.0, 0.0, 1.0], [0.0, 1.0, 1.0]]
    """
    check_positive(groups=groups, drop=drop)
    check_divides("groups", groups, filters=weight.shape[0])
    alive = mask[:groups]  # row g belongs to group g
    left = int(alive[0].sum())
    if drop >= left:
        raise ValueError(f"drop must be below the {left} inputs left, got {drop}")
    norms = weight.abs().unflatten(0, (-1, groups)).sum(0)  # s, (G, c)
    norms = norms.masked_fill(alive == 0, torch.inf)  # gone already: not to drop again
    weakest = norms.topk(drop, dim=1, largest=False).indices  # (G, drop)
    return alive.scatter(1, weakest, 0).repeat(len(weight) // groups, 1)


def group_lasso(weight: Tensor, groups: int) -> Tensor:
    """Return the sum over groups and inputs of the norms of the weights between them.

    Where a norm is 0, as for a dropped input, the gradient is 0, too. Raises
    ``ValueError`` if G does not divide n.

    Args:
        weight: Filters, (n, c); filter i is in group i mod G.
        groups: Groups G, a divisor of n.

    Returns:
        A scalar.

    Example:
        >>> group_lasso(torch.tensor([[3.0, 1.0], [4.0, 0.0]]), groups=1).item()
        6.0
    """
    check_positive(groups=groups)
    check_divides("groups", groups, filters=weight.shape[0])
    return torch.linalg.vector_norm(weight.unflatten(0, (-1, groups)), dim=0).sum()


class LearnedGroupConv2d(nn.Conv2d):
    """1 x 1 convolution under a mask of ones and zeros that grows with the stages.

    Args:
        in_channels: Channels c of the input.
        out_channels: Channels n of the output.
        groups: Groups G of the filters, a divisor of n.
        condensation: Factor C by which the weights become fewer, a divisor of c; 1
            keeps all of them.
        bias: Whether each output has a bias. No stage touches it.

    Raises:
        ValueError: If a number is below 1, ``groups`` does not divide
            ``out_channels``, or ``condensation`` does not divide ``in_channels``.

    Example:
        >>> layer = LearnedGroupConv2d(16, 32, groups=4, condensation=4)
        >>> layer.condense_()
        >>> layer.stages_left, layer.mask.mean().item()
        (2, 0.75)
    """

    mask: Tensor
    names = ("out_channels", "in_channels")  # of what is grouped, of what is dropped

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        groups: int,
        condensation: int,
        bias: bool = False,
    ) -> None:
        check_positive(in_channels=in_channels, out_channels=out_channels)
        check_positive(groups=groups, condensation=condensation)
        super().__init__(in_channels, out_channels, 1, bias=bias)
        self.learned_groups = groups  # the parent's groups stays 1: it convolves dense
        self.condensation = condensation
        self.register_buffer("mask", torch.ones_like(self.weight))
        grouped, dropped = self.table(self.weight).shape
        check_divides("groups", groups, **{self.names[0]: grouped})
        check_divides("condensation", condensation, **{self.names[1]: dropped})

    @property
    def stages_left(self) -> int:
        """Return how many of the C - 1 stages are still to come."""
        mask = self.table(self.mask)
        return int(mask[0].sum()) * self.condensation // mask.shape[1] - 1

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, n, H, W) for x of (N, c, H, W).

        Raises ``ValueError`` if ``x`` is not a batch of c feature maps.
        """
        check_images(x, self.in_channels)
        return F.conv2d(x, self.weight * self.mask, self.bias)

    @torch.no_grad()
    def condense_(self) -> None:
        """Change the mask: one condensing stage.

        Raises:
            ValueError: If all stages are done.
        """
        if self.stages_left == 0:
            raise ValueError(
                f"no stage left: condensation={self.condensation} has "
                f"{self.condensation - 1}; check stages_left first"
            )
        weight, mask = self.table(self.weight), self.table(self.mask)
        drop = mask.shape[1] // self.condensation
        mask.copy_(condensed_mask(weight, mask, self.learned_groups, drop))

    def standard_form(self) -> nn.Module:
        """Return what computes the same by gather, group convolution and shuffle.

        After whatever stage; it shares no memory with this layer.
        """
        index, blocks = self.packed()
        groups, rows, kept = blocks.shape
        biased = self.bias is not None
        conv = nn.Conv2d(groups * kept, groups * rows, 1, groups=groups, bias=biased)
        conv.weight = nn.Parameter(blocks.reshape(-1, kept, 1, 1))
        if self.bias is not None:
            order = shuffle_order(self.out_channels, rows)
            conv.bias = nn.Parameter(self.bias.detach()[order])
        return nn.Sequential(GatherChannels(index), conv, nn.ChannelShuffle(groups))

    def packed(self) -> tuple[Tensor, Tensor]:
        """Return what each group kept, and its weights: the mask without its zeros.

        Returns:
            The kept columns of :meth:`table`, group after group, int64, (G * kept,);
            and a block for each group, (G, rows of a group, kept).
        """
        groups = self.learned_groups
        index = self.table(self.mask)[:groups].nonzero()[:, 1]  # ascending in a group
        blocks = self.table(self.weight.detach()).unflatten(0, (-1, groups))
        columns = index.reshape(groups, 1, -1).expand(-1, len(blocks), -1)
        return index, blocks.transpose(0, 1).gather(2, columns)

    def table(self, tensor: Tensor) -> Tensor:
        """Return weight or mask as a view: what is grouped by what is dropped."""
        return tensor[:, :, 0, 0]
