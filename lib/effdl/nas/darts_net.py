"""Networks of discrete DARTS cells: what is trained after the search.

Paper: Liu et al., "DARTS: Differentiable Architecture Search", ICLR 2019,
https://arxiv.org/abs/1806.09055, section 3.2.

    stem, normal cells, reduction, normal cells, reduction, normal cells, mean, linear

with the reductions at a third and two thirds of the depth, and twice the channels from
each of them on. If the cell before was a reduction, the one before it has twice the
resolution, and its output is halved first.

                     CIFAR-10 in the paper     digit scenes in this book
    images           3 x 32 x 32               1 x 12 x 12
    channels C       36                        4
    cells            20                        3: normal, reduction, reduction
    parameters       3,349,342 (DARTS_V2)      2,642

What differs: no auxiliary classifier and no drop-path, which serve the training of the
large network only. Neither counts for its published 3.3 million parameters.
"""

from torch import Tensor, nn

from effdl.checks import check_images, check_positive
from effdl.nas.darts_cell import DartsBlock
from effdl.nas.darts_space import Genotype

STEM_MULTIPLIER = 3  # the stem has 3 C channels


class DartsNet(nn.Module):
    """Stem, cells of two kinds, and a classifier; (N, c, H, W) to logits.

    Args:
        genotype: The two cells.
        width: Channels C of the first cells' nodes.
        cells: At least 3, so that both reductions have a place.
        in_channels: Channels c of the images.
        classes: Logits, at least 1.

    Raises:
        ValueError: If there are fewer than 3 cells.

    Example:
        >>> import torch
        >>> from effdl.nas.darts_space import DARTS_V2
        >>> DartsNet(DARTS_V2, width=4, cells=3)(torch.zeros(2, 3, 16, 16)).shape
        torch.Size([2, 10])
    """

    def __init__(
        self,
        genotype: Genotype,
        *,
        width: int = 36,
        cells: int = 20,
        in_channels: int = 3,
        classes: int = 10,
    ) -> None:
        super().__init__()
        check_positive(width=width, in_channels=in_channels, classes=classes)
        if cells < 3:
            raise ValueError(
                f"cells must be 3 or more, got {cells}; two are reductions"
            )
        stem = STEM_MULTIPLIER * width
        self.stem = nn.Sequential(
            nn.Conv2d(in_channels, stem, 3, padding=1, bias=False), nn.BatchNorm2d(stem)
        )
        self.cells = nn.ModuleList()
        before, channels, after_reduction = (stem, stem), width, False
        for number in range(cells):
            reduction = number in (cells // 3, 2 * cells // 3)
            channels = 2 * channels if reduction else channels
            block = DartsBlock(
                genotype.reduce if reduction else genotype.normal,
                before,
                channels,
                reduction=reduction,
                after_reduction=after_reduction,
            )
            self.cells.append(block)
            before = (before[1], len(block.cell.nodes) * channels)
            after_reduction = reduction
        self.classifier = nn.Linear(before[1], classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (N, classes) for images (N, c, H, W)."""
        check_images(x)
        before_last = last = self.stem(x)
        for cell in self.cells:
            before_last, last = last, cell(before_last, last)
        return self.classifier(last.mean(dim=(2, 3)))


def small_darts_net(genotype: Genotype) -> DartsNet:
    """Return a network of three cells for digit scenes, (N, 1, 12, 12) to 10 logits.

    Args:
        genotype: The two cells.

    Example:
        >>> import torch
        >>> from effdl.nas.darts_space import DARTS_V2
        >>> small_darts_net(DARTS_V2)(torch.zeros(2, 1, 12, 12)).shape
        torch.Size([2, 10])
    """
    return DartsNet(genotype, width=4, cells=3, in_channels=1)
