"""CondenseNetV2: new features also update the old ones.

Paper: Yang et al., "CondenseNet V2: Sparse Feature Reactivation for Deep Networks",
CVPR 2021, https://arxiv.org/abs/2104.04382, sections 3 and 4.

A layer is that of CondenseNet (:mod:`effdl.nets.condensenet_v1`), and then sparse
feature reactivation u (:mod:`effdl.conv.feature_reactivation`):

    h = conv3x3(act(BN(conv1x1(act(BN(x))))))     k features
    h = SE(h)                                     in the last two blocks
    y = [x + u(h), h]

act is ReLU in the first two blocks and hard-swish from the third on. SE is squeeze-and-
excitation without biases, and in the layers without a bottleneck. The classifier has
one, too, with a bottleneck of a 16th, and a hidden layer; it does not condense. At
224 x 224, after all stages and deployed:

    A, 8 groups:  2,038,444 parameters,  43.1 M MACs     published: 2.0 M and  46 M
    B, 6 groups:  3,592,662 parameters, 140.5 M MACs     published: 3.6 M and 146 M
    C, 8 groups:  6,177,512 parameters, 295.8 M MACs     published: 6.1 M and 309 M

The published counts have one more for each number that enters an activation or an
average pooling, two for a sigmoid: that makes 45.9, 146.5 and 309.7 M. Of C, MACs and
parameters are rounded down. And they take the reactivation for a group convolution: the
product with a 0/1 matrix by which the authors' code spreads its outputs is left out.

The authors' layer sets the scale of batch norm to 0, so that u = 0 at the start; their
network then sets all of them to 1, and so does this one.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from torch import Tensor, nn

from effdl.blocks import scaled_channels
from effdl.checks import check_positive
from effdl.conv.feature_reactivation import SparseFeatureReactivation
from effdl.conv.squeeze_excite import SqueezeExcite
from effdl.nets.condensenet_v1 import SMALL, Block, CondenseLayer, CondenseNetV1


class Variant(NamedTuple):
    """Layers and growth of each block, C = S = G, and units of the hidden layer."""

    blocks: tuple[tuple[int, int], ...]
    condensation: int
    hidden: int


V2_A = Variant(((1, 8), (1, 8), (4, 16), (6, 32), (8, 64)), 8, 828)
V2_B = Variant(((2, 6), (4, 12), (6, 24), (8, 48), (6, 96)), 6, 1024)
V2_C = Variant(((4, 8), (6, 16), (8, 32), (10, 64), (8, 128)), 8, 1024)


class ReactivatingLayer(CondenseLayer):
    """Layer that adds k features, and updates those that were there.

    Takes the arguments of :class:`~effdl.nets.condensenet_v1.CondenseLayer`, S being
    C, and whether squeeze-and-excitation weighs the new features (``excite``).

    Example:
        >>> import torch
        >>> layer = ReactivatingLayer(16, 8, 32, condensation=8)
        >>> layer(torch.zeros(1, 16, 5, 5)).shape
        torch.Size([1, 24, 5, 5])
    """

    def __init__(
        self,
        in_channels: int,
        growth: int,
        bottleneck: int,
        *,
        condensation: int,
        activation: Callable[[], nn.Module] = nn.ReLU,
        excite: bool = False,
    ) -> None:
        super().__init__(
            in_channels,
            growth,
            bottleneck,
            condensation=condensation,
            activation=activation,
        )
        if excite:
            self.new.append(_squeeze_excite(growth, growth))
        self.reactivate = SparseFeatureReactivation(
            growth,
            in_channels,
            groups=condensation,
            condensation=condensation,
            activation=activation,
            gamma=1.0,
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, c + k, H, W) for x of (N, c, H, W)."""
        return self.reactivate(x, self.new(x))


class CondenseNetV2(CondenseNetV1):
    """CondenseNet with other layers and another classifier.

    As :class:`~effdl.nets.condensenet_v1.CondenseNetV1`, without ``kept``, and with the
    units ``hidden`` of the classifier's hidden layer. Raises ``ValueError`` likewise.

    Example:
        >>> import torch
        >>> blocks = Block(2, 4, 16), Block(2, 8, 32)
        >>> net = CondenseNetV2(blocks, condensation=4, hidden=20)
        >>> net(torch.zeros(1, 3, 32, 32)).shape, net.reduction
        (torch.Size([1, 1000]), 4)
    """

    def __init__(
        self,
        blocks: Sequence[Block],
        *,
        condensation: int,
        hidden: int,
        in_channels: int = 3,
        classes: int = 1000,
        stem_stride: int = 2,
    ) -> None:
        check_positive(hidden=hidden)
        super().__init__(
            blocks,
            condensation=condensation,
            in_channels=in_channels,
            classes=classes,
            stem_stride=stem_stride,
            kept=1,
        )
        self.classifier = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            _squeeze_excite(self.width, self.width // 16),
            nn.Flatten(),
            nn.Linear(self.width, hidden),
            nn.Hardswish(),
            nn.Linear(hidden, classes),
        )

    def layer(self, width: int, number: int) -> nn.Module:
        """Return a layer of block ``number``, from 0, that finds ``width`` features."""
        return ReactivatingLayer(
            width,
            *self.blocks[number][1:],
            condensation=self.condensation,
            activation=nn.Hardswish if number >= 2 else nn.ReLU,
            excite=number >= len(self.blocks) - 2,
        )


def condensenet_v2(
    variant: Variant = V2_B, *, in_channels: int = 3, classes: int = 1000
) -> CondenseNetV2:
    """Return CondenseNetV2-A, -B or -C for ImageNet, before its condensing stages.

    Example:
        >>> condensenet_v2(V2_A).classifier[3]
        Linear(in_features=800, out_features=828, bias=True)
    """
    return CondenseNetV2(
        [Block(layers, k, 4 * k) for layers, k in variant.blocks],
        condensation=variant.condensation,
        hidden=variant.hidden,
        in_channels=in_channels,
        classes=classes,
    )


def small_condensenet_v2(
    width: float = 1.0, *, in_channels: int = 1, classes: int = 10
) -> CondenseNetV2:
    """Return five layers with C = G = 4 for digit scenes, to be condensed in training.

    All that :func:`effdl.nets.condensenet_v1.small_condensenet_v1` says holds here.

    Example:
        >>> import torch
        >>> small_condensenet_v2()(torch.zeros(2, 1, 16, 16)).shape
        torch.Size([2, 10])
    """
    return CondenseNetV2(
        [Block(n, k, scaled_channels(2 * k, width, divisor=4)) for n, k in SMALL],
        condensation=4,
        hidden=64,
        in_channels=in_channels,
        classes=classes,
        stem_stride=1,
    )


def _squeeze_excite(channels: int, hidden: int) -> SqueezeExcite:
    """Return squeeze-and-excitation of any bottleneck, without biases."""
    layer = SqueezeExcite(channels, reduction=1)
    layer.reduce = nn.Linear(channels, hidden, bias=False)
    layer.expand = nn.Linear(hidden, channels, bias=False)
    return layer
