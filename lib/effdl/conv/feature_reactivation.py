"""Sparse feature reactivation: a layer's new features update the old ones.

Paper: Yang et al., "CondenseNet V2: Sparse Feature Reactivation for Deep Networks",
CVPR 2021, https://arxiv.org/abs/2104.04382, section 3.

In a DenseNet, a feature is never changed once it is computed, however many layers read
it, and :mod:`effdl.conv.learned_group` just cuts the reading. Here a layer that has
computed k new features h from the C features x before it also writes to x:

    u = W act(BN(h))               1 x 1 convolution to C channels
    y = [x + u, h]                 C + k channels

W, C x k, starts dense and is condensed as in learned group convolution, with inputs and
outputs swapped: what each group of *inputs* loses in a stage is *outputs*. With G
groups and condensation S,

    group of input i:  i mod G                                  i = 0..k-1
    s_gj = sum over the inputs i of group g of |W_ji|           j = 0..C-1
    drop the C / S outputs j of the smallest s_gj, among those that group g still has

S - 1 stages leave each group C / S outputs of its choice. Deployed, it is a group
convolution whose outputs are added to the channels of an index; an old feature may be
updated by several groups, or by none, and then passes unchanged.

Where it starts: the authors' layer sets the scale gamma of BN to 0, so that u = 0 and
the layer does nothing at first. But then act(BN(h)) = act(0), and where act is ReLU,
no gradient comes through it: u stays 0 for ever. With hard-swish, whose slope at 0 is
1/2, it learns. The authors' network goes over all batch norms afterwards and sets
their gamma to 1, so that neither happens. Here 0 is the default, as their layer has it,
with hard-swish; pass ``gamma=1.0`` to start as their network does.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from effdl.checks import check_images, check_positive
from effdl.conv.channel_gather import ScatterChannels
from effdl.conv.learned_group import LearnedGroupConv2d


class ReactivationConv2d(LearnedGroupConv2d):
    """1 x 1 convolution W whose groups of inputs drop outputs, stage by stage.

    Takes what :class:`~effdl.conv.learned_group.LearnedGroupConv2d` takes, but
    ``groups`` must divide ``in_channels``, and ``condensation`` divide
    ``out_channels``; no bias.

    Example:
        >>> layer = ReactivationConv2d(4, 12, groups=2, condensation=3)
        >>> layer.condense_()
        >>> layer.mask[:, 0].sum().item()  # outputs that the first input still has
        8.0
    """

    names = ("in_channels", "out_channels")

    def __init__(
        self, in_channels: int, out_channels: int, *, groups: int, condensation: int
    ) -> None:
        super().__init__(
            in_channels, out_channels, groups=groups, condensation=condensation
        )

    def standard_form(self) -> nn.Module:
        """Return what computes the same by shuffle, group convolution and scatter.

        After whatever stage; it shares no memory with this layer.
        """
        index, blocks = self.packed()
        groups, rows, kept = blocks.shape
        conv = nn.Conv2d(groups * rows, groups * kept, 1, groups=groups, bias=False)
        conv.weight = nn.Parameter(blocks.transpose(1, 2).reshape(-1, rows, 1, 1))
        scatter = ScatterChannels(index, self.out_channels)
        return nn.Sequential(nn.ChannelShuffle(rows), conv, scatter)

    def table(self, tensor: Tensor) -> Tensor:
        """Return weight or mask as a view: what is grouped by what is dropped."""
        return super().table(tensor).T


class SparseFeatureReactivation(nn.Module):
    """The equations above: x and h in, [x + u, h] out.

    Args:
        new: Channels k of h.
        preceding: Channels C of x.
        groups: Groups G of h, a divisor of k.
        condensation: Factor S by which the weights become fewer, a divisor of C.
        activation: Class of act, called without arguments.
        gamma: Scale of BN at the start. With 0 nothing is updated at first; with ReLU
            in addition, nothing ever is.

    Raises ``ValueError`` if a number is below 1 or does not divide as it should.

    Example:
        >>> layer = SparseFeatureReactivation(8, 24, groups=4, condensation=4)
        >>> x, h = torch.randn(2, 24, 5, 5), torch.randn(2, 8, 5, 5)
        >>> bool((layer(x, h) == torch.cat((x, h), dim=1)).all())
        True
    """

    def __init__(
        self,
        new: int,
        preceding: int,
        *,
        groups: int,
        condensation: int,
        activation: Callable[[], nn.Module] = nn.Hardswish,
        gamma: float = 0.0,
    ) -> None:
        super().__init__()
        check_positive(new=new, preceding=preceding)
        norm = nn.BatchNorm2d(new)
        nn.init.constant_(norm.weight, gamma)
        conv = ReactivationConv2d(
            new, preceding, groups=groups, condensation=condensation
        )
        self.update = nn.Sequential(norm, activation(), conv)
        self.new, self.preceding = new, preceding

    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        """Return (N, C + k, H, W) for x of (N, C, H, W) and h of (N, k, H, W).

        Raises ``ValueError`` if one of them is no batch of as many feature maps.
        """
        check_images(x, self.preceding)
        check_images(h, self.new)
        return torch.cat((x + self.update(h), h), dim=1)
