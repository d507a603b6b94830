"""A dense supernet: all blocks and all transitions between them, weighted.

Paper: Fang et al., "Densely Connected Search Space for More Flexible Neural
Architecture Search", CVPR 2020, https://arxiv.org/abs/1906.09607, section 3.

    x_j = sum over blocks i that feed j of  p_ij e_ij(y_i)       y_j = block_j(x_j)

With weights of 0 and 1 along one route this is the network of that route, at its cost:
blocks off the route do not run. The probabilities and the costs of routes are in
:mod:`effdl.nas.hardware.dense_routes`.

What differs: the paper's blocks are stacks of layers with a choice of operation in
each, and they change the resolution. Here a block is one convolution, the resolution
stays, and only the route is searched. Batch norms use the batch at hand.
"""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from effdl.blocks import conv_bn, mean_linear
from effdl.checks import check_images
from effdl.conv.cost import conv_cost
from effdl.nas.gradient.architecture import Architecture
from effdl.nas.gradient.mixed import Runs, running
from effdl.nas.gradient.mixed_net import prepare_for_search_
from effdl.nas.hardware.dense_routes import route_targets


class RoutedNet(nn.Module):
    """Stem, blocks of growing width with transitions between them, and a classifier.

    Maps images (N, c, H, W) and weights (blocks - 1, K) to logits (N, classes).

    Args:
        widths: Channels of the blocks, at least two.
        reach: To how many of the next blocks each is joined.
        in_channels: Channels of the images.
        classes: Logits.

    Attributes:
        targets: Which blocks each block feeds.

    Example:
        >>> net = RoutedNet((8, 8, 16), reach=2)
        >>> net(torch.zeros(2, 1, 12, 12), torch.tensor([[0.5, 0.5], [1, 0]])).shape
        torch.Size([2, 10])
    """

    def __init__(
        self,
        widths: Sequence[int],
        *,
        reach: int = 3,
        in_channels: int = 1,
        classes: int = 10,
    ) -> None:
        super().__init__()
        self.targets = route_targets(len(widths), reach)
        self.widths = tuple(widths)
        self.stem = conv_bn(in_channels, widths[0], 3, stride=2)
        self.entries = nn.ModuleList(
            nn.ModuleList(conv_bn(widths[i], widths[j], 1) for j in row)
            for i, row in enumerate(self.targets)
        )
        self.blocks = nn.ModuleList(conv_bn(width, width, 3) for width in widths)
        self.head = mean_linear(widths[-1], classes)
        prepare_for_search_(self, nn.ModuleList)

    def forward(self, x: Tensor, weights: Tensor, runs: Runs | None = None) -> Tensor:
        """Return logits (N, classes).

        Args:
            x: Images.
            weights: Of the transitions, (blocks - 1, K).
            runs: Which transitions run out of each block; None: those not weighted 0.
        """
        check_images(x)
        chosen = running(weights) if runs is None else runs
        reads: dict[int, Tensor] = {0: self.stem(x)}
        for i, row in enumerate(self.targets):
            if i not in reads:
                continue
            y = self.blocks[i](reads.pop(i))
            entries = cast("nn.ModuleList", self.entries[i])
            for k, j in enumerate(row):
                if k in chosen[i]:
                    sent = weights[i, k] * entries[k](y)
                    reads[j] = reads[j] + sent if j in reads else sent
        return self.head(self.blocks[-1](reads[len(self.targets)]))

    def costs(self, size: int) -> tuple[Tensor, Tensor]:
        """Return multiply-adds of blocks (blocks,) and of transitions (blocks - 1, K).

        Args:
            size: H = W of the maps between the blocks: half of the images'.
        """
        own = [float(conv_cost(w, w, 3, size).macs) for w in self.widths]
        entry = torch.zeros(len(self.targets), max(map(len, self.targets)))
        for i, row in enumerate(self.targets):
            for k, j in enumerate(row):
                cost = conv_cost(self.widths[i], self.widths[j], 1, size)
                entry[i, k] = cost.macs
        return torch.tensor(own), entry


def route_architecture(net: RoutedNet) -> Architecture:
    """Return the logits beta of a search for a route: one edge for each block.

    Args:
        net: Whose transitions are the candidates, named by their targets.

    Example:
        >>> route_architecture(RoutedNet((8, 8, 16), reach=2)).candidates
        (('1', '2'), ('2',))
    """
    return Architecture([[str(target) for target in row] for row in net.targets])
