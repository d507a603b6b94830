"""Spiking networks: neurons that add up, fire and start again; pruned as usual.

Paper: Kim et al., "Exploring Lottery Ticket Hypothesis in Spiking Neural Networks",
ECCV 2022, https://arxiv.org/abs/2207.01382.

A leaky integrate-and-fire neuron has a potential u. In each step of time

    u <- leak u + i                          i: current, here W s + b
    s  = 1 if u > 1, else 0                  it fires
    u <- u (1 - s)                           and begins at 0 again, if it fired

With a constant current i it fires every T steps, T the smallest whole number with

    i (1 - leak^T) / (1 - leak) > 1
    T = floor( log(1 - (1 - leak) / i) / log leak ) + 1         for i <= 1

and never if i <= 1 - leak. With leak 0 and one step it is a binary threshold.

The step has no slope to learn by. Backwards it is taken to have that of a triangle:

    ds/du := max(0, 1 - |u - 1|)             surrogate gradient

An image is shown as constant current in every step (direct coding). The last layer does
not fire; its mean current are the logits.

Pruning changes nothing here: its linear layers are found by :mod:`effdl.prune.lottery`
as those of any network. What a run costs grows with the steps: a ticket found with few
and trained with more is the paper's early-time ticket.

What differs: the paper trains deep convolutional networks with batch norm.
"""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from effdl.checks import check_positive


class Spike(torch.autograd.Function):
    """A step at 1 forwards, a triangle around 1 backwards; use :func:`spikes`."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, potential: Tensor) -> Tensor:
        """Return 1 where the potential is above 1, else 0."""
        ctx.save_for_backward(potential)
        return (potential > 1).to(potential.dtype)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, *grads: Tensor) -> Tensor:
        """Return the gradient times the height of the triangle."""
        (potential,) = ctx.saved_tensors  # type: ignore[attr-defined]
        return grads[0] * (1 - (potential - 1).abs()).clamp(min=0)


def spikes(potential: Tensor) -> Tensor:
    """Return 1 where the potential is above 1, else 0, with the surrogate gradient.

    Args:
        potential: Any shape.

    Example:
        >>> u = torch.tensor([0.5, 1.0, 1.25], requires_grad=True)
        >>> spikes(u).sum().backward()
        >>> spikes(u).tolist(), u.grad.tolist()
        ([0.0, 0.0, 1.0], [0.5, 1.0, 0.75])
    """
    return Spike.apply(potential)


def leaky_fire(currents: Tensor, leak: float) -> Tensor:
    """Return the spikes of neurons over time, shaped like the currents.

    Raises ``ValueError`` if the leak is out of range.

    Args:
        currents: (T, ...), one entry for each step of time.
        leak: Share of the potential that is left after a step, from 0, below 1.

    Example:
        >>> leaky_fire(torch.full((6,), 0.75), 0.5).tolist()
        [0.0, 1.0, 0.0, 1.0, 0.0, 1.0]
    """
    _check_leak(leak)
    potential = torch.zeros_like(currents[0])
    fired = []
    for current in currents:
        potential = leak * potential + current
        fired.append(spikes(potential))
        potential = potential * (1 - fired[-1])
    return torch.stack(fired)


def firing_period(current: float, leak: float) -> float:
    """Return after how many steps a neuron with a constant current fires, or inf.

    Args:
        current: i.
        leak: From 0, below 1.

    Example:
        >>> firing_period(0.75, 0.5), firing_period(0.5, 0.5)
        (2, inf)
    """
    _check_leak(leak)
    if current <= 1 - leak:
        return math.inf
    if current > 1:
        return 1
    needed = math.log(1 - (1 - leak) / current) / math.log(leak)
    return math.floor(needed) + 1  # exactly 1 does not fire yet


class SpikingMLP(nn.Module):
    """Linear layers with leaky neurons in between, run for some steps of time.

    Maps (N, ...) to logits (N, widths[-1]).

    Args:
        widths: Inputs, neurons of every hidden layer, and logits; at least three.
        steps: Steps of time T.
        leak: Share of the potential that is left after a step.

    Raises:
        ValueError: If there are fewer than three widths, or a number is out of range.

    Example:
        >>> SpikingMLP((256, 20, 10), steps=2)(torch.zeros(3, 1, 16, 16)).shape
        torch.Size([3, 10])
    """

    def __init__(
        self,
        widths: Sequence[int] = (256, 200, 100, 10),
        *,
        steps: int = 4,
        leak: float = 0.5,
    ) -> None:
        super().__init__()
        check_positive(steps=steps)
        _check_leak(leak)
        if len(widths) < 3:
            raise ValueError(f"widths must have a hidden layer at least, got {widths}")
        self.steps, self.leak = steps, leak
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))

    def forward(self, x: Tensor) -> Tensor:
        """Return logits, (N, widths[-1])."""
        first, *others = self.layers
        current = first(x.flatten(1)).expand(self.steps, -1, -1)  # (T, N, neurons)
        for layer in others:
            current = layer(leaky_fire(current, self.leak))
        return current.mean(dim=0)


def _check_leak(leak: float) -> None:
    if not 0 <= leak < 1:
        raise ValueError(f"leak must be at least 0 and below 1, got {leak}")
