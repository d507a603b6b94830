"""A block space on ShuffleNetV2: unit and inner width of every layer are free.

Papers: Luo et al., "HSCoNAS: Hardware-Software Co-Design of Efficient DNNs via Neural
Architecture Search", DATE 2021, https://arxiv.org/abs/2103.08325; stages and units are
those of Guo et al., "Single Path One-Shot Neural Architecture Search with Uniform
Sampling", ECCV 2020, https://arxiv.org/abs/1904.00420.

    candidates   units with kernel 3x3, 5x5, 7x7, or xception   (see shuffle_units)
                 skip, the identity, where it keeps the shape
    width        share w of a unit's middle channels: 0.1, 0.2, ..., 1

    stage     1    2    3    4        stem 16, 20 layers, pointwise to 1024, mean,
    width    64  160  320  640        linear
    layers    4    4    8    4
    stride    2    2    2    2

How many are there? By the ingredients, 5 units and 10 widths in each of 20 layers,
(5 * 10)^20 = 9.5e33. But 4 layers change the shape, and cannot be skipped, and skip
has no width: this space has 40^4 41^16 = 1.6e32 codes that mean something, a sixtieth.

What differs: each width is a candidate with weights of its own. For shared ones see
:func:`effdl.nas.shuffle_units.inherit_first_`.
"""

from collections.abc import Sequence
from functools import partial

from torch import nn

from effdl.blocks import conv_bn, mean_linear
from effdl.checks import check_positive
from effdl.nas.block_space import BlockSpace, ChoiceStage, Maker, layer_shapes
from effdl.nas.shuffle_units import BRANCHES, shuffle_unit
from effdl.nas.supernet import SuperNet

STAGES = (
    ChoiceStage(64, 4, 2),
    ChoiceStage(160, 4, 2),
    ChoiceStage(320, 8, 2),
    ChoiceStage(640, 4, 2),
)
SMALL_STAGES = (ChoiceStage(16, 3, 2), ChoiceStage(32, 3, 2))
WIDTHS = tuple(tenths / 10 for tenths in range(1, 11))


def shuffle_layer(
    in_channels: int,
    out_channels: int,
    *,
    stride: int = 1,
    widths: Sequence[float] = (1.0,),
) -> dict[str, Maker]:
    """Return the candidates of one layer; skip is the last, where it is one.

    Args:
        in_channels: Channels of the input; even if the layer keeps the shape.
        out_channels: Channels of the output, even.
        stride: Stride of the layer.
        widths: Shares of the middle channels; each is a candidate of every unit.

    Example:
        >>> list(shuffle_layer(16, 16))
        ['3x3 w1', '5x5 w1', '7x7 w1', 'xception w1', 'skip']
        >>> len(shuffle_layer(16, 32, stride=2, widths=WIDTHS))
        40
    """
    check_positive(in_channels=in_channels, out_channels=out_channels, stride=stride)
    layer: dict[str, Maker] = {
        f"{name} w{width:g}": partial(
            shuffle_unit, branch, in_channels, out_channels, stride=stride, width=width
        )
        for name, branch in BRANCHES.items()
        for width in widths
    }
    if stride == 1 and in_channels == out_channels:
        layer["skip"] = nn.Identity
    return layer


def shuffle_space(
    in_channels: int,
    stages: Sequence[ChoiceStage],
    *,
    widths: Sequence[float] = (1.0,),
) -> BlockSpace:
    """Return the space of a table of stages.

    Args:
        in_channels: Channels of what comes from the stem.
        stages: Width, layers and stride of each stage.
        widths: Shares of the middle channels.

    Example:
        >>> space = shuffle_space(16, STAGES, widths=WIDTHS)
        >>> len(space.layers), space.size == 40**4 * 41**16
        (20, True)
    """
    return BlockSpace(
        tuple(
            shuffle_layer(before, after, stride=stride, widths=widths)
            for before, after, stride in layer_shapes(in_channels, stages)
        )
    )


def hsconas_supernet(*, in_channels: int = 3, classes: int = 1000) -> SuperNet:
    """Return the supernet with full widths, 96 candidates, for 224 x 224 pixels.

    Args:
        in_channels: Channels of the images.
        classes: Logits.

    Example:
        >>> import torch
        >>> with torch.device("meta"):  # shapes only: the weights are not made
        ...     net = hsconas_supernet()
        >>> net.space.candidates
        96
    """
    head = nn.Sequential(
        conv_bn(STAGES[-1].channels, 1024, 1), *mean_linear(1024, classes)
    )
    stem = conv_bn(in_channels, 16, 3, stride=2)
    return SuperNet(stem, shuffle_space(16, STAGES), head)


def small_shuffle_supernet(*, in_channels: int = 1, classes: int = 10) -> SuperNet:
    """Return six layers of it for 16 x 16 or 12 x 12 pixels: 10,000 networks.

    Args:
        in_channels: Channels of the images.
        classes: Logits.

    Example:
        >>> small_shuffle_supernet().space.sizes
        (4, 5, 5, 4, 5, 5)
    """
    width = SMALL_STAGES[-1].channels
    head = nn.Sequential(conv_bn(width, 64, 1), *mean_linear(64, classes))
    return SuperNet(conv_bn(in_channels, 8, 3), shuffle_space(8, SMALL_STAGES), head)
