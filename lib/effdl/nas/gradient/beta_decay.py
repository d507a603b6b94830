"""beta-DARTS: decay what the softmax makes of the logits, not the logits.

Paper: Ye et al., "beta-DARTS: Beta-Decay Regularization for Differentiable Architecture
Search", CVPR 2022, https://arxiv.org/abs/2203.01665.

    decay    = mean over edges e of  log sum over k of exp(alpha[e, k])
    alpha minimises  L_val + rate(progress) decay          rate = 50 progress

    d decay / d alpha[e, k] = softmax(alpha[e])_k / edges

So every logit is pulled down in proportion to the weight that it has already: the
strongest the most. An ordinary decay of alpha pulls in proportion to alpha. A step of
plain gradient descent by this alone makes the weights of an edge more equal. Adam
divides by the size of recent gradients and keeps little of these proportions.

The pull does not know which operation is which. It slows every decision down, a good
one as well as that for the skip connection.
"""

from collections.abc import Callable

from torch import Tensor

from effdl.nas.gradient.architecture import Architecture
from effdl.nas.gradient.steps import Objective, Searching


def beta_decay(architecture: Architecture) -> Tensor:
    """Return the mean over the edges of the log-sum-exp of their active logits.

    Args:
        architecture: Inactive candidates do not count.

    Example:
        >>> beta_decay(Architecture([("skip", "conv")], spread=0)).item()  # log 2
        0.6931471824645996
    """
    return architecture.masked_logits().logsumexp(dim=1).mean()


def rising_rate(progress: float) -> float:
    """Return the authors' strength of the decay: from 0 in a line up to 50.

    Args:
        progress: Share of the search that is done, 0 to 1.

    Example:
        >>> rising_rate(0.5)
        25.0
    """
    return 50.0 * progress


def beta_decay_objective(
    rate: Callable[[float], float] = rising_rate,
) -> Objective:
    """Return the objective that adds the decay to the loss.

    Args:
        rate: Its strength, a function of the progress, 0 to 1.

    Example:
        >>> beta_decay_objective().__name__  # runs inside effdl.nas.gradient.search
        'objective'
    """

    def objective(loss: Tensor, _weights: Tensor, searching: Searching) -> Tensor:
        strength = rate(searching.progress)
        return loss + strength * beta_decay(searching.architecture)

    return objective
