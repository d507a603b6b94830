"""A block space on MobileNetV2: kernel and expansion of every layer are free.

Papers: Cai et al., "ProxylessNAS: Direct Neural Architecture Search on Target Task and
Hardware", ICLR 2019, https://arxiv.org/abs/1812.00332, for the geometry; the block is
that of MobileNetV2, https://arxiv.org/abs/1801.04381.

    candidate   inverted residual, depthwise k x k       k in 3, 5, 7
                with t c channels in the middle          t in 3, 6
                or none at all: skip                     if stride 1, equal channels

A skipped layer is the identity. So the search decides on the depth, too: a stage keeps
only its first layer, which changes the shape, for sure.

    stage    1   2   3   4   5   6        stem 32, one fixed block to 16 channels,
    width   24  40  80  96 192 320        21 layers, pointwise to 1280, mean, linear
    layers   4   4   4   4   4   1
    stride   2   2   2   1   2   1        6^6 7^15 = 2.2e17 architectures

With k = 3 and t = 6 a candidate is MobileNetV2's block. FBNet has a space of the same
kind (https://arxiv.org/abs/1812.03443), 22 layers of 9 candidates: 9^22 = 9.8e20.

Names tell kernel and expansion, such as "k5 e3". What differs: batch norm's constants
are PyTorch's.
"""

from collections.abc import Sequence
from functools import partial

from torch import nn

from effdl.blocks import conv_bn, mean_linear
from effdl.checks import check_positive
from effdl.nas.block_space import BlockSpace, ChoiceStage, Maker, layer_shapes
from effdl.nas.supernet import SuperNet
from effdl.nets.inverted_residual import InvertedResidual

KERNELS = (3, 5, 7)
EXPANSIONS = (3, 6)


STAGES = (
    *(ChoiceStage(width, 4, 2) for width in (24, 40, 80)),
    ChoiceStage(96, 4, 1),
    ChoiceStage(192, 4, 2),
    ChoiceStage(320, 1, 1),
)
SMALL_STAGES = (ChoiceStage(16, 3, 2), ChoiceStage(24, 3, 2))


class MBConv(InvertedResidual):
    """Inverted residual block with a depthwise kernel of any odd side.

    Raises ``ValueError`` if a number is below 1 or the kernel side is even.

    Args:
        in_channels: Channels c of the input.
        out_channels: Channels n of the output.
        kernel_size: Side k of the depthwise kernel.
        stride: Stride of the depthwise step.
        expansion: Factor t from c to the channels of the middle.

    Example:
        >>> import torch
        >>> MBConv(16, 24, 7, stride=2)(torch.zeros(1, 16, 9, 9)).shape
        torch.Size([1, 24, 5, 5])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        stride: int = 1,
        expansion: int = 6,
    ) -> None:
        super().__init__(in_channels, out_channels, stride=stride, expansion=expansion)
        wide = expansion * in_channels
        self.layers[-2] = conv_bn(
            wide, wide, kernel_size, stride=stride, groups=wide, activation=nn.ReLU6
        )


def mbconv_layer(
    in_channels: int,
    out_channels: int,
    *,
    stride: int = 1,
    kernels: Sequence[int] = KERNELS,
    expansions: Sequence[int] = EXPANSIONS,
) -> dict[str, Maker]:
    """Return the candidates of one layer; skip is the last, where it is one.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        stride: Stride of the layer.
        kernels: Sides of the depthwise kernels, odd.
        expansions: Factors to the channels of the middle.

    Example:
        >>> list(mbconv_layer(16, 16, kernels=(3,)))
        ['k3 e3', 'k3 e6', 'skip']
        >>> list(mbconv_layer(16, 24, kernels=(3,)))
        ['k3 e3', 'k3 e6']
    """
    check_positive(in_channels=in_channels, out_channels=out_channels, stride=stride)
    layer: dict[str, Maker] = {
        f"k{k} e{t}": partial(
            MBConv, in_channels, out_channels, k, stride=stride, expansion=t
        )
        for k in kernels
        for t in expansions
    }
    if stride == 1 and in_channels == out_channels:
        layer["skip"] = nn.Identity
    return layer


def mbconv_space(
    in_channels: int,
    stages: Sequence[ChoiceStage],
    *,
    kernels: Sequence[int] = KERNELS,
    expansions: Sequence[int] = EXPANSIONS,
) -> BlockSpace:
    """Return the space of a table of stages.

    Args:
        in_channels: Channels of what comes from the stem.
        stages: Width, layers and stride of each stage.
        kernels: Sides of the depthwise kernels, odd.
        expansions: Factors to the channels of the middle.

    Example:
        >>> space = mbconv_space(16, STAGES)
        >>> len(space.layers), space.size == 6**6 * 7**15
        (21, True)
    """
    return BlockSpace(
        tuple(
            mbconv_layer(
                before, after, stride=stride, kernels=kernels, expansions=expansions
            )
            for before, after, stride in layer_shapes(in_channels, stages)
        )
    )


def proxyless_supernet(*, in_channels: int = 3, classes: int = 1000) -> SuperNet:
    """Return ProxylessNAS's supernet with all 141 candidates, for 224 x 224 pixels.

    Args:
        in_channels: Channels of the images.
        classes: Logits.

    Example:
        >>> import torch
        >>> with torch.device("meta"):  # shapes only: the weights are not made
        ...     net = proxyless_supernet()
        >>> net.space.candidates
        141
    """
    stem = nn.Sequential(
        conv_bn(in_channels, 32, 3, stride=2, activation=nn.ReLU6),
        MBConv(32, 16, 3, expansion=1),
    )
    last = conv_bn(STAGES[-1].channels, 1280, 1, activation=nn.ReLU6)
    head = nn.Sequential(last, *mean_linear(1280, classes))
    return SuperNet(stem, mbconv_space(16, STAGES), head)


def small_mbconv_supernet(*, in_channels: int = 1, classes: int = 10) -> SuperNet:
    """Return six layers of it for 16 x 16 or 12 x 12 pixels: 86,436 networks.

    Args:
        in_channels: Channels of the images.
        classes: Logits.

    Example:
        >>> small_mbconv_supernet().space.sizes
        (6, 7, 7, 6, 7, 7)
    """
    width = SMALL_STAGES[-1].channels
    head = nn.Sequential(conv_bn(width, 64, 1), *mean_linear(64, classes))
    return SuperNet(conv_bn(in_channels, 8, 3), mbconv_space(8, SMALL_STAGES), head)
