"""Lottery tickets of graphs: which edges can go, and which weights.

Papers: Chen et al., "A Unified Lottery Ticket Hypothesis for Graph Neural Networks",
ICML 2021, https://arxiv.org/abs/2102.06790 (UGS); Kipf and Welling, "Semi-Supervised
Classification with Graph Convolutional Networks", ICLR 2017,
https://arxiv.org/abs/1609.02907 (the network).

    S      = D^(-1/2) (A g + I) D^(-1/2)         D: row sums of A g + I
    logits = S relu(S x (W_1 h_1)) (W_2 h_2)

Every edge has a gate g, one for both directions, and every weight a gate h. Weights and
gates are trained together, with an L1 penalty on the gates. Then, in each round,

    the 5 % of the edges, and the 20 % of the weights, with the smallest gates go;
    gates are 1 again, weights what they were at first

With all gates at 1 it is the plain network. The eigenvalues of S lie between -1 and 1,
whichever edges are gone, as long as no gate is negative: the loop of every node keeps
its row sum at 1 or more. While gates train, they may leave 0 to 1, as in the paper;
here negative gates of edges count as 0 in the network; how large they are ranks them.
With so strong a penalty that most end near 0, the noise of the optimiser chooses.

When not to trust it: a graph whose edges say nothing about the labels has no ticket of
this kind. And the matrix is dense here: a model of the method, not of its speed.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from effdl.prune.thresholds import keep_largest


def block_graph(labels: Tensor, *, inside: float, across: float) -> Tensor:
    """Return the adjacency matrix of a stochastic block model, (n, n), symmetric.

    Two nodes have an edge with a probability that depends on whether their labels are
    the same. Drawn from PyTorch's generator; no node has an edge to itself.

    Args:
        labels: Of the nodes, (n,).
        inside: Probability for nodes of one label.
        across: For nodes of two.

    Raises:
        ValueError: If a probability is not one.

    Example:
        >>> block_graph(torch.tensor([0, 0, 1]), inside=1.0, across=0.0).tolist()
        [[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]]
    """
    if not (0 <= inside <= 1 and 0 <= across <= 1):
        raise ValueError(
            f"inside and across must be from 0 to 1, got {inside} and {across}"
        )
    same = labels[:, None] == labels
    drawn = torch.rand(same.shape) < torch.where(same, inside, across)
    upper = drawn.triu(diagonal=1).float()
    return upper + upper.T


def normalised(adjacency: Tensor) -> Tensor:
    """Return S = D^(-1/2) (A + I) D^(-1/2), (n, n).

    Args:
        adjacency: (n, n), symmetric, not negative.

    Example:
        >>> normalised(torch.tensor([[0.0, 1.0], [1.0, 0.0]])).round(decimals=3)
        tensor([[0.5000, 0.5000],
                [0.5000, 0.5000]])
    """
    looped = adjacency + torch.eye(len(adjacency), dtype=adjacency.dtype)
    scale = looped.sum(dim=1).rsqrt()
    return scale[:, None] * looped * scale


class GatedGraphNet(nn.Module):
    """A graph convolutional network of two layers with gates on edges and weights.

    Maps features (n, c) of all nodes to logits (n, classes).

    Attributes:
        edges: Both ends of every edge, (2, E); the first is the smaller.
        gates: "edges" (E,), "first" (hidden, c), "second" (classes, hidden), trained.
        left: The same names and shapes, bool: what is not pruned.

    Args:
        adjacency: (n, n), symmetric, 0 or 1, no loops.
        widths: Features c, hidden units, classes.

    Raises:
        ValueError: If the adjacency is not what it should be.

    Example:
        >>> ring = torch.roll(torch.eye(4), 1, dims=0)
        >>> GatedGraphNet(ring + ring.T, (3, 8, 2))(torch.zeros(4, 3)).shape
        torch.Size([4, 2])
    """

    edges: Tensor

    def __init__(self, adjacency: Tensor, widths: tuple[int, int, int]) -> None:
        super().__init__()
        plain = adjacency.equal(adjacency.T) and bool((adjacency**2 == adjacency).all())
        if not plain or adjacency.diagonal().any():
            raise ValueError(
                "adjacency must be symmetric, of 0 and 1, with 0 on its diagonal, "
                f"got {tuple(adjacency.shape)} and values to {adjacency.max().item()}"
            )
        inputs, hidden, classes = widths
        self.nodes = len(adjacency)
        self.register_buffer("edges", adjacency.triu().nonzero().T.contiguous())
        self.first = nn.Linear(inputs, hidden, bias=False)
        self.second = nn.Linear(hidden, classes, bias=False)
        sizes = {"edges": self.edges[0], "first": self.first.weight}
        sizes["second"] = self.second.weight
        self.left = {n: torch.ones_like(t, dtype=torch.bool) for n, t in sizes.items()}
        ones = {n: nn.Parameter(left.float()) for n, left in self.left.items()}
        self.gates = nn.ParameterDict(ones)

    def weights(self) -> tuple[Tensor, Tensor]:
        """Return copies of the weights of both layers, without gates."""
        return self.first.weight.detach().clone(), self.second.weight.detach().clone()

    def adjacency(self) -> Tensor:
        """Return A g with what is left of the edges, (n, n)."""
        gates = torch.where(self.left["edges"], self.gates["edges"].clamp(min=0), 0)
        one_way = gates.new_zeros(self.nodes, self.nodes).index_put(
            (self.edges[0], self.edges[1]), gates
        )
        return one_way + one_way.T

    def forward(self, features: Tensor) -> Tensor:
        """Return logits (n, classes)."""
        send = normalised(self.adjacency())
        left, gates = self.left, self.gates
        first = torch.where(left["first"], self.first.weight * gates["first"], 0)
        second = torch.where(left["second"], self.second.weight * gates["second"], 0)
        return send @ (send @ features @ first.T).relu() @ second.T


def gate_penalty(net: GatedGraphNet, *, edges: float, weights: float) -> Tensor:
    """Return the L1 penalty: the sum of sizes of the gates that are left, weighed.

    Args:
        net: The network.
        edges: Factor for the gates of edges.
        weights: Factor for those of weights.

    Example:
        >>> net = GatedGraphNet(1 - torch.eye(2), (3, 4, 2))
        >>> gate_penalty(net, edges=1.0, weights=0.5).item()
        11.0
    """
    total = {n: gate[net.left[n]].abs().sum() for n, gate in net.gates.items()}
    return edges * total["edges"] + weights * (total["first"] + total["second"])


def prune_and_rewind_(
    net: GatedGraphNet,
    initial: tuple[Tensor, Tensor],
    *,
    edges: float = 0.05,
    weights: float = 0.2,
) -> None:
    """Change the network: the smallest gates go, the others are 1, weights as at first.

    Args:
        net: Trained.
        initial: Weights of both layers as they were before training.
        edges: Share of the edges left that goes, at least 0 and below 1.
        weights: Share of the weights left, of both layers together.

    Example:
        >>> net = GatedGraphNet(1 - torch.eye(3), (3, 4, 2))
        >>> prune_and_rewind_(net, net.weights(), edges=0.34)
        >>> [int(left.sum()) for left in net.left.values()]
        [2, 12, 4]
    """
    for names, share in ((["edges"], edges), (["first", "second"], weights)):
        net.left |= _smaller({n: net.gates[n] for n in names}, net.left, share)
    with torch.no_grad():
        for gate in net.gates.values():
            gate.fill_(1)
        net.first.weight.copy_(initial[0])
        net.second.weight.copy_(initial[1])


def _smaller(
    gates: Mapping[str, Tensor], left: Mapping[str, Tensor], share: float
) -> dict[str, Tensor]:
    """Return what is left without the share of the smallest gates of all names."""
    sizes = torch.cat([gate.detach().abs()[left[n]] for n, gate in gates.items()])
    parts = keep_largest(sizes, share).split([int(left[n].sum()) for n in gates])
    masks = {n: left[n].clone() for n in gates}
    for name, part in zip(gates, parts, strict=True):
        masks[name][left[name]] = part
    return masks
