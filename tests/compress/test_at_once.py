"""All three in one training."""

import pytest
import torch

from effdl.blocks import plain_net
from effdl.compress.at_once import at_once
from effdl.compress.channels import remove_channels
from effdl.compress.orders import distilled
from effdl.compress.report import bytes_of, macs_of
from effdl.compress.rounding import rounded, weight_bits_of
from effdl.data.digits import Split
from effdl.distill.recipe import Recipe

ONE = Recipe(epochs=1, learning_rate=0.05, batch_size=20)


@pytest.fixture
def split():
    return Split(torch.rand(60, 1, 16, 16), torch.arange(60) % 10)


@pytest.fixture
def net(split):
    model = plain_net(4)
    for _ in range(40):
        model(split.inputs)
    return model.eval()


def states_agree(one, other):
    ours, theirs = one.state_dict(), other.state_dict()
    return ours.keys() == theirs.keys() and all(
        torch.equal(ours[name], theirs[name]) for name in ours
    )


def test_it_is_cut_rounded_and_then_distilled(net, split):
    taught = torch.randn(60, 10)
    small = rounded(remove_channels(net, 0.5), 4, split.inputs)
    expected = distilled(small, split, ONE, taught=taught)
    found = at_once(net, split, ONE, keep=0.5, bits=4, taught=taught)
    assert states_agree(found, expected)


def test_every_part_of_it_has_an_effect(net, split):
    taught = torch.randn(60, 10)
    usual = at_once(net, split, ONE, keep=0.5, bits=4, taught=taught)
    more = at_once(net, split, ONE, keep=0.75, bits=4, taught=taught)
    finer = at_once(net, split, ONE, keep=0.5, bits=8, taught=taught)
    other = at_once(net, split, ONE, keep=0.5, bits=4, taught=-taught)
    assert macs_of(more, split.inputs[:1]) > macs_of(usual, split.inputs[:1])
    assert bytes_of(finer) > bytes_of(usual) == bytes_of(other)
    assert not states_agree(usual, other)
    assert (weight_bits_of(usual), weight_bits_of(finer)) == (4, 8)


def test_by_hand_the_smallest_network_has_one_channel_a_layer(net, split):
    """One channel everywhere: 9 weights in each convolution, 10 in the last layer."""
    taught = torch.zeros(60, 10)
    found = at_once(net, split, ONE, keep=0.01, bits=4, taught=taught)
    assert macs_of(found, split.inputs[:1]) == 9 * (256 + 64 + 64 + 16 + 16) + 10


def test_as_many_epochs_as_the_recipe_says_and_the_network_is_left_alone(net, split):
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    taught = torch.randn(60, 10)
    long = Recipe(epochs=3, learning_rate=0.05, batch_size=20)
    one, three = (
        at_once(net, split, recipe, keep=0.5, bits=4, taught=taught)
        for recipe in (ONE, long)
    )
    assert not states_agree(one, three)
    assert all(torch.equal(net.state_dict()[k], v) for k, v in before.items())
    assert not three.training


def test_bad_input_is_refused(net, split):
    with pytest.raises(ValueError, match="taught must have 60 answers"):
        at_once(net, split, ONE, keep=0.5, bits=4, taught=torch.zeros(9, 10))
    with pytest.raises(ValueError, match="bits must be 2 to 16, got 1"):
        at_once(net, split, ONE, keep=0.5, bits=1, taught=torch.zeros(60, 10))
    with pytest.raises(ValueError, match="share must be above 0"):
        at_once(net, split, ONE, keep=0.0, bits=4, taught=torch.zeros(60, 10))
    small = rounded(net, 4, split.inputs)
    with pytest.raises(ValueError, match="rounds to 4 bits already"):
        at_once(small, split, ONE, keep=0.5, bits=4, taught=torch.zeros(60, 10))
