"""Pointwise convolution: mix the channels of every pixel, and nothing else.

Paper: Lin et al., "Network In Network", ICLR 2014,
https://arxiv.org/abs/1312.4400, where a small network slides over the image.

A 1 x 1 kernel sees one pixel. At each of them, independently, the c input channels
become n output channels by one and the same matrix W:

    y[o, h, w] = b[o] + sum_c W[o, c] x[c, h, w]

It is a linear layer on the channel axis: a dot product over the channels, not a
product element by element. Against a k x k convolution of the same channels

    parameters  n c k^2      / (n c)      = k^2       without bias
                n (c k^2 + 1) / (n (c + 1))           with bias: less than k^2
    MACs        n c k^2 H W  / (n c H W)  = k^2

Do not read k^2 as speed: per number that it moves, a pointwise layer computes k^2
times less, too. And alone it learns no shapes, because no pixel meets its neighbour:
it needs a depthwise, shift or attention layer beside it.
"""

import torch
from torch import Tensor, nn

from effdl.checks import check_images, check_positive
from effdl.conv.cost import ConvCost, Size, conv_cost


def pointwise(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return the equation above, evaluated at every pixel.

    Args:
        x: Feature maps, (N, c, H, W).
        weight: The matrix W, (n, c).
        bias: The vector b, (n,), or None.

    Returns:
        (N, n, H, W).

    Raises:
        ValueError: If ``x`` is not a batch of c maps or ``weight`` no matrix.

    Example:
        >>> x = torch.tensor([1.0, 2.0]).reshape(1, 2, 1, 1)
        >>> pointwise(x, torch.tensor([[10.0, 1.0]])).item()
        12.0
    """
    if weight.ndim != 2:
        shape = tuple(weight.shape)
        cure = "use weight[:, :, 0, 0]" if shape[2:] == (1, 1) else "it has no k"
        raise ValueError(f"weight must be (n, c), got shape {shape}; {cure}")
    check_images(x, weight.shape[1])
    y = torch.einsum("oc,nchw->nohw", weight, x)
    return y if bias is None else y + bias[:, None, None]


class PointwiseConv2d(nn.Conv2d):
    """The same by PyTorch's convolution: fast, and with its (n, c, 1, 1) weight.

    Args:
        in_channels: Channels c of the input.
        out_channels: Channels n of the output: fewer compress, more expand.
        stride: Pixels from one output to the next. Above 1, the others are unseen.
        bias: Whether to add b. Leave it out where batch norm follows.

    Raises:
        ValueError: If a number is below 1.

    Example:
        >>> PointwiseConv2d(16, 32)(torch.zeros(1, 16, 9, 9)).shape
        torch.Size([1, 32, 9, 9])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        stride: int = 1,
        bias: bool = False,
    ) -> None:
        check_positive(in_channels=in_channels, out_channels=out_channels)
        check_positive(stride=stride)
        super().__init__(in_channels, out_channels, 1, stride=stride, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, n, ceil(H / stride), ceil(W / stride)) for x of (N, c, H, W).

        Raises ``ValueError`` if ``x`` is not a batch of c feature maps.
        """
        check_images(x, self.in_channels)
        return super().forward(x)


def pointwise_cost(
    in_channels: int, out_channels: int, output_size: Size, *, bias: bool = False
) -> ConvCost:
    """Return parameters, MACs and memory access for stride 1.

    Args:
        in_channels: Channels c of the input.
        out_channels: Channels n of the output.
        output_size: H = W, or (H, W).
        bias: Whether to count the biases.

    Example:
        >>> pointwise_cost(64, 128, 56)
        ConvCost(parameters=8192, macs=25690112, memory_access=610304)
    """
    return conv_cost(in_channels, out_channels, 1, output_size, bias=bias)


def pointwise_saving(
    in_channels: int, kernel_size: int, *, bias: bool = False
) -> float:
    """Return by what factor a k x k convolution has more parameters: k^2.

    Without bias this is the factor of the MACs, too, whatever the channels.

    Raises ``ValueError`` if a number is below 1.

    Args:
        in_channels: Channels c of the input.
        kernel_size: Side k of the kernel that is replaced.
        bias: Whether both layers have one.

    Example:
        >>> pointwise_saving(64, 3), pointwise_saving(1, 3, bias=True)
        (9.0, 5.0)
    """
    check_positive(in_channels=in_channels, kernel_size=kernel_size)
    return (in_channels * kernel_size**2 + bias) / (in_channels + bias)
