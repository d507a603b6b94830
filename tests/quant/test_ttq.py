"""TTQ: two scales that learn, their gradients, and TWN where they stand still."""

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from effdl.data.digits import Split
from effdl.quant.ternary import ternarize, ternary_scale
from effdl.quant.ttq import TrainedTernary
from effdl.train import train_classifier


def gradients(quantizer, weight, g):
    quantizer.zero_grad()
    weight.grad = None
    (quantizer(weight) * g).sum().backward()
    return quantizer.positive.grad, quantizer.negative.grad, weight.grad


def test_the_gradients_literally():
    weight, g = torch.randn(5, 8, requires_grad=True), torch.randn(5, 8)
    quantizer = TrainedTernary(weight, share=0.3)
    up, down = 1.7, 0.4
    quantizer.positive.data.fill_(up)
    quantizer.negative.data.fill_(down)
    limit = 0.3 * weight.detach().abs().max()
    plus, minus, own = 0.0, 0.0, torch.empty_like(weight)
    for place in torch.cartesian_prod(torch.arange(5), torch.arange(8)):
        i, j = place.tolist()
        w, slope = weight[i, j].item(), g[i, j].item()
        if w > limit:
            plus, own[i, j] = plus + slope, up * slope
        elif w < -limit:
            minus, own[i, j] = minus - slope, down * slope
        else:
            own[i, j] = slope
    found = gradients(quantizer, weight, g)
    torch.testing.assert_close(found[0], torch.tensor(plus))
    torch.testing.assert_close(found[1], torch.tensor(minus))
    torch.testing.assert_close(found[2], own.detach())


def test_by_hand():
    """D = 0.2 (t = 0.05, largest 4): 2 and 4 are kept above, 1 below."""
    weight = torch.tensor([2.0, 4.0, -1.0, 0.1], requires_grad=True)
    quantizer = TrainedTernary(weight)
    assert quantizer(weight).tolist() == [3, 3, -1, 0]
    found = gradients(quantizer, weight, torch.tensor([1.0, 10.0, 100.0, 1000.0]))
    assert [x.tolist() for x in found] == [11, -100, [3, 30, 100, 1000]]


def test_the_scales_have_the_gradients_of_the_expression_itself():
    weight, g = torch.randn(40), torch.randn(40)
    quantizer = TrainedTernary(weight)
    scales = torch.tensor([0.8, 1.2], requires_grad=True)
    quantizer.positive.data, quantizer.negative.data = scales.detach().clone()
    limit = 0.05 * weight.abs().max()
    value = torch.where(weight > limit, scales[0], 0.0)
    value = torch.where(weight < -limit, -scales[1], value)
    (expected,) = torch.autograd.grad((value * g).sum(), scales)
    found = gradients(quantizer, weight.requires_grad_(), g)
    torch.testing.assert_close(torch.stack(found[:2]), expected)


def test_equal_scales_that_stand_still_are_twn():
    weight = torch.randn(6, 9)
    quantizer = TrainedTernary(weight, share=0.2)
    codes = ternarize(weight, 0.2 * weight.abs().max())
    alpha = ternary_scale(weight.flatten(), codes.flatten()).item()
    quantizer.positive.data.fill_(alpha)
    quantizer.negative.data.fill_(alpha)
    torch.testing.assert_close(quantizer(weight), alpha * codes)


def test_the_scales_start_as_the_mean_of_each_side():
    """So the error is at most that of one scale for both."""
    weight = torch.randn(500) + 0.3
    quantizer = TrainedTernary(weight)
    codes = quantizer.codes(weight)
    assert quantizer.positive.item() == pytest.approx(weight[codes > 0].mean().item())
    assert quantizer.negative.item() == pytest.approx(-weight[codes < 0].mean().item())
    alpha = ternary_scale(weight, codes)
    both = (weight - quantizer(weight)).square().sum()
    assert both < (weight - alpha * codes).square().sum()


def test_a_side_without_weights_has_the_scale_1():
    quantizer = TrainedTernary(torch.tensor([1.0, 2.0]))
    assert quantizer.negative.item() == 1
    assert quantizer(torch.tensor([1.0, 2.0])).tolist() == [1.5, 1.5]


def test_all_three_learn_and_the_scales_part():
    x = torch.randn(200, 6)
    split = Split(x, (x @ torch.randn(6) > 0.3).long())
    net = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 2))
    quantizer = TrainedTernary(net[0].weight)
    before = [quantizer.positive.item(), quantizer.negative.item()]
    parametrize.register_parametrization(net[0], "weight", quantizer)
    losses = train_classifier(net, split, epochs=5, batch_size=20)
    after = [quantizer.positive.item(), quantizer.negative.item()]
    assert losses[-1] < losses[0]
    assert all(a != b for a, b in zip(after, before, strict=True))
    assert len(net[0].weight.unique()) == 3


def test_bad_input_is_refused():
    for share in (-0.1, 1.0, float("nan")):
        with pytest.raises(ValueError, match="share must be 0 to below 1, got"):
            TrainedTernary(torch.ones(3), share=share)
    with pytest.raises(ValueError, match="rows holds 1 NaN"):
        TrainedTernary(torch.tensor([1.0, float("nan")]))
