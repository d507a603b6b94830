"""AdaBin: two learned values, and their convolution computed from signs."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from effdl.quant.adabin import (
    AdaptiveSign,
    AdaptiveWeight,
    BinarySet,
    Maxout,
    conv_by_signs,
    weight_sets,
)
from effdl.quant.binarize import sign
from effdl.quant.bireal import polynomial_sign
from effdl.quant.ir_net import set_progress_


def test_weights_become_mean_plus_or_minus_deviation_of_their_filter():
    weight = torch.randn(3, 2, 3, 3) + 1
    found = AdaptiveWeight()(weight)
    for row, source in zip(found, weight, strict=True):
        mean = source.sum() / 18
        spread = ((source - mean) ** 2).mean().sqrt()
        expected = torch.where(source >= mean, mean + spread, mean - spread)
        torch.testing.assert_close(row, expected)


def test_by_hand():
    """0, 0, 0, 4: mean 1, deviation sqrt(3); three weights lie below the mean."""
    found = AdaptiveWeight()(torch.tensor([[0.0, 0.0, 0.0, 4.0]]))
    low, high = 1 - 3**0.5, 1 + 3**0.5
    torch.testing.assert_close(found, torch.tensor([[low, low, low, high]]))


def test_the_mean_is_kept_exactly_if_the_signs_are_balanced():
    balanced = torch.tensor([[-3.0, 0.0, 1.0, 4.0]])  # mean 0.5, two above
    torch.testing.assert_close(AdaptiveWeight()(balanced).mean(), balanced.mean())
    skewed = torch.tensor([[0.0, 0.0, 0.0, 4.0]])
    assert AdaptiveWeight()(skewed).mean() < skewed.mean() - 0.5


def test_the_deviation_is_kept_and_the_distance_is_not_the_best():
    """For the same centre, least squares give mean |W - b|, and a smaller error."""
    weight = torch.randn(1, 400)
    distance, centre = weight_sets(weight)
    best = (weight - centre).abs().mean()
    assert best < distance
    signs = sign(weight - centre)
    errors = [(weight - centre - a * signs).square().sum() for a in (best, distance)]
    assert errors[0] < errors[1]


def test_centre_0_and_distance_mean_size_give_the_binary_weight_network():
    """The set is then mean |W| times the sign, which the convolution confirms."""
    weight, x = torch.randn(4, 2, 3, 3), sign(torch.randn(1, 2, 5, 5))
    scale = weight.abs().mean((1, 2, 3), keepdim=True)
    sets = BinarySet(scale, torch.zeros_like(scale))
    found = conv_by_signs(
        x, BinarySet(torch.ones(()), torch.zeros(())), sign(weight), sets
    )
    torch.testing.assert_close(found, F.conv2d(x, scale * sign(weight)))


def test_activations_become_the_two_learned_values():
    layer, x = AdaptiveSign(5), torch.randn(2, 5, 3, 3)
    assert torch.equal(layer(x), sign(x))
    layer.distance.data.fill_(0.5)
    layer.centre.data.fill_(0.25)
    torch.testing.assert_close(layer(x), torch.where(x >= 0.25, 0.75, -0.25))


def test_the_value_is_the_papers_not_that_of_the_authors_program():
    """Theirs is a (sign + b): with a = 2 and b = 1 they have 4 where we have 3."""
    layer = AdaptiveSign()
    layer.distance.data.fill_(2.0)
    layer.centre.data.fill_(1.0)
    assert layer(torch.tensor([1.5, 0.5])).tolist() == [3, -1]


def test_both_values_learn_and_the_input_has_the_slope_of_bi_real():
    layer, x = AdaptiveSign(), torch.randn(2, 3, 4, 4, requires_grad=True)
    g = torch.randn(2, 3, 4, 4)
    (layer(x) * g).sum().backward()
    (expected,) = torch.autograd.grad((polynomial_sign(x) * g).sum(), x)
    torch.testing.assert_close(x.grad, expected)
    surrogate_moves = -expected.sum() + g.sum()
    torch.testing.assert_close(layer.centre.grad, surrogate_moves)
    assert layer.distance.grad.abs() > 0


def test_weights_narrow_as_training_goes_on():
    layer = AdaptiveWeight()
    weight = torch.randn(2, 9, requires_grad=True)
    g, slopes = torch.randn(2, 9), []
    for progress in (0.0, 1.0):
        assert set_progress_(nn.Sequential(layer), progress) == 1
        slopes.append(torch.autograd.grad((layer(weight) * g).sum(), weight)[0])
    assert not torch.allclose(*slopes)


def test_a_filter_of_equal_weights_stays_as_it_is():
    weight = torch.full((1, 4), 0.5, requires_grad=True)
    found = AdaptiveWeight()(weight)
    torch.testing.assert_close(found.detach(), weight.detach(), atol=1e-5, rtol=0)
    found.sum().backward()
    assert bool(weight.grad.isfinite().all())


def test_maxout_has_a_slope_on_either_side():
    layer, x = Maxout(2), torch.randn(3, 2, 4, 4)
    torch.testing.assert_close(layer(x), F.leaky_relu(x, 0.25))
    layer.above.data.copy_(torch.tensor([2.0, 1.0]).view(2, 1, 1))
    layer.below.data.copy_(torch.tensor([-1.0, 3.0]).view(2, 1, 1))
    x = torch.tensor([5.0, -5.0, 5.0, -5.0]).reshape(1, 2, 1, 2)
    assert layer(x).flatten().tolist() == [10, 5, 5, -15]


def test_the_convolution_from_signs_is_exact():
    """Sets of quarters: every product and sum is a float exactly."""
    x_signs, w_signs = sign(torch.randn(2, 3, 7, 6)), sign(torch.randn(5, 3, 3, 3))
    a, b = torch.tensor(0.75), torch.tensor(-0.25)
    sets = BinarySet(*(torch.randint(-8, 8, (2, 5, 1, 1, 1)) / 4))
    found = conv_by_signs(x_signs, BinarySet(a, b), w_signs, sets)
    weight = sets.distance * w_signs + sets.centre
    assert torch.equal(found, F.conv2d(a * x_signs + b, weight))
    assert found.shape == (2, 5, 5, 4)


def test_with_padding_by_zeros_the_expansion_is_not_that_convolution():
    x_signs, w_signs = sign(torch.randn(1, 2, 5, 5)), sign(torch.randn(1, 2, 3, 3))
    one, half = torch.ones(1, 1, 1, 1), torch.tensor(0.5)
    padded = F.pad(x_signs, (1, 1, 1, 1), value=1.0)  # a sign, as bits need it
    found = conv_by_signs(
        padded, BinarySet(half, half), w_signs, BinarySet(one, 0 * one)
    )
    wrong = F.conv2d(0.5 * x_signs + 0.5, w_signs, padding=1)
    torch.testing.assert_close(found[:, :, 1:-1, 1:-1], wrong[:, :, 1:-1, 1:-1])
    assert not torch.allclose(found, wrong)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Maxout(0), "channels"),
        (lambda: Maxout(2)(torch.zeros(1, 3, 2, 2)), "must have 2 channels"),
        (lambda: conv(torch.zeros(1, 2, 3, 3), torch.ones(1, 2, 3, 3)), "x_signs must"),
        (lambda: conv(torch.ones(1, 2, 3, 3), torch.zeros(1, 2, 3, 3)), "w_signs must"),
        (lambda: conv(torch.ones(1, 3, 3, 3), torch.ones(1, 2, 3, 3)), "2 channels"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def conv(x_signs, w_signs):
    one = torch.ones(())
    sets = BinarySet(one.view(1, 1, 1, 1), one.view(1, 1, 1, 1))
    return conv_by_signs(x_signs, BinarySet(one, one), w_signs, sets)
