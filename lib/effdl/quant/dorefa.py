"""DoReFa: weights squeezed by tanh, activations cut at 1, both on few levels.

Paper: Zhou et al., "DoReFa-Net: Training Low Bitwidth Convolutional Neural Networks
with Low Bitwidth Gradients", 2016, https://arxiv.org/abs/1606.06160, section 2.

    quantize_k(r) = round(n r) / n          n = 2^k - 1, r from 0 to 1, straight through

    weights         t = tanh(w) / (2 max|tanh w|) + 1/2         from 0 to 1
                    w' = 2 quantize_k(t) - 1                    from -1 to 1
    1 bit           w' = sign(w) mean|w|                        straight through
    activations     a' = quantize_k(clip(a, 0, 1))
    gradients       g' = 2 m (quantize_k(g / (2 m) + 1/2 + z / n) - 1/2)
                    m = max|g| of a sample, z uniform on -1/2 to 1/2

tanh takes the room from outliers: most weights come to lie on the steep part. The noise
z makes the mean of g' over draws that of g (but for the clipping at both ends).

There is an even number of levels from -1 to 1, and 0 is none of them.

Before trusting it: w' has lost the size of w. Every layer puts out values of one size,
whatever it learned: meant for networks with batch norm behind each layer. A network in
which batch norm has been folded breaks. With 1 bit the size is kept.
"""

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable

from effdl.nas.gradient.gumbel import straight_through
from effdl.quant.checks import check_bits, check_finite


def quantize_unit(r: Tensor, bits: int) -> Tensor:
    """Return the nearest of 2^bits levels from 0 to 1; the gradient passes.

    Args:
        r: From 0 to 1; what lies outside is not clipped.
        bits: 1 to 16.

    Example:
        >>> quantize_unit(torch.tensor([0.1, 0.4, 0.9]), 2).tolist()[1:]
        [0.3333333432674408, 1.0]
    """
    check_bits(bits)
    levels = 2**bits - 1
    return straight_through(r, (r * levels).round() / levels)


def dorefa_weight(weight: Tensor, bits: int) -> Tensor:
    """Return w'; the gradient passes the rounding and goes on through tanh and maximum.

    Args:
        weight: NaN and infinity are refused.
        bits: 1 to 16.

    Example:
        >>> dorefa_weight(torch.tensor([-2.0, 0.1, 2.0]), 2).round(decimals=3)
        tensor([-1.0000,  0.3330,  1.0000])
        >>> dorefa_weight(torch.tensor([-2.0, 0.0, 1.0]), 1)
        tensor([-1.,  1.,  1.])
    """
    check_bits(bits)
    check_finite(weight=weight)
    if bits == 1:
        size = weight.detach().abs().mean()
        return straight_through(weight, torch.where(weight >= 0, size, -size))
    squeezed = weight.tanh()
    largest = squeezed.abs().max().clamp(min=torch.finfo(weight.dtype).tiny)
    return 2 * quantize_unit(squeezed / (2 * largest) + 0.5, bits) - 1


def dorefa_activation(x: Tensor, bits: int) -> Tensor:
    """Return the activation cut to 0 to 1, on 2^bits levels.

    Args:
        x: Of any shape.
        bits: 1 to 16.

    Example:
        >>> dorefa_activation(torch.tensor([-1.0, 0.4, 0.6, 7.0]), 1).tolist()
        [0.0, 0.0, 1.0, 1.0]
    """
    return quantize_unit(x.clamp(0, 1), bits)


def dorefa_gradient(x: Tensor, bits: int) -> Tensor:
    """Return ``x``; its gradient is rounded at random to 2^bits levels.

    Args:
        x: (N, ...), each sample with a range of its own.
        bits: 1 to 16.

    Example:
        >>> x = torch.zeros(1, 3, requires_grad=True)
        >>> (dorefa_gradient(x, 1) * torch.tensor([-4.0, 1.0, 4.0])).sum().backward()
        >>> sorted({abs(g) for g in x.grad[0].tolist()})
        [4.0]
    """
    check_bits(bits)
    result: Tensor = _RoundedGradient.apply(x, bits)
    return result


class DorefaWeight(nn.Module):
    """A weight's quantizer, for each layer as a whole; a parametrization.

    Args:
        bits: 1 to 16.

    Example:
        >>> DorefaWeight(8)(torch.tensor([0.0, 5.0]))[1].item()
        1.0
    """

    def __init__(self, bits: int) -> None:
        super().__init__()
        check_bits(bits)
        self.bits = bits

    def forward(self, weight: Tensor) -> Tensor:
        """Return the rounded weight."""
        return dorefa_weight(weight, self.bits)


class DorefaActivation(nn.Module):
    """An activation's quantizer.

    Args:
        bits: 1 to 16.

    Example:
        >>> DorefaActivation(8)(torch.tensor([-3.0, 3.0])).tolist()
        [0.0, 1.0]
    """

    def __init__(self, bits: int) -> None:
        super().__init__()
        check_bits(bits)
        self.bits = bits

    def forward(self, x: Tensor) -> Tensor:
        """Return the cut and rounded activation, of any shape."""
        return dorefa_activation(x, self.bits)


class _Context(FunctionCtx):
    bits: int


class _RoundedGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: _Context, x: Tensor, bits: int) -> Tensor:
        ctx.bits = bits
        return x.view_as(x)

    @staticmethod
    @once_differentiable
    def backward(ctx: _Context, grad: Tensor) -> tuple[Tensor, None]:
        largest = grad.abs().amax(tuple(range(1, grad.ndim)), keepdim=True)
        span = 2 * largest.clamp(min=torch.finfo(grad.dtype).tiny)
        noise = (torch.rand_like(grad) - 0.5) / (2**ctx.bits - 1)
        unit = (grad / span + 0.5 + noise).clamp(0, 1)
        return span * (quantize_unit(unit, ctx.bits) - 0.5), None
