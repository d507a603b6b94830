"""Eight bits of 2011: unsigned activations, signed weights, sums in 32 bits."""

import pytest
import torch
from torch import nn

from effdl.quant.fake import fake_quantize, quantize
from effdl.quant.vanhoucke import (
    MOST_INPUTS,
    EightBitLinear,
    eight_bit_,
    error_bound,
    probability_grid,
)


def test_sums_are_those_of_a_loop():
    layer = nn.Linear(6, 3)
    quantized, q = EightBitLinear(layer), torch.randint(0, 256, (2, 6))
    scale = float(layer.weight.detach().abs().max()) / 127
    for n in range(2):
        for o in range(3):
            total = round(float(layer.bias.detach()[o]) / (scale / 255))
            for i in range(6):
                total += int(q[n, i]) * round(
                    float(layer.weight.detach()[o, i]) / scale
                )
            assert quantized.sums(q)[n, o].item() == total


def test_by_hand():
    """Activations 255 and 51, weights 127 and -127: 204 * 127 of 1 / (255 127)."""
    layer = nn.Linear(2, 1, bias=False)
    layer.weight.data = torch.tensor([[1.0, -1.0]])
    quantized = EightBitLinear(layer)
    assert quantized.sums(torch.tensor([[255, 51]])).item() == 204 * 127
    assert quantized(torch.tensor([[1.0, 0.2]])).item() == pytest.approx(0.8)


def test_it_is_the_product_of_rounded_tensors():
    layer, x = nn.Linear(40, 7), torch.rand(5, 40)
    quantized = EightBitLinear(layer)
    weight = quantized.weight * quantized.scale * 255
    expected = fake_quantize(x, probability_grid()) @ weight.T
    expected = expected + quantized.bias * quantized.scale
    torch.testing.assert_close(quantized(x), expected)


@pytest.mark.skipif(not hasattr(torch, "_int_mm"), reason="this torch has no _int_mm")
def test_the_int8_kernel_of_torch_gives_the_same_integers():
    """It knows signed bytes only: q - 128, and 128 times the sum of weights."""
    layer = nn.Linear(64, 24, bias=False)
    quantized, q = EightBitLinear(layer), torch.randint(0, 256, (32, 64))
    product = torch._int_mm((q - 128).to(torch.int8), quantized.weight.T.contiguous())
    assert product.dtype == torch.int32
    shifted = product + 128 * quantized.weight.sum(1, dtype=torch.int32)
    assert torch.equal(shifted.long(), quantized.sums(q))


@pytest.mark.parametrize("inputs", [1, 10, 300])
def test_the_error_stays_within_the_bound(inputs):
    layer = nn.Linear(inputs, 50)
    x = torch.rand(200, inputs)
    error = (EightBitLinear(layer)(x) - layer(x)).abs().max()
    assert error <= error_bound(layer) * 1.001


def test_the_bound_by_hand():
    """Two inputs, weights up to 1: 2 (a + w + a w) + b."""
    layer = nn.Linear(2, 1)
    layer.weight.data = torch.tensor([[1.0, 0.5]])
    a, w, b = 0.5 / 255, 0.5 / 127, 0.5 / 255 / 127
    assert error_bound(layer) == pytest.approx(2 * (a + w + a * w) + b)


def test_the_largest_sum_fits_32_bits_and_one_input_more_does_not():
    assert MOST_INPUTS == 66311
    assert MOST_INPUTS * 255 * 127 < 2**31 <= (MOST_INPUTS + 1) * 255 * 127
    layer = nn.Linear(MOST_INPUTS, 1, bias=False)
    nn.init.constant_(layer.weight, 3.0)
    q = torch.full((1, MOST_INPUTS), 255)
    assert EightBitLinear(layer).sums(q).item() == MOST_INPUTS * 255 * 127 < 2**31


def test_weights_are_bytes_and_biases_words_a_quarter_of_the_size():
    quantized = EightBitLinear(nn.Linear(100, 10))
    assert (quantized.weight.dtype, quantized.bias.dtype) == (torch.int8, torch.int32)
    assert quantized.weight.abs().max() == 127


def test_probabilities_use_all_256_values_and_others_are_clipped():
    q = quantize(torch.linspace(-0.5, 1.5, 5001), probability_grid())
    assert q.unique().tolist() == list(range(256))


def test_of_a_network_all_but_the_first_layer_changes():
    net = nn.Sequential(
        nn.Flatten(), nn.Linear(9, 30), nn.Sigmoid(), nn.Linear(30, 30), nn.Sigmoid(),
        nn.Linear(30, 4),
    )  # fmt: skip
    x = torch.randn(50, 1, 3, 3)
    expected, first = net(x), net[1]
    eight_bit_(net)
    kinds = [type(layer).__name__ for layer in net]
    assert kinds[3] == kinds[5] == "EightBitLinear"
    assert net[1] is first
    assert (net(x) - expected).abs().max() < 0.01


def test_zero_weights_stay_zero():
    layer = nn.Linear(3, 2, bias=False)
    nn.init.zeros_(layer.weight)
    assert EightBitLinear(layer)(torch.rand(4, 3)).abs().max() == 0


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="66312 inputs, more than 66311"):
        EightBitLinear(nn.Linear(MOST_INPUTS + 1, 1))
    net = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2))
    with pytest.raises(ValueError, match=r"layer 2 must follow a sigmoid.*ReLU"):
        eight_bit_(net)
    with pytest.raises(ValueError, match="x holds 1 NaN"):
        EightBitLinear(nn.Linear(1, 1))(torch.tensor([[float("nan")]]))


def test_a_bias_that_32_bits_do_not_hold_is_refused():
    layer = nn.Linear(2, 1)
    layer.weight.data.fill_(1e-9)
    layer.bias.data.fill_(1.0)
    with pytest.raises(ValueError, match="bias is too large"):
        EightBitLinear(layer)
