"""Pruning as a picture: a small network drawn from its masks, line by line.

Paper: the picture is Fig. 17 of Luo et al., "Efficient Deep Learning Infrastructures
for Embedded Computing Systems: A Comprehensive Survey and Future Envision", ACM TECS
2024, https://arxiv.org/abs/2411.01431.

    weights     any single line may go              non-structured
    a unit      all its lines, in and out           structured: a smaller matrix
    a layer     all units of it                     structured: a matrix less

Every line that is drawn is a weight that is left.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from torch import Tensor

from effdl.plot import COLOURS


def without_unit(
    weights: Sequence[Tensor], layer: int, unit: int
) -> tuple[Tensor, ...]:
    """Return weights without one hidden unit: a row less here, a column less there.

    Args:
        weights: Of linear layers in a row, (out, in) each.
        layer: Which layer's output it is, from 0, not the last.
        unit: Which row of it, from 0.

    Raises:
        ValueError: If the unit is no hidden one.

    Example:
        >>> first, second = without_unit([torch.ones(3, 2), torch.ones(4, 3)], 0, 1)
        >>> tuple(first.shape), tuple(second.shape)
        ((2, 2), (4, 2))
    """
    if not (0 <= layer < len(weights) - 1 and 0 <= unit < len(weights[layer])):
        raise ValueError(
            f"layer={layer}, unit={unit} is no hidden unit; layers are 0 to "
            f"{len(weights) - 2}"
        )
    left = [other for other in range(len(weights[layer])) if other != unit]
    changed = list(weights)
    changed[layer] = weights[layer][left]
    changed[layer + 1] = weights[layer + 1][:, left]
    return tuple(changed)


def draw_masks(ax: Axes, masks: Sequence[Tensor]) -> int:
    """Draw the units of linear layers as dots and the weights that are left as lines.

    Args:
        ax: Where to draw.
        masks: Of linear layers in a row, (out, in) each, bool.

    Returns:
        The number of lines.

    Raises:
        ValueError: If a layer does not begin with as many units as the last one ended.

    Example:
        >>> import matplotlib.pyplot as plt
        >>> _, ax = plt.subplots()
        >>> draw_masks(ax, [torch.eye(3) > 0, torch.ones(2, 3) > 0])
        9
        >>> plt.close()
    """
    for number, (mask, following) in enumerate(pairwise(masks)):
        if following.shape[1] != mask.shape[0]:
            raise ValueError(
                f"masks[{number + 1}] must have {mask.shape[0]} columns, "
                f"got {following.shape[1]}"
            )
    sizes = [masks[0].shape[1], *(len(mask) for mask in masks)]
    heights = [torch.arange(size) - (size - 1) / 2 for size in sizes]
    lines = [
        [(layer, heights[layer][j].item()), (layer + 1, heights[layer + 1][i].item())]
        for layer, mask in enumerate(masks)
        for i, j in mask.nonzero().tolist()
    ]
    ax.add_collection(LineCollection(lines, colors=COLOURS.blue, linewidths=0.5))
    for layer, height in enumerate(heights):
        across = [layer] * len(height)
        ax.plot(across, height.tolist(), "o", color=COLOURS.grey, markersize=4)
    ax.axis("off")
    return len(lines)
