"""A cell with all operations at once, of which some can be switched off.

Paper: Chen et al., "Neural Architecture Search on ImageNet in Four GPU Hours" (TE-NAS),
ICLR 2021, https://arxiv.org/abs/2102.11535, section 3.2, on the space of
:mod:`effdl.nas.cell_space`.

    x_j = sum over i < j of the mean over the active o of o(x_i)

The authors weight the operations by a softmax of scores that start within about 0.001
of each other; the mean is that without the noise. With one operation left on each edge
it is the cell of that name. none is not among the operations: then no cell can come
out disconnected.
"""

from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from effdl.checks import check_positive
from effdl.nas.cell_net import CellNet, ReluConvBn, operation
from effdl.nas.cell_space import EDGES, OPERATIONS, OUTPUT

SEARCHED = tuple(name for name in OPERATIONS if name != "none")

Active = tuple[tuple[str, ...], ...]  # the operations left on each of the six edges


class SuperCell(nn.Module):
    """A cell with all operations on all edges, (N, channels, H, W) to the same shape.

    An edge sends the mean of its active operations; with one left on each, this is
    :class:`effdl.nas.cell_net.CellBlock`.

    Args:
        channels: Channels of all nodes, at least 1.

    Attributes:
        active: The operations that run on each edge, at first all.

    Example:
        >>> SuperCell(4)(torch.zeros(2, 4, 6, 6)).shape
        torch.Size([2, 4, 6, 6])
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        check_positive(channels=channels)
        self.active: Active = (SEARCHED,) * len(EDGES)
        self.edges = nn.ModuleDict({
            f"{edge} {name}": operation(name, channels)
            for edge in range(len(EDGES))
            for name in SEARCHED
        })

    def forward(self, x: Tensor) -> Tensor:
        """Return what the output node holds, shaped like ``x``."""
        nodes: dict[int, Tensor] = {0: x}
        for edge, (source, target) in enumerate(EDGES):
            names = self.active[edge]
            all_sent = [self.edges[f"{edge} {n}"](nodes[source]) for n in names]
            sent = torch.stack(all_sent).mean(dim=0)
            nodes[target] = nodes[target] + sent if target in nodes else sent
        return nodes[OUTPUT]


def super_cell_net(
    widths: tuple[int, ...],
    *,
    in_channels: int = 1,
    fan: Literal["fan_in", "fan_out"] = "fan_out",
) -> CellNet:
    """Return the book's small network with a :class:`SuperCell` in every stage.

    Args:
        widths: Channels of the stages.
        in_channels: Channels of the images.
        fan: By which the normal weights are scaled, as ``kaiming_normal_`` takes it.

    Example:
        >>> super_cell_net((4, 8))(torch.zeros(2, 1, 12, 12)).shape
        torch.Size([2, 10])
    """
    stem = nn.Sequential(
        nn.Conv2d(in_channels, widths[0], 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(widths[0]),
    )
    net = CellNet(
        stem,
        SuperCell,
        widths=widths,
        cells=1,
        reduction=partial(ReluConvBn, kernel_size=3, stride=2),
        classes=10,
    )
    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight, mode=fan)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return net


def restrict_(model: nn.Module, active: Active) -> None:
    """Change which operations run in every super cell of a model.

    Args:
        model: Its weights stay, those of operations that do not run, too.
        active: Names from ``SEARCHED`` for each of the six edges, at least one each.

    Raises:
        ValueError: If an edge has none, or something else.

    Example:
        >>> restrict_(SuperCell(4), (("skip_connect",),) * 6)
    """
    if len(active) != len(EDGES):
        raise ValueError(f"active must have {len(EDGES)} edges, got {len(active)}")
    for edge, names in enumerate(active):
        if not names or not set(names) <= set(SEARCHED):
            raise ValueError(
                f"active[{edge}] must name at least one of {list(SEARCHED)}, "
                f"got {list(names)}"
            )
    for module in model.modules():
        if isinstance(module, SuperCell):
            module.active = active
