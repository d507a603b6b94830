"""Drawn networks: as many lines as weights, and what a unit takes with it."""

import matplotlib.pyplot as plt
import pytest
import torch
from matplotlib.collections import LineCollection

from effdl.prune.draw_masks import draw_masks, without_unit


@pytest.fixture
def ax():
    fig, axes = plt.subplots()
    yield axes
    plt.close(fig)


def lines_of(ax):
    [lines] = [c for c in ax.collections if isinstance(c, LineCollection)]
    return lines.get_segments()


def test_there_are_as_many_lines_as_weights_are_left(ax):
    masks = [torch.rand(5, 4) < 0.5, torch.rand(3, 5) < 0.5]
    count = sum(int(mask.sum()) for mask in masks)
    assert draw_masks(ax, masks) == len(lines_of(ax)) == count
    assert sum(len(dots.get_xdata()) for dots in ax.lines) == 4 + 5 + 3


def test_a_line_runs_from_its_input_to_its_output(ax):
    """Three units at -1, 0, 1; weight (2, 0) joins the first to the last."""
    mask = torch.zeros(3, 3, dtype=torch.bool)
    mask[2, 0] = True
    draw_masks(ax, [mask])
    [line] = lines_of(ax)
    assert line.tolist() == [[0, -1], [1, 1]]


@pytest.mark.parametrize("unit", [0, 2])
def test_a_unit_takes_its_row_and_its_column(unit):
    weights = [torch.randn(3, 2), torch.randn(4, 3), torch.randn(5, 4)]
    first, second, third = without_unit(weights, 0, unit)
    others = [i for i in range(3) if i != unit]
    assert torch.equal(first, weights[0][others])
    assert torch.equal(second, weights[1][:, others])
    assert third is weights[2]
    assert weights[0].shape == (3, 2)


def test_what_is_left_computes_as_with_the_unit_switched_off():
    weights, x = [torch.randn(3, 2), torch.randn(4, 3)], torch.randn(2)
    off = (weights[0] @ x).relu()
    off[1] = 0
    first, second = without_unit(weights, 0, 1)
    torch.testing.assert_close(second @ (first @ x).relu(), weights[1] @ off)


@pytest.mark.parametrize(("layer", "unit"), [(1, 0), (-1, 0), (0, 3), (0, -1)])
def test_inputs_and_outputs_cannot_go(layer, unit):
    weights = [torch.ones(3, 2), torch.ones(4, 3)]
    with pytest.raises(ValueError, match=f"layer={layer}, unit={unit} is no hidden"):
        without_unit(weights, layer, unit)


def test_layers_that_do_not_fit_are_named(ax):
    with pytest.raises(ValueError, match=r"masks\[1\] must have 3 columns, got 2"):
        draw_masks(ax, [torch.ones(3, 2) > 0, torch.ones(4, 2) > 0])
