"""Names of points: beside them, not on them, and always in the same place."""

import itertools

import matplotlib.pyplot as plt
import pytest
from matplotlib.transforms import Bbox

from effdl.labels import label_points
from effdl.plot import use_style


@pytest.fixture(autouse=True)
def _style_of_the_book():
    with plt.rc_context():
        use_style()
        yield
    plt.close("all")


def labelled(points, **options):
    fig, ax = plt.subplots()
    for x, y in points.values():
        ax.plot(x, y, "o")
    ax.set(xlim=(0, 10), ylim=(0, 10), **options)
    label_points(ax, points)
    fig.draw_without_rendering()
    return ax


def boxes(ax):
    return [Bbox(text.get_window_extent()) for text in ax.texts]


def pixels(ax, points):
    return [ax.transData.transform(point) for point in points.values()]


def sides(ax, points):
    """Where each name is, seen from its point, such as "above right"."""
    found = []
    for box, (x, y) in zip(boxes(ax), pixels(ax, points), strict=True):
        height = "above" if box.y0 > y else "below"
        found.append(f"{height} {'right' if box.x0 > x else 'left'}")
    return found


def test_a_name_goes_above_and_to_the_right_where_it_can():
    points = {"alone": (5, 5)}
    ax = labelled(points)
    assert sides(ax, points) == ["above right"]
    (box,), ((x, y),) = boxes(ax), pixels(ax, points)
    assert 0 < box.x0 - x < 15
    assert 0 < box.y0 - y < 10


def test_at_an_edge_it_goes_where_there_is_room():
    """The top of the axes is 3 points below the edge of the figure."""
    corners = {"right edge": (10, 5), "top edge": (5, 10), "corner edge": (10, 10)}
    ax = labelled(corners)
    assert sides(ax, corners) == ["above left", "below right", "below left"]


def test_two_neighbours_part():
    points = {"one name": (5, 5), "other name": (5.1, 5.02)}
    ax = labelled(points)
    assert sides(ax, points) == ["above left", "above right"]
    first, second = boxes(ax)
    assert not first.overlaps(second)


def test_with_neighbours_at_its_sides_a_name_goes_to_the_middle():
    points = {"middle": (5, 5)}
    points |= {f"{m}{n}": (m, n) for m in (4.3, 5.7) for n in (4.5, 5, 5.5)}
    ax = labelled(points)
    (box, *_), ((x, y), *_) = boxes(ax), pixels(ax, points)
    assert (box.x0 + box.x1) / 2 == pytest.approx(x, abs=1)
    assert 0 < box.y0 - y < 12


def test_between_points_above_and_below_a_name_stays_level():
    points = {"level": (5, 5)}
    points |= {f"{m}{n}": (m, n) for m in (4.6, 5, 5.4) for n in (4.4, 5.6)}
    ax = labelled(points)
    (box, *_), ((x, y), *_) = boxes(ax), pixels(ax, points)
    assert box.y0 < y < box.y1
    assert 0 < box.x0 - x < 15


def test_a_crowd_covers_nothing():
    points = {f"network {n}": (2 + n % 3 * 2.5, 2 + n // 3 * 0.9) for n in range(9)}
    ax = labelled(points, xlabel="cost", ylabel="accuracy")
    for one, other in itertools.combinations(boxes(ax), 2):
        assert not one.overlaps(other)
    for box, (x, y) in itertools.product(boxes(ax), pixels(ax, points)):
        assert not box.contains(x, y)


def test_what_cannot_be_placed_well_is_placed_all_the_same():
    points = {f"the same {n}": (5, 5) for n in range(6)}
    ax = labelled(points)
    assert [text.get_text() for text in ax.texts] == list(points)
    assert set(sides(ax, points)) == {
        "above right",
        "above left",
        "below right",
        "below left",
    }


def test_names_do_not_move_the_points():
    points = {"a name that is longer than the whole figure is wide" * 3: (10, 10)}
    (before,) = pixels(labelled({"a": (10, 10)}), {"a": (10, 10)})
    (after,) = pixels(labelled(points), points)
    assert after == pytest.approx(before)


def test_a_logarithmic_axis_is_no_obstacle():
    points = {"left": (1, 5), "right": (10, 5)}
    ax = plt.figure().subplots()
    ax.plot([1, 10], [5, 5], "o")
    ax.set(xscale="log", xlim=(0.9, 11))
    label_points(ax, points)
    assert sides(ax, points) == ["above right", "above left"]


def test_same_points_same_places():
    points = {f"net {n}": (n, (7 * n) % 10) for n in range(9)}
    first = [box.extents.tolist() for box in boxes(labelled(points))]
    assert [box.extents.tolist() for box in boxes(labelled(points))] == first


def test_letters_are_as_high_as_asked():
    ax = plt.figure().subplots()
    label_points(ax, {"a": (0, 0)}, size=6)
    assert ax.texts[0].get_fontsize() == 6
    assert labelled({"a": (1, 1)}).texts[0].get_fontsize() == 8


@pytest.mark.parametrize("size", [0, -1, float("nan")])
def test_letters_without_height_are_an_error(size):
    with pytest.raises(ValueError, match="size must be positive"):
        label_points(plt.subplots()[1], {"a": (0, 0)}, size=size)
