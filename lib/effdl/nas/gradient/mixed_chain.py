"""A chain of blocks as a mixture: differentiable search in a block space.

Papers: Cai et al., "ProxylessNAS: Direct Neural Architecture Search on Target Task and
Hardware", ICLR 2019, https://arxiv.org/abs/1812.00332, section 3.1, for chains in which
every layer chooses for itself; the weighted sum is that of Liu et al., "DARTS", ICLR
2019, https://arxiv.org/abs/1806.09055.

    x_l = sum over k of  w[l, k] o_lk(x_(l-1))      k runs over the layer's candidates

The modules are those of a :class:`~effdl.nas.supernet.SuperNet`, which runs one path:
with one-hot weights both compute the same. Layers may differ in how many candidates
they have; weights are (layers, K) for the largest K, and what a layer does not have is
ignored.

What differs from the networks in the paper: :func:`small_mixed_chain` has the batch
norms of :func:`~effdl.nas.gradient.mixed_net.prepare_for_search_`. They use the batch
at hand, and inside the candidates they have no scale and shift.
"""

from torch import Tensor, nn

from effdl.nas.block_space import BlockSpace, Choices
from effdl.nas.gradient.architecture import Architecture
from effdl.nas.gradient.mixed import MixedOperation, Runs
from effdl.nas.gradient.mixed_net import prepare_for_search_
from effdl.nas.mbconv_space import small_mbconv_supernet
from effdl.nas.supernet import SuperNet


class MixedChain(nn.Module):
    """Stem, layers that are mixtures, and head; the modules are the supernet's own.

    Args:
        supernet: Whose blocks are weighted. It shares them from now on: what trains
            the one trains the other.

    Attributes:
        space: The supernet's.
        layers: A :class:`~effdl.nas.gradient.mixed.MixedOperation` for each layer.

    Example:
        >>> import torch
        >>> chain = MixedChain(small_mbconv_supernet())
        >>> weights = chain_architecture(chain.space)().softmax(dim=1)
        >>> chain(torch.zeros(2, 1, 12, 12), weights).shape
        torch.Size([2, 10])
    """

    def __init__(self, supernet: SuperNet) -> None:
        super().__init__()
        self.space = supernet.space
        self.stem = supernet.stem
        self.layers = nn.ModuleList(
            MixedOperation(dict(zip(names, supernet.candidates(layer), strict=True)))
            for layer, names in enumerate(self.space.layers)
        )
        self.head = supernet.head

    def forward(self, x: Tensor, weights: Tensor, runs: Runs | None = None) -> Tensor:
        """Return logits (N, classes).

        Args:
            x: Images, (N, c, H, W).
            weights: Of all layers, (layers, K).
            runs: Which candidates run in each layer; None: those not weighted 0.

        Raises:
            ValueError: If there is another number of layers.
        """
        if len(weights) != len(self.layers):
            raise ValueError(
                f"weights must be ({len(self.layers)}, K), a row for each layer, got "
                f"{tuple(weights.shape)}"
            )
        y = self.stem(x)
        for number, (layer, row) in enumerate(
            zip(self.layers, weights.unbind(), strict=True)
        ):
            y = layer(y, row, None if runs is None else runs[number])
        return self.head(y)


def chain_architecture(space: BlockSpace, *, spread: float = 1e-3) -> Architecture:
    """Return the logits of a search in a block space, one edge for each layer.

    Args:
        space: Whose candidates are chosen from.
        spread: Standard deviation of the logits at the start.

    Example:
        >>> space = small_mbconv_supernet().space
        >>> chain_architecture(space).active.sum(dim=1).tolist()
        [6, 7, 7, 6, 7, 7]
    """
    return Architecture([tuple(layer) for layer in space.layers], spread=spread)


def found_choices(architecture: Architecture) -> Choices:
    """Return the number of the strongest candidate of each layer, skips included.

    Args:
        architecture: Such as :func:`chain_architecture` returns.

    Example:
        >>> found_choices(Architecture([("k3", "k5"), ("k3",)], spread=0))
        (0, 0)
    """
    names = zip(architecture.candidates, architecture.strongest(never=()), strict=True)
    return tuple(layer.index(name) for layer, name in names)


def small_mixed_chain(*, in_channels: int = 1) -> MixedChain:
    """Return six mixed layers for 16 x 16 or 12 x 12 pixels, ready for a search.

    As :func:`~effdl.nas.mbconv_space.small_mbconv_supernet`, but for the batch norms
    and the start of the convolutions.

    Args:
        in_channels: Channels of the images.

    Example:
        >>> small_mixed_chain().space.size
        86436
    """
    chain = MixedChain(small_mbconv_supernet(in_channels=in_channels))
    prepare_for_search_(chain, MixedOperation)
    return chain
