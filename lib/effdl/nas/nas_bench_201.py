"""The network in which NAS-Bench-201 trained its cells.

Paper: Dong and Yang, "NAS-Bench-201", ICLR 2020, https://arxiv.org/abs/2001.00326,
section 2.1.

Three stages of five cells for 3 x 32 x 32 images, 16, 32 and 64 channels. For n1 and n3
convolutions of side 1 and 3 in the cell, used or not, and 10 classes

    parameters = 73,306 + 28,000 n1 + 243,040 n3

because a cell with C channels adds C (k^2 C + 2) for a convolution of side k. The cell
is all that differs between two of the networks: what it adds is linear in the counts.
So are the multiply-adds of one image of 32 x 32 pixels, if all edges are on a path:

    MACs = 7,783,040 + 3,932,160 n1 + 35,389,440 n3

The benchmark publishes larger numbers as FLOPs, because it also counts batch norm (2 a
value), ReLU (1) and pooling (9), for n0 poolings in the cell:

    7,943,872 + 4,362,240 n1 + 35,819,520 n3 + 1,290,240 n0
"""

from functools import partial

from torch import Tensor, nn

from effdl.checks import check_positive
from effdl.nas.cell_net import CellBlock, CellNet, ReluConvBn
from effdl.nas.cell_space import Cell


class ResidualReduction(nn.Module):
    """The block between two stages of NAS-Bench-201, (N, c, H, W) to (N, n, H/2, W/2).

    Two ReLU-conv3x3-BN, the first with stride 2, beside a 2 x 2 mean and a 1 x 1
    convolution.

    Example:
        >>> import torch
        >>> ResidualReduction(16, 32)(torch.zeros(1, 16, 8, 8)).shape
        torch.Size([1, 32, 4, 4])
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.main = nn.Sequential(
            ReluConvBn(in_channels, out_channels, 3, stride=2),
            ReluConvBn(out_channels, out_channels, 3),
        )
        self.side = nn.Sequential(
            nn.AvgPool2d(2), nn.Conv2d(in_channels, out_channels, 1, bias=False)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return both sides' sum, at half the resolution."""
        return self.main(x) + self.side(x)


def nas_bench_201_net(
    cell: Cell,
    *,
    width: int = 16,
    cells: int = 5,
    in_channels: int = 3,
    classes: int = 10,
) -> CellNet:
    """Return the network of NAS-Bench-201, with PyTorch's own initialisation.

    Args:
        cell: The cell that is repeated.
        width: Channels of the first stage; doubled twice.
        cells: Cells in every stage.
        in_channels: Channels of the images.
        classes: 10 for CIFAR-10, 100 for CIFAR-100, 120 for ImageNet-16-120.

    Example:
        >>> from effdl.measure.count import parameter_count
        >>> parameter_count(nas_bench_201_net(Cell(("nor_conv_1x1",) * 6)))
        241306
    """
    check_positive(width=width, in_channels=in_channels)
    stem = nn.Sequential(
        nn.Conv2d(in_channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
    )
    return CellNet(
        stem,
        partial(CellBlock, cell),
        widths=(width, 2 * width, 4 * width),
        cells=cells,
        reduction=ResidualReduction,
        classes=classes,
    )
