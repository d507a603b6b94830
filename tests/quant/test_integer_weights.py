"""A layer's weights and bias as integers, and what happens to tiny channels."""

from fractions import Fraction

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from effdl.quant.fixed_point import FixedPoint, real_value
from effdl.quant.grid import Grid, affine_grid, symmetric_grid
from effdl.quant.integer_weights import integer_layer, original_weight, weight_grid
from effdl.quant.quantizers import WeightQuantizer

SOURCE = affine_grid(torch.tensor(-0.5), torch.tensor(2.0), bits=8)
TARGET = affine_grid(torch.tensor(-3.0), torch.tensor(5.0), bits=8)


def layer_with(quantizer, like=None):
    layer = nn.Linear(6, 3) if like is None else like
    parametrize.register_parametrization(layer, "weight", quantizer, unsafe=True)
    return layer


class Own(nn.Module):
    """A quantizer with a grid that the test chooses."""

    def __init__(self, grid):
        super().__init__()
        self.made = grid

    def grid(self, weight):
        """Return it."""
        return self.made

    def forward(self, weight):
        """Return the weight."""
        return weight


@pytest.mark.parametrize("axis", [0, None])
def test_integers_times_scales_are_the_rounded_weights_and_the_bias(axis):
    layer = layer_with(WeightQuantizer(8, axis=axis))
    made = integer_layer(layer, SOURCE, TARGET)
    scale = layer.weight.detach().abs().flatten(1)
    scale = (scale.amax(1) if axis == 0 else scale.amax().expand(3)) / 127
    torch.testing.assert_close(made.weight * scale[:, None], layer.weight.detach())
    steps = scale.double() * SOURCE.scale.double()
    off = made.bias.double() * steps - layer.bias.detach().double()
    assert bool((off.abs() <= 0.5001 * steps).all())
    fixed = FixedPoint(made.requantize.multiplier, made.requantize.shift.int())
    torch.testing.assert_close(real_value(fixed), steps / TARGET.scale.double())


def test_by_hand():
    """Weights 12.7 and -6.35, s = 0.1; bias 1 with 0.1 * 0.1: 100; M = 0.01 / 0.2."""
    layer = layer_with(WeightQuantizer(8), nn.Linear(2, 1))
    original_weight(layer).copy_(torch.tensor([[12.7, -6.3]]))
    nn.init.ones_(layer.bias)
    source = Grid(torch.tensor(0.1), torch.tensor(0), 0, 255)
    made = integer_layer(
        layer, source, Grid(torch.tensor(0.2), source.zero_point, 0, 9)
    )
    assert made.weight.tolist() == [[127, -63]]
    assert made.bias.tolist() == [100]
    q = torch.tensor([[1, 2]], dtype=torch.int32)  # 127 - 126 + 100 = 101, times 0.05
    assert made(q).item() == 5


def test_a_layer_without_bias_has_integers_of_0():
    layer = layer_with(WeightQuantizer(8), nn.Linear(6, 3, bias=False))
    assert integer_layer(layer, SOURCE, TARGET).bias.tolist() == [0, 0, 0]


def test_a_channel_of_zeros_puts_out_its_bias():
    layer = layer_with(WeightQuantizer(8))
    original_weight(layer)[1] = 0
    layer.bias.data.copy_(torch.tensor([0.0, 1.37, -2.0]))
    coarse = affine_grid(torch.tensor(0.0), torch.tensor(2550.0), bits=8)
    made = integer_layer(layer, coarse, TARGET)
    q = torch.randint(0, 256, (50, 6), dtype=torch.int32)
    expected = round(1.37 / TARGET.scale.item()) + int(TARGET.zero_point)
    assert set(made(q)[:, 1].tolist()) == {expected}
    nothing = layer_with(WeightQuantizer(8), nn.Linear(6, 3, bias=False))
    original_weight(nothing).zero_()
    found = integer_layer(nothing, SOURCE, TARGET)(q)
    assert set(found.flatten().tolist()) == {int(TARGET.zero_point)}


def test_tiny_weights_beside_a_large_bias_stay_right():
    layer = layer_with(WeightQuantizer(8))
    original_weight(layer)[0] *= 1e-9
    original_weight(layer)[1] *= 1e-5
    layer.bias.data.fill_(2.0)
    made = integer_layer(layer, SOURCE, TARGET)
    assert int(made.bias[0]) == 2**30
    q = torch.randint(0, 256, (500, 6), dtype=torch.int32)
    x = (q - SOURCE.zero_point) * SOURCE.scale
    y = layer(x).detach().double() / TARGET.scale.double() + int(TARGET.zero_point)
    off = made(q).double() - y.clamp(0, 255)
    assert float(off.abs().max()) <= 0.5 + 2**-4


def test_many_tiny_weights_do_not_grow_with_their_scale():
    layer = layer_with(WeightQuantizer(8), nn.Linear(2000, 1))
    original_weight(layer).fill_(1e-12)
    layer.bias.data.fill_(3.0)
    made = integer_layer(layer, SOURCE, TARGET)
    q = torch.tensor([[0], [255]], dtype=torch.int32).expand(2, 2000)
    expected = round(3 / TARGET.scale.item()) + int(TARGET.zero_point)
    assert made(q).flatten().tolist() == [expected] * 2


def test_the_scale_of_usual_weights_is_left_alone():
    layer = layer_with(WeightQuantizer(8))
    made = integer_layer(layer, SOURCE, TARGET)
    assert made.weight.abs().flatten(1).amax(1).tolist() == [127] * 3
    exact = Fraction(weight_grid(layer).scale[0].item()) * Fraction(SOURCE.scale.item())
    assert int(made.bias[0]) == round(Fraction(layer.bias[0].item()) / exact)


def test_the_ceiling_is_handed_on():
    layer = layer_with(WeightQuantizer(8))
    for ceiling, low in ((None, 0), (float("inf"), int(TARGET.zero_point))):
        assert integer_layer(layer, SOURCE, TARGET, ceiling).requantize.lowest == low


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="it has no quantizer of its weight; insert"):
        weight_grid(nn.Linear(2, 2))
    with pytest.raises(
        ValueError, match="it needs one quantizer of its weight, with g"
    ):
        weight_grid(layer_with(nn.Identity()))
    twice = layer_with(WeightQuantizer(8), layer_with(WeightQuantizer(8)))
    with pytest.raises(ValueError, match="it needs one quantizer of its weight"):
        weight_grid(twice)
    shifted = Grid(torch.tensor(1.0), torch.tensor(3), 0, 255)
    with pytest.raises(
        ValueError, match="it needs weights with zero point 0 and scales"
    ):
        weight_grid(layer_with(Own(shifted)))
    inputs = symmetric_grid(torch.ones(6), bits=8, axis=1)
    with pytest.raises(ValueError, match="for output channels, got axis=1"):
        weight_grid(layer_with(Own(inputs)))
    lines = symmetric_grid(torch.ones(3), bits=8, axis=0)
    assert weight_grid(layer_with(Own(lines))) is lines
