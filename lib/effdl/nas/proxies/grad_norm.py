"""GradNorm: rate an untrained network by the length of its first gradient.

Paper: Abdelfattah et al., "Zero-Cost Proxies for Lightweight NAS", ICLR 2021,
https://arxiv.org/abs/2101.08134, section 3.

    S = sum_l || dL/dW_l ||_2          one Euclidean norm a layer, then their sum

over the weights W_l of the linear and convolutional layers. A network scores high if
its first step of gradient descent would move all of its layers far.

The sum of norms is not the norm of the whole gradient: that one is dominated by the
layers with the steepest slope, while here m layers of slope s count m s, not s sqrt(m).
So a deeper network of the same slopes scores higher.

Before trusting S: it has no notion of a good direction. Multiply the loss by c, and S
is multiplied by c. Where batch norm follows a layer, the loss does not react when W_l
is multiplied by c, but its gradient is divided by c: small initial weights alone
raise the score. Give all candidates the same initialisation, loss, seed and batch.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from effdl.nas.proxies.weights import (
    LossFunction,
    finite_sum,
    gradients,
    loss_of_weights,
)


def grad_norm_score(
    model: nn.Module,
    inputs: Tensor,
    targets: Tensor,
    *,
    loss_fn: LossFunction = F.cross_entropy,
) -> float:
    """Return S, the sum over layers of the norm of the gradient; larger is better.

    Takes the arguments of :func:`gradient_norms` and raises its errors, and
    ``ValueError`` if a gradient is not finite.

    Example:
        >>> model = nn.Linear(2, 1, bias=False)
        >>> _ = nn.init.constant_(model.weight, 2.0)
        >>> x, y = torch.tensor([[3.0, 4.0]]), torch.tensor([[13.0]])
        >>> grad_norm_score(model, x, y, loss_fn=F.mse_loss)  # 2 (14 - 13) times 5
        10.0
    """
    return finite_sum(gradient_norms(model, inputs, targets, loss_fn=loss_fn).values())


def gradient_norms(
    model: nn.Module,
    inputs: Tensor,
    targets: Tensor,
    *,
    loss_fn: LossFunction = F.cross_entropy,
) -> dict[str, Tensor]:
    """Return the Euclidean norm of dL/dW_l for every linear or convolutional layer.

    The network runs in the mode it is in (train or eval) and comes back unchanged:
    weights, ``.grad`` fields and batch-norm statistics stay as they were.

    Raises ``ValueError`` if the batch is empty, the model has no weight to score, or
    the loss is not a finite scalar that depends on the weights.

    Args:
        model: The network, as initialised.
        inputs: One batch, (N, ...). Do not split it: the norm of a mean is not the
            mean of the norms.
        targets: What ``loss_fn`` expects beside the output, (N, ...).
        loss_fn: Maps output and targets to a scalar, averaged over the batch.

    Returns:
        From parameter name to a scalar tensor in float64; 0 for weights that the loss
        does not reach.

    Example:
        >>> model = nn.Linear(2, 1, bias=False)
        >>> x, y = torch.zeros(1, 2), torch.ones(1, 1)
        >>> gradient_norms(model, x, y, loss_fn=F.mse_loss)
        {'weight': tensor(0., dtype=torch.float64)}
    """
    with torch.enable_grad():
        weights, loss = loss_of_weights(model, inputs, targets, loss_fn)
    return {
        name: torch.linalg.vector_norm(slope, dtype=torch.float64)
        for name, slope in gradients(loss, weights).items()
    }
