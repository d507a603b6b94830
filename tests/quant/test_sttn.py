"""STTN: two binary kernels are one ternary kernel, and nobody sets a threshold."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrize

from effdl.quant.sttn import TernaryStep, TwoSigns, clip_
from effdl.quant.twn import TernaryWeight


def attached(layer):
    parametrize.register_parametrization(layer, "weight", TwoSigns())
    return layer, layer.parametrizations.weight


def test_the_weight_literally():
    first, second = torch.randn(4, 3, 3, 3), torch.randn(4, 3, 3, 3)
    found = TwoSigns()(first, second)
    for o in range(4):
        alpha = (first[o].abs().sum() + second[o].abs().sum()) / (2 * 27)
        signs = first[o].sign() + second[o].sign()
        torch.testing.assert_close(found[o], alpha * signs)


def test_by_hand():
    """Alpha = (1 + 3 + 2 + 2) / 4 = 2; signs + + and + -: 4 and 0."""
    first, second = torch.tensor([[1.0, 3.0]]), torch.tensor([[2.0, -2.0]])
    assert TwoSigns()(first, second).tolist() == [[4, 0]]
    assert TwoSigns().scale(first, second).tolist() == [[4]]
    assert TwoSigns().codes(first, second).tolist() == [[1, 0]]


def test_two_binary_convolutions_are_one_ternary_convolution():
    x, first, second = torch.randn(2, 3, 8, 8), torch.randn(4, 3, 3, 3), None
    second = torch.randn_like(first)
    alpha = TwoSigns().scale(first, second) / 2
    apart = F.conv2d(x, alpha * first.sign()) + F.conv2d(x, alpha * second.sign())
    together = F.conv2d(x, TwoSigns()(first, second))
    torch.testing.assert_close(together, apart)


def test_the_gradient_literally():
    first = torch.randn(3, 5, dtype=torch.double, requires_grad=True)
    second = torch.randn(3, 5, dtype=torch.double, requires_grad=True)
    g = torch.randn(3, 5, dtype=torch.double)
    (TwoSigns()(first, second) * g).sum().backward()
    signs = first.sign() + second.sign()
    through_alpha = (g * signs).sum(dim=1, keepdim=True) / 10
    for weight in (first, second):
        expected = g + through_alpha * weight.sign()
        torch.testing.assert_close(weight.grad, expected.detach())


def test_the_gradient_of_the_scale_is_that_of_the_expression():
    """By central differences; signs do not change in so small a step."""
    first, second = torch.randn(2, 1, 4, dtype=torch.double)
    first[0, 0] += 3 * first[0, 0].sign()
    g = torch.randn(1, 4, dtype=torch.double)
    pair = [first.clone().requires_grad_(), second.clone().requires_grad_()]
    (TwoSigns()(*pair) * g).sum().backward()
    step = torch.zeros_like(first)
    step[0, 0] = 1e-3
    ends = [(TwoSigns()(first + s * step, second) * g).sum() for s in (1, -1)]
    slope = (ends[0] - ends[1]) / 2e-3
    assert pair[0].grad[0, 0].item() == pytest.approx((g[0, 0] + slope).item())


def test_equal_weights_are_binary_and_stay_so():
    same = torch.randn(2, 6)
    pair = [same.clone().requires_grad_(), same.clone().requires_grad_()]
    assert (TwoSigns()(*pair) != 0).all()
    (TwoSigns()(*pair) * torch.randn(2, 6)).sum().backward()
    assert torch.equal(pair[0].grad, pair[1].grad)


def test_it_starts_with_the_codes_of_twn():
    layer = nn.Conv2d(3, 4, 3)
    codes, _ = TernaryWeight().codes(layer.weight)
    layer, pair = attached(layer)
    assert torch.equal(layer.weight.sign().flatten(1), codes)
    middle = (pair.original0 + pair.original1) / 2
    assert (pair.original0 < middle).all()


def test_both_weights_learn_and_the_zeros_change_without_a_threshold():
    layer, pair = attached(nn.Linear(12, 4, bias=False))
    x, target = torch.randn(60, 12), torch.randn(60, 4)
    sgd, zeros = torch.optim.SGD(layer.parameters(), 0.05), []
    before = [p.detach().clone() for p in layer.parameters()]
    for _ in range(30):
        sgd.zero_grad()
        F.mse_loss(layer(x), target).backward()
        sgd.step()
        clip_(layer)
        zeros.append(int((layer.weight == 0).sum()))
        assert all(len(row.unique()) <= 3 for row in layer.weight.detach())
    assert len(set(zeros)) > 1
    assert all(
        not torch.equal(a, b) for a, b in zip(before, pair.parameters(), strict=True)
    )
    pair.original0.data.fill_(7.0)
    pair.original1.data.fill_(-7.0)
    clip_(layer)
    assert pair.original0.unique().tolist() == [1]
    assert pair.original1.unique().tolist() == [-1]


def test_clipping_touches_nothing_else():
    plain, other = nn.Linear(2, 2), nn.Linear(2, 2)
    for layer in (plain, other):
        layer.weight.data.fill_(5.0)
    parametrize.register_parametrization(other, "weight", TernaryWeight())
    clip_(nn.Sequential(plain, other))
    assert (plain.weight == 5).all()
    assert (other.parametrizations.weight.original == 5).all()


def test_inputs_become_ternary_by_two_shifted_signs():
    x = torch.linspace(-2, 2, 81, dtype=torch.double).requires_grad_()
    y = TernaryStep()(x)
    for value, code in zip(x.tolist(), y.tolist(), strict=True):
        up = 1 if value + 0.5 >= 0 else -1
        down = 1 if value - 0.5 >= 0 else -1
        assert code == (up + down) / 2
    y.sum().backward()
    assert torch.equal(x.grad, (x.abs() < 1).double())


def test_bad_input_is_refused():
    for limit in (0.0, float("nan")):
        with pytest.raises(ValueError, match="limit must be above 0, got"):
            clip_(nn.Linear(1, 1), limit)
