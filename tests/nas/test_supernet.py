"""A path through the supernet is the stand-alone network: weights, costs, outputs."""

import itertools

import numpy as np
import pytest
import torch
from torch import nn

from effdl.data.digits import moved_digits
from effdl.measure.count import parameter_count
from effdl.measure.macs import torch_flops
from effdl.nas.block_space import BlockSpace
from effdl.nas.mbconv_space import small_mbconv_supernet
from effdl.nas.shuffle_space import small_shuffle_supernet
from effdl.nas.supernet import SuperNet
from effdl.train import train_classifier
from on_paper import randomised

SMALL = [small_mbconv_supernet, small_shuffle_supernet]


class Times(nn.Module):
    """x times a number, which counts how often it ran."""

    def __init__(self, factor):
        super().__init__()
        self.factor, self.calls = nn.Parameter(torch.tensor(float(factor))), 0

    def forward(self, x):
        """Return the product, and count."""
        self.calls += 1
        return self.factor * x


def numbers(*rows):
    """Return a supernet that multiplies by one number of each row."""
    layers = tuple({str(f): lambda f=f: Times(f) for f in row} for row in rows)
    return SuperNet(Times(1), BlockSpace(layers), Times(1))


def test_every_path_is_the_product_of_its_blocks():
    rows = (2, 3), (5, 7, 11), (13,)
    net, x = numbers(*rows), torch.tensor(1.0)
    for choices in net.space.all_choices():
        expected = np.prod([row[a] for row, a in zip(rows, choices, strict=True)])
        assert net(x, choices).item() == expected
        assert net.path(choices)(x).item() == expected


def test_only_the_chosen_blocks_run():
    net = numbers((2, 3), (5, 7))
    net(torch.tensor(1.0), (1, 0))
    ran = [[block.calls for block in net.candidates(layer)] for layer in (0, 1)]
    assert ran == [[0, 1], [1, 0]]


def test_only_the_chosen_blocks_get_a_gradient():
    net = numbers((2, 3), (5, 7))
    net(torch.tensor(1.0), (0, 1)).backward()
    found = [[b.factor.grad is not None for b in net.candidates(n)] for n in (0, 1)]
    assert found == [[True, False], [False, True]]


@pytest.mark.parametrize("build", SMALL)
def test_a_path_and_the_supernet_agree(build):
    net, random = randomised(build()), np.random.default_rng(0)
    x = torch.randn(2, 1, 16, 16)
    for choices in [net.space.sample(random) for _ in range(5)]:
        alone = net.path(choices)
        torch.testing.assert_close(alone(x), net(x, choices), rtol=0, atol=0)


@pytest.mark.parametrize("build", SMALL)
def test_a_path_costs_what_the_same_network_costs_alone(build):
    """Built from the makers, without a supernet, parameters and MACs are the same."""
    net, random, x = build(), np.random.default_rng(1), torch.zeros(1, 1, 16, 16)
    for choices in [net.space.sample(random) for _ in range(3)]:
        rows = zip(net.space.layers, choices, strict=True)
        fresh = [list(layer.values())[choice]() for layer, choice in rows]
        alone = nn.Sequential(net.stem, *fresh, net.head)
        path = net.path(choices)
        assert parameter_count(path) == parameter_count(alone)
        assert torch_flops(path, x) == torch_flops(alone, x) > 0


@pytest.mark.parametrize("build", SMALL)
def test_costs_of_paths_add_up(build):
    """A path owns stem, head and its blocks; all blocks together are the supernet."""
    net = build()
    ends = parameter_count(net.stem) + parameter_count(net.head)
    counts = [
        [parameter_count(block) for block in net.candidates(layer)]
        for layer in range(len(net.space.layers))
    ]
    assert parameter_count(net) == ends + sum(map(sum, counts))
    for choices in itertools.islice(net.space.all_choices(), 0, None, 997):
        own = sum(row[choice] for row, choice in zip(counts, choices, strict=True))
        assert parameter_count(net.path(choices)) == ends + own


def test_a_path_is_a_copy():
    net = small_mbconv_supernet()
    choices = (0,) * 6
    before = [p.clone() for p in net.parameters()]
    with torch.no_grad():
        for parameter in net.path(choices).parameters():
            parameter.zero_()
    assert all(map(torch.equal, net.parameters(), before))
    assert net.blocks(choices)[0] is net.candidates(0)[0]


def test_the_supernet_learns_by_uniform_sampling():
    """The loop of the paper: another path in every step."""
    net, split = small_shuffle_supernet(), moved_digits(n_train=200).train
    random = np.random.default_rng(0)

    class OnePath(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = net

        def forward(self, x):
            return self.net(x, net.space.sample(random))

    before = [p.detach().clone() for p in net.parameters()]
    losses = train_classifier(OnePath(), split, epochs=6, batch_size=20)
    assert losses[-1] < losses[0]
    assert not any(map(torch.equal, net.parameters(), before))


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ((0,), "one number for each of 6 layers, got 1"),
        ((0, 0, 0, 0, 0, 7), "of layer 5 must be in 0 to 6, got 7"),
    ],
)
@pytest.mark.parametrize("call", ["blocks", "path", "forward"])
def test_bad_choices_are_named(call, choices, message):
    net = small_mbconv_supernet()
    with pytest.raises(ValueError, match=message):
        if call == "forward":
            net(torch.zeros(1, 1, 16, 16), choices)
        else:
            getattr(net, call)(choices)
