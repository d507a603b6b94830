"""Channels removed from a chain: what zeros would compute, in smaller layers."""

import copy

import pytest
import torch
from torch import nn

from effdl.blocks import plain_mlp, plain_net
from effdl.compress.channels import filter_sizes, largest_filters, remove_channels
from effdl.measure.macs import count_macs
from effdl.quant.graph import fold_batch_norm


def used_net(width=4):
    """Return a network whose batch norm has seen something, in eval mode."""
    net = plain_net(width)
    for layer in net.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.weight, 0.5, 1.5)
            nn.init.normal_(layer.bias)
    net(torch.randn(30, 1, 8, 8))
    return net.eval()


def some_masks(net):
    keep = {n: torch.rand(len(s)) > 0.4 for n, s in filter_sizes(net).items()}
    for mask in keep.values():
        mask[1] = True
    return keep


def test_it_computes_what_zeros_in_the_next_layers_weights_compute():
    net, x = used_net(), torch.randn(5, 1, 8, 8)
    keep = some_masks(net)
    zeroed = copy.deepcopy(net)
    readers = {"0.0": "1.0", "1.0": "2.0", "2.0": "3.0", "3.0": "4.0", "4.0": "7"}
    for name, reader in readers.items():
        zeroed.get_submodule(reader).weight.data[:, ~keep[name]] = 0
    smaller = remove_channels(net, keep)
    torch.testing.assert_close(smaller(x), zeroed(x))
    for name, mask in keep.items():
        assert smaller.get_submodule(name).out_channels == int(mask.sum())


def test_sizes_are_the_sums_of_absolute_weights():
    net = used_net()
    sizes = filter_sizes(net)
    assert [*sizes] == ["0.0", "1.0", "2.0", "3.0", "4.0"]  # not the linear layer
    for name, found in sizes.items():
        weight = net.get_submodule(name).weight
        for o, size in enumerate(found):
            torch.testing.assert_close(size, sum(abs(w) for w in weight[o].flatten()))


def test_by_hand():
    """Sums 3, 1, 2: half of three is two, so the second goes."""
    net = nn.Sequential(nn.Linear(1, 3, bias=False), nn.Linear(3, 1, bias=False))
    net[0].weight.data = torch.tensor([[-3.0], [1.0], [2.0]])
    net[1].weight.data = torch.tensor([[10.0, 100.0, 1000.0]])
    assert largest_filters(net, 0.5)["0"].tolist() == [True, False, True]
    smaller = remove_channels(net, 0.5)
    assert smaller[0].weight.tolist() == [[-3], [2]]
    assert smaller(torch.ones(1, 1)).item() == 10 * -3 + 1000 * 2


@pytest.mark.parametrize("make", [used_net, lambda: plain_mlp((64, 12, 8, 3)).eval()])
def test_all_channels_kept_is_the_network_itself(make):
    net, x = make(), torch.randn(5, 1, 8, 8)
    assert torch.equal(remove_channels(net, 1.0)(x), net(x))
    assert torch.equal(remove_channels(net, {})(x), net(x))


def test_a_share_is_the_largest_filters_of_every_layer():
    net = used_net(8)
    sizes, keep = filter_sizes(net), largest_filters(net, 0.25)
    for name, stays in keep.items():
        assert int(stays.sum()) == len(stays) // 4
        assert sizes[name][stays].min() >= sizes[name][~stays].max()
    x = torch.randn(5, 1, 8, 8)
    by_share, by_masks = remove_channels(net, 0.25), remove_channels(net, keep)
    assert torch.equal(by_share(x), by_masks(x))


def test_every_layer_keeps_one_and_equal_filters_go_from_the_end():
    net = nn.Sequential(nn.Linear(1, 4), nn.Linear(4, 1))
    nn.init.ones_(net[0].weight)
    assert largest_filters(net, 0.01)["0"].tolist() == [True, False, False, False]
    assert largest_filters(net, 0.5)["0"].tolist() == [True, True, False, False]


def test_only_the_named_layers_lose_channels():
    net = used_net()
    keep = largest_filters(net, 0.5, names=frozenset({"1.0", "3.0"}))
    smaller = remove_channels(net, keep)
    widths = [smaller[i][0].out_channels for i in range(5)]
    assert widths == [4, 2, 8, 4, 16]


def test_multiply_adds_fall_with_the_square_of_the_share():
    net, x = used_net(8), torch.randn(1, 1, 16, 16)
    whole, half = (count_macs(m, x).total for m in (net, remove_channels(net, 0.5)))
    # The first layer reads one channel and the head writes ten: these fall by half.
    ends = 256 * 9 * 8 + 320
    assert half == (whole - ends) / 4 + ends / 2


def test_a_folded_network_loses_channels_in_the_same_way():
    net, x = used_net(), torch.randn(5, 1, 8, 8)
    keep = some_masks(net)
    folded = remove_channels(fold_batch_norm(net), keep)
    torch.testing.assert_close(folded(x), remove_channels(net, keep)(x))


def test_the_network_stays_and_the_copy_can_be_trained():
    net = used_net()
    before = copy.deepcopy(net.state_dict())
    smaller = remove_channels(net, 0.5)
    assert not smaller.training
    smaller.train()(torch.randn(6, 1, 8, 8)).square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in smaller[0].parameters())
    for name, value in net.state_dict().items():
        assert torch.equal(value, before[name])
    assert all(p.grad is None for p in net.parameters())


@pytest.mark.parametrize(
    ("keep", "message"),
    [
        ({"7": torch.ones(10) > 0}, r"'7', whose channels cannot go; choose from"),
        ({"9": torch.ones(4) > 0}, r"'9', whose channels cannot go"),
        (
            {"0.0": torch.ones(5) > 0},
            r"must be bool of shape \(4,\), got torch.bool of",
        ),
        ({"0.0": torch.ones(4)}, r"got torch.float32 of shape \(4,\); True for what"),
        ({"0.0": torch.zeros(4) > 0}, "nothing passes"),
        (0.0, "share must be above 0 and at most 1, got 0"),
        (50.0, "50 % is 0.5"),
    ],
)
def test_bad_masks_are_refused(keep, message):
    with pytest.raises(ValueError, match=message):
        remove_channels(used_net(), keep)


def test_what_is_no_chain_is_refused():
    grouped = nn.Sequential(nn.Conv2d(2, 2, 1, groups=2), nn.Conv2d(2, 2, 1))
    with pytest.raises(ValueError, match="the first layer has 2 groups"):
        remove_channels(grouped, 0.5)
    spread = nn.Sequential(nn.Conv2d(1, 2, 1), nn.Flatten(), nn.Linear(8, 1))
    with pytest.raises(ValueError, match="2 outputs, but what follows has 8 gates"):
        remove_channels(spread, {})
    with pytest.raises(ValueError, match=r"keep.'0'. has 2 entries, but 8 inputs"):
        remove_channels(spread, {"0": torch.tensor([True, False])})
    with pytest.raises(
        ValueError, match=r"names has \['7'\], whose channels cannot go"
    ):
        largest_filters(used_net(), 0.5, names=frozenset({"7"}))
