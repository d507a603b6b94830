"""Names beside points, where they cover neither a point nor each other.

The points of a comparison are measured, so where there is room is not known when the
figure is written. Each name is tried in eight places, in the order of the points, and
takes the first of those with the fewest clashes:

    2  7  1       above the point
    6  .  5       level with it
    4  8  3       below it

A clash is a point or a name that would be covered, or an edge of the figure that would
be crossed. The same points give the same places in every run.
"""

from collections.abc import Mapping
from typing import Any, cast

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Annotation
from matplotlib.transforms import Bbox, BboxBase

MARK = 3  # half the side of a mark, in points
PLACES = (  # of the text's end that is next to the point, or of its middle, in points
    *((5, 3), (-5, 3), (5, -9), (-5, -9)),
    *((7, -3), (-7, -3), (0, 6), (0, -12)),
)


def label_points(
    ax: Axes, points: Mapping[str, tuple[float, float]], *, size: float = 8.0
) -> None:
    """Write the name of each point beside it.

    Call it last, when limits, scales and labels of the axes are set: they decide where
    there is room. The names stay where they are if the figure changes afterwards.

    Args:
        ax: Axes into which the points were drawn.
        points: Position of each point in data units, by its name.
        size: Height of the letters in points.

    Raises:
        ValueError: If ``size`` is not positive.

    Example:
        >>> import matplotlib.pyplot as plt
        >>> fig, ax = plt.subplots()
        >>> _ = ax.plot([1, 2], [1, 1], "o")
        >>> label_points(ax, {"first": (1, 1), "last": (2, 1)})
        >>> [text.get_text() for text in ax.texts]
        ['first', 'last']
        >>> plt.close(fig)
    """
    if not size > 0:
        raise ValueError(f"size must be positive, in points, got {size}")
    figure = cast("Figure", ax.figure)
    figure.draw_without_rendering()  # settles the layout
    mark = MARK * figure.dpi / 72  # in pixels, as all that follows
    centres = [ax.transData.transform(point) for point in points.values()]
    taken = [Bbox([centre - mark, centre + mark]) for centre in centres]
    for name, point in points.items():
        start: dict[str, Any] = {"xytext": PLACES[0], "textcoords": "offset points"}
        text = ax.annotate(name, point, size=size, **start)
        text.set_in_layout(False)  # or each name would move all points
        clashes = [_clashes(_put(text, place), taken, figure.bbox) for place in PLACES]
        taken.append(_put(text, PLACES[clashes.index(min(clashes))]))


def _put(text: Annotation, place: tuple[int, int]) -> Bbox:
    """Return the box that the text fills once it is moved there."""
    x, _ = place
    text.set_horizontalalignment("left" if x > 0 else "right" if x < 0 else "center")
    text.xyann = place
    return Bbox(text.get_window_extent())


def _clashes(box: Bbox, taken: list[Bbox], page: BboxBase) -> int:
    """Return how many boxes this one covers, and one more if it leaves the page."""
    outside = not (page.x0 <= box.x0 and box.x1 <= page.x1)
    outside |= not (page.y0 <= box.y0 and box.y1 <= page.y1)
    return box.count_overlaps(taken) + outside
