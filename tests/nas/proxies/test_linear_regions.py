"""The region count against breakpoints, against TE-NAS's formula, and at its limits."""

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from effdl.nas.cell_net import small_cell_net
from effdl.nas.cell_space import Cell
from effdl.nas.proxies.linear_regions import (
    activation_patterns,
    linear_region_count,
    random_crops,
)

CONVS = Cell(("nor_conv_3x3",) * 6)
SKIPS = Cell(("skip_connect",) * 6)


class Functional(nn.Module):
    """Three ReLUs, none of them a module; the last one works in place."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 4)

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        return F.relu(torch.relu(self.layer(x)) - 0.5) + self.layer(x).relu_()


def test_patterns_are_the_signs_after_every_relu():
    net = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 4), nn.ReLU())
    x = torch.randn(20, 3)
    first = net[0](x) > 0
    second = net[2](net[0](x).clamp(min=0)) > 0
    expected = torch.cat((first, second), dim=1)
    assert torch.equal(activation_patterns(net, x), expected)
    rows = {tuple(row) for row in expected.tolist()}
    assert linear_region_count(net, x) == len(rows)


def test_count_is_what_the_formula_of_te_nas_gives():
    """Sum over n of 1 / multiplicity, with S = A (1 - A)^T + (1 - A) A^T."""
    net, x = (
        small_cell_net(CONVS, widths=(1, 2)),
        torch.randn(60, 1, 3, 3).repeat(2, 1, 1, 1),
    )
    a = activation_patterns(net, x).double()
    differing = a @ (1 - a).T + (1 - a) @ a.T
    multiplicity = (differing == 0).sum(dim=1)
    count = (1 / multiplicity).sum().item()
    assert linear_region_count(net, x) == pytest.approx(count)
    assert 1 < count < len(x)


@pytest.mark.parametrize("units", [1, 4, 9])
def test_on_a_line_there_is_one_region_more_than_breakpoints(units):
    """Unit h bends at x = -b_h / w_h; those outside the grid do not count."""
    net = nn.Sequential(nn.Linear(1, units), nn.ReLU(), nn.Linear(units, 1))
    bends = -net[0].bias / net[0].weight[:, 0]
    inside = ((bends > -1) & (bends < 1)).sum().item()
    grid = torch.linspace(-1, 1, 20_001)[:, None]
    count = linear_region_count(net, grid, batch_size=5000)
    assert count == inside + 1 <= units + 1


def test_two_units_cut_the_plane_into_four_quadrants():
    """Units x and y: three inputs in two quadrants, then one in each of the four."""
    net = nn.Sequential(nn.Linear(2, 2, bias=False), nn.ReLU())
    nn.init.eye_(net[0].weight)
    x = torch.tensor([[1.0, 1.0], [2.0, 0.5], [-1.0, 1.0]])
    assert linear_region_count(net, x) == 2
    x = torch.tensor([[1.0, 1.0], [-1.0, 1.0], [1.0, -1.0], [-1.0, -1.0]])
    assert linear_region_count(net, x) == 4


def test_relus_that_are_no_modules_count():
    model, x = Functional(), torch.randn(7, 3)
    hidden = model.layer(x)
    expected = torch.cat((hidden > 0, hidden > 0.5, hidden > 0), dim=1)
    assert torch.equal(activation_patterns(model, x), expected)


def test_the_relu_at_the_end_of_a_cell_network_counts():
    """Stage 1: 6 x (2, 6, 6); reduction: (2, 6, 6); stage 2: 6 x (3, 3, 3); the end."""
    net = small_cell_net(CONVS, widths=(2, 3))
    patterns = activation_patterns(net, torch.randn(4, 1, 12, 12))
    assert patterns.shape == (4, 6 * 72 + 72 + 6 * 27 + 27)


def test_inputs_that_come_twice_count_once():
    net, x = nn.Sequential(nn.Linear(3, 30), nn.ReLU()), torch.randn(40, 3)
    assert linear_region_count(net, x.repeat(3, 1)) == linear_region_count(net, x)


def test_batches_change_nothing_without_batch_statistics():
    net = small_cell_net(CONVS, widths=(1, 2)).eval()
    x = torch.randn(50, 1, 3, 3)
    counts = {linear_region_count(net, x, batch_size=size) for size in (1, 7, 50, 99)}
    assert len(counts) == 1


def test_a_batch_norm_in_training_sees_one_batch_at_a_time():
    net, x = nn.Sequential(nn.BatchNorm1d(3), nn.ReLU()), torch.randn(40, 3)
    parts = [activation_patterns(net, half) for half in x.split(20)]
    expected = len(torch.cat(parts).unique(dim=0))
    assert linear_region_count(net, x, batch_size=20) == expected


def test_a_wide_network_on_whole_images_gives_every_input_a_region():
    images, crops = torch.randn(200, 1, 12, 12), torch.randn(200, 1, 3, 3)
    wide = [linear_region_count(small_cell_net(c), images) for c in (SKIPS, CONVS)]
    assert wide == [200, 200]
    thin = [
        linear_region_count(small_cell_net(c, widths=(1, 2)), crops)
        for c in (SKIPS, CONVS)
    ]
    assert thin[0] < thin[1] < 200


def test_a_thousand_inputs_are_run_at_a_time():
    sizes = []
    net = nn.Sequential(nn.Linear(1, 2), nn.ReLU())
    net.register_forward_hook(lambda _module, x, _y: sizes.append(len(x[0])))
    linear_region_count(net, torch.randn(2100, 1))
    assert sizes == [1000, 1000, 100]


@pytest.mark.parametrize("training", [True, False])
def test_model_and_inputs_come_back_unchanged(training):
    model = nn.Sequential(nn.ReLU(inplace=True), nn.BatchNorm1d(3), nn.Linear(3, 2))
    model.train(training)
    before, x = copy.deepcopy(model.state_dict()), torch.randn(9, 3)
    copied = x.clone()
    linear_region_count(model, x)
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)
    assert model.training is training
    assert torch.equal(x, copied)
    assert not activation_patterns(model, x).requires_grad


def test_an_error_inside_the_model_leaves_no_trace():
    model = nn.Sequential(nn.BatchNorm1d(3), nn.ReLU(), nn.Linear(4, 2))
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        linear_region_count(model, torch.randn(9, 3))
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)


def test_crops_are_windows_of_the_images():
    images = torch.arange(2 * 2 * 4 * 5.0).reshape(2, 2, 4, 5)
    crops = random_crops(images, np.random.default_rng(0), count=200, size=3)
    windows = {
        tuple(images[n, :, i : i + 3, j : j + 3].flatten().tolist())
        for n in range(2)
        for i in range(2)
        for j in range(3)
    }
    assert {tuple(crop.flatten().tolist()) for crop in crops} == windows


def test_crops_are_those_of_te_nas_unless_told_otherwise():
    crops = random_crops(torch.randn(5, 1, 8, 8), np.random.default_rng(0))
    assert crops.shape == (3000, 1, 3, 3)
    again = random_crops(
        torch.randn(5, 1, 8, 8), np.random.default_rng(0), count=4, size=8
    )
    assert again.shape == (4, 1, 8, 8)


@pytest.mark.parametrize(
    ("model", "shape", "message"),
    [
        (nn.ReLU(), (0, 3), r"inputs is an empty batch, shape \(0, 3\)"),
        (nn.Linear(3, 2), (4, 3), "Linear ran no ReLU"),
        (nn.Sequential(nn.GELU(), nn.ReLU6()), (4, 3), "Sequential ran no ReLU"),
    ],
)
def test_what_cannot_be_counted_is_said(model, shape, message):
    with pytest.raises(ValueError, match=message):
        linear_region_count(model, torch.randn(shape))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: linear_region_count(nn.ReLU(), torch.ones(2, 2), batch_size=0),
            "batch_size must be at least 1, got 0",
        ),
        (
            lambda: random_crops(
                torch.ones(1, 1, 5, 4), np.random.default_rng(0), size=5
            ),
            "size must be at most 4, got 5",
        ),
        (
            lambda: random_crops(
                torch.ones(1, 1, 5, 4), np.random.default_rng(0), count=0
            ),
            "count must be at least 1, got 0",
        ),
        (
            lambda: random_crops(torch.ones(5, 4), np.random.default_rng(0)),
            r"must be \(N, C, H, W\)",
        ),
    ],
)
def test_bad_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
