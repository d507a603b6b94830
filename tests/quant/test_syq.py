"""SYQ: scales for pixels, rows and layers, their number, gradients and errors."""

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from effdl.data.digits import Split
from effdl.quant.binarize import sign
from effdl.quant.syq import (
    LAYER,
    PIXELS,
    ROWS,
    SymmetricWeight,
    subgroup_scales,
    ternary_codes,
)
from effdl.quant.ternary import ternarize, ternary_scale
from effdl.train import train_classifier


@pytest.mark.parametrize(("shared", "count"), [(PIXELS, 25), (ROWS, 5), (LAYER, 1)])
def test_the_number_of_scales(shared, count):
    assert SymmetricWeight(torch.randn(8, 4, 5, 5), shared).scales.numel() == count


@pytest.mark.parametrize("codes", [sign, ternary_codes])
def test_the_weight_literally(codes):
    weight = torch.randn(6, 4, 3, 3)
    pixels, rows, layer = (
        SymmetricWeight(weight, shared, codes)(weight)
        for shared in (PIXELS, ROWS, LAYER)
    )
    q = codes(weight)
    kept = q != 0
    for i in range(3):
        chosen = weight[:, :, i][kept[:, :, i]].abs().mean()
        torch.testing.assert_close(rows[:, :, i], chosen * q[:, :, i])
        for j in range(3):
            chosen = weight[:, :, i, j][kept[:, :, i, j]].abs().mean()
            torch.testing.assert_close(pixels[:, :, i, j], chosen * q[:, :, i, j])
    torch.testing.assert_close(layer, weight[kept].abs().mean() * q)


def test_by_hand():
    """Pixels 1, 3 and 5, 7: means 3 and 5; the row and the layer have 4."""
    weight = torch.tensor([[[[1.0, -3.0]]], [[[-5.0, 7.0]]]])
    assert subgroup_scales(weight, sign(weight), PIXELS).flatten().tolist() == [3, 5]
    assert subgroup_scales(weight, sign(weight), ROWS).flatten().tolist() == [4]
    near = SymmetricWeight(weight)(weight)
    assert near.flatten().tolist() == [3, -5, -3, 5]


def test_the_ternary_codes_have_a_threshold_of_a_twentieth():
    weight = torch.tensor([2.0, 0.1, -0.11, 0.09])
    assert ternary_codes(weight).tolist() == [1, 0, -1, 0]
    assert ternary_codes(weight, 0.0).tolist() == [1, 1, -1, 1]


def test_for_a_layer_it_starts_as_twn_with_that_threshold():
    weight = torch.randn(6, 4, 3, 3)
    codes = ternarize(weight, 0.05 * weight.abs().max())
    alpha = ternary_scale(weight.flatten(), codes.flatten())
    near = SymmetricWeight(weight, LAYER, ternary_codes)(weight)
    torch.testing.assert_close(near, alpha * codes)


@pytest.mark.parametrize("codes", [sign, ternary_codes])
def test_smaller_parts_never_have_a_larger_error(codes):
    size = torch.tensor([0.2, 1.0, 3.0])
    weight = torch.randn(6, 4, 3, 3) * size * size[:, None]
    errors = [
        (weight - SymmetricWeight(weight, shared, codes)(weight)).square().sum()
        for shared in (PIXELS, ROWS, LAYER)
    ]
    assert errors[0] < errors[1] < errors[2]


def test_the_start_is_least_squares():
    weight = torch.randn(6, 4, 3, 3, dtype=torch.double)
    quantizer = SymmetricWeight(weight, PIXELS, ternary_codes)
    (weight - quantizer(weight)).square().sum().backward()
    torch.testing.assert_close(
        quantizer.scales.grad, torch.zeros(1, 1, 3, 3, dtype=torch.double)
    )


@pytest.mark.parametrize("shared", [PIXELS, ROWS, LAYER])
def test_the_gradients_literally(shared):
    weight, g = torch.randn(6, 4, 3, 3, requires_grad=True), torch.randn(6, 4, 3, 3)
    quantizer = SymmetricWeight(weight, shared, ternary_codes)
    (quantizer(weight) * g).sum().backward()
    scales = quantizer.scales.detach()
    torch.testing.assert_close(weight.grad, scales * g)
    expected = torch.zeros_like(scales)
    q = ternary_codes(weight)
    for i in range(3):
        for j in range(3):
            place = [0, 0, i, j]
            place = tuple(0 if d in shared else p for d, p in enumerate(place))
            expected[place] += (g[:, :, i, j] * q[:, :, i, j]).sum()
    torch.testing.assert_close(quantizer.scales.grad, expected)


def test_scales_and_weights_learn_in_a_linear_layer():
    x = torch.randn(200, 6)
    split = Split(x, (x @ torch.randn(6) > 0).long())
    net = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 2))
    quantizer = SymmetricWeight(net[0].weight, (0, 1))
    before = quantizer.scales.item()
    parametrize.register_parametrization(net[0], "weight", quantizer)
    losses = train_classifier(net, split, epochs=5, batch_size=20)
    assert losses[-1] < losses[0]
    assert quantizer.scales.item() != before
    assert len(net[0].weight.unique()) == 2


def test_bad_input_is_refused():
    for shared in ((0, 1, 2), (), (-1,)):
        with pytest.raises(ValueError, match="shared must name dimensions of shape"):
            SymmetricWeight(torch.ones(2, 3), shared)
    with pytest.raises(ValueError, match="rows holds 1 NaN"):
        SymmetricWeight(torch.tensor([[float("nan")]]), (0, 1), ternary_codes)
