"""Gather and scatter against loops, against matrices, and against each other."""

import pytest
import torch

from effdl.conv.channel_gather import GatherChannels, ScatterChannels

INDEX = torch.tensor([2, 0, 2, 3])  # one channel twice, one never


def test_gather_copies_channel_by_channel():
    x = torch.randn(2, 5, 3, 4)
    y = GatherChannels(INDEX)(x)
    assert y.shape == (2, 4, 3, 4)
    for m, j in enumerate(INDEX.tolist()):
        torch.testing.assert_close(y[:, m], x[:, j])


def test_scatter_adds_channel_by_channel():
    x = torch.randn(2, 4, 3, 4)
    expected = torch.zeros(2, 6, 3, 4)
    for m, j in enumerate(INDEX.tolist()):
        expected[:, j] += x[:, m]
    torch.testing.assert_close(ScatterChannels(INDEX, 6)(x), expected)


def test_scatter_by_hand():
    """1, 2, 4, 8 to places 2, 0, 2, 3 of 5: 2, 0, 1 + 4, 8, 0."""
    x = torch.tensor([1.0, 2.0, 4.0, 8.0]).reshape(1, 4, 1, 1)
    y = ScatterChannels(INDEX, 5)(x)
    assert y.flatten().tolist() == [2.0, 0.0, 5.0, 8.0, 0.0]


def test_both_are_the_same_matrix_of_zeros_and_ones_once_transposed():
    matrix = torch.zeros(4, 5)
    matrix[torch.arange(4), INDEX] = 1.0
    x, z = torch.randn(1, 5, 2, 2), torch.randn(1, 4, 2, 2)
    gathered = torch.einsum("mj,njhw->nmhw", matrix, x)
    scattered = torch.einsum("mj,nmhw->njhw", matrix, z)
    torch.testing.assert_close(GatherChannels(INDEX)(x), gathered)
    torch.testing.assert_close(ScatterChannels(INDEX, 5)(z), scattered)


def test_the_gradient_of_one_is_the_other():
    x = torch.randn(2, 5, 3, 3, requires_grad=True)
    weight = torch.randn(2, 4, 3, 3)
    (GatherChannels(INDEX)(x) * weight).sum().backward()
    torch.testing.assert_close(x.grad, ScatterChannels(INDEX, 5)(weight))


def test_the_index_travels_with_the_state():
    source = ScatterChannels(INDEX, 5)
    target = ScatterChannels(torch.zeros(4, dtype=torch.int64), 5)
    target.load_state_dict(source.state_dict())
    x = torch.randn(1, 4, 2, 2)
    torch.testing.assert_close(target(x), source(x))
    assert list(GatherChannels(INDEX).state_dict()) == ["index"]


@pytest.mark.parametrize(
    ("index", "message"),
    [
        ([], r"index must list at least one channel, got shape \(0,\)"),
        ([[0, 1]], r"index must list at least one channel, got shape \(1, 2\)"),
        ([0, -1], "index must be 0 or larger, got -1"),
    ],
)
def test_a_bad_index_is_named(index, message):
    index = torch.tensor(index, dtype=torch.int64)
    with pytest.raises(ValueError, match=message):
        GatherChannels(index)
    with pytest.raises(ValueError, match=message):
        ScatterChannels(index, 4)


def test_a_place_that_is_not_there_is_named():
    with pytest.raises(ValueError, match="index must be below channels=3, got 3"):
        ScatterChannels(INDEX, 3)
    with pytest.raises(ValueError, match="channels must be at least 1, got 0"):
        ScatterChannels(INDEX, 0)
