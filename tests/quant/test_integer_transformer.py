"""A transformer's layers in integers, beside those of torch."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from effdl.quant.integer_functions import Scaled, integer_softmax
from effdl.quant.integer_transformer import (
    integer_attention,
    integer_layer_norm,
    integer_linear,
    rescaled,
    to_integers,
)


def near(found, expected, tolerance):
    error = (found.values() - expected.double()).abs().max()
    assert error <= tolerance, f"{error} above {tolerance}"


def test_integers_are_those_of_torchs_fake_quantization():
    x = torch.randn(300)
    found = to_integers(x, largest=2.0)
    theirs = torch.fake_quantize_per_tensor_affine(x, 2 / 127, 0, -127, 127)
    torch.testing.assert_close(found.values().float(), theirs)
    assert found.q.dtype == torch.int64


def test_the_range_is_the_largest_value_by_default_and_bits_count():
    x = torch.tensor([-3.0, 1.0])
    assert to_integers(x).q.tolist() == [-127, 42]
    assert to_integers(x, bits=3).q.tolist() == [-3, 1]
    assert to_integers(x, largest=1.0).q.tolist() == [-127, 127]


def test_linear_is_torchs_fake_quantized_linear():
    layer, x = nn.Linear(30, 7), torch.randn(4, 5, 30)
    found = integer_linear(to_integers(x), layer)
    rounded = [
        torch.fake_quantize_per_tensor_affine(
            t.detach(), float(t.detach().abs().max()) / 127, 0, -127, 127
        )
        for t in (x, layer.weight)
    ]
    near(found, F.linear(*rounded, layer.bias.detach()), found.scale / 2 + 1e-5)
    assert not found.q.is_floating_point()


def test_linear_by_hand():
    """Inputs 3 and 4, weights 127 and 127, bias 10 steps: 127 * 7 + 10."""
    layer = nn.Linear(2, 1)
    layer.weight.data = torch.tensor([[1.27, 1.27]])
    layer.bias.data = torch.tensor([0.05])
    found = integer_linear(Scaled(torch.tensor([[3, 4]]), 0.5), layer)
    assert (found.q.item(), found.scale) == (127 * 7 + 10, pytest.approx(0.005))
    plain = nn.Linear(2, 1, bias=False)
    plain.weight.data = layer.weight.data
    assert integer_linear(Scaled(torch.tensor([[3, 4]]), 0.5), plain).q.item() == 889


def test_rescaling_is_a_division_rounded():
    x = Scaled(torch.randint(-(2**30), 2**30, (1000,)), 1.7e-9)
    found = rescaled(x, largest=2.0)
    exact = (x.values() / (2.0 / 127)).round()
    assert (found.q - exact).abs().max() <= 1
    assert ((found.q - exact) != 0).double().mean() < 0.01
    assert found.scale == pytest.approx(2 / 127)


def test_rescaling_clips_and_rounds_to_nearest():
    x = Scaled(torch.tensor([-9000, -16, -14, 14, 16, 9000]), 0.001)
    assert rescaled(x, largest=1.27).q.tolist() == [-127, -2, -1, 1, 2, 127]
    assert rescaled(x, largest=0.07, bits=4).q.tolist() == [-7, -2, -1, 1, 2, 7]


def test_a_scale_far_coarser_gives_zero():
    assert rescaled(Scaled(torch.tensor([5]), 1e-30), largest=1.0).q.item() == 0


def test_attention_is_near_that_of_torch():
    q, k, v = (torch.randn(2, 3, 6, 8) for _ in range(3))
    whole = [to_integers(t) for t in (q, k, v)]
    found = integer_attention(*whole)
    values = [t.values() for t in whole]
    expected = F.scaled_dot_product_attention(*values)
    # Each share is off by half a step and by what exp is off; six of them are summed.
    near(found, expected, 6 * values[2].abs().max() * (0.5 / 255 + 2e-3))
    near(found, F.scaled_dot_product_attention(q, k, v), 0.1)


def test_attention_is_three_integer_steps():
    q, k, v = (Scaled(torch.randint(-127, 128, (5, 4)), s) for s in (0.02, 0.03, 0.01))
    share = integer_softmax(Scaled(q.q @ k.q.T, 0.02 * 0.03 / math.sqrt(4)))
    found = integer_attention(q, k, v)
    assert torch.equal(found.q, share.q @ v.q)
    assert found.scale == pytest.approx(0.01 / 255)


def test_layer_norm_is_near_that_of_torch():
    norm, x = nn.LayerNorm(32), 3 * torch.randn(5, 4, 32) + 1
    nn.init.uniform_(norm.weight, 0.5, 2.0)
    nn.init.uniform_(norm.bias, -1, 1)
    whole = to_integers(x, bits=16)
    expected = norm(whole.values().float()).detach()
    gamma = float(norm.weight.detach().max())
    near(integer_layer_norm(whole, norm), expected, 4 * gamma * (0.5 / 127 + 2**-9))


def test_layer_norm_by_hand():
    """Mean 250, deviation sqrt 12500 = 111.8: 150 / 111.8 = 1.342."""
    x = Scaled(torch.tensor([[100, 200, 300, 400]]), 0.1)
    found = integer_layer_norm(x, nn.LayerNorm(4)).values()
    expected = torch.tensor([[-1.3416, -0.4472, 0.4472, 1.3416]]).double()
    torch.testing.assert_close(found, expected, atol=2e-3, rtol=0)


def test_layer_norm_does_not_care_about_shift_and_scale():
    norm, x = nn.LayerNorm(8), torch.randint(-100, 100, (3, 8))
    nn.init.normal_(norm.bias)
    one = integer_layer_norm(Scaled(x, 0.1), norm)
    two = integer_layer_norm(Scaled(x + 999, 7.0), norm)
    assert torch.equal(one.q, two.q)
    assert one.scale == two.scale


def test_a_coarse_deviation_is_kept_with_bits_behind_the_point():
    """Deviation 0.433: without the bits it would be 0 or 1."""
    x = Scaled(torch.tensor([[0, 0, 0, 1]]), 1.0)
    found = integer_layer_norm(x, nn.LayerNorm(4)).values()
    expected = torch.tensor([[-0.5774, -0.5774, -0.5774, 1.7321]]).double()
    torch.testing.assert_close(found, expected, atol=0.02, rtol=0)


def test_constant_input_becomes_beta():
    norm = nn.LayerNorm(4)
    nn.init.constant_(norm.bias, 0.5)
    found = integer_layer_norm(Scaled(torch.full((2, 4), 77), 0.1), norm)
    near(found, torch.full((2, 4), 0.5), found.scale)
    plain = nn.LayerNorm(4, bias=False)
    assert integer_layer_norm(Scaled(torch.full((2, 4), 77), 0.1), plain).q.any() == 0


def test_bad_input_is_refused():
    x = Scaled(torch.tensor([[1, 2]]), 0.1)
    for largest in (0.0, -1.0, math.inf, math.nan):
        with pytest.raises(ValueError, match="largest must be above 0 and finite"):
            rescaled(x, largest=largest)
    with pytest.raises(ValueError, match="x holds 2147483648, beyond 32 bits"):
        rescaled(Scaled(torch.tensor([-(2**31)]), 0.1), largest=1.0)
    with pytest.raises(ValueError, match="largest must make the grid coarser"):
        rescaled(x, largest=5e-9)
    for norm in (nn.LayerNorm([2, 2]), nn.LayerNorm(2, elementwise_affine=False)):
        with pytest.raises(
            ValueError, match="norm must be of one dimension with gamma"
        ):
            integer_layer_norm(x, norm)
    with pytest.raises(ValueError, match="x holds 1 NaN"):
        to_integers(torch.tensor([float("nan")]))
