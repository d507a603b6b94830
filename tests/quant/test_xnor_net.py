"""XNOR-Net: the nearest scaled signs by brute force, both scales, the speed-up."""

from itertools import product

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from effdl.quant.binarize import sign
from effdl.quant.insert import insert_quantizers
from effdl.quant.packed_signs import multiply_signs, pack_signs
from effdl.quant.xnor_net import (
    ScaledSigns,
    XnorConv2d,
    input_scale,
    nearest_signs,
    speed_up,
    xnor_net,
)


def best_by_trying(w):
    """Return the least squared distance over all signs, each with its best alpha."""
    distances = []
    for outcome in product((-1.0, 1.0), repeat=len(w)):
        b = torch.tensor(outcome, dtype=w.dtype)
        alpha = (w @ b) / (b @ b)
        distances.append((w - alpha * b).square().sum())
    return min(distances)


def test_no_signs_and_no_scale_are_nearer():
    weight = torch.randn(3, 9, dtype=torch.float64)
    alpha, signs = nearest_signs(weight)
    for w, a, b in zip(weight, alpha, signs, strict=True):
        distance = (w - a * b).square().sum()
        torch.testing.assert_close(distance, best_by_trying(w))
        torch.testing.assert_close(distance, w.square().sum() - 9 * a**2)
        for other in (0.9 * a, 1.1 * a):
            assert distance < (w - other * b).square().sum()


def test_by_hand():
    """|-3|, |1|, |0|, |2| have the mean 1.5; 14 - 4 * 2.25 = 5 is left over."""
    w = torch.tensor([[-3.0, 1.0, 0.0, 2.0]])
    alpha, signs = nearest_signs(w)
    assert alpha.tolist() == [1.5]
    assert signs.tolist() == [[-1, 1, 1, 1]]
    assert (w - 1.5 * signs).square().sum() == 5


def test_every_filter_has_its_own_scale():
    weight = torch.randn(4, 3, 2, 2)
    alpha, signs = nearest_signs(weight)
    torch.testing.assert_close(alpha, weight.abs().mean(dim=(1, 2, 3)))
    scaled = ScaledSigns()(weight)
    torch.testing.assert_close(scaled, alpha[:, None, None, None] * signs)


def test_alpha_leaves_the_convolution_and_scales_the_output():
    x, weight = torch.randn(2, 3, 8, 8), torch.randn(5, 3, 3, 3)
    alpha, signs = nearest_signs(weight)
    inside = F.conv2d(x, alpha[:, None, None, None] * signs)
    outside = alpha[:, None, None] * F.conv2d(x, signs)
    torch.testing.assert_close(inside, outside, atol=1e-5, rtol=1e-5)


def test_alpha_cannot_scale_the_input():
    """Five scales and three input channels: not even the shapes agree."""
    x, (alpha, signs) = torch.randn(2, 3, 8, 8), nearest_signs(torch.randn(5, 3, 3, 3))
    with pytest.raises(RuntimeError, match="must match"):
        F.conv2d(alpha[:, None, None] * x, signs)


def test_the_slope_is_the_paper_s():
    weight = (2 * torch.randn(3, 4, 2, 2)).requires_grad_()
    g = torch.randn(3, 4, 2, 2)
    (found,) = torch.autograd.grad((ScaledSigns()(weight) * g).sum(), weight)
    alpha = nearest_signs(weight)[0][:, None, None, None]
    expected = g * (1 / 16 + alpha * (weight.abs() <= 1))
    torch.testing.assert_close(found, expected)
    assert (weight.abs() > 1).any()


def test_the_paper_s_slope_is_the_full_one_if_one_weight_has_a_slope():
    """With g_j = 0 but for j = i, the derivative of alpha adds g_i / n alone."""
    weight = torch.tensor([[0.5, -2.0, 0.3]], dtype=torch.float64, requires_grad=True)

    def full(w):
        signs = nearest_signs(w)[1]
        b = torch.where(w.abs() <= 1, w, 0)
        return w.abs().mean() * (signs + b - b.detach())

    for i in range(3):
        (paper,) = torch.autograd.grad(ScaledSigns()(weight)[0, i], weight)
        (whole,) = torch.autograd.grad(full(weight)[0, i], weight)
        torch.testing.assert_close(paper[0, i], whole[0, i])
        assert paper.count_nonzero() == 1
        assert whole.count_nonzero() == 3


def test_the_input_s_scale_is_a_box_over_the_mean_of_absolute_values():
    x = torch.randn(2, 5, 7, 6)
    box = torch.full((1, 1, 3, 3), 1 / 9)
    mean = x.abs().mean(dim=1, keepdim=True)
    for stride in (1, 2):
        expected = F.conv2d(mean, box, stride=stride, padding=1)
        torch.testing.assert_close(input_scale(x, 3, stride=stride), expected)


def test_a_layer_is_signs_times_both_scales():
    layer, x = XnorConv2d(4, 6, 3, stride=2), torch.randn(2, 4, 9, 9)
    alpha, signs = nearest_signs(layer.weight)
    y = F.conv2d(sign(x), signs, stride=2, padding=1)
    expected = y * input_scale(x, 3, stride=2) * alpha[:, None, None]
    torch.testing.assert_close(layer(x), expected)
    without = XnorConv2d(4, 6, 3, stride=2, scaled_input=False)
    without.load_state_dict(layer.state_dict())
    torch.testing.assert_close(without(x), y * alpha[:, None, None])


def test_where_nothing_is_padded_counting_bits_gives_the_same_sums():
    x, weight = torch.randn(1, 4, 6, 5), torch.randn(7, 4, 3, 3)
    columns = F.unfold(sign(x), 3)[0].T  # (pixels, 36)
    found = multiply_signs(pack_signs(columns), pack_signs(sign(weight).flatten(1)))
    expected = F.conv2d(sign(x), sign(weight)).flatten(2)[0].T
    assert torch.equal(found.float(), expected)


def test_scaled_signs_estimate_better_than_signs():
    x, weight = torch.randn(8, 16, 6, 6), 0.1 * torch.randn(4, 16, 3, 3)
    true, (alpha, signs) = F.conv2d(x, weight), nearest_signs(weight)
    plain, scaled = F.conv2d(x, signs), alpha[:, None, None] * F.conv2d(x, signs)
    error = [F.mse_loss(y, true) / true.var() for y in (plain, scaled)]
    assert error[1] < 0.6
    assert error[0] > 50 * error[1]


def test_the_ends_of_the_network_are_real_and_all_parameters_learn():
    net = xnor_net(4)
    binary = [layer for layer in net if isinstance(layer, XnorConv2d)]
    assert [tuple(layer.weight.shape[:2]) for layer in binary] == [
        (4, 4),
        (8, 4),
        (8, 8),
        (16, 8),
    ]
    assert isinstance(net[0][0], nn.Conv2d)
    assert isinstance(net[-1], nn.Linear)
    net(torch.randn(8, 1, 16, 16)).square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in net.parameters())


def test_the_inserter_of_quantizers_takes_the_scaled_signs():
    net = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 6), nn.Linear(6, 2))
    quantized = insert_quantizers(
        net,
        weight=lambda name, w: ScaledSigns() if name == "1" else None,
        activation=lambda name: None,
    )
    expected = ScaledSigns()(net[1].weight)
    assert torch.equal(quantized.get_submodule("1").weight, expected)
    assert torch.equal(quantized.get_submodule("0").weight, net[0].weight)


def test_the_speed_up_is_the_paper_s_number_and_below_the_length_of_a_word():
    assert round(speed_up(256, 9), 2) == 62.27
    assert speed_up(64, 1) == 32
    assert speed_up(10**9, 9) < 64


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match=r"must be \(filters, ...\), got shape \(3,\)"):
        nearest_signs(torch.ones(3))
    with pytest.raises(ValueError, match=r"got shape \(3, 0\)"):
        nearest_signs(torch.ones(3, 0))
    with pytest.raises(ValueError, match="kernel_size"):
        XnorConv2d(2, 2, 2)
    with pytest.raises(ValueError, match="stride"):
        XnorConv2d(2, 2, 3, stride=0)
    with pytest.raises(ValueError, match="kernel_size"):
        input_scale(torch.zeros(1, 1, 4, 4), 2)
    with pytest.raises(ValueError, match="channels"):
        speed_up(0, 9)
