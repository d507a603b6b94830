"""Layers that hold R small networks at once, one after another in the first dimension.

Paper: Wang et al., "Horizontally Fused Training Array: An Effective Hardware
Utilization Squeezer for Training Novel Deep Learning Models", MLSys 2021,
https://arxiv.org/abs/2102.02344, which fuses the same layer of many models.

A convolution with 8 channels keeps a processor busy with everything but arithmetic. R
networks that differ in their weights only can share each call:

    x (R, B, H, W, c), w (R, n, c, k, k)
    windows(x) (R, B H' W', c k k)  times  w (R, c k k, n)    one batched product

Nothing is shared between the networks: each has its own weights and batch statistics,
so its gradient is that of the network alone. ``tests/nas/test_stacked.py`` compares
every layer with PyTorch's own, network by network.

What differs: batch norm's statistics are computed as one mean and one variance rather
than in PyTorch's order, so trainings agree to rounding at first and drift apart later,
as two runs on two processors do.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx


class StackedConv(nn.Module):
    """R convolutions without bias, (R, B, H, W, c) to (R, B, H', W', n).

    Args:
        layers: The convolutions; kernel, stride and channels are those of the first.

    Example:
        >>> convs = [nn.Conv2d(1, 4, 3, padding=1, bias=False) for _ in range(2)]
        >>> StackedConv(convs)(torch.zeros(2, 5, 8, 8, 1)).shape
        torch.Size([2, 5, 8, 8, 4])
    """

    def __init__(self, layers: Sequence[nn.Conv2d]) -> None:
        super().__init__()
        self.weight = _stack([layer.weight for layer in layers])  # (R, n, c, k, k)
        self.stride = layers[0].stride[0]

    def forward(self, x: Tensor) -> Tensor:
        """Return the feature maps; padding is half the kernel, as everywhere here."""
        return _Convolve.apply(x, self.weight, self.stride)


class StackedBatchNorm(nn.Module):
    """R batch norms over the last dimension, (R, B, H, W, c) to the same shape.

    Args:
        layers: The batch norms; epsilon and momentum are those of the first.

    Example:
        >>> norm = StackedBatchNorm([nn.BatchNorm2d(4), nn.BatchNorm2d(4)])
        >>> norm(torch.ones(2, 5, 8, 8, 4)).abs().max().item()
        0.0
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, layers: Sequence[nn.BatchNorm2d]) -> None:
        super().__init__()
        self.weight = _stack([layer.weight for layer in layers])  # (R, c)
        self.bias = _stack([layer.bias for layer in layers])
        self.eps, self.momentum = layers[0].eps, layers[0].momentum or 0.0
        self.register_buffer("running_mean", torch.zeros_like(self.weight.detach()))
        self.register_buffer("running_var", torch.ones_like(self.weight.detach()))

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x`` normalised by its batch in training, else as learned."""
        flat = x.flatten(1, -2)  # (R, pixels, c)
        if self.training:
            var, mean = torch.var_mean(flat, dim=1, correction=0)
            with torch.no_grad():
                pixels = flat.shape[1]
                self.running_mean.lerp_(mean, self.momentum)
                self.running_var.lerp_(var * pixels / (pixels - 1), self.momentum)
        else:
            mean, var = self.running_mean, self.running_var
        scale = self.weight * torch.rsqrt(var + self.eps)
        shift = self.bias - mean * scale
        return torch.addcmul(shift[:, None], flat, scale[:, None]).view_as(x)


class StackedLinear(nn.Module):
    """R linear layers, (R, B, c) to (R, B, n).

    Args:
        layers: The linear layers, each with a bias.

    Example:
        >>> StackedLinear([nn.Linear(3, 2)] * 4)(torch.zeros(4, 5, 3)).shape
        torch.Size([4, 5, 2])
    """

    def __init__(self, layers: Sequence[nn.Linear]) -> None:
        super().__init__()
        self.weight = _stack([layer.weight for layer in layers])  # (R, n, c)
        self.bias = _stack([layer.bias for layer in layers])

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits."""
        return torch.baddbmm(self.bias[:, None], x, self.weight.mT)


class _Context(FunctionCtx):
    """What the product keeps from forward to backward."""

    saved_tensors: tuple[Tensor, Tensor]
    needs_input_grad: tuple[bool, ...]
    stride: int


class _Convolve(torch.autograd.Function):
    """The batched product, whose windows are made again for the gradient."""

    @staticmethod
    def forward(ctx: _Context, x: Tensor, weight: Tensor, stride: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride = stride
        windows, (height, width) = _windows(x, weight.shape[-1], stride)
        out = windows @ _matrix(weight)
        return out.view(*x.shape[:2], height, width, weight.shape[1])

    @staticmethod
    def backward(
        ctx: _Context, *gradients: Tensor
    ) -> tuple[Tensor | None, Tensor, None]:
        x, weight = ctx.saved_tensors
        replicas, _, channels, kernel, _ = weight.shape
        sent = gradients[0].reshape(replicas, -1, weight.shape[1])
        windows, (height, width) = _windows(x, kernel, ctx.stride)
        to_weight = windows.mT @ sent  # (R, k k c, n)
        to_weight = to_weight.view(replicas, kernel, kernel, channels, -1)
        to_weight = to_weight.permute(0, 4, 3, 1, 2)
        if not ctx.needs_input_grad[0]:
            return None, to_weight, None
        back = sent @ _matrix(weight).mT
        back = back.view(*x.shape[:2], height, width, kernel, kernel, channels)
        return _fold(back, x.shape, ctx.stride), to_weight, None


def _matrix(weight: Tensor) -> Tensor:
    """Return (R, n, c, k, k) as (R, k k c, n)."""
    return weight.permute(0, 3, 4, 2, 1).flatten(1, 3)


def _windows(x: Tensor, kernel: int, stride: int) -> tuple[Tensor, tuple[int, int]]:
    """Return what each output pixel sees, (R, B H' W', k k c), and (H', W')."""
    if kernel == 1 and stride == 1:
        return x.flatten(1, 3), (x.shape[2], x.shape[3])
    edge = kernel // 2
    padded = F.pad(x, (0, 0, edge, edge, edge, edge))
    seen = padded.unfold(2, kernel, stride).unfold(3, kernel, stride)
    height, width = seen.shape[2:4]  # (R, B, H', W', c, k, k)
    seen = seen.permute(0, 1, 2, 3, 5, 6, 4)
    return seen.reshape(x.shape[0], -1, kernel * kernel * x.shape[-1]), (height, width)


def _fold(back: Tensor, shape: torch.Size, stride: int) -> Tensor:
    """Return the sum of what all windows (R, B, H', W', k, k, c) say of each pixel."""
    kernel = back.shape[4]
    if kernel == 1 and stride == 1:
        return back.view(shape)
    edge = kernel // 2
    replicas, batch, height, width, channels = shape
    padded = back.new_zeros((
        replicas,
        batch,
        height + 2 * edge,
        width + 2 * edge,
        channels,
    ))
    rows, columns = stride * back.shape[2], stride * back.shape[3]
    for i in range(kernel):
        for j in range(kernel):
            part = padded[:, :, i : i + rows : stride, j : j + columns : stride]
            part += back[:, :, : part.shape[2], : part.shape[3], i, j]
    return padded[:, :, edge : edge + height, edge : edge + width]


def _stack(tensors: Sequence[Tensor]) -> nn.Parameter:
    return nn.Parameter(torch.stack([tensor.detach() for tensor in tensors]))
