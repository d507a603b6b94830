"""GraSP as a zero-cost proxy: does the gradient survive if weights are taken away?

Papers: Wang et al., "Picking Winning Tickets Before Training by Preserving Gradient
Flow", ICLR 2020, https://arxiv.org/abs/2002.07376, section 4, and, for the sum over a
network, Abdelfattah et al., "Zero-Cost Proxies for Lightweight NAS", ICLR 2021,
https://arxiv.org/abs/2101.08134, section 3.

A small step of gradient descent lowers the loss L by the step size times |g|^2, where
g = dL/dw. To first order, moving the weights by d changes that gradient flow by

    |g(w + d)|^2 - |g(w)|^2 = 2 d^T H g                  H: the Hessian of L

so to take weight j away (d_j = -w_j) changes half of it by

    s_j = -w_j (H g)_j          to prune: take the largest away, keep the smallest
    S   = sum_j s_j             to rank networks: the larger, the better

H g takes no Hessian: it is the gradient of g_0 . g(w) with g_0 = g held fixed. That
is two backward passes, the second one through the first.

What to know: batch norm in training mode behind layer l hides the scale of its
weights W_l, so their gradient g_l shrinks as 1 / t if W_l grows by t. Then

    sum over layer l of s_j = |g_l|^2         whatever the Hessian

and S is the squared gradient norm of all such layers plus what the others add. In the
networks of :mod:`effdl.nas.cell_net` only the classifier is another, and on the digit
scenes its part is negative and nearly as large. So S is a small difference: it changes
its size, and at times its sign, with the seed of the initialisation, where SNIP changes
by some per cent. Average over seeds before trusting it.

What differs: the code of the first paper divides the logits by a temperature of 200;
here that is up to ``loss_fn``. To prune, a large s_j is bad. The proxy keeps the minus
sign and calls a large S good, because accuracy was seen to fall with sum_j w_j (H g)_j,
not because a theory says so.
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


def grasp_score(
    model: nn.Module,
    inputs: Tensor,
    targets: Tensor,
    *,
    loss_fn: LossFunction = F.cross_entropy,
) -> float:
    """Return S, the sum of -w_j (H g)_j over the network; it may be negative.

    Takes the arguments of :func:`flow_change` and raises its errors, and
    ``ValueError`` if a gradient is not finite.

    Example:
        >>> model = nn.Linear(1, 1, bias=False)
        >>> _ = nn.init.constant_(model.weight, 3.0)
        >>> x, y = torch.tensor([[1.0]]), torch.tensor([[1.0]])
        >>> grasp_score(model, x, y, loss_fn=F.mse_loss)  # g = 2 (3 - 1), H = 2
        -24.0
    """
    return finite_sum(flow_change(model, inputs, targets, loss_fn=loss_fn).values())


def flow_change(
    model: nn.Module,
    inputs: Tensor,
    targets: Tensor,
    *,
    loss_fn: LossFunction = F.cross_entropy,
) -> dict[str, Tensor]:
    """Return -w_j (H g)_j for every weight of every linear and convolutional layer.

    The network runs in the mode it is in (train or eval) and comes back unchanged:
    weights, ``.grad`` fields and batch-norm statistics stay as they were.

    Raises ``ValueError`` if the batch is empty, the model has no weight to score, or
    the loss is not a finite scalar that depends on the weights.

    Args:
        model: The network, as initialised. H and g are those of the weights that
            count, with biases and batch norm held fixed.
        inputs: One batch, (N, ...). Do not split it: the product of means is not the
            mean of the products.
        targets: What ``loss_fn`` expects beside the output, (N, ...).
        loss_fn: Maps output and targets to a scalar, averaged over the batch.

    Returns:
        From parameter name to a tensor shaped like that parameter. Weights that the
        loss does not reach are 0.

    Example:
        >>> model = nn.Linear(2, 1, bias=False)
        >>> _ = nn.init.constant_(model.weight, 3.0)
        >>> x, y = torch.tensor([[1.0, 2.0]]), torch.tensor([[8.0]])
        >>> flow_change(model, x, y, loss_fn=F.mse_loss)  # g = (2, 4), H g = (20, 40)
        {'weight': tensor([[ -60., -120.]])}
    """
    with torch.enable_grad():
        weights, loss = loss_of_weights(model, inputs, targets, loss_fn)
        slopes = gradients(loss, weights, create_graph=True)
        products = [(g.detach() * g).sum() for g in slopes.values()]
        bent = gradients(torch.stack(products).sum(), weights)  # H g
    return {name: -w.detach() * bent[name] for name, w in weights.items()}
