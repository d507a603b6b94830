"""Relaxations: from the logits of a search to the weights of its mixtures.

Papers: Liu et al., "DARTS: Differentiable Architecture Search", ICLR 2019,
https://arxiv.org/abs/1806.09055, section 2.2; Chu et al., "Fair DARTS: Eliminating
Unfair Advantages in Differentiable Architecture Search", ECCV 2020,
https://arxiv.org/abs/1911.12126, section 3.3.

A relaxation is a function of an architecture and of how far the search is, 0 to 1:

    softmax_weights    w_k = exp(a_k) / sum over l of exp(a_l)       DARTS
    sigmoid_weights    w_k = 1 / (1 + exp(-a_k))                     FairDARTS

Under a softmax one candidate can only rise if others fall. Under a sigmoid each weight
is decided on alone, and several can be near 1. Those that draw random numbers are in
:mod:`effdl.nas.gradient.gumbel`.
"""

from torch import Tensor

from effdl.nas.gradient.architecture import Architecture


def softmax_weights(architecture: Architecture, _progress: float = 0.0) -> Tensor:
    """Return weights (edges, K) that sum to 1 on every edge.

    Args:
        architecture: Inactive candidates get the weight 0.

    Example:
        >>> softmax_weights(Architecture([("skip", "conv")], spread=0)).tolist()
        [[0.5, 0.5]]
    """
    return architecture.masked_logits().softmax(dim=1)


def sigmoid_weights(architecture: Architecture, _progress: float = 0.0) -> Tensor:
    """Return weights (edges, K) between 0 and 1, each of its own logit alone.

    Args:
        architecture: Inactive candidates get the weight 0.

    Example:
        >>> sigmoid_weights(Architecture([("skip", "conv")], spread=0)).tolist()
        [[0.5, 0.5]]
    """
    return architecture.masked_logits().sigmoid()
