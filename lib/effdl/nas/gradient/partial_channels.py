"""PC-DARTS: a share of the channels goes through the mixture, the rest goes by.

Paper: Xu et al., "PC-DARTS: Partial Channel Connections for Memory-Efficient
Architecture Search", ICLR 2020, https://arxiv.org/abs/1907.05737.

Partial channels. Of the C channels that an edge reads, the first C / K go through all
candidates, the others go by them:

    f(x) = shuffle_K(cat(sum over k of softmax(alpha)_k o_k(x[:C/K]),  x[C/K:]))

An edge with stride 2 takes the largest of 2 x 2 pixels of what goes by. The shuffle
deals the channels out anew, so that the next edge's first C / K are others. What the
backward pass has to remember of the candidates falls to 1 / K.

Edge normalisation. That few channels decide makes the choice of edges unsteady. So each
edge has one more number, beta, which all its candidates share:

    x_j = sum over i < j of  s_ij f_ij(x_i),    s = softmax of beta over the i
    score of candidate k on edge e at the end:  s_e softmax(alpha_e)_k

Here the share s is part of the weights of an edge, softmax(alpha) times s. They sum to
s, and that is the factor of what goes by; without betas it is 1. In the paper alpha and
beta rest at first: ``warm_up`` of the search, 15 of 50 epochs.

A supernet whose weights are one-hot is *not* the discrete network here: three quarters
of the channels still go by, even on an edge with none. Its accuracy with inherited
weights says little; train what was found.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from effdl.checks import check_divides, check_positive
from effdl.conv.channel_shuffle import channel_shuffle
from effdl.nas.cell_net import WIDTHS
from effdl.nas.cell_space import OPERATIONS
from effdl.nas.gradient.architecture import Architecture
from effdl.nas.gradient.mixed import MixedOperation
from effdl.nas.gradient.mixed_net import (
    MixedCell,
    MixedNet,
    prepare_for_search_,
    small_mixed_net,
)
from effdl.nas.gradient.relaxations import softmax_weights


class PartialChannels(nn.Module):
    """An edge that mixes the first of its channels and lets the others by.

    Args:
        candidates: The modules by name, each for C / K channels.
        parts: K, a divisor of C.

    Example:
        >>> edge = PartialChannels({"relu": nn.ReLU()}, parts=2)
        >>> x = torch.tensor([-1.0, 1.0, -2.0, 2.0]).view(1, 4, 1, 1)
        >>> edge(x, torch.ones(1)).flatten().tolist()
        [0.0, -2.0, 1.0, 2.0]
    """

    def __init__(self, candidates: Mapping[str, nn.Module], parts: int = 4) -> None:
        super().__init__()
        check_positive(parts=parts)
        self.parts = parts
        self.mixture = MixedOperation(candidates)

    def forward(
        self, x: Tensor, weights: Tensor, runs: Sequence[int] | None = None
    ) -> Tensor:
        """Return all channels, shuffled, (N, C, ...).

        Raises ``ValueError`` if K does not divide C.

        Args:
            x: What the edge reads, (N, C, H, W).
            weights: One for each candidate, (K,).
            runs: Numbers of the candidates that run. None means those not weighted 0.
        """
        check_divides("parts", self.parts, channels=x.shape[1])
        taken = x.shape[1] // self.parts
        mixed = self.mixture(x[:, :taken], weights, runs)
        if self.parts == 1:
            return mixed
        past = x[:, taken:]
        if mixed.shape[-2:] != x.shape[-2:]:
            past = F.max_pool2d(past, 2, ceil_mode=True)
        both = torch.cat((mixed, weights.sum() * past), dim=1)  # (N, C, ...)
        return channel_shuffle(both, self.parts)


class EdgeArchitecture(Architecture):
    """Logits of candidates, and one number beta for each edge.

    Args:
        candidates: Names of the candidates of each edge.
        targets: The node that each edge ends in, any number that is equal for the
            edges that are compared.
        spread: Standard deviation of logits and betas at the start.

    Raises:
        ValueError: If there is not one target for each edge.

    Attributes:
        betas: The second parameter, (edges,).
        same_node: Which edges end in the same node, bool, (edges, edges).

    Example:
        >>> from effdl.nas.cell_space import EDGES
        >>> targets = [target for _, target in EDGES]
        >>> found = EdgeArchitecture([OPERATIONS] * 6, targets, spread=0)
        >>> [round(share, 2) for share in found.shares().tolist()]
        [1.0, 0.5, 0.5, 0.33, 0.33, 0.33]
    """

    same_node: Tensor

    def __init__(
        self,
        candidates: Sequence[Sequence[str]],
        targets: Sequence[int],
        *,
        spread: float = 1e-3,
    ) -> None:
        super().__init__(candidates, spread=spread)
        if len(targets) != len(self.candidates):
            raise ValueError(
                f"targets must be {len(self.candidates)} nodes, one per edge, got "
                f"{len(targets)}"
            )
        self.betas = nn.Parameter(spread * torch.randn(len(targets)))
        node = torch.tensor(targets)
        self.register_buffer("same_node", node[:, None] == node)

    def shares(self) -> Tensor:
        """Return softmax(beta) over the edges that end in one node, (edges,)."""
        others = self.betas.expand(len(self.betas), -1)
        among = others.masked_fill(~self.same_node, -torch.inf)
        return among.softmax(dim=1).diagonal()


def edge_normalised_weights(
    architecture: Architecture, _progress: float = 0.0
) -> Tensor:
    """Return softmax(alpha) times the share of its edge, (edges, K): a relaxation.

    Args:
        architecture: An :class:`EdgeArchitecture`.

    Raises:
        ValueError: If it has no betas.

    Example:
        >>> pair = EdgeArchitecture([("skip", "conv")] * 2, [1, 1], spread=0)
        >>> edge_normalised_weights(pair).tolist()
        [[0.25, 0.25], [0.25, 0.25]]
    """
    if not isinstance(architecture, EdgeArchitecture):
        raise ValueError(
            f"architecture must be an EdgeArchitecture, which has betas, got "
            f"{type(architecture).__name__}"
        )
    return softmax_weights(architecture) * architecture.shares()[:, None]


def small_partial_net(
    names: Sequence[str] = OPERATIONS,
    *,
    parts: int = 4,
    widths: tuple[int, ...] = WIDTHS,
) -> MixedNet:
    """Return the small supernet of the four-node cell with partial channels.

    Raises ``ValueError`` if K does not divide a width.

    Args:
        names: Candidates of every edge.
        parts: K.
        widths: Channels of the stages.

    Example:
        >>> net = small_partial_net()
        >>> net(torch.zeros(2, 1, 12, 12), torch.full((6, 5), 0.2)).shape
        torch.Size([2, 10])
    """
    check_divides("parts", parts, **{f"width_{w}": w for w in widths})
    net = small_mixed_net(names, widths=widths)
    make_edge = partial(PartialChannels, parts=parts)
    places = [n for n, layer in enumerate(net.layers) if isinstance(layer, MixedCell)]
    for place, width in zip(places, widths, strict=True):
        net.layers[place] = MixedCell(width // parts, names, make_edge)
    prepare_for_search_(net, MixedCell)
    return net
