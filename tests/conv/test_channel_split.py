"""Channel split against its equations, torchvision's unit, and counted channels."""

import pytest
import torch
from torch import nn

from effdl.conv.channel_split import SplitUnit, channel_split, untouched_share


class Scale(nn.Module):
    """A branch that leaves a mark on what it has worked on."""

    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def forward(self, x):
        """Return the product."""
        return self.factor * x


def test_output_is_the_equations_evaluated_channel_by_channel():
    """Output 2 j is channel j untouched, 2 j + 1 is channel c / 2 + j, worked on."""
    x = torch.randn(2, 8, 3, 4)
    y = SplitUnit(Scale(-1))(x)
    for j in range(4):
        assert torch.equal(y[:, 2 * j], x[:, j])
        assert torch.equal(y[:, 2 * j + 1], -x[:, 4 + j])


def test_value_by_hand():
    """Halves (0, 1) and (2, 3); the second negated; dealt out in turn."""
    y = SplitUnit(Scale(-1))(torch.arange(4.0).reshape(1, 4, 1, 1))
    assert y.flatten().tolist() == [0, -2, 1, -3]


def test_agrees_with_torchvision():
    shufflenet = pytest.importorskip("torchvision").models.shufflenetv2
    theirs = shufflenet.InvertedResidual(8, 8, 1)
    ours = SplitUnit(theirs.branch2)
    x = torch.randn(2, 8, 5, 6)
    torch.testing.assert_close(ours(x), theirs(x))


def test_halves_are_views_in_order():
    x = torch.randn(2, 6, 3, 4)
    first, second = channel_split(x)
    assert torch.equal(torch.cat((first, second), dim=1), x)
    assert first.shape == second.shape == (2, 3, 3, 4)
    assert first.data_ptr() == x.data_ptr()
    assert second.data_ptr() == x[:, 3:].data_ptr()


@pytest.mark.parametrize("units", [1, 2, 3, 4])
def test_the_untouched_share_is_the_counted_one(units):
    """Follow 64 channels; every branch doubles, so what is untouched is still 1."""
    y = torch.ones(1, 64, 1, 1)
    for _ in range(units):
        y = SplitUnit(Scale(2))(y)
    assert (y == 1).float().mean().item() == untouched_share(units) == 0.5**units


def test_without_the_shuffle_the_same_half_would_wait_for_ever():
    """With it, two units work on channels of both halves: 2 + 4 of 8 are changed."""
    x = torch.ones(1, 8, 1, 1)
    y = SplitUnit(Scale(2))(SplitUnit(Scale(2))(x))
    assert sorted(y.flatten().tolist()) == [1, 1, 2, 2, 2, 2, 4, 4]


def test_every_parameter_and_every_channel_learns():
    unit = SplitUnit(nn.Conv2d(3, 3, 3, padding=1))
    x = torch.randn(4, 6, 5, 5, requires_grad=True)
    unit(x).square().sum().backward()
    assert all(p.grad is not None and p.grad.all() for p in unit.parameters())
    assert x.grad.all()


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((0, 6, 2, 2), "x is empty"),
        ((6, 2, 2), r"x must be \(N, C, H, W\), got shape \(6, 2, 2\)"),
        ((1, 5, 2, 2), "parts=2 must divide channels, got 5; use 4 or 6"),
    ],
)
def test_bad_inputs_are_named(shape, message):
    with pytest.raises(ValueError, match=message):
        channel_split(torch.zeros(shape))
    with pytest.raises(ValueError, match=message):
        SplitUnit(nn.Identity())(torch.zeros(shape))


@pytest.mark.parametrize(
    ("branch", "got"),
    [(nn.AvgPool2d(2), r"\(1, 3, 2, 2\)"), (nn.Conv2d(3, 4, 1), r"\(1, 4, 4, 4\)")],
)
def test_a_branch_that_changes_the_shape_is_an_error(branch, got):
    message = rf"branch must keep the shape \(1, 3, 4, 4\), got {got}; use stride 1"
    with pytest.raises(ValueError, match=message):
        SplitUnit(branch)(torch.zeros(1, 6, 4, 4))


def test_share_needs_units():
    with pytest.raises(ValueError, match="units must be at least 1, got 0"):
        untouched_share(0)
