"""RandWire: draw the wiring at random, and search nothing.

Paper: Xie et al., "Exploring Randomly Wired Neural Networks for Image Recognition",
ICCV 2019, https://arxiv.org/abs/1904.01569, section 3.

A random graph without cycles becomes a stage of a network. With one learned number
w_ij for every edge, a node holds

    x_j = BN(pointwise(depthwise3x3(ReLU(sum over i -> j of sigmoid(w_ij) x_i))))

Nodes that nothing leads to read the stage's input, with the stage's stride. The
stage's output is the mean of the nodes that lead nowhere.

The w_ij start at 0, that is, every edge at the weight 1/2. What differs: the small
network is for digit scenes, with as many stages as there are graphs.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from effdl.blocks import conv_bn, mean_linear
from effdl.checks import check_images, check_positive
from effdl.nas.random_graphs import Graph


class WiredNode(nn.Sequential):
    """ReLU, separable 3 x 3 convolution, batch norm.

    Maps (N, in_channels, H, W) to (N, out_channels, ceil(H / stride), ...).

    Args:
        in_channels: Channels that the node reads.
        out_channels: Channels that it holds.
        stride: Of the depthwise convolution.

    Example:
        >>> WiredNode(4, 8, 2)(torch.zeros(1, 4, 9, 9)).shape
        torch.Size([1, 8, 5, 5])
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        check_positive(in_channels=in_channels, out_channels=out_channels)
        check_positive(stride=stride)
        super().__init__(
            nn.ReLU(),
            nn.Conv2d(
                in_channels,
                in_channels,
                3,
                stride,
                padding=1,
                groups=in_channels,
                bias=False,
            ),
            nn.Conv2d(in_channels, out_channels, 1, bias=False),
            nn.BatchNorm2d(out_channels),
        )


class RandomlyWired(nn.Module):
    """One stage: a graph whose nodes are small convolutions.

    Maps (N, in_channels, H, W) to (N, channels, ceil(H / stride), ceil(W / stride)).
    ``ValueError`` if a number is below 1.

    Args:
        graph: The wiring.
        in_channels: Channels of the stage's input.
        channels: Channels of every node.
        stride: Of the nodes that read the input.

    Attributes:
        wires: The w_ij, one for every edge, in the order of ``graph.edges``.

    Example:
        >>> stage = RandomlyWired(Graph(3, ((0, 1), (0, 2))), 4, 8)
        >>> stage(torch.zeros(1, 4, 16, 16)).shape
        torch.Size([1, 8, 8, 8])
    """

    def __init__(
        self, graph: Graph, in_channels: int, channels: int, *, stride: int = 2
    ) -> None:
        super().__init__()
        self.graph = graph
        self.in_channels = in_channels
        self.nodes = nn.ModuleList(
            WiredNode(in_channels, channels, stride)
            if node in graph.sources
            else WiredNode(channels, channels)
            for node in range(graph.nodes)
        )
        self.wires = nn.Parameter(torch.zeros(len(graph.edges)))

    def forward(self, x: Tensor) -> Tensor:
        """Return the mean of the sinks.

        Raises ``ValueError`` if ``x`` is not a batch of ``in_channels`` maps.
        """
        check_images(x, self.in_channels)
        gates = dict(zip(self.graph.edges, self.wires.sigmoid(), strict=True))
        held: list[Tensor] = []  # (N, channels, H', W') of every node
        for node, module in enumerate(self.nodes):
            sent = [gates[i, node] * held[i] for i in self.graph.before(node)]
            held.append(module(torch.stack(sent).sum(0) if sent else x))
        return torch.stack([held[i] for i in self.graph.sinks]).mean(0)


def small_randwire(
    graphs: Sequence[Graph], *, width: int = 8, in_channels: int = 1, classes: int = 10
) -> nn.Sequential:
    """Return a randomly wired network for digit scenes, (N, 1, 16, 16) to (N, 10).

    A 3 x 3 convolution, one stage per graph, a pointwise convolution, and the mean
    over all pixels before a linear layer. Every stage halves the resolution; every
    stage but the first doubles the channels.

    Args:
        graphs: The wiring of the stages, at least one.
        width: Channels of the first stage.
        in_channels: Channels of the images.
        classes: Logits.

    Raises:
        ValueError: If there is no graph, or a number is below 1.

    Example:
        >>> graph = Graph(4, ((0, 1), (0, 2), (1, 3), (2, 3)))
        >>> small_randwire([graph, graph])(torch.zeros(2, 1, 16, 16)).shape
        torch.Size([2, 10])
    """
    check_positive(width=width, in_channels=in_channels, classes=classes)
    if not graphs:
        raise ValueError("graphs is empty; give the wiring of at least one stage")
    layers: list[nn.Module] = [conv_bn(in_channels, width, 3, activation=None)]
    channels = before = width
    for graph in graphs:
        layers.append(RandomlyWired(graph, before, channels))
        before, channels = channels, 2 * channels
    layers.append(conv_bn(before, 2 * before, 1))
    return nn.Sequential(*layers, *mean_linear(2 * before, classes))
