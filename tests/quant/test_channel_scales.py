"""Scale moved between layers: which layers, and that nothing else changes."""

import copy
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrize

from effdl.blocks import plain_net
from effdl.nets.mobilenet_v2 import small_mobilenet_v2
from effdl.quant.channel_scales import (
    channel_ranges,
    consecutive_layers,
    input_ranges,
    relu6_to_relu,
    scale_between_,
)
from effdl.quant.graph import fold_batch_norm, traced
from effdl.quant.quantizers import WeightQuantizer

KINDS = [
    (nn.Conv2d(2, 6, 3), nn.Conv2d(6, 4, 3)),
    (nn.Conv2d(2, 6, 1), nn.Conv2d(6, 6, 3, groups=6)),
    (nn.Conv2d(2, 6, 3, bias=False), nn.Conv2d(6, 4, 1, groups=2)),
    (nn.Conv2d(6, 6, 3, groups=6), nn.Conv2d(6, 4, 1)),
]


def literal_input_ranges(layer):
    """What channel i is multiplied by, at most: a loop over all weights."""
    groups = getattr(layer, "groups", 1)
    weight = layer.weight.detach()
    inner, per_group = weight.shape[1], len(weight) // groups
    largest = [0.0] * (inner * groups)
    for out in range(len(weight)):
        for i in range(inner):
            channel = out // per_group * inner + i
            largest[channel] = max(largest[channel], weight[out, i].abs().max().item())
    return largest


@pytest.mark.parametrize(("first", "second"), KINDS)
def test_ranges_are_those_of_a_loop(first, second):
    for layer in (first, second, nn.Linear(5, 3)):
        assert input_ranges(layer).tolist() == literal_input_ranges(layer)
        rows = layer.weight.detach()
        assert channel_ranges(layer).tolist() == [r.abs().max().item() for r in rows]


@pytest.mark.parametrize(("first", "second"), KINDS)
def test_the_network_computes_the_same(first, second):
    net = copy.deepcopy(nn.Sequential(first, nn.ReLU(), second)).double()
    x = torch.randn(3, first.in_channels, 7, 7).double()
    before, weight = net(x), net[0].weight.detach().clone()
    factor = torch.rand(len(first.weight)).double() * 10 + 0.01
    scale_between_(net[0], net[2], factor)
    torch.testing.assert_close(net(x), before, rtol=1e-12, atol=1e-12)
    expected = weight * factor[:, None, None, None]
    torch.testing.assert_close(net[0].weight.detach(), expected)
    assert net[0].weight.requires_grad


def test_by_hand():
    """First weight 3 and bias 1, times 4: 12 and 4; the second 8 becomes 2."""
    first, second = nn.Linear(1, 1), nn.Linear(1, 1)
    for parameter, value in ((first.weight, 3), (first.bias, 1), (second.weight, 8)):
        nn.init.constant_(parameter, value)
    bias = second.bias.item()
    scale_between_(first, second, torch.tensor([4.0]))
    assert (first.weight.item(), first.bias.item()) == (12, 4)
    assert (second.weight.item(), second.bias.item()) == (2, bias)


def names(net):
    return [pair.names for pair in consecutive_layers(traced(net))]


def test_a_plain_network_is_one_chain():
    folded = fold_batch_norm(plain_net(2).eval())
    chain = ["0.0", "1.0", "2.0", "3.0", "4.0", "7"]
    pairs = consecutive_layers(folded)
    assert [pair.names for pair in pairs] == [*pairwise(chain)]
    for pair in pairs:
        assert pair.first is folded.get_submodule(pair.names[0])
        assert pair.second is folded.get_submodule(pair.names[1])


def test_relu6_and_shortcuts_stand_between():
    folded = fold_batch_norm(small_mobilenet_v2().eval())
    with pytest.raises(ValueError, match="if it has ReLU6, call relu6_to_relu first"):
        consecutive_layers(folded)
    after = [p.names for p in consecutive_layers(relu6_to_relu(folded))]
    inside = [
        (f"features.{i}.layers.{j}.0", f"features.{i}.layers.{j + 1}.0")
        for i in range(2, 6)
        for j in range(2)
    ]
    assert set(inside) < set(after)
    assert ("features.2.layers.2.0", "features.3.layers.0.0") not in after


def test_only_what_lets_a_factor_through_may_stand_between():
    def chain(*between):
        return nn.Sequential(nn.Conv2d(1, 2, 1), *between, nn.Conv2d(2, 1, 1))

    assert names(chain()) == [("0", "1")]
    assert names(chain(nn.ReLU(), nn.Dropout(), nn.Identity())) == [("0", "4")]
    assert names(chain(nn.AdaptiveAvgPool2d(1), nn.ReLU())) == [("0", "3")]
    for other in (nn.ReLU6(), nn.Sigmoid(), nn.Hardswish(), nn.LeakyReLU()):
        with pytest.raises(
            ValueError, match="model has no two layers with nothing but"
        ):
            names(chain(other))


def test_a_relu_may_be_a_function_and_a_result_only_used_once():
    class Net(nn.Module):
        def __init__(self, shortcut):
            super().__init__()
            self.a, self.b, self.shortcut = nn.Linear(2, 2), nn.Linear(2, 2), shortcut

        def forward(self, x):
            y = F.relu(self.a(x))
            return self.b(y) + y if self.shortcut else self.b(y)

    assert names(Net(shortcut=False)) == [("a", "b")]
    with pytest.raises(ValueError, match="model has no two layers"):
        names(Net(shortcut=True))


def test_pixels_that_become_channels_stand_between():
    net = nn.Sequential(nn.Conv2d(1, 2, 1), nn.Flatten(), nn.Linear(8, 3))
    with pytest.raises(ValueError, match="relu6_to_relu first"):
        names(net)


def test_relu6_becomes_relu_in_a_copy():
    class Both(nn.Module):
        def __init__(self):
            super().__init__()
            self.six = nn.Sequential(nn.ReLU6(inplace=True))

        def forward(self, x):
            return self.six(x - 1) + F.relu6(x)

    net, x = Both(), torch.tensor([-3.0, 2.0, 9.0])
    assert relu6_to_relu(net)(x).tolist() == [0, 3, 17]
    assert net(x).tolist() == [0, 3, 12]


def test_bad_input_is_refused():
    first, second = nn.Linear(2, 3), nn.Linear(3, 2)
    for factor in (torch.ones(2), torch.ones(3, 1)):
        with pytest.raises(ValueError, match="must have channels alike"):
            scale_between_(first, second, factor)
    with pytest.raises(ValueError, match=r"channels alike: \(3, 2, 3\)"):
        scale_between_(first, nn.Linear(2, 2), torch.ones(3))
    for bad in (0.0, -1.0, float("inf"), float("nan")):
        with pytest.raises(ValueError, match="factor must be above 0 and finite, got"):
            scale_between_(first, second, torch.tensor([1.0, bad, 1.0]))
    with pytest.raises(
        ValueError, match="1 is a batch norm; call fold_batch_norm first"
    ):
        names(nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)))
    parametrize.register_parametrization(second, "weight", WeightQuantizer(8))
    with pytest.raises(ValueError, match="have quantizers; scale them before"):
        scale_between_(first, second, torch.ones(3))


class Forks(nn.Module):
    """A layer whose output goes two ways, back to another layer and past it."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = (nn.Linear(4, 4) for _ in range(3))

    def forward(self, x):
        """Return what c makes of both ways."""
        y = self.a(x)
        return self.c(torch.relu(y + self.b(torch.relu(y))))


class Twice(nn.Module):
    """One layer, called twice."""

    def __init__(self):
        super().__init__()
        self.a = nn.Linear(4, 4)

    def forward(self, x):
        """Return what a makes of its own output."""
        return self.a(torch.relu(self.a(x)))


@pytest.mark.parametrize("net", [Forks, Twice])
def test_a_fork_or_a_layer_used_twice_makes_no_pair(net):
    with pytest.raises(ValueError, match="no two layers"):
        consecutive_layers(traced(net()))
