"""Trained quantisation by weight sharing: few values a layer, and they learn.

Paper: Han et al., "Deep Compression: Compressing Deep Neural Networks with Pruning,
Trained Quantization and Huffman Coding", ICLR 2016, https://arxiv.org/abs/1510.00149,
section 3.

The weights of a layer that are left are put into k clusters, and each is replaced by
the centre of its cluster. A weight is then a code of few bits, and a table holds the
values. Training moves the values: by the sum of the gradients of all their weights,

    weight_ij = c[code_ij]        dL / dc_m = sum over all ij with code m of dL / dw_ij

n weights of b bits become n codes and k values:    rate = n b / (n log2 k + k b)

Centres start evenly between the smallest and the largest weight. Large weights are few
and matter; centres that start where the weights are leave them to one or two.

What differs: one of the 2^bits codes is the value 0, for weights that are gone and for
fillers, so k = 2^bits - 1. The centres come from scikit-learn.
"""

import math
from collections.abc import Callable

import torch
from sklearn.cluster import KMeans
from torch import Tensor, nn
from torch.nn.utils import parametrize

from effdl.checks import check_positive
from effdl.nas.proxies.weights import connection_weights
from effdl.prune.masks import masks_of

Start = Callable[[Tensor, int], Tensor]


def even_centres(values: Tensor, clusters: int) -> Tensor:
    """Return centres evenly between the smallest and the largest value, (k,).

    Args:
        values: (n,).
        clusters: How many k.

    Example:
        >>> even_centres(torch.tensor([0.0, 1.0, 4.0]), 3)
        tensor([0., 2., 4.])
    """
    return torch.linspace(values.min().item(), values.max().item(), clusters)


def dense_centres(values: Tensor, clusters: int) -> Tensor:
    """Return the medians of k groups of equally many values, (k,).

    Args:
        values: (n,).
        clusters: How many k.

    Example:
        >>> dense_centres(torch.tensor([0.0, 1.0, 4.0]), 3)
        tensor([0.3333, 1.0000, 3.0000])
    """
    return values.quantile((torch.arange(clusters) + 0.5) / clusters)


def cluster(
    values: Tensor, clusters: int, *, start: Start = even_centres
) -> tuple[Tensor, Tensor]:
    """Return the centres, rising, (k or fewer,), and the cluster of every value, (n,).

    Args:
        values: What is grouped, (n,), n at least 1.
        clusters: At most so many; if there are no more different values, those.
        start: Where k-means begins.

    Example:
        >>> cluster(torch.tensor([1.0, 5.0, 1.2, 5.2]), 2)
        (tensor([1.1000, 5.1000]), tensor([0, 1, 0, 1]))
    """
    check_positive(clusters=clusters, values=len(values))
    distinct, codes = values.unique(return_inverse=True)
    if len(distinct) <= clusters:
        return distinct, codes
    points = values.double().numpy()[:, None]
    first = start(values, clusters).double().numpy()[:, None]
    found = KMeans(clusters, init=first, n_init=1, tol=0).fit(points)
    used, codes = torch.from_numpy(found.labels_).long().unique(return_inverse=True)
    centres = torch.from_numpy(found.cluster_centers_[:, 0]).to(values)[used]
    order = centres.argsort()
    return centres[order], order.argsort()[codes]


class SharedWeight(nn.Module):
    """Makes a weight of its values, as a parametrization whose parameter they are.

    Args:
        values: The table, (k,).
        codes: Shaped like the weight: 0 for 0, m for the value m - 1.

    Example:
        >>> shared = SharedWeight(torch.tensor([0.5]), torch.tensor([[1, 0]]))
        >>> shared(torch.tensor([0.7]))
        tensor([[0.7000, 0.0000]])
    """

    codes: Tensor
    start: Tensor

    def __init__(self, values: Tensor, codes: Tensor) -> None:
        super().__init__()
        self.register_buffer("codes", codes)
        self.register_buffer("start", values, persistent=False)

    def forward(self, values: Tensor) -> Tensor:
        """Return the weight."""
        return torch.cat([values.new_zeros(1), values])[self.codes]

    def right_inverse(self, _weight: Tensor) -> Tensor:
        """Return the values that are trained instead of the weight."""
        return self.start.clone()


def share_weights_(
    model: nn.Module, bits_of: Callable[[Tensor], int], *, start: Start = even_centres
) -> None:
    """Change the network: its weights share values, which are what it trains.

    Zeros stay zeros. Make an optimiser afterwards: the parameters are new ones.

    Args:
        model: Trained, pruned and made permanent.
        bits_of: Returns the bits of a code for a weight, 1 to 16.
        start: Where k-means begins.

    Raises:
        ValueError: If the network still holds masks, bits are out of range, or a layer
            has no weight left; then nothing is changed.

    Example:
        >>> layer = nn.Linear(100, 10)
        >>> share_weights_(layer, lambda weight: 2)
        >>> len(layer.weight.unique())
        3
    """
    if masks_of(model):
        raise ValueError("model holds masks; call make_permanent_ before sharing")
    shared = {}
    for name, weight in connection_weights(model).items():
        bits, kept = bits_of(weight), weight.detach() != 0
        if not 1 <= bits <= 16:
            raise ValueError(f"bits_of must return 1 to 16, got {bits} for {name}")
        if not kept.any():
            raise ValueError(f"{name} has no weight left; take the layer out")
        codes = torch.zeros(weight.shape, dtype=torch.long)
        values, found = cluster(weight.detach()[kept], 2**bits - 1, start=start)
        codes[kept] = found + 1
        shared[name] = SharedWeight(values, codes)
    for name, table in shared.items():
        path, _, tensor = name.rpartition(".")
        layer = model.get_submodule(path)
        parametrize.register_parametrization(layer, tensor, table, unsafe=True)


def shared_of(model: nn.Module) -> dict[str, tuple[Tensor, Tensor]]:
    """Return values (k,) and codes (shaped like the weight) by the weight's name.

    Args:
        model: What :func:`share_weights_` changed; else nothing is returned.

    Example:
        >>> shared_of(nn.Linear(2, 2))
        {}
    """
    return {
        f"{path}.{tensor}".removeprefix("."): (
            chain.original.detach().clone(),
            chain[0].codes,
        )
        for path, layer in model.named_modules()
        if parametrize.is_parametrized(layer)
        for tensor, chain in layer.parametrizations.items()
        if isinstance(chain[0], SharedWeight)
    }


def sharing_rate(weights: int, bits: int, clusters: int) -> float:
    """Return by which factor sharing makes a layer smaller.

    Args:
        weights: How many n.
        bits: Bits b of a weight and of a value in the table.
        clusters: Values k.

    Example:
        >>> sharing_rate(16, 32, 4)
        3.2
    """
    check_positive(weights=weights, bits=bits, clusters=clusters)
    return weights * bits / (weights * math.log2(clusters) + clusters * bits)
