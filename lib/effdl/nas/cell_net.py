"""Networks made of one cell of NAS-Bench-201, stacked.

Paper: Dong and Yang, "NAS-Bench-201", ICLR 2020, https://arxiv.org/abs/2001.00326,
section 2.1, "Macro Skeleton".

    stem, cells, reduction, cells [, reduction, cells], BN, ReLU, mean, linear

Every cell is the same with weights of its own. A reduction halves the resolution.

                     NAS-Bench-201             the benchmark of this book
    images           3 x 32 x 32               1 x 12 x 12
    stem             conv 3x3, BN              conv 3x3 with stride 2, BN
    channels         16, 32, 64                8, 16
    cells per stage  5                         1
    reduction        residual block            ReLU, conv 3x3 with stride 2, BN

What differs: an edge out of a node that the input does not reach carries nothing here.
There, a convolution on it turns 0 into the bias of its batch norm, a learned constant.
"""

from collections.abc import Callable
from functools import partial
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from effdl.checks import check_images, check_positive
from effdl.nas.cell_classes import live_edges
from effdl.nas.cell_space import EDGES, OUTPUT, Cell

WIDTHS = (8, 16)  # channels of the small network's two stages


class ReluConvBn(nn.Module):
    """ReLU, convolution without bias, batch norm: what NAS-Bench-201 calls nor_conv.

    Maps (N, in_channels, H, W) to (N, out_channels, ceil(H / stride), ...).

    Example:
        >>> ReluConvBn(3, 8, 3, stride=2)(torch.zeros(1, 3, 9, 9)).shape
        torch.Size([1, 8, 5, 5])
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, stride: int = 1
    ) -> None:
        super().__init__()
        shape = (in_channels, out_channels, kernel_size, stride, kernel_size // 2)
        self.relu = nn.ReLU()
        self.conv = nn.Conv2d(*shape, bias=False)
        self.norm = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Return the feature maps (N, out_channels, ...)."""
        return self.norm(self.conv(self.relu(x)))


def operation(name: str, channels: int) -> nn.Module:
    """Return one of the four operations that carry something.

    Maps (N, channels, H, W) to the same shape.

    Args:
        name: From ``OPERATIONS``, but not none.
        channels: At least 1.

    Raises:
        ValueError: If there is nothing to build for the name.

    Example:
        >>> operation("skip_connect", 8)
        Identity()
    """
    if name == "skip_connect":
        return nn.Identity()
    if name == "nor_conv_1x1":
        return ReluConvBn(channels, channels, 1)
    if name == "nor_conv_3x3":
        return ReluConvBn(channels, channels, 3)
    if name == "avg_pool_3x3":
        return nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False)
    raise ValueError(
        f"no module for operation {name!r}; leave out the edges with 'none'"
    )


class CellBlock(nn.Module):
    """One cell as a module, (N, channels, H, W) to the same shape.

    Holds a module for every edge whose operation is not none, but runs only those on
    a path from input to output. A disconnected cell returns zeros.

    Args:
        cell: Which operation is on which edge.
        channels: Channels of all nodes, at least 1.

    Example:
        >>> CellBlock(Cell(("skip_connect",) * 6), 1)(torch.ones(1, 1, 1, 1)).item()
        4.0
    """

    def __init__(self, cell: Cell, channels: int) -> None:
        super().__init__()
        check_positive(channels=channels)
        self.live = live_edges(cell)
        self.edges = nn.ModuleDict({
            str(edge): operation(name, channels)
            for edge, name in enumerate(cell.operations)
            if name != "none"
        })

    def forward(self, x: Tensor) -> Tensor:
        """Return what the output node holds, shaped like ``x``."""
        nodes: dict[int, Tensor] = {0: x}
        for edge in self.live:
            source, target = EDGES[edge]
            sent = self.edges[str(edge)](nodes[source])
            nodes[target] = nodes[target] + sent if target in nodes else sent
        return nodes[OUTPUT] if OUTPUT in nodes else torch.zeros_like(x)


class CellNet(nn.Module):
    """Stem, stages of cells with reductions between, and a classifier.

    Maps images (N, c, H, W) to logits (N, classes).

    Args:
        stem: From images to widths[0] channels.
        block: Makes one cell for so many channels, as ``partial(CellBlock, cell)``.
        widths: Channels of the stages.
        cells: Cells in every stage, at least 1.
        reduction: Makes what is between two stages, from the channels before and after.
        classes: Logits, at least 1.

    Example:
        >>> small_cell_net(Cell(("none",) * 6)).classifier
        Linear(in_features=16, out_features=10, bias=True)
    """

    def __init__(
        self,
        stem: nn.Module,
        block: Callable[[int], nn.Module],
        *,
        widths: tuple[int, ...],
        cells: int,
        reduction: Callable[[int, int], nn.Module],
        classes: int,
    ) -> None:
        super().__init__()
        check_positive(cells=cells, classes=classes)
        layers: list[nn.Module] = [stem, *(block(widths[0]) for _ in range(cells))]
        for before, after in pairwise(widths):
            layers += [reduction(before, after), *(block(after) for _ in range(cells))]
        self.features = nn.Sequential(*layers)
        self.last = nn.BatchNorm2d(widths[-1])
        self.classifier = nn.Linear(widths[-1], classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (N, classes) for images (N, c, H, W)."""
        check_images(x)
        maps = F.relu(self.last(self.features(x)))
        return self.classifier(maps.mean(dim=(2, 3)))


def small_cell_net(
    cell: Cell, *, widths: tuple[int, ...] = WIDTHS, in_channels: int = 1
) -> CellNet:
    """Return the network of the book's own benchmark, for 12 x 12 digit scenes.

    Its convolutions start from a normal distribution of deviation sqrt(2 / fan out).

    Args:
        cell: The cell that is repeated.
        widths: Channels of the stages.
        in_channels: Channels of the images.

    Example:
        >>> net = small_cell_net(Cell(("nor_conv_3x3",) * 6))
        >>> net(torch.zeros(2, 1, 12, 12)).shape
        torch.Size([2, 10])
    """
    stem = nn.Sequential(
        nn.Conv2d(in_channels, widths[0], 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(widths[0]),
    )
    net = CellNet(
        stem,
        partial(CellBlock, cell),
        widths=widths,
        cells=1,
        reduction=partial(ReluConvBn, kernel_size=3, stride=2),
        classes=10,
    )
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out")
    return net
