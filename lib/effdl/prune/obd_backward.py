"""The curvature of all weights in one pass backwards, as optimal brain damage takes it.

Papers: LeCun et al., "Optimal Brain Damage", NeurIPS 1989; compared with first-order
scores by Molchanov et al., "Importance Estimation for Neural Network Pruning", CVPR
2019, https://arxiv.org/abs/1906.10771.

Let c be d2L/da^2 of one sample, for a unit with the input a. From the outputs back:

    h of weight (i, j)        = sum over samples and places of  c_i x_j^2
    c of what a layer gets    = sum over i of  w_ij^2 c_i
    c in front of f           = f'(a)^2 c after f

So it is the gradient's pass with every number squared, and costs as much. The third
line leaves out f''(a) dL/df, as the paper proposes: then h is never negative where the
loss is convex in the outputs. The second line leaves out that two units of a layer act
together; so does the first for two places that share a weight.

Exact for one linear layer and any loss, for one convolution whose outputs do not act
together in the loss, and for a network of one unit a layer with ReLU. With more units
it is an estimate.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from effdl.measure.probe import as_inputs
from effdl.nas.gradient.hessian import hessian_product
from effdl.nas.proxies.weights import Connected, LossFunction, connection_weights

ELEMENTWISE = (nn.ReLU, nn.LeakyReLU, nn.Tanh, nn.Sigmoid, nn.Softplus, nn.Identity)


def backward_curvature(
    model: nn.Module,
    inputs: Tensor,
    targets: Tensor,
    *,
    loss_fn: LossFunction = F.cross_entropy,
) -> dict[str, Tensor]:
    """Return h_kk by the paper's backward pass, for plain chains of layers.

    Args:
        model: An ``nn.Sequential`` of linear and convolutional layers, elementwise
            activations and ``nn.Flatten``, ending in (N, C).
        inputs: One batch, (N, ...).
        targets: What ``loss_fn`` expects beside the output.
        loss_fn: A mean over samples that do not act together.

    Raises:
        ValueError: If the model has another layer.

    Example:
        >>> layer = nn.Sequential(nn.Linear(1, 1, bias=False))
        >>> x, y = torch.full((1, 1), 3.0), torch.zeros(1, 1)
        >>> backward_curvature(layer, x, y, loss_fn=F.mse_loss)
        {'0.weight': tensor([[18.]])}
    """
    connection_weights(model)
    layers = dict(model.named_children()) if isinstance(model, nn.Sequential) else {}
    known = (nn.Flatten, Connected, *ELEMENTWISE)
    odd = [layer for layer in layers.values() if not isinstance(layer, known)]
    if odd or not layers:
        raise ValueError(
            f"model must be a Sequential of plain layers, got {odd or type(model)}; "
            "use hutchinson_curvature"
        )
    signals = list(as_inputs(inputs))
    with torch.no_grad():
        for layer in layers.values():
            signals.append(layer(signals[-1].clone()))  # it may work in place
    hessian = output_hessian(signals[-1], targets, loss_fn)
    curvature = hessian.diagonal(dim1=1, dim2=2) / len(hessian)
    found: dict[str, Tensor] = {}
    for (name, layer), x in zip(reversed(layers.items()), signals[-2::-1], strict=True):
        if isinstance(layer, Connected):
            found[f"{name}.weight"], curvature = _through(layer, x, curvature)
        elif isinstance(layer, nn.Flatten):
            curvature = curvature.view_as(x)
        else:
            leaf = x.clone().requires_grad_()
            [slope] = torch.autograd.grad(layer(leaf.clone()).sum(), leaf)
            curvature = curvature * slope.square()
    return {name: found[name] for name in connection_weights(model)}


def output_hessian(outputs: Tensor, targets: Tensor, loss_fn: LossFunction) -> Tensor:
    """Return the second derivatives of each sample's loss by its outputs, (N, C, C).

    Args:
        outputs: (N, C).
        targets: What ``loss_fn`` expects beside the outputs.
        loss_fn: A mean over samples that do not act together.

    Raises:
        ValueError: If the outputs have another rank.

    Example:
        >>> output_hessian(torch.zeros(1, 2), torch.tensor([0]), F.cross_entropy)
        tensor([[[ 0.2500, -0.2500],
                 [-0.2500,  0.2500]]])
    """
    if outputs.ndim != 2:
        raise ValueError(
            f"the outputs must be (N, C), got shape {tuple(outputs.shape)}; "
            "end the model in nn.Flatten"
        )
    leaf = outputs.detach().clone().requires_grad_()
    product = hessian_product(loss_fn(leaf, targets), leaf)
    columns = []
    for column in range(outputs.shape[1]):
        # one column of all samples at once: they do not act together
        unit = torch.zeros_like(outputs)
        unit[:, column] = 1
        columns.append(product(unit) * len(outputs))  # the loss is a mean
    return torch.stack(columns, dim=2)


def _through(layer: nn.Module, x: Tensor, curvature: Tensor) -> tuple[Tensor, ...]:
    """Return h of the weight, and c of the layer's input: a pass with all squared."""
    squares = x.square().requires_grad_()
    weight = layer.get_parameter("weight").detach().square().requires_grad_()
    outputs = functional_call(layer, {"weight": weight}, squares)
    return torch.autograd.grad(outputs, (weight, squares), curvature)
