"""A step of w that is thought, not taken.

Paper: Liu et al., "DARTS: Differentiable Architecture Search", ICLR 2019,
https://arxiv.org/abs/1806.09055, section 2.3.

    w' = w - xi (momentum m + d L_train(w, alpha) / d w + decay w)

is where SGD with learning rate xi, momentum buffer m and weight decay would go. The
supernet keeps its w all the time: it is *called* with other values. So nothing has to
be put back, and w' can be differentiated as a function of alpha.

What differs from the real step: gradients are not clipped here, nor in the authors'
code. A weight that has no gradient, since its candidate does not run, stays, as it does
in the real step.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.optim import SGD

from effdl.nas.gradient.steps import Batch, Searching

Values = Mapping[str, Tensor]  # of a supernet's parameters, by name


def trainable(searching: Searching) -> dict[str, Tensor]:
    """Return the supernet's parameters that can move, by name.

    Args:
        searching: The search.

    Example:
        >>> trainable.__name__  # see tests/nas/gradient
        'trainable'
    """
    named = searching.supernet.named_parameters()
    return {name: parameter for name, parameter in named if parameter.requires_grad}


def loss_at(
    searching: Searching, batch: Batch, weights: Tensor, values: Values
) -> Tensor:
    """Return the loss that the supernet would have with other values of its parameters.

    Its own parameters and buffers stay as they are. Raises ``FloatingPointError`` if
    the loss is not finite.

    Args:
        searching: The search.
        batch: Inputs and classes.
        weights: Of the mixtures, (edges, K).
        values: Those of the parameters that differ; gradients flow to them.

    Example:
        >>> loss_at.__name__  # see effdl.nas.gradient.second_order
        'loss_at'
    """
    buffers = {name: b.clone() for name, b in searching.supernet.named_buffers()}
    elsewhere = _Elsewhere(searching.supernet, {**buffers, **values})
    return replace(searching, supernet=elsewhere).loss(batch, weights)


def step_ahead(
    searching: Searching,
    batch: Batch,
    weights: Tensor,
    *,
    rate: float,
    keep_graph: bool = False,
) -> dict[str, Tensor]:
    """Return the values that one step of the optimiser would give the parameters.

    Args:
        searching: The search. Its weights' optimiser is SGD with any momentum and
            weight decay; dampening and Nesterov's form are not followed.
        batch: Inputs and classes to take the step on.
        weights: Of the mixtures, (edges, K).
        rate: Learning rate of the step, xi.
        keep_graph: Whether gradients of the result reach ``weights``.

    Raises:
        ValueError: If the optimiser is not SGD.

    Example:
        >>> step_ahead.__name__  # see effdl.nas.gradient.second_order
        'step_ahead'
    """
    optimizer = searching.weight_optimizer
    if not isinstance(optimizer, SGD):
        raise ValueError(
            "weight_optimizer must be SGD to look ahead, got "
            f"{type(optimizer).__name__}; the first order works with any"
        )
    now = trainable(searching)
    gradients = torch.autograd.grad(
        loss_at(searching, batch, weights, now),
        tuple(now.values()),
        create_graph=keep_graph,
        allow_unused=True,
    )
    settings = {p: group for group in optimizer.param_groups for p in group["params"]}
    ahead = dict(now)
    for (name, w), gradient in zip(now.items(), gradients, strict=True):
        if gradient is not None:
            step = gradient + settings[w]["weight_decay"] * w.detach()
            buffer = optimizer.state.get(w, {}).get("momentum_buffer")
            if buffer is not None:
                step = step + settings[w]["momentum"] * buffer
            ahead[name] = w.detach() - rate * step
    return ahead


class _Elsewhere(nn.Module):
    """A supernet, called with other values."""

    def __init__(self, supernet: nn.Module, values: Values) -> None:
        super().__init__()
        self.supernet, self.values = supernet, dict(values)

    def forward(self, x: Tensor, weights: Tensor) -> Tensor:
        return functional_call(self.supernet, self.values, (x, weights))
