"""The small network of many cells at once, made of stacked layers.

Paper: the networks are those of Dong and Yang, "NAS-Bench-201", ICLR 2020,
https://arxiv.org/abs/2001.00326, in this book's size, :mod:`effdl.nas.cell_net`.

R networks have different cells. For every edge, each operation is applied once, to
those networks that have it there:

    x_j[those] += o(x_i[those])        for every edge (i, j), for every operation o

Edges that do not lead from the input to the output are left out. Their weights would
not learn, and nothing would see it.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from effdl.nas.cell_classes import live_edges
from effdl.nas.cell_net import CellBlock, CellNet, ReluConvBn, small_cell_net
from effdl.nas.cell_space import EDGES, OPERATIONS, OUTPUT, Cell
from effdl.nas.stacked import StackedBatchNorm, StackedConv, StackedLinear
from effdl.seed import seeded


class StackedNets(nn.Module):
    """The small networks of R cells, (R, B, 12, 12) images to (R, B, classes) logits.

    Args:
        cells: R connected cells.
        seeds: R seeds of the first weights.

    Example:
        >>> nets = StackedNets([Cell(("skip_connect",) * 6)] * 3, [0, 1, 2])
        >>> nets(torch.zeros(3, 5, 12, 12)).shape
        torch.Size([3, 5, 10])
    """

    def __init__(self, cells: Sequence[Cell], seeds: Sequence[int]) -> None:
        super().__init__()
        if not cells or len(cells) != len(seeds):
            raise ValueError(
                f"give as many seeds as cells, and at least one, got {len(seeds)} "
                f"seeds and {len(cells)} cells"
            )
        nets = [_seeded_net(c, s) for c, s in zip(cells, seeds, strict=True)]
        stems, first, reductions, second = zip(*(n.features for n in nets), strict=True)
        self.stem = StackedConv([stem[0] for stem in stems])
        self.stem_norm = StackedBatchNorm([stem[1] for stem in stems])
        self.first = _StackedCells(cells, first)
        self.reduction = _StackedReluConvBn(reductions)
        self.second = _StackedCells(cells, second)
        self.last = StackedBatchNorm([net.last for net in nets])
        self.classifier = StackedLinear([net.classifier for net in nets])

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits of every network for its own images."""
        x = self.stem_norm(self.stem(images[..., None]))
        x = self.second(self.reduction(self.first(x)))
        return self.classifier(F.relu(self.last(x)).mean(dim=(2, 3)))


class _StackedReluConvBn(nn.Module):
    def __init__(self, layers: Sequence[ReluConvBn]) -> None:
        super().__init__()
        self.conv = StackedConv([layer.conv for layer in layers])
        self.norm = StackedBatchNorm([layer.norm for layer in layers])

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(F.relu(x)))


class _StackedCells(nn.Module):
    """One cell of every network, (R, B, H, W, c) to the same shape."""

    def __init__(self, cells: Sequence[Cell], blocks: Sequence[CellBlock]) -> None:
        super().__init__()
        live = [set(live_edges(cell)) for cell in cells]
        self.layers = nn.ModuleDict()
        self.plan: list[tuple[int, str, str]] = []
        for edge in range(len(EDGES)):
            for name in OPERATIONS[1:]:
                those = [
                    r
                    for r, cell in enumerate(cells)
                    if edge in live[r] and cell.operations[edge] == name
                ]
                if not those:
                    continue
                key = f"{edge}_{name}"
                if name.startswith("nor_conv"):
                    layers = [blocks[r].edges[str(edge)] for r in those]
                    modules = [x for x in layers if isinstance(x, ReluConvBn)]
                    self.layers[key] = _StackedReluConvBn(modules)
                self.register_buffer(f"those_{key}", torch.tensor(those))
                self.plan.append((edge, name, key))

    def forward(self, x: Tensor) -> Tensor:
        nodes = [x, *(torch.zeros_like(x) for _ in range(OUTPUT))]
        for edge, name, key in self.plan:
            source, target = EDGES[edge]
            those = self.get_buffer(f"those_{key}")
            sent = nodes[source].index_select(0, those)
            if name == "avg_pool_3x3":
                sent = average_pool(sent)
            elif name != "skip_connect":
                sent = self.layers[key](sent)
            nodes[target].index_add_(0, those, sent)
        return nodes[OUTPUT]


def average_pool(x: Tensor) -> Tensor:
    """Return the mean of the 3 x 3 pixels around each, those outside left out.

    Args:
        x: Feature maps (R, B, H, W, c); the result has the same shape.

    Example:
        >>> average_pool(torch.ones(1, 1, 2, 2, 1)).flatten().tolist()
        [1.0, 1.0, 1.0, 1.0]
    """
    rows = _threes(torch.ones_like(x[:1, :1, :, :1, :1]), 2)  # how many there are
    columns = _threes(torch.ones_like(x[:1, :1, :1, :, :1]), 3)
    return _threes(_threes(x, 2), 3) / (rows * columns)


def _threes(x: Tensor, dim: int) -> Tensor:
    """Return the sum of each entry with the one before and the one after it."""
    length = x.shape[dim]
    total = x.clone()
    total.narrow(dim, 1, length - 1).add_(x.narrow(dim, 0, length - 1))
    total.narrow(dim, 0, length - 1).add_(x.narrow(dim, 1, length - 1))
    return total


def _seeded_net(cell: Cell, seed: int) -> CellNet:
    if not live_edges(cell):
        raise ValueError(f"{cell} is disconnected; leave it out")
    with seeded(seed):
        return small_cell_net(cell)
