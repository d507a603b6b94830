"""DoReFa: weights through tanh, activations cut at 1, gradients rounded at random."""

import pytest
import torch

from effdl.blocks import plain_mlp
from effdl.data.digits import Split
from effdl.quant.dorefa import (
    DorefaActivation,
    DorefaWeight,
    dorefa_activation,
    dorefa_gradient,
    dorefa_weight,
    quantize_unit,
)
from effdl.quant.insert import insert_quantizers
from effdl.train import accuracy, train_classifier


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_weights_are_the_equation_of_the_paper(bits):
    weight, n = torch.randn(40, 30), 2**bits - 1
    t = weight.tanh() / (2 * weight.tanh().abs().max()) + 0.5
    expected = 2 * ((n * t).round() / n) - 1
    found = dorefa_weight(weight, bits)
    torch.testing.assert_close(found, expected)
    assert len(found.unique()) == 2**bits or bits == 8  # too few weights for all
    assert found.abs().max().item() == 1


def test_by_hand():
    """tanh(w) / max = 0.5: t = 0.75, 2 bits: round(2.25) / 3 = 2/3, w' = 1/3."""
    weight = torch.tensor([0.5, 1.0]) * 0.8
    weight = torch.atanh(weight)
    torch.testing.assert_close(dorefa_weight(weight, 2), torch.tensor([1 / 3, 1.0]))


def test_with_one_bit_it_is_the_sign_times_the_mean_size():
    weight = torch.tensor([0.5, -1.5, 0.0, -6.0], requires_grad=True)
    value = dorefa_weight(weight, 1)
    assert value.tolist() == [2, -2, 2, -2]
    value.sum().backward()
    assert weight.grad.tolist() == [1, 1, 1, 1]


def test_the_gradient_of_a_weight_is_that_of_the_smooth_part():
    weight, g = torch.randn(50, requires_grad=True), torch.randn(50)
    smooth = weight.tanh() / weight.tanh().abs().max()
    (expected,) = torch.autograd.grad((smooth * g).sum(), weight)
    (found,) = torch.autograd.grad((dorefa_weight(weight, 3) * g).sum(), weight)
    torch.testing.assert_close(found, expected)


def test_with_many_bits_only_the_squeezing_is_left():
    weight = torch.randn(50)
    smooth = weight.tanh() / weight.tanh().abs().max()
    torch.testing.assert_close(dorefa_weight(weight, 16), smooth, atol=1e-4, rtol=0)
    x = torch.rand(50)
    torch.testing.assert_close(dorefa_activation(x, 16), x, atol=1e-4, rtol=0)


def test_an_outlier_takes_less_room_than_on_a_grid_to_the_largest():
    weight = torch.cat([torch.randn(1000), torch.tensor([8.0])])
    linear = 2 * quantize_unit(weight / 16 + 0.5, 3) - 1
    squeezed = dorefa_weight(weight, 3)
    assert len(linear[:-1].unique()) < len(squeezed[:-1].unique()) == 8


def test_activations_are_cut_at_both_ends_and_so_is_their_gradient():
    x = torch.tensor([-0.5, 0.3, 0.8, 1.5], requires_grad=True)
    y = dorefa_activation(x, 2)
    torch.testing.assert_close(y, torch.tensor([0, 1 / 3, 2 / 3, 1]))
    y.sum().backward()
    assert x.grad.tolist() == [0, 1, 1, 0]


def gradients_of(g, bits, draws):
    """Return what becomes of a gradient, (draws, ...)."""
    x = torch.zeros(draws, *g.shape, requires_grad=True)
    y = dorefa_gradient(x, bits)
    assert torch.equal(y, x)
    (y * g).sum().backward()
    return x.grad


def test_the_mean_of_rounded_gradients_is_the_gradient():
    g = torch.tensor([-1.0, -0.4, 0.05, 0.3, 1.0])
    found = gradients_of(g, 2, 20000)
    inner = slice(1, -1)  # at the ends, half of the noise is clipped
    torch.testing.assert_close(found.mean(0)[inner], g[inner], atol=0.02, rtol=0)
    levels = found.unique()
    torch.testing.assert_close(levels, torch.tensor([-1, -1 / 3, 1 / 3, 1.0]))


def test_every_sample_has_a_range_of_its_own():
    x = torch.zeros(2, 3, requires_grad=True)
    g = torch.tensor([[1.0, -1.0, 0.5], [100.0, -100.0, 50.0]])
    (dorefa_gradient(x, 8) * g).sum().backward()
    torch.testing.assert_close(x.grad, g, atol=0, rtol=0.02)
    zero = torch.zeros(1, 2, requires_grad=True)
    (dorefa_gradient(zero, 4) * 0).sum().backward()
    assert zero.grad.abs().max() < 1e-30


def test_a_network_trains_on_two_bits_from_the_start():
    def split(n):
        x = torch.randn(n, 1, 4, 4)
        return Split(x, (x[:, 0, 0].sum(1) > x[:, 0, 1].sum(1)).long())

    train, held_out = split(1000), split(400)
    quantized = insert_quantizers(
        plain_mlp((16, 32, 2)),
        weight=lambda name, w: DorefaWeight(2),
        activation=lambda name: DorefaActivation(2) if name == "2" else None,
    )
    train_classifier(quantized, train, epochs=8, learning_rate=0.05)
    assert accuracy(quantized, held_out.batches(400)) > 0.8


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: DorefaWeight(0), "bits must be 1 to 16, got 0"),
        (lambda: DorefaActivation(17), "bits must be 1 to 16, got 17"),
        (lambda: dorefa_weight(torch.tensor([torch.nan]), 4), "weight holds 1 NaN"),
        (lambda: dorefa_gradient(torch.ones(1, 1), 0), "got 0"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_an_all_zero_weight_gives_finite_values():
    assert dorefa_weight(torch.zeros(4), 3).abs().max() < 0.2
