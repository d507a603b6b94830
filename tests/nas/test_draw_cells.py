"""Drawings of cells: everything that the objects hold is there, in its place."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from effdl.nas.darts_sampling import sample_darts_cell
from effdl.nas.darts_space import DARTS_V2
from effdl.nas.draw_cells import draw_on_edges, draw_on_nodes
from effdl.nas.nasnet_darts import blocks_from_darts
from effdl.nas.nasnet_space import Block, NasnetCell, sample_nasnet_cell


@pytest.fixture
def ax():
    _, ax = plt.subplots()
    yield ax
    plt.close()


def words(ax):
    return [" ".join(text.get_text().split()) for text in ax.texts if text.get_text()]


def framed(text):
    """Return whether a text has a box that is seen."""
    return text.get_bbox_patch().get_edgecolor()[3] > 0


def arrows(ax):
    """Return from where to where every arrow runs, and whether it has a head."""
    found = [text for text in ax.texts if not text.get_text()]
    return [
        (tuple(a.xyann), tuple(a.xy), a.arrowprops["arrowstyle"] == "-|>")
        for a in found
    ]


def places(ax, labels):
    return [t.get_position() for t in ax.texts if t.get_text() in labels]


def test_a_cell_of_darts_shows_its_edges_and_its_six_states(ax):
    drawn = draw_on_edges(ax, DARTS_V2.normal)
    assert drawn == list(DARTS_V2.normal.graph().values())
    shown = words(ax)
    assert shown[:8] == [name.replace("_", " ") for name in drawn]
    assert shown[8:] == ["0", "1", "+", "+", "+", "+"]


def test_a_cell_of_nasnet_shows_two_operators_for_each_block(ax):
    cell = sample_nasnet_cell(np.random.default_rng(0))
    drawn = draw_on_nodes(ax, cell)
    assert drawn == [name for block in cell.blocks for name in block.operations]
    signs = {"add": "+", "concat": "||"}
    expected = ["0", "1", *(signs[block.combination] for block in cell.blocks)]
    assert words(ax)[len(drawn) :] == expected


def test_operators_are_boxes_in_the_one_and_interrupt_arrows_in_the_other(ax):
    cell = sample_darts_cell(np.random.default_rng(0), nodes=2)
    while "dil_conv_5x5" in cell.graph().values():
        cell = sample_darts_cell(np.random.default_rng(1), nodes=2)
    operators = 4
    draw_on_nodes(ax, blocks_from_darts(cell))
    in_boxes = [t for t in ax.texts if t.get_text()][:operators]
    assert all(framed(text) for text in in_boxes)
    assert [head for *_, head in arrows(ax)] == [True, True] * operators
    ax.clear()
    draw_on_edges(ax, cell)
    on_arrows = [t for t in ax.texts if t.get_text()][:operators]
    assert not any(framed(text) for text in on_arrows)
    assert [head for *_, head in arrows(ax)] == [False, True] * operators


@pytest.mark.parametrize("seed", range(3))
def test_arrows_run_from_the_source_by_the_operator_to_the_target(ax, seed):
    cell = sample_darts_cell(np.random.default_rng(seed))
    draw_on_edges(ax, cell)
    circles = places(ax, ("0", "1", "+"))
    assert len(circles) == 6
    assert circles == sorted(circles, key=lambda place: place[0])
    for (source, target), (first, second) in zip(
        cell.graph(), zip(arrows(ax)[::2], arrows(ax)[1::2], strict=True), strict=True
    ):
        assert first[0] == circles[source]
        assert second[1] == circles[target]
        assert first[1] == second[0]  # at the operator


def test_both_drawings_put_things_in_the_same_places(ax):
    cell = DARTS_V2.reduce
    draw_on_edges(ax, cell)
    on_edges = sorted(t.get_position() for t in ax.texts if t.get_text())
    ax.clear()
    draw_on_nodes(ax, blocks_from_darts(cell))
    assert sorted(t.get_position() for t in ax.texts if t.get_text()) == on_edges


def test_two_operators_on_one_state_do_not_cover_each_other(ax):
    names = ("identity", "conv_3x3")
    draw_on_nodes(ax, NasnetCell((Block((1, 1), names),)))
    (_, low), (_, high) = places(ax, ("identity", "conv\n3x3"))
    assert high - low > 0.5


def test_everything_lies_inside_the_axes(ax):
    draw_on_edges(ax, DARTS_V2.normal)
    left, right = ax.get_xlim()
    low, high = ax.get_ylim()
    for text in ax.texts:
        x, y = text.get_position() if text.get_text() else text.xy
        assert left < x < right
        assert low < y < high
    assert not ax.axison
