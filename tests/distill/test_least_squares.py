"""Least squares for layers: the nearest of all solutions, and refitted layers."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from effdl.distill.least_squares import as_rows, nearest_solution, refit_


def test_it_solves_the_normal_equations_with_the_pull():
    design, target, start = torch.randn(30, 4), torch.randn(30, 3), torch.randn(4, 3)
    for ridge in (0.0, 0.3):
        left = design.T @ design / 30 + ridge * torch.eye(4)
        right = design.T @ target / 30 + ridge * start
        found = nearest_solution(design, target, start, ridge=ridge)
        torch.testing.assert_close(found, torch.linalg.solve(left, right))


def test_it_is_torchs_own_where_there_are_enough_equations():
    design, target = torch.randn(30, 4), torch.randn(30, 3)
    expected = torch.linalg.lstsq(design, target).solution
    for start in (torch.zeros(4, 3), torch.randn(4, 3)):
        torch.testing.assert_close(nearest_solution(design, target, start), expected)


def test_by_hand():
    """One equation 2 w = 6 with pull 4 to 0: (2 * 6) / (4 + 4) = 1.5."""
    one = torch.tensor([[2.0]]), torch.tensor([[6.0]]), torch.tensor([[0.0]])
    assert nearest_solution(*one, ridge=4.0).item() == pytest.approx(1.5)
    assert nearest_solution(*one).item() == pytest.approx(3)


def test_of_many_solutions_it_takes_the_nearest():
    """The change has no part that the equations do not ask for."""
    design, start = torch.randn(3, 8), torch.randn(8, 2)
    found = nearest_solution(design, torch.randn(3, 2), start)
    outside = torch.linalg.svd(design).Vh[3:]
    torch.testing.assert_close(outside @ (found - start), torch.zeros(5, 2))
    solved = nearest_solution(design, design @ start, start)
    torch.testing.assert_close(solved, start)


def test_what_only_rounding_shows_is_left_as_it_is():
    """Two columns that are equal but for float32 rounding: their weights stay equal."""
    design = torch.randn(50, 1).repeat(1, 2)
    design[:, 1] *= 1 + 2**-23
    found = nearest_solution(design, torch.randn(50, 1), torch.ones(2, 1))
    torch.testing.assert_close(found[0], found[1], atol=1e-4, rtol=0)


def test_a_strong_pull_leaves_the_start():
    design, target, start = torch.randn(30, 4), torch.randn(30, 3), torch.randn(4, 3)
    found = nearest_solution(design, target, start, ridge=1e9)
    torch.testing.assert_close(found, start)


def test_the_pull_does_not_depend_on_how_often_the_images_are_shown():
    design, target, start = torch.randn(9, 4), torch.randn(9, 3), torch.randn(4, 3)
    once = nearest_solution(design, target, start, ridge=0.1)
    twice = nearest_solution(design.repeat(2, 1), target.repeat(2, 1), start, ridge=0.1)
    torch.testing.assert_close(once, twice)


def test_rows_are_pixels_and_columns_channels():
    x = torch.randn(2, 3, 4, 5)
    rows = as_rows(x)
    assert rows.shape == (40, 3)
    assert torch.equal(rows[1 * 20 + 2 * 5 + 3], x[1, :, 2, 3])
    assert torch.equal(as_rows(x[:, :, 0, 0]), x[:, :, 0, 0])


LAYERS = [
    lambda: nn.Conv2d(4, 2, 3, padding=1),
    lambda: nn.Conv2d(4, 2, 3, stride=2, padding=1, bias=False),
    lambda: nn.Conv2d(4, 2, (1, 3), padding=(0, 1), dilation=(1, 1)),
    lambda: nn.Conv2d(4, 2, 3, padding=2, dilation=2),
]


@pytest.mark.parametrize("make", LAYERS)
def test_a_convolution_is_found_again_from_what_it_puts_out(make):
    layer, x = make(), torch.randn(20, 4, 6, 6)
    reads = torch.tensor([True, False, True, True])
    layer.weight.data[:, 1] = 0
    other = make()
    refit_(other, [(1.0, x, layer(x).detach())], reads, 0.0)
    torch.testing.assert_close(other(x), layer(x), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(other.weight, layer.weight, atol=1e-5, rtol=1e-4)


def test_no_weights_near_the_refitted_ones_are_better():
    """The weighted sum of mean squared errors has no slope in what is read."""
    layer = nn.Conv2d(3, 2, 3, padding=1)
    x, y = torch.randn(2, 30, 3, 5, 5), torch.randn(2, 30, 2, 5, 5)
    reads = torch.tensor([True, True, False])
    refit_(layer, [(0.9, x[0], y[0]), (0.1, x[1], y[1])], reads, 0.0)
    errors = [F.mse_loss(layer(a), b) for a, b in zip(x, y, strict=True)]
    (0.9 * errors[0] + 0.1 * errors[1]).backward()
    assert layer.weight.grad[:, reads].abs().max() < 1e-5
    assert layer.bias.grad.abs().max() < 1e-5
    assert layer.weight[:, 2].count_nonzero() == 0


def test_a_pull_in_a_layer_is_that_of_the_mean_squared_error():
    layer, x, y = nn.Linear(3, 2), torch.randn(20, 3), torch.randn(20, 2)
    before = copy.deepcopy(layer)
    refit_(layer, [(0.5, x, y), (0.5, x, y)], torch.ones(3) > 0, 0.2)
    change = [
        (a - b.detach()).square().sum()
        for a, b in zip(layer.parameters(), before.parameters(), strict=True)
    ]
    error = (layer(x) - y).square().sum(dim=1).mean()
    (error + 0.2 * sum(change)).backward()
    assert layer.weight.grad.abs().max() < 1e-5


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: nearest_solution(x, x, x, ridge=-1), "at least 0, got -1"),
        (lambda x: nearest_solution(x, x[:1], x), "do not fit; give .n, p., .n, q."),
        (lambda x: nearest_solution(x, x, x[:1]), "start .1, 2. do not fit"),
    ],
)
def test_equations_that_do_not_fit_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call(torch.ones(2, 2))


@pytest.mark.parametrize(
    ("layer", "reads", "message"),
    [
        (nn.Conv2d(2, 2, 1, groups=2), torch.ones(2) > 0, "layer has 2 groups"),
        (nn.Conv2d(2, 2, 1), torch.ones(2), "must be bool of shape .2,., got torch.fl"),
        (nn.Linear(2, 2), torch.ones(3) > 0, "of shape .3,.; True for a channel"),
        (
            nn.Conv2d(2, 2, 3, padding=1, padding_mode="reflect"),
            torch.ones(2) > 0,
            r"padded by \(1, 1\) reflect",
        ),
        (nn.Conv2d(2, 2, 3, padding="same"), torch.ones(2) > 0, "padded by same zeros"),
    ],
)
def test_layers_that_cannot_be_refitted_are_refused(layer, reads, message):
    x = torch.zeros(1, 2, 4, 4) if isinstance(layer, nn.Conv2d) else torch.zeros(1, 2)
    with pytest.raises(ValueError, match=message):
        refit_(layer, [(1.0, x, layer(x).detach())], reads, 0.0)
