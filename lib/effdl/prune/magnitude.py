"""Magnitude: a weight near 0 is taken for one that does little.

Papers: Han et al., "Learning both Weights and Connections for Efficient Neural
Networks", NeurIPS 2015, https://arxiv.org/abs/1506.02626; Gale et al., "The State of
Sparsity in Deep Neural Networks", 2019, https://arxiv.org/abs/1902.09574; Lee et al.,
"Layer-adaptive Sparsity for the Magnitude-based Pruning", ICLR 2021,
https://arxiv.org/abs/2010.07611.

    score_u = |w_u|                                              plain
    score_u = w_u^2 / sum of w_v^2 over all v with |w_v| >= |w_u|        LAMP
    keep u if |w_u| >= quality std(w of the layer)               Han et al.

Plain magnitudes of two layers are not comparable: multiply one layer by c and divide
the next by c, and a ReLU network computes the same, but its global masks change. A LAMP
score is a share, so this does not move it, and the largest weight of every layer has
the score 1: a global threshold empties no layer while it keeps a weight for each.
(Where k weights of a layer are largest together, each has 1/k instead.)

Han et al. let dropout follow: a layer with fewer weights has less to overfit with,

    rate_r = rate_o sqrt(weights kept / weights before)          their equation 1 to 2

Before trusting it: it knows nothing of the inputs. A small weight on a large input
counts; :mod:`effdl.prune.obs` and others look there.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from effdl.checks import check_share
from effdl.prune.pruned import weights_of


def magnitude_scores(model: nn.Module) -> dict[str, Tensor]:
    """Return |w| for every weight of every linear and convolutional layer.

    Args:
        model: The network, pruned or not; what is gone has 0.

    Example:
        >>> layer = nn.Linear(2, 1)
        >>> _ = nn.init.constant_(layer.weight, -3.0)
        >>> magnitude_scores(layer)
        {'weight': tensor([[3., 3.]])}
    """
    return {name: weight.abs() for name, weight in weights_of(model).items()}


def lamp(weight: Tensor) -> Tensor:
    """Return the LAMP score of every weight of one layer, between 0 and 1.

    Args:
        weight: Any shape, not all of it 0.

    Raises:
        ValueError: If all weights are 0.

    Example:
        >>> lamp(torch.tensor([1.0, 2.0, 2.0])).tolist()
        [0.1111111119389534, 0.5, 0.5]
    """
    if not weight.any():
        raise ValueError("weight is 0 everywhere: no share of it is defined")
    squares = weight.square().flatten()
    ordered, order = squares.sort()
    suffix = ordered.flip(0).cumsum(0).flip(0)
    # equal weights have one score: of the first of them, whose sum has them all
    first = torch.searchsorted(ordered, ordered)
    scores = torch.empty_like(squares)
    scores[order] = ordered / suffix[first]
    return scores.view(weight.shape)


def lamp_scores(model: nn.Module) -> dict[str, Tensor]:
    """Return :func:`lamp` for every linear and convolutional layer.

    Args:
        model: The network, pruned or not.

    Example:
        >>> layer = nn.Linear(2, 1)
        >>> _ = nn.init.constant_(layer.weight, -3.0)
        >>> lamp_scores(layer)
        {'weight': tensor([[0.5000, 0.5000]])}
    """
    return {name: lamp(weight) for name, weight in weights_of(model).items()}


def deviation_masks(weights: Mapping[str, Tensor], quality: float) -> dict[str, Tensor]:
    """Return masks of the weights that are at least ``quality`` deviations large.

    How many go is not chosen, but follows from the shape of each layer's distribution.

    Args:
        weights: From name to weight.
        quality: Factor of the standard deviation, 0 or more.

    Raises:
        ValueError: If it is below 0, or not a number.

    Example:
        >>> deviation_masks({"weight": torch.tensor([-2.0, 0.1, 2.0])}, 0.5)
        {'weight': tensor([ True, False,  True])}
    """
    if not quality >= 0:
        raise ValueError(f"quality must be 0 or more, got {quality}")
    return {
        name: weight.abs() >= quality * weight.std(correction=0)
        for name, weight in weights.items()
    }


def dropout_after_pruning(rate: float, kept: float) -> float:
    """Return the dropout rate of a layer that has lost weights.

    Args:
        rate: Rate before, 0 to 1.
        kept: Share of the weights that is left, above 0.

    Raises:
        ValueError: If a number is out of range.

    Example:
        >>> dropout_after_pruning(0.5, 0.25)
        0.25
    """
    check_share(kept=kept)
    if not 0 <= rate <= 1:
        raise ValueError(f"rate must be from 0 to 1, got {rate}")
    return rate * math.sqrt(kept)
