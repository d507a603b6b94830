"""Which operations become one step: with their ReLU, alone, or not at all."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from effdl.quant.fake import quantize
from effdl.quant.graph import traced
from effdl.quant.grid import Grid, affine_grid
from effdl.quant.insert import calibrate_, insert_quantizers
from effdl.quant.integer_difference import differences
from effdl.quant.integer_layers import IntegerLayer
from effdl.quant.integer_net import to_integers
from effdl.quant.integer_steps import results_of, step_of
from effdl.quant.integer_sums import IntegerAddition, IntegerMean, IntegerRescale
from effdl.quant.observers import Extremes
from effdl.quant.quantizers import ActivationQuantizer, WeightQuantizer


def quantized(net, x, activation=lambda name: ActivationQuantizer(Extremes(), 8)):
    made = insert_quantizers(
        net, weight=lambda name, w: WeightQuantizer(8), activation=activation
    )
    calibrate_(made, [(x, None)])
    return made


def one_step_apart(net, x):
    made = quantized(net.eval(), x)
    integers = to_integers(made)
    found = differences(made, integers, x, layer_by_layer=True)
    assert max((layer.largest for layer in found.values()), default=0) <= 1
    return integers


def test_a_layer_and_its_relu_are_one_step():
    for relu, highest in ((nn.ReLU(), 255), (nn.ReLU6(), 255)):
        net = nn.Sequential(nn.Linear(4, 4), relu)
        integers = one_step_apart(net, torch.randn(50, 4))
        (layer,) = integers.layers
        assert isinstance(layer, IntegerLayer)
        assert (layer.requantize.lowest, layer.requantize.highest) == (0, highest)


class Wide(nn.Module):
    """A quantizer from -2 to 11, whatever it sees."""

    def grid(self):
        """Return it: 0 is 39, and 6 is 39 + 118."""
        return affine_grid(torch.tensor(-2.0), torch.tensor(11.0), bits=8)

    def forward(self, x):
        """Return x."""
        return x


@pytest.mark.parametrize(
    ("relus", "highest"),
    [
        ([nn.ReLU()], 255),
        ([nn.ReLU6()], 157),
        ([nn.ReLU6(), nn.ReLU()], 157),
        ([nn.ReLU(), nn.ReLU6()], 157),
    ],
)
def test_relus_limit_a_grid_that_reaches_further(relus, highest):
    net = nn.Sequential(nn.Linear(4, 4), *relus)
    made = quantized(net, torch.rand(9, 4), lambda name: Wide())
    (layer,) = to_integers(made).layers
    assert (layer.requantize.lowest, layer.requantize.highest) == (39, highest)


class Functions(nn.Module):
    """Functions in place of layers, and a result that two operations use."""

    def __init__(self, relu):
        super().__init__()
        self.first, self.relu = nn.Linear(4, 4), relu

    def forward(self, x):
        """Return a shortcut around a ReLU."""
        y = self.first(x)
        z = F.dropout(self.relu(y) + y, training=False)
        return torch.flatten(z, start_dim=1)


@pytest.mark.parametrize("relu", [F.relu, F.relu6, torch.relu])
def test_functions_are_known_and_a_relu_can_stand_alone(relu):
    integers = one_step_apart(Functions(relu), 4 * torch.randn(200, 4))
    kinds = [type(layer) for layer in integers.layers]
    assert kinds == [IntegerLayer, IntegerRescale, IntegerAddition, nn.Flatten]
    assert list(integers.grids)[1:4] == ["first", list(integers.grids)[2], "add"]
    assert integers(quantize(torch.zeros(7, 4), integers.source)).shape == (7, 4)
    made = quantized(Functions(relu), torch.rand(9, 4), lambda name: Wide())
    limits = to_integers(made).layers[1].requantize
    assert (limits.lowest, limits.highest) == (39, 157 if relu is F.relu6 else 255)


def test_an_addition_takes_the_relu_that_follows():
    class Shortcut(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Conv2d(2, 2, 1)
            self.pool = nn.AdaptiveAvgPool2d(1)

        def forward(self, x):
            return self.pool(F.relu(x + self.layer(x))).flatten(1)

    integers = one_step_apart(Shortcut(), torch.randn(40, 2, 5, 5))
    kinds = [type(layer) for layer in integers.layers]
    assert kinds == [IntegerLayer, IntegerAddition, IntegerMean, nn.Flatten]
    assert integers.inputs["pool"] == ("relu",)
    made = quantized(Shortcut(), torch.randn(4, 2, 5, 5), lambda name: Wide())
    assert [step.requantize.lowest for step in to_integers(made).layers[:3]] == [
        0,
        39,
        0,
    ]


def test_a_mean_takes_the_relu_that_follows():
    net = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.ReLU6())
    one_step_apart(net, 9 * torch.randn(40, 3, 4, 4))
    (mean,) = to_integers(
        quantized(net, torch.rand(2, 3, 4, 4), lambda n: Wide())
    ).layers
    assert (mean.requantize.lowest, mean.requantize.highest) == (39, 157)


def test_a_result_can_be_added_to_itself():
    class Twice(nn.Module):
        def forward(self, x):
            return x + x

    integers = one_step_apart(nn.Sequential(Twice()), torch.randn(40, 3))
    assert [*integers.inputs.values()] == [("input", "input")]


def test_dropout_and_identity_are_nothing():
    net = nn.Sequential(nn.Dropout(), nn.Linear(4, 4), nn.Identity(), nn.Dropout())
    integers = one_step_apart(net, torch.randn(20, 4))
    assert [*integers.inputs.items()] == [("1", ("input",))]


def test_flatten_keeps_integers_and_dimensions():
    class Flat(nn.Module):
        def forward(self, x):
            return torch.flatten(x, 1, 2)

    x = torch.rand(2, 3, 4, 5)
    integers = one_step_apart(nn.Sequential(Flat()), x)
    assert integers(quantize(x, integers.source)).shape == (2, 12, 5)


@pytest.mark.parametrize(
    ("net", "name"),
    [
        (nn.Sequential(nn.Sigmoid()), "0 is Sigmoid"),
        (nn.Sequential(nn.MaxPool2d(2)), "0 is MaxPool2d"),
        (nn.Sequential(nn.AdaptiveAvgPool2d(2)), "0 is AdaptiveAvgPool2d"),
        (nn.Sequential(nn.LeakyReLU()), "0 is LeakyReLU"),
    ],
)
def test_other_layers_are_named(net, name):
    with pytest.raises(ValueError, match=name):
        to_integers(quantized(net, torch.rand(2, 3, 4, 4)))


def test_other_functions_are_named():
    class Odd(nn.Module):
        def __init__(self, function):
            super().__init__()
            self.function = function

        def forward(self, x):
            return self.function(x)

    odd = {
        "mul": lambda x: x * x,
        "add": lambda x: torch.add(x, x, alpha=2),
        "add_1": lambda x: x + 1 + x,
        "cat": lambda x: torch.cat([x, x]),
        "sub": lambda x: x - x,
    }
    for name, function in odd.items():
        label = name.split("_")[0]
        with pytest.raises(ValueError, match=f"{label} is .*, for which there are no"):
            to_integers(quantized(Odd(function), torch.rand(2, 3)))


def test_other_quantizers_are_named():
    class PerChannel(nn.Module):
        def grid(self):
            return Grid(torch.ones(4), torch.zeros(4).int(), 0, 255, 1)

        def forward(self, x):
            return x

    net, x = nn.Sequential(nn.Linear(4, 4)), torch.rand(3, 4)
    with pytest.raises(ValueError, match=r"input: its quantizer .* has no method grid"):
        to_integers(quantized(net, x, lambda name: nn.Identity()))
    with pytest.raises(
        ValueError, match="input: its grid must have one scale, got axis"
    ):
        to_integers(quantized(net, x, lambda name: PerChannel()))


def test_what_is_wrong_with_a_layer_is_told_with_its_name():
    net = nn.Sequential(nn.Conv2d(1, 1, 3, padding=1, padding_mode="circular"))
    with pytest.raises(ValueError, match="0: padding must be of zeros"):
        to_integers(quantized(net, torch.rand(2, 1, 4, 4)))


def test_nothing_is_noted_down_before_a_step_is_complete():
    net = traced(nn.Sequential(nn.Linear(2, 2), nn.ReLU()))
    done = {}
    for node in list(net.graph.nodes)[:-1]:
        assert step_of(net, node, done) is None
    assert not done
    with pytest.raises(
        ValueError, match="1 has no quantizer behind it; insert one for"
    ):
        step_of(net, list(net.graph.nodes)[-1], done)
    assert results_of(done, []) == []
