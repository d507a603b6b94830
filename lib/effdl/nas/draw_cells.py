"""A cell drawn in both ways: operators on its edges, and operators on nodes.

Papers: Liu et al., "DARTS: Differentiable Architecture Search", ICLR 2019,
https://arxiv.org/abs/1806.09055; Zoph et al., "Learning Transferable Architectures for
Scalable Image Recognition", CVPR 2018, https://arxiv.org/abs/1707.07012. The survey's
Fig. 7 sets the two side by side.

Circles are feature maps. In DARTS an arrow carries an operator. In NASNet an operator
is a box of its own with one arrow in and one out, and the circle behind two boxes says
how they are combined. The places are the same in both, so that the difference is seen.
"""

from collections.abc import Iterable

from matplotlib.axes import Axes

from effdl.nas.darts_space import DartsCell
from effdl.nas.nasnet_space import NasnetCell
from effdl.plot import COLOURS

SIGNS = {"add": "+", "concat": "||"}
Place = tuple[float, float]


def draw_on_edges(ax: Axes, cell: DartsCell) -> list[str]:
    """Draw a cell of DARTS: circles for states, and operators on the arrows.

    Args:
        ax: Gets the drawing; its own axes are hidden.
        cell: What every node reads.

    Returns:
        The operators in the order of drawing, one for each kept edge.

    Example:
        >>> from effdl.nas.darts_space import DARTS_V2
        >>> import matplotlib.pyplot as plt
        >>> _, ax = plt.subplots()
        >>> len(draw_on_edges(ax, DARTS_V2.normal))
        8
        >>> plt.close()
    """
    places, drawn = _places(cell.states), []
    for (source, target), operation in cell.graph().items():
        start, end = places[source], places[target]
        _operator(ax, (start, _between(start, end), end), operation, boxed=False)
        drawn.append(operation)
    _circles(ax, places, ["+"] * len(cell.nodes))
    return drawn


def draw_on_nodes(ax: Axes, cell: NasnetCell) -> list[str]:
    """Draw a cell of NASNet: a box for every operator, a sign where two are combined.

    Args:
        ax: Gets the drawing; its own axes are hidden.
        cell: Its blocks.

    Returns:
        The operators in the order of drawing, two for each block.

    Example:
        >>> from effdl.nas.nasnet_space import Block
        >>> import matplotlib.pyplot as plt
        >>> _, ax = plt.subplots()
        >>> draw_on_nodes(ax, NasnetCell((Block((0, 1), ("identity", "conv_3x3")),)))
        ['identity', 'conv_3x3']
        >>> plt.close()
    """
    places, drawn = _places(2 + len(cell.blocks)), []
    for state, block in enumerate(cell.blocks, start=2):
        twice = block.sources[0] == block.sources[1]
        for half, (source, operation) in enumerate(
            zip(block.sources, block.operations, strict=True)
        ):
            x, y = _between(places[source], places[state])
            box = (x, y + (0.3 if half else -0.3) * twice)
            way = (places[source], box, places[state])
            _operator(ax, way, operation, boxed=True)
            drawn.append(operation)
    _circles(ax, places, [SIGNS[block.combination] for block in cell.blocks])
    return drawn


def _places(states: int) -> list[Place]:
    """Return where the states are: inputs at the left, nodes after them."""
    nodes = [(2.2 * n, 0.55 if n % 2 else -0.35) for n in range(1, states - 1)]
    return [(0.0, 1.1), (0.0, -1.1), *nodes]


def _between(start: Place, end: Place) -> Place:
    """Return the place of an operator, a bit before the middle."""
    return 0.55 * start[0] + 0.45 * end[0], 0.55 * start[1] + 0.45 * end[1]


def _words(operation: str) -> str:
    """Return a name as it is drawn: 'sep conv 3x3' on two lines."""
    head, _, size = operation.rpartition("_")
    return f"{head}\n{size}".replace("_", " ").strip()


def _operator(
    ax: Axes, way: tuple[Place, Place, Place], operation: str, *, boxed: bool
) -> None:
    """Draw an operator at the middle of a way: a box of its own, or on the arrow."""
    start, middle, end = way
    edge = COLOURS.vermillion if boxed else "none"
    box = {"boxstyle": "round,pad=0.25", "facecolor": "none", "edgecolor": edge}
    text = ax.text(*middle, _words(operation), ha="center", va="center", bbox=box)
    text.set(size=8, color=COLOURS.vermillion)
    patch = text.get_bbox_patch()  # the arrows end where it begins
    line = {"color": COLOURS.grey, "shrinkA": 13, "shrinkB": 1, "patchB": patch}
    head = {"color": COLOURS.grey, "shrinkA": 1, "shrinkB": 13, "patchA": patch}
    shape = "-|>" if boxed else "-"
    ax.annotate("", middle, start, arrowprops={"arrowstyle": shape, **line})
    ax.annotate("", end, middle, arrowprops={"arrowstyle": "-|>", **head})


def _circles(ax: Axes, places: Iterable[Place], signs: Iterable[str]) -> None:
    """Draw the states over the ends of the arrows, and fit the axes to them."""
    labels = ["0", "1", *signs]
    for (x, y), label in zip(places, labels, strict=True):
        circle = {"boxstyle": "circle", "facecolor": "none", "edgecolor": COLOURS.blue}
        ax.text(x, y, label, ha="center", va="center", color=COLOURS.blue, bbox=circle)
    ax.set(xlim=(-0.5, 2.2 * (len(labels) - 2) + 0.6), ylim=(-1.6, 1.6))
    ax.axis("off")
