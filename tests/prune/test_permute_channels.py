"""Channels in another order: the network computes what it did."""

from itertools import pairwise

import pytest
import torch
from torch import nn

from effdl.blocks import plain_mlp, plain_net
from effdl.prune.channel_permutation import greedy_order, kept_magnitude
from effdl.prune.masks import prune_
from effdl.prune.permute_channels import permute_channels_


def whole_numbers_(net):
    """Change the weights to small whole numbers, whose sums are exact in any order."""
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(torch.randint(-4, 5, parameter.shape))


def test_weights_and_biases_move_by_hand():
    first, second = nn.Linear(1, 3), nn.Linear(3, 1)
    with torch.no_grad():
        first.weight.copy_(torch.tensor([[1.0], [2.0], [3.0]]))
        first.bias.copy_(torch.tensor([4.0, 5.0, 6.0]))
        second.weight.copy_(torch.tensor([[7.0, 8.0, 9.0]]))
    permute_channels_(first, second, [2, 0, 1])
    assert first.weight.flatten().tolist() == [3.0, 1.0, 2.0]
    assert first.bias.tolist() == [6.0, 4.0, 5.0]
    assert second.weight.tolist() == [[9.0, 7.0, 8.0]]


def test_an_mlp_computes_exactly_the_same_before_masking():
    net = plain_mlp((16, 12, 8, 3))
    whole_numbers_(net)
    x = torch.randint(-3, 4, (20, 1, 4, 4)).float()
    before = net(x)
    order = greedy_order(net[3].weight)
    assert order != list(range(12))
    kept = kept_magnitude(net[3].weight)
    permute_channels_(net[1], net[3], order)
    assert torch.equal(net(x), before)
    assert kept_magnitude(net[3].weight) > kept


def test_a_convolution_with_batch_norm_computes_the_same():
    net = plain_net(8)
    held = [t for block in net[:5] for t in block[1].state_dict().values()]
    for tensor in held:
        if tensor.is_floating_point():
            tensor.uniform_(0.5, 1.5)
    net.eval()
    x = torch.randn(4, 1, 16, 16)
    before = net(x)
    for block, after in pairwise(net[:5]):
        order = torch.randperm(len(block[0].weight)).tolist()
        permute_channels_(block[0], after[0], order, norm=block[1])
    torch.testing.assert_close(net(x), before, rtol=1e-4, atol=1e-4)
    permute_channels_(net[0][0], net[1][0], [1, 0, *range(2, 8)])  # without its norm
    assert (net(x) - before).abs().max() > 1e-3


def test_the_identity_changes_nothing_and_the_inverse_undoes():
    first, second = nn.Linear(3, 6), nn.Linear(6, 2, bias=False)
    before = [p.clone() for p in (*first.parameters(), *second.parameters())]
    order = torch.randperm(6)
    for each in (torch.arange(6), order, order.argsort()):
        permute_channels_(first, second, each.tolist())
    after = [*first.parameters(), *second.parameters()]
    assert all(torch.equal(a, b) for a, b in zip(after, before, strict=True))


def test_parameters_are_the_same_objects_and_can_be_trained_on():
    first, second = nn.Linear(3, 4, bias=False), nn.Linear(4, 2)
    held = first.weight
    permute_channels_(first, second, [3, 2, 1, 0])
    assert first.weight is held
    assert held.requires_grad
    assert held.is_leaf


def test_a_batch_norm_without_parameters_is_permuted_as_far_as_it_goes():
    norm = nn.BatchNorm1d(2, affine=False)
    norm.running_mean.copy_(torch.tensor([1.0, 2.0]))
    permute_channels_(nn.Linear(1, 2), nn.Linear(2, 1), [1, 0], norm=norm)
    assert norm.running_mean.tolist() == [2.0, 1.0]


@pytest.mark.parametrize(
    ("layers", "order", "message"),
    [
        ((nn.Linear(1, 3), nn.Linear(3, 1)), [0, 1], "each of 0 to 2 once"),
        ((nn.Linear(1, 3), nn.Linear(3, 1)), [0, 1, 1], "each of 0 to 2 once"),
        ((nn.Linear(1, 2), nn.Linear(3, 1)), [0, 1], "must have 2 inputs in one group"),
        (
            (nn.Conv2d(1, 4, 1), nn.Conv2d(4, 4, 1, groups=4)),
            [0, 1, 3, 2],
            "must have 4 inputs in one group, as producer has outputs, got 1",
        ),
        (
            (nn.Conv2d(4, 4, 1, groups=4), nn.Conv2d(4, 4, 1)),
            [0, 1, 3, 2],
            "groups=4: an output cannot leave its own",
        ),
    ],
)
def test_what_cannot_be_is_named_and_changes_nothing(layers, order, message):
    before = [p.clone() for layer in layers for p in layer.parameters()]
    with pytest.raises(ValueError, match=message):
        permute_channels_(*layers, order)
    after = [p for layer in layers for p in layer.parameters()]
    assert all(torch.equal(a, b) for a, b in zip(after, before, strict=True))


def test_pruned_layers_are_refused_and_left_as_they_are():
    layers = nn.Linear(1, 2), nn.Linear(2, 1)
    prune_(layers[0], {"weight": torch.tensor([[True], [False]])})
    before = layers[0].bias.detach().clone()
    with pytest.raises(ValueError, match="pruned already; permute first"):
        permute_channels_(*layers, [1, 0])
    assert torch.equal(layers[0].bias, before)
