"""One factor for each parameter, learned before training, so that a first step helps.

Papers: Jaiswal et al., "Training Your Sparse Neural Network Better with Any Mask", ICML
2022, https://arxiv.org/abs/2206.12755 (layer-wise rescaled initialisation, LRsI); Zhu
et al., "GradInit: Learning to Initialize Neural Networks for Stable and Efficient
Training", NeurIPS 2021, https://arxiv.org/abs/2102.08098, which it takes over.

The usual initial spread counts all inputs of a neuron. Behind a mask fewer are left, so
signals and gradients shrink from layer to layer. With one factor m for every weight and
every bias, w = m w0, and g the gradient of the loss at w,

    minimise    L(w - eta g / |g|)         after one step of length eta = 0.1
    such that   |g| <= gamma = 1

in turns: while |g| is above gamma, Adam moves the factors to make |g| smaller, else the
loss after the step. That loss is taken on half of the batch that gave g, and on half of
the next. As in the authors' program, the step counts as a constant: it is not
differentiated through.

What differs: the paper's Adam clips the gradient of each factor; here it is PyTorch's.
"""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call
from torch.optim import Adam

from effdl.measure.probe import clones
from effdl.nas.proxies.weights import LossFunction, gradients
from effdl.train import Batches


def learned_scales(
    model: nn.Module,
    batches: Batches,
    *,
    loss_fn: LossFunction = F.cross_entropy,
    step: float = 0.1,
    most: float = 1.0,
    rate: float = 0.01,
    least: float = 0.01,
) -> dict[str, float]:
    """Return a factor for every parameter of a network, which is left as it is.

    Args:
        model: Pruned or not, in the mode that it is in.
        batches: Two or more, (N, ...) each with two inputs at least; there is one
            update of the factors for every batch but the last.
        loss_fn: Maps output and targets to a scalar.
        step: Length eta of the first step.
        most: Bound gamma of the gradient's norm.
        rate: Adam's learning rate for the factors.
        least: Lower bound of the factors.

    Raises:
        ValueError: If there are fewer than two batches, or a number is not above 0.

    Example:
        >>> batches = [(torch.ones(2, 3), torch.tensor([0, 1]))] * 3
        >>> list(learned_scales(nn.Linear(3, 2), batches))
        ['weight', 'bias']
    """
    if len(batches) < 2:
        raise ValueError(f"batches must be two or more, got {len(batches)}")
    if not min(step, most, rate, least) > 0:
        raise ValueError(
            "step, most, rate and least must be above 0, got "
            f"{step}, {most}, {rate} and {least}"
        )
    start = {name: p.detach() for name, p in model.named_parameters()}
    scales = {
        name: torch.ones_like(p.sum()).requires_grad_() for name, p in start.items()
    }
    adam = Adam(scales.values(), rate)

    def loss_at(weights: dict[str, Tensor], inputs: Tensor, targets: Tensor) -> Tensor:
        buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
        return loss_fn(
            functional_call(model, weights | buffers, clones((inputs,))), targets
        )

    for (inputs, targets), (others, other_targets) in pairwise(batches):
        weights = {name: scales[name] * w for name, w in start.items()}
        loss = loss_at(weights, inputs, targets)
        slopes = gradients(loss, weights, create_graph=True)
        norm = torch.cat([slope.flatten() for slope in slopes.values()]).norm()
        objective = norm
        if 0 < norm <= most:
            moved = {
                name: w - step * slopes[name].detach() / norm.detach()
                for name, w in weights.items()
            }
            half, other_half = len(inputs) // 2, len(others) // 2
            objective = loss_at(
                moved,
                torch.cat([inputs[:half], others[:other_half]]),
                torch.cat([targets[:half], other_targets[:other_half]]),
            )
        adam.zero_grad()
        objective.backward()
        adam.step()
        with torch.no_grad():
            for scale in scales.values():
                scale.clamp_(min=least)
    return {name: scale.item() for name, scale in scales.items()}


@torch.no_grad()
def rescale_(model: nn.Module, scales: dict[str, float]) -> None:
    """Change a network: multiply its parameters by their factors.

    Args:
        model: The network.
        scales: For some or all of its parameters, by name.

    Raises:
        ValueError: If a name is unknown; then nothing is changed.

    Example:
        >>> layer = nn.Linear(1, 1)
        >>> _ = nn.init.ones_(layer.weight)
        >>> rescale_(layer, {"weight": 3.0})
        >>> layer.weight.item()
        3.0
    """
    parameters = dict(model.named_parameters())
    if unknown := [name for name in scales if name not in parameters]:
        raise ValueError(f"scales names {unknown}, which the model does not have")
    for name, scale in scales.items():
        parameters[name].mul_(scale)
