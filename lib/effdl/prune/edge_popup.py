"""Edge-popup: learn which random weights to keep, and never change one.

Paper: Ramanujan et al., "What's Hidden in a Randomly Weighted Neural Network?", CVPR
2020, https://arxiv.org/abs/1911.13299.

    weight used = m w                m: 1 for the largest |s| of the layer, else 0
    gradient of s_ij = dL/d(used)_ij w_ij sign(s_ij)          straight through m

Every weight w has a score s. Forwards, a layer uses the weights with the k largest
|s|; backwards, s gets the gradient that |s| would have if it were the factor itself. So
a score rises if using more of its weight would lower the loss, also one whose weight
is not used now. The weights stay as they were drawn.

Half of the weights kept gives the most subsets to choose from, and best suits both
ends: keeping all leaves a random network, keeping none leaves nothing. The paper draws
weights of one size and random signs, :func:`signed_constant_`, and scales them by
sqrt(1/k) for what is missing.

When not to trust it: of the weights nothing is learned, so a network must be far larger
than a trained one of the same accuracy. It is a search, and no proof of
:mod:`effdl.prune.subset_sum`.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from effdl.checks import check_share
from effdl.nas.gradient.gumbel import straight_through
from effdl.nas.proxies.weights import connected_layers
from effdl.prune.thresholds import check_sparsity, keep_largest


class Popup(nn.Module):
    """Uses the weights with the largest scores, as a parametrization of a weight.

    Args:
        like: The weight; gives shape and type.
        sparsity: Share of the weights that is not used, at least 0 and below 1.

    Example:
        >>> popup = Popup(torch.zeros(2), 0.5)
        >>> _ = popup.scores.data.copy_(torch.tensor([-3.0, 1.0]))
        >>> popup(torch.tensor([7.0, 8.0])).tolist()
        [7.0, 0.0]
    """

    def __init__(self, like: Tensor, sparsity: float) -> None:
        super().__init__()
        check_sparsity(sparsity)
        self.sparsity = sparsity
        scores = torch.empty_like(like, requires_grad=False)
        bound = 1 / math.sqrt(like[0].numel() if like.ndim > 1 else len(like))
        self.scores = nn.Parameter(scores.uniform_(-bound, bound))

    @property
    def mask(self) -> Tensor:
        """Which weights are used, bool."""
        return keep_largest(self.scores.detach().abs(), self.sparsity)

    def forward(self, original: Tensor) -> Tensor:
        """Return the weights used, zeros for the others; shaped like ``original``."""
        size = self.scores.abs()
        return original * straight_through(size, self.mask.to(size.dtype))


def popup_(model: nn.Module, sparsity: float) -> list[nn.Parameter]:
    """Change the network to one whose scores are trained, and nothing else.

    Every linear and convolutional layer gets scores. All parameters that the network
    had, biases included, need no gradient any more. Scores are drawn from PyTorch's
    generator.

    Args:
        model: The network, neither pruned nor popped up.
        sparsity: Share of the weights of each layer that is not used.

    Returns:
        The scores: what an optimiser is to have.

    Example:
        >>> net = nn.Linear(4, 1)
        >>> [scores.shape for scores in popup_(net, 0.5)]
        [torch.Size([1, 4])]
        >>> int((net.weight != 0).sum())
        2
    """
    check_sparsity(sparsity)
    layers = connected_layers(model)
    for parameter in model.parameters():
        parameter.requires_grad = False
    found = []
    for layer in layers.values():
        popup = Popup(layer.weight, sparsity)
        parametrize.register_parametrization(layer, "weight", popup, unsafe=True)
        found.append(popup.scores)
    return found


def supermasks(model: nn.Module) -> dict[str, Tensor]:
    """Return the masks that the scores say; to be used with ``prune_`` on the weights.

    Args:
        model: A network that :func:`popup_` has seen.

    Raises:
        ValueError: If it has not.

    Example:
        >>> net = nn.Linear(4, 1)
        >>> _ = popup_(net, 0.75)
        >>> int(supermasks(net)["weight"].sum())
        1
    """
    ending = "parametrizations.weight.0"
    masks = {
        path.removesuffix(ending) + "weight": module.mask
        for path, module in model.named_modules()
        if isinstance(module, Popup)
    }
    if not masks:
        raise ValueError("model has no scores; call popup_ first")
    return masks


def signed_constant_(model: nn.Module, *, kept: float = 1.0) -> None:
    """Change every weight to plus or minus one number, by the sign that it has.

    The number is sqrt(2 / (fan_in kept)): half of what a ReLU gets is lost in it, and
    a share ``kept`` of the weights is used.

    Args:
        model: The network, neither pruned nor popped up.
        kept: Share of the weights that is going to be used, above 0 up to 1.

    Example:
        >>> layer = nn.Linear(8, 1)
        >>> signed_constant_(layer, kept=0.25)
        >>> layer.weight.abs()[0, 0].item()
        1.0
    """
    check_share(kept=kept)
    with torch.no_grad():
        for layer in connected_layers(model).values():
            size = math.sqrt(2 / (layer.weight[0].numel() * kept))
            layer.weight.copy_(torch.where(layer.weight < 0, -size, size))
