"""Supernets of a differentiable search: every candidate on every edge, weighted.

Papers: Liu et al., "DARTS: Differentiable Architecture Search", ICLR 2019,
https://arxiv.org/abs/1806.09055; the four-node cell and its network are those of Dong
and Yang, "NAS-Bench-201", ICLR 2020, https://arxiv.org/abs/2001.00326.

    net(x, weights)    weights (edges, K), shared by all cells

With the weights of one discrete cell this computes what the network of that cell does,
at its cost.

What differs from a network of one cell: batch norms use the mean and variance of the
batch at hand, in evaluation mode, too; a running mean would mix those of all
architectures. Inside an edge they have no scale and shift, so that a candidate cannot
make up for a small weight.
"""

from collections.abc import Callable, Mapping, Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from effdl.checks import check_images, check_positive
from effdl.nas.cell_net import WIDTHS, ReluConvBn, operation
from effdl.nas.cell_space import EDGES, OPERATIONS, OUTPUT
from effdl.nas.darts_operations import Zero
from effdl.nas.gradient.mixed import MixedOperation, Runs

MakeEdge = Callable[[Mapping[str, nn.Module]], nn.Module]


class MixedCell(nn.Module):
    """The four-node cell with a mixture on each of its six edges; shapes stay.

    Args:
        channels: Channels of all nodes, at least 1.
        names: Candidates of every edge, from the space's ``OPERATIONS``.
        make_edge: Makes an edge from its candidates by name; the result is called
            as :class:`~effdl.nas.gradient.mixed.MixedOperation` is.

    Raises:
        ValueError: If there is no candidate.

    Example:
        >>> import torch
        >>> uniform = torch.full((6, 5), 0.2)
        >>> MixedCell(4)(torch.zeros(2, 4, 6, 6), uniform).shape
        torch.Size([2, 4, 6, 6])
    """

    def __init__(
        self,
        channels: int,
        names: Sequence[str] = OPERATIONS,
        make_edge: MakeEdge = MixedOperation,
    ) -> None:
        super().__init__()
        check_positive(channels=channels)
        if not names:
            raise ValueError("names is empty; give the edges at least one operation")
        self.edges = nn.ModuleList(
            make_edge({
                name: Zero() if name == "none" else operation(name, channels)
                for name in names
            })
            for _ in EDGES
        )

    def forward(self, x: Tensor, weights: Tensor, runs: Runs | None = None) -> Tensor:
        """Return what the output node holds, shaped like ``x``.

        Args:
            x: The input node.
            weights: Of all edges, (6, K).
            runs: Which candidates run on each edge; None: those not weighted 0.
        """
        nodes: dict[int, Tensor] = {0: x}
        rows = weights.unbind()
        for edge, (source, target) in enumerate(EDGES):
            chosen = None if runs is None else runs[edge]
            sent = self.edges[edge](nodes[source], rows[edge], chosen)
            nodes[target] = nodes[target] + sent if target in nodes else sent
        return nodes[OUTPUT]


class MixedNet(nn.Module):
    """Stem, layers of which some are mixed, and a classifier.

    Args:
        layers: Called one after the other, those of ``mixed`` with the weights, too.
        mixed: The type of the mixed layers.
        channels: Of the last layer's output.
        classes: Logits, at least 1.

    Example:
        >>> small_mixed_net().classifier
        Linear(in_features=16, out_features=10, bias=True)
    """

    def __init__(
        self,
        layers: Sequence[nn.Module],
        *,
        mixed: type[nn.Module],
        channels: int,
        classes: int,
    ) -> None:
        super().__init__()
        check_positive(channels=channels, classes=classes)
        self.layers = nn.ModuleList(layers)
        self.mixed = mixed
        self.last = nn.BatchNorm2d(channels)
        self.classifier = nn.Linear(channels, classes)

    def forward(self, x: Tensor, weights: Tensor, runs: Runs | None = None) -> Tensor:
        """Return logits (N, classes) for images (N, c, H, W).

        Args:
            x: The images.
            weights: Of all edges, (edges, K).
            runs: Which candidates run on each edge; None: those not weighted 0.
        """
        check_images(x)
        for layer in self.layers:
            is_mixed = isinstance(layer, self.mixed)
            x = layer(x, weights, runs) if is_mixed else layer(x)
        return self.classifier(F.relu(self.last(x)).mean(dim=(2, 3)))


def small_mixed_net(
    names: Sequence[str] = OPERATIONS,
    *,
    widths: tuple[int, ...] = WIDTHS,
    cells: int = 1,
    in_channels: int = 1,
    make_edge: MakeEdge = MixedOperation,
) -> MixedNet:
    """Return the network of the book's own benchmark with a mixture on every edge.

    Args:
        names: Candidates of every edge.
        widths: Channels of the stages.
        cells: Cells in every stage. The benchmark's networks have one.
        in_channels: Channels of the images.
        make_edge: Makes an edge, as for :class:`MixedCell`.

    Example:
        >>> import torch
        >>> uniform = torch.full((6, 5), 0.2)
        >>> small_mixed_net()(torch.zeros(2, 1, 12, 12), uniform).shape
        torch.Size([2, 10])
    """
    check_positive(cells=cells)
    stem = nn.Conv2d(in_channels, widths[0], 3, stride=2, padding=1, bias=False)
    layers: list[nn.Module] = [nn.Sequential(stem, nn.BatchNorm2d(widths[0]))]
    before = widths[0]
    for width in widths:
        if len(layers) > 1:
            layers.append(ReluConvBn(before, width, 3, stride=2))
        layers += [MixedCell(width, names, make_edge) for _ in range(cells)]
        before = width
    net = MixedNet(layers, mixed=MixedCell, channels=before, classes=10)
    prepare_for_search_(net, MixedCell)
    return net


def prepare_for_search_(net: nn.Module, mixed: type[nn.Module]) -> None:
    """Make batch norms use the batch at hand, and start convolutions normally.

    Convolutions start from a normal distribution of deviation sqrt(2 / fan out).

    Args:
        net: Changed in place.
        mixed: Batch norms inside modules of this type lose their scale and shift.

    Example:
        >>> net = nn.Sequential(nn.Sequential(nn.BatchNorm2d(2)), nn.BatchNorm2d(2))
        >>> prepare_for_search_(net, nn.ModuleList)
        >>> net[1].running_mean is None
        True
    """
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out")
        if isinstance(module, nn.BatchNorm2d):
            module.track_running_stats = False
            module.running_mean = module.running_var = None
            module.num_batches_tracked = None
    inside = [
        inner
        for outer in net.modules()
        if isinstance(outer, mixed)
        for inner in outer.modules()
    ]
    for module in inside:
        if isinstance(module, nn.BatchNorm2d):
            module.affine = False
            module.register_parameter("weight", None)
            module.register_parameter("bias", None)
