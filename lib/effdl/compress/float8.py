"""Training in 8 bits, simulated: digits on the way forward, range on the way back.

Paper: Micikevicius et al., "FP8 Formats for Deep Learning", 2022,
https://arxiv.org/abs/2209.05433, section 4.

    forward     y = round_E4M3(x) round_E4M3(W)          4 exponent, 3 mantissa bits
    backward    g = round_E5M2(slope along y)            5 exponent, 2 mantissa bits
                slopes along x and W from g and the rounded x and W

Weights and activations lie close together and need digits; gradients are spread over
many powers of two and need range. Eight bits are not enough for both, so a tensor gets
a scale s of its own: its largest value becomes the format's largest.

    cast(x) = round(s x) / s,   s = largest of the format / largest |x|

The weights that the optimiser changes stay float32, as under autocast. Rounding passes
the gradient straight through.

What differs: sums are float32 here, as in hardware, but everything takes longer, not
less. The scale is of today's tensor; programs for speed take it from the steps before.

Before trusting it: a simulation shows what rounding does to a network, not what a chip
does with time.
"""

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable
from torch.nn.utils.parametrize import register_parametrization
from torch.utils.hooks import RemovableHandle

from effdl.compress.float_formats import E4M3, E5M2, Format, rounded


def cast(x: Tensor, forward: Format | None, backward: Format | None = None) -> Tensor:
    """Return x rounded with a scale of its own; its gradient is rounded the same way.

    A tensor of zeros stays.

    Args:
        x: Float32, any shape, not empty.
        forward: Of the values; None leaves them.
        backward: Of the gradient; None leaves it.

    Example:
        >>> x = torch.tensor([1.0, 0.01], requires_grad=True)
        >>> y = cast(x, E4M3, E5M2)
        >>> (y * torch.tensor([1.0, 0.3])).sum().backward()
        >>> [round(v, 5) for v in y.tolist()], [round(v, 5) for v in x.grad.tolist()]
        ([1.0, 0.01004], [1.0, 0.28571])
    """
    result: Tensor = _Cast.apply(x, forward, backward)
    return result


def cast_layers_(
    model: nn.Module, forward: Format = E4M3, backward: Format = E5M2
) -> list[RemovableHandle]:
    """Let every convolution and linear layer multiply rounded numbers, from now on.

    Batch norm, pooling and biases stay as exact as they were.

    Args:
        model: Changed in place: its layers get hooks, and their weights a
            parametrization.
        forward: Of inputs and weights.
        backward: Of the gradients of outputs.

    Returns:
        Handles of the hooks.

    Raises:
        ValueError: If there is no such layer.

    Example:
        >>> net = nn.Linear(2, 2, bias=False)
        >>> _ = net.weight.data.fill_(0.3)
        >>> handles = cast_layers_(net)
        >>> net.parametrizations.weight.original[0, 0].item() == net.weight[0, 0].item()
        True
    """
    layers = [m for m in model.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    if not layers:
        raise ValueError("model has no convolution or linear layer; nothing to round")

    def enter(_layer: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor]:
        return (cast(inputs[0], forward),)

    def leave(_layer: nn.Module, _inputs: tuple[Tensor], output: Tensor) -> Tensor:
        return cast(output, None, backward)

    handles = []
    for layer in layers:
        register_parametrization(layer, "weight", _Rounded(forward))
        handles.append(layer.register_forward_pre_hook(enter))
        handles.append(layer.register_forward_hook(leave))
    return handles


class _Rounded(nn.Module):
    def __init__(self, to: Format) -> None:
        super().__init__()
        self.to_format = to

    def forward(self, weight: Tensor) -> Tensor:
        return cast(weight, self.to_format)


class _Context(FunctionCtx):
    backward_format: Format | None


class _Cast(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: _Context, x: Tensor, forward: Format | None, backward: Format | None
    ) -> Tensor:
        ctx.backward_format = backward
        return _scaled(x, forward)

    @staticmethod
    @once_differentiable
    def backward(ctx: _Context, grad: Tensor) -> tuple[Tensor, None, None]:
        return _scaled(grad, ctx.backward_format), None, None


def _scaled(x: Tensor, to: Format | None) -> Tensor:
    if to is None:
        return x.clone()
    wide = x.double()  # in which no scale is infinite
    largest = wide.abs().max()
    scale = torch.where(largest > 0, to.largest / largest, 1.0)
    return (rounded(wide * scale, to) / scale).to(x)
