"""Layer-wise brain surgery: each layer is to put out what it put out before.

Paper: Dong et al., "Learning to Prune Deep Neural Networks via Layer-wise Optimal Brain
Surgeon", NeurIPS 2017, https://arxiv.org/abs/1705.07565.

Give a linear layer with weights W (O, I) its n inputs X (n, I), and forget the rest of
the network. The error of other weights V is

    E = 1/2 mean over the n inputs of ||(W - V) x||^2        H = X^T X / n

quadratic without any approximation, and every output has the same H: one (I, I) matrix
instead of one for all weights of the network. With it, as in :mod:`effdl.prune.obs`,

    L_q = w_q^2 / (2 [H^-1]_qq)        and the step of the other weights of that output

For a given mask the best V is the least-squares fit on the inputs that are kept.

With white inputs, H a multiple of I, this is magnitude pruning without compensation.

What differs: the paper takes all weights by the L_q of the start. Here, after every
weight, its output gets the inverse of what is left, so that L_q is what it really costs
then; O inverses are held. Linear layers only; a convolution is one on its patches.

Before trusting it: an error of a layer is no loss. What the network does with an output
decides how much it matters, and so L_q of two layers are not comparable.
"""

import torch
from torch import Tensor, nn

from effdl.measure.probe import as_inputs, evaluating
from effdl.prune.obs import check_damping, compensation, surgeon_saliency, without_index
from effdl.prune.thresholds import check_sparsity


def input_hessian(inputs: Tensor, *, damping: float = 1e-4) -> Tensor:
    """Return X^T X / n + damping I, (I, I), in float64.

    Args:
        inputs: X, (n, I).
        damping: Above 0. Inputs that are always 0 would make H singular.

    Raises:
        ValueError: If ``inputs`` is not a matrix.

    Example:
        >>> input_hessian(torch.tensor([[2.0, 0.0]]), damping=1.0)
        tensor([[5., 0.],
                [0., 1.]], dtype=torch.float64)
    """
    check_damping(damping)
    as_inputs(inputs)
    if inputs.ndim != 2:
        raise ValueError(f"inputs must be (n, I), got shape {tuple(inputs.shape)}")
    hessian = inputs.double().T @ inputs.double() / len(inputs)
    hessian.diagonal().add_(damping)
    return hessian


def fit_of_mask(weight: Tensor, hessian: Tensor, mask: Tensor) -> Tensor:
    """Return the best weights of a layer whose mask is given, (O, I).

    Args:
        weight: W, (O, I).
        hessian: H, (I, I).
        mask: True where a weight stays, (O, I).

    Example:
        >>> weight, mask = torch.tensor([[2.0, 5.0]]), torch.tensor([[False, True]])
        >>> fit_of_mask(weight, torch.tensor([[1.0, 0.5], [0.5, 1.0]]), mask)
        tensor([[0., 6.]])
    """
    inverse = torch.linalg.inv(hessian.double())
    rows = [
        row + compensation(row, inverse, ~kept)
        for row, kept in zip(weight.double(), mask, strict=True)
    ]
    return torch.stack(rows).to(weight)


def layer_surgeon(weight: Tensor, hessian: Tensor, sparsity: float) -> Tensor:
    """Return the weights of a layer after its cheapest ones have gone, one by one.

    Args:
        weight: W, (O, I).
        hessian: H, (I, I).
        sparsity: Share of the layer that goes, in any of its rows.

    Example:
        >>> hessian = torch.diag(torch.tensor([1.0, 9.0]))
        >>> layer_surgeon(torch.tensor([[2.0, 1.0]]), hessian, 0.5)
        tensor([[0., 1.]])
    """
    check_sparsity(sparsity)
    left = weight.double().clone()
    inverses = torch.linalg.inv(hessian.double()).repeat(len(weight), 1, 1)
    saliency = surgeon_saliency(left, inverses[0])
    for _ in range(round(sparsity * weight.numel())):
        row, column = divmod(int(saliency.argmin()), weight.shape[1])
        inverse = inverses[row]
        scale = left[row, column] / inverse[column, column]
        left[row] -= scale * inverse[:, column]
        inverses[row] = without_index(inverse, column)
        gone = saliency[row].isinf()
        gone[column] = True
        left[row, gone] = 0
        fresh = left[row].square() / (2 * inverses[row].diagonal())
        saliency[row] = torch.where(gone, torch.inf, fresh)
    return left.to(weight)


def layer_inputs(model: nn.Module, inputs: Tensor) -> dict[str, Tensor]:
    """Return what every linear layer gets, (n, I), by the names of the weights.

    Args:
        model: Runs in evaluation mode, and stays as it is.
        inputs: One batch, (N, ...).

    Raises:
        ValueError: If there is no linear layer.

    Example:
        >>> net = nn.Sequential(nn.ReLU(), nn.Linear(2, 1))
        >>> layer_inputs(net, torch.tensor([[-1.0, 2.0]]))
        {'1.weight': tensor([[0., 2.]])}
    """
    as_inputs(inputs)
    layers = {n: m for n, m in model.named_modules() if isinstance(m, nn.Linear)}
    if not layers:
        raise ValueError(f"{type(model).__name__} has no linear layer")
    seen: dict[str, Tensor] = {}
    hooks = []
    for name, layer in layers.items():

        def note(_: nn.Module, given: tuple[Tensor], name: str = name) -> None:
            seen[f"{name}.weight".removeprefix(".")] = (
                given[0].detach().flatten(0, -2).clone()
            )

        hooks.append(layer.register_forward_pre_hook(note))
    try:
        with torch.no_grad(), evaluating(model):
            model(inputs.clone())
    finally:
        for hook in hooks:
            hook.remove()
    return seen


def layer_obs_scores(
    model: nn.Module, inputs: Tensor, *, damping: float = 1e-4
) -> dict[str, Tensor]:
    """Return L_q for every weight of every linear layer, as all are still there.

    Args:
        model: Not pruned; it stays as it is.
        inputs: One batch, (N, ...). No targets: no loss is asked for.
        damping: Added to the diagonal of each H, above 0.

    Example:
        >>> layer = nn.Linear(1, 1)
        >>> _ = nn.init.constant_(layer.weight, 2.0)
        >>> layer_obs_scores(layer, torch.full((1, 1), 3.0))["weight"].round()
        tensor([[18.]])
    """
    scores = {}
    for name, seen in layer_inputs(model, inputs).items():
        weight = model.get_parameter(name).detach()
        inverse = torch.linalg.inv(input_hessian(seen, damping=damping))
        scores[name] = surgeon_saliency(weight.double(), inverse).to(weight)
    return scores


def operate_layers_(
    model: nn.Module, inputs: Tensor, *, sparsity: float, damping: float = 1e-4
) -> dict[str, Tensor]:
    """Change every linear layer by :func:`layer_surgeon`, for its inputs of before.

    Args:
        model: Not pruned.
        inputs: One batch, (N, ...).
        sparsity: Share of every layer that goes.
        damping: Added to the diagonal of each H, above 0.

    Returns:
        The masks of what is left, for :func:`effdl.prune.masks.prune_`.

    Example:
        >>> layer = nn.Linear(2, 1)
        >>> _ = layer.weight.data.copy_(torch.tensor([[2.0, 1.0]]))
        >>> operate_layers_(layer, torch.tensor([[1.0, 0], [0, 3]]), sparsity=0.5)
        {'weight': tensor([[False,  True]])}
    """
    masks = {}
    for name, seen in layer_inputs(model, inputs).items():
        weight = model.get_parameter(name).data
        hessian = input_hessian(seen, damping=damping)
        weight.copy_(layer_surgeon(weight, hessian, sparsity))
        masks[name] = weight != 0
    return masks
