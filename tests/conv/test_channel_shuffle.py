"""Channel shuffle against its index formula, torch, and its identities."""

import pytest
import torch
from torch import nn

from effdl.conv.channel_shuffle import channel_shuffle, shuffle_cost, shuffle_order
from effdl.conv.cost import ConvCost
from effdl.conv.depthwise import depthwise
from effdl.conv.group import GroupConv2d


@pytest.mark.parametrize(("channels", "groups"), [(6, 2), (6, 3), (12, 4), (5, 1)])
def test_every_channel_goes_where_the_formula_says(channels, groups):
    """Channel i (c / g) + j to j g + i, one at a time."""
    x = torch.randn(2, channels, 3, 4)
    expected = torch.empty_like(x)
    columns = channels // groups
    for i in range(groups):
        for j in range(columns):
            expected[:, j * groups + i] = x[:, i * columns + j]
    assert torch.equal(channel_shuffle(x, groups), expected)


def test_value_by_hand():
    """Two rows (0, 1, 2) and (3, 4, 5), read column by column."""
    x = torch.arange(6.0).reshape(1, 6, 1, 1)
    assert channel_shuffle(x, 2).flatten().tolist() == [0, 3, 1, 4, 2, 5]
    assert shuffle_order(6, 2).tolist() == [0, 3, 1, 4, 2, 5]
    assert shuffle_order(6, 3).tolist() == [0, 2, 4, 1, 3, 5]


@pytest.mark.parametrize("groups", [1, 2, 3, 4, 6, 12])
def test_agrees_with_torch(groups):
    x = torch.randn(2, 12, 3, 4)
    assert torch.equal(channel_shuffle(x, groups), torch.channel_shuffle(x, groups))
    assert torch.equal(channel_shuffle(x, groups), nn.ChannelShuffle(groups)(x))


@pytest.mark.parametrize("groups", [1, 2, 3, 4, 6, 12])
def test_the_order_indexes_the_same_shuffle(groups):
    x, order = torch.randn(2, 12, 3, 4), shuffle_order(12, groups)
    assert torch.equal(x[:, order], channel_shuffle(x, groups))
    assert sorted(order.tolist()) == list(range(12))


@pytest.mark.parametrize("groups", [1, 2, 3, 4])
def test_the_inverse_is_the_shuffle_with_as_many_groups_as_columns(groups):
    x = torch.randn(2, 12, 3, 4)
    assert torch.equal(channel_shuffle(channel_shuffle(x, groups), 12 // groups), x)


@pytest.mark.parametrize("groups", [1, 12])
def test_one_group_or_one_channel_a_group_changes_nothing(groups):
    x = torch.randn(2, 12, 3, 4)
    assert torch.equal(channel_shuffle(x, groups), x)


def test_the_result_is_a_copy_in_order():
    x = torch.randn(2, 12, 3, 4)
    y = channel_shuffle(x, 3)
    assert y.is_contiguous()
    assert y.data_ptr() != x.data_ptr()


@pytest.mark.parametrize("groups", [2, 3, 4])
def test_shuffle_and_depthwise_change_places_if_the_kernels_move_along(groups):
    """The identity shuffle(depthwise(x; w)) = depthwise(shuffle(x); w[order])."""
    x, weight = torch.randn(2, 12, 5, 6), torch.randn(12, 1, 3, 3)
    order = shuffle_order(12, groups)
    after = channel_shuffle(depthwise(x, weight), groups)
    before = depthwise(channel_shuffle(x, groups), weight[order])
    assert torch.equal(after, before)
    unmoved = depthwise(channel_shuffle(x, groups), weight)
    assert not torch.allclose(after, unmoved)


def test_shuffle_and_batch_norm_change_places_if_the_statistics_move_along():
    norm, moved = nn.BatchNorm2d(12), nn.BatchNorm2d(12)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    order = shuffle_order(12, 3)
    moved.load_state_dict({
        k: v[order] if v.ndim else v for k, v in norm.state_dict().items()
    })
    x = torch.randn(4, 12, 5, 6)
    after = channel_shuffle(norm(x), 3)
    torch.testing.assert_close(after, moved(channel_shuffle(x, 3)))
    torch.testing.assert_close(norm.running_mean[order], moved.running_mean)


@pytest.mark.parametrize("shuffled", [True, False])
def test_a_shuffle_between_two_group_convolutions_joins_the_groups(shuffled):
    first, second = GroupConv2d(9, 9, 1, groups=3), GroupConv2d(9, 9, 1, groups=3)
    x = torch.randn(1, 9, 1, 1, requires_grad=True)
    hidden = first(x)
    y = second(channel_shuffle(hidden, 3) if shuffled else hidden)
    y[:, 0].sum().backward()
    seen = (x.grad != 0).flatten().tolist()
    assert seen == ([True] * 9 if shuffled else [True] * 3 + [False] * 6)


def test_gradients_return_to_their_channels():
    x = torch.randn(1, 6, 1, 1, requires_grad=True)
    channel_shuffle(x, 2)[:, 1].sum().backward()
    assert x.grad.flatten().tolist() == [0, 0, 0, 1, 0, 0]


def test_it_costs_nothing_but_moving_every_number_twice():
    x = torch.zeros(1, 12, 5, 7)
    moved = x.numel() + channel_shuffle(x, 3).numel()
    assert shuffle_cost(12, (5, 7)) == ConvCost(0, 0, moved)
    assert shuffle_cost(12, 5).intensity == 0.0


@pytest.mark.parametrize(
    ("shape", "groups", "message"),
    [
        ((0, 6, 2, 2), 2, "x is empty"),
        ((6, 2, 2), 2, r"x must be \(N, C, H, W\), got shape \(6, 2, 2\)"),
        ((1, 6, 2, 2), 0, "groups must be at least 1, got 0"),
        ((1, 6, 2, 2), 4, "groups=4 must divide channels, got 6; use 4 or 8"),
    ],
)
def test_bad_arguments_are_named(shape, groups, message):
    with pytest.raises(ValueError, match=message):
        channel_shuffle(torch.zeros(shape), groups)


@pytest.mark.parametrize(
    ("channels", "groups", "message"),
    [
        (0, 1, "channels must be at least 1, got 0"),
        (6, 0, "groups must be at least 1, got 0"),
        (6, 4, "groups=4 must divide channels, got 6"),
    ],
)
def test_bad_orders_are_named(channels, groups, message):
    with pytest.raises(ValueError, match=message):
        shuffle_order(channels, groups)


def test_cost_needs_channels():
    with pytest.raises(ValueError, match="channels must be at least 1, got 0"):
        shuffle_cost(0, 5)
