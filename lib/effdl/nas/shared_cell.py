"""A network that holds all cells at once, and runs one of them.

Papers: Li and Talwalkar, "Random Search and Reproducibility for Neural Architecture
Search", UAI 2019, https://arxiv.org/abs/1902.07638; and, for the space and the network,
Dong and Yang, "NAS-Bench-201", ICLR 2020, https://arxiv.org/abs/2001.00326.

Every edge has a module for every operation. A cell is a path: one operation per edge.

    x_j = sum over i < j of o_ij(x_i),    o_ij one of the edge's five operations

So 15,625 networks share the weights of one, the *supernet*, which is not much larger
than the largest of them, and each runs at its own cost.

What differs from a network of one cell: batch norms use the mean and variance of the
batch at hand, in evaluation mode, too, because a running mean would mix those of all
cells. Do not score single images with it.
"""

from functools import partial
from typing import cast

import torch
from torch import Tensor, nn

from effdl.checks import check_positive
from effdl.nas.cell_classes import live_edges
from effdl.nas.cell_net import WIDTHS, CellNet, ReluConvBn, operation
from effdl.nas.cell_space import EDGES, OPERATIONS, OUTPUT, Cell

SKIPS = Cell(("skip_connect",) * len(EDGES))  # the path at first: it needs no weights


class SharedCell(nn.Module):
    """All cells at once, of which one is used: (N, channels, H, W) to the same shape.

    Args:
        channels: Channels of all nodes, at least 1.

    Attributes:
        cell: The path that ``forward`` takes.

    Example:
        >>> shared = SharedCell(4)
        >>> shared(torch.ones(1, 4, 2, 2)).unique()  # four paths of skips in parallel
        tensor([4.])
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        check_positive(channels=channels)
        self.cell = SKIPS
        self.edges = nn.ModuleList(
            nn.ModuleDict({
                name: operation(name, channels) for name in OPERATIONS if name != "none"
            })
            for _ in EDGES
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return what the chosen cell's output node holds, shaped like ``x``."""
        nodes: dict[int, Tensor] = {0: x}
        for edge in live_edges(self.cell):
            source, target = EDGES[edge]
            choices = cast("nn.ModuleDict", self.edges[edge])
            sent = choices[self.cell.operations[edge]](nodes[source])
            nodes[target] = nodes[target] + sent if target in nodes else sent
        return nodes[OUTPUT] if OUTPUT in nodes else torch.zeros_like(x)


def small_supernet(
    *, widths: tuple[int, ...] = WIDTHS, in_channels: int = 1
) -> CellNet:
    """Return the network of the book's own benchmark, with all cells in it.

    As :func:`~effdl.nas.cell_net.small_cell_net`, but for the batch norms.

    Args:
        widths: Channels of the stages.
        in_channels: Channels of the images.

    Example:
        >>> small_supernet()(torch.zeros(2, 1, 12, 12)).shape
        torch.Size([2, 10])
    """
    stem = nn.Sequential(
        nn.Conv2d(in_channels, widths[0], 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(widths[0]),
    )
    net = CellNet(
        stem,
        SharedCell,
        widths=widths,
        cells=1,
        reduction=partial(ReluConvBn, kernel_size=3, stride=2),
        classes=10,
    )
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out")
        if isinstance(module, nn.BatchNorm2d):
            module.track_running_stats = False
            module.running_mean = module.running_var = None
            module.num_batches_tracked = None
    return net


def choose_path_(supernet: nn.Module, cell: Cell) -> None:
    """Make every shared cell of a supernet take the path of ``cell``.

    Args:
        supernet: Changed in place.
        cell: Any cell; a disconnected one returns zeros.

    Raises:
        ValueError: If there is no shared cell.

    Example:
        >>> net = SharedCell(4)
        >>> choose_path_(net, Cell.numbered(0))
        >>> net.cell.index
        0
    """
    shared = [m for m in supernet.modules() if isinstance(m, SharedCell)]
    if not shared:
        raise ValueError("supernet has no SharedCell; make it with small_supernet()")
    for module in shared:
        module.cell = cell
