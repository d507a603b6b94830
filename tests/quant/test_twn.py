"""TWN and FGQ: rows, gradients straight through, and groups that nest."""

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from effdl.blocks import plain_mlp
from effdl.quant.insert import insert_quantizers
from effdl.quant.ternary import best_threshold, rule_of_thumb
from effdl.quant.twn import TernaryWeight, by_filter, in_groups, whole


def test_a_layer_literally():
    weight = torch.randn(4, 3, 3, 3)
    expected = torch.empty_like(weight)
    for number, kernel in enumerate(weight):
        limit = 0.7 * kernel.abs().mean()
        kept = kernel.abs() > limit
        expected[number] = kernel[kept].abs().mean() * kernel.sign() * kept
    torch.testing.assert_close(TernaryWeight()(weight), expected)


def test_by_hand():
    """Mean 1.5, D = 1.05; 2 and 3 are kept, and their mean is 2.5."""
    weight = torch.tensor([[2.0, -3.0, 0.0, 1.0]])
    assert TernaryWeight()(weight).tolist() == [[2.5, -2.5, 0.0, 0.0]]


def test_rows_keep_the_order_of_the_weight():
    weight = torch.arange(24.0).view(4, 3, 2)
    assert whole(weight).shape == (1, 24)
    assert by_filter(weight)[2].tolist() == [12, 13, 14, 15, 16, 17]
    assert in_groups(3)(weight)[4].tolist() == [12, 13, 14]


def test_a_group_of_all_weights_is_the_whole_and_one_of_a_filter_the_filter():
    weight = torch.randn(4, 18)
    as_one = TernaryWeight(in_groups(72))(weight)
    assert torch.equal(as_one, TernaryWeight(whole)(weight))
    by_group = TernaryWeight(in_groups(18))(weight)
    assert torch.equal(by_group, TernaryWeight(by_filter)(weight))


def test_smaller_groups_never_have_a_larger_error_at_the_best_threshold():
    weight = torch.randn(8, 64, dtype=torch.double)
    errors = []
    for size in (512, 256, 128, 64, 32, 16, 8, 4, 2, 1):
        near = TernaryWeight(in_groups(size), best_threshold)(weight)
        errors.append((weight - near).square().sum().item())
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] == pytest.approx(0, abs=1e-12)


def test_a_group_needs_one_product_with_its_scale():
    """All but one of N products of a group are additions: (N - 1) / N go."""
    weight, x = torch.randn(4, 12), torch.randn(12)
    codes, scale = TernaryWeight(in_groups(4)).codes(weight)
    sums = (codes.view(4, 3, 4) * x.view(3, 4)).sum(dim=2)  # additions only
    output = (scale.view(4, 3) * sums).sum(dim=1)
    torch.testing.assert_close(TernaryWeight(in_groups(4))(weight) @ x, output)
    assert sums.numel() == weight.numel() / 4


def test_it_scales_with_the_weight():
    weight = torch.randn(3, 20, dtype=torch.double)
    for rule in (rule_of_thumb, best_threshold):
        quantizer = TernaryWeight(threshold=rule)
        torch.testing.assert_close(quantizer(5 * weight), 5 * quantizer(weight))


def test_the_best_threshold_has_no_larger_error_than_the_rule():
    weight = torch.randn(50, 8, dtype=torch.double)
    errors = [
        (weight - TernaryWeight(threshold=rule)(weight)).square().sum(dim=1)
        for rule in (best_threshold, rule_of_thumb)
    ]
    assert (errors[0] <= errors[1] + 1e-12).all()
    assert errors[0].sum() < errors[1].sum() < 1.2 * errors[0].sum()


def test_the_gradient_passes_straight_through():
    weight, g = torch.randn(3, 8, requires_grad=True), torch.randn(3, 8)
    (TernaryWeight()(weight) * g).sum().backward()
    assert torch.equal(weight.grad, g)


def test_a_step_of_sgd_moves_the_weight_behind_by_the_gradient_of_the_ternary_one():
    layer = nn.Linear(6, 2, bias=False)
    before = layer.weight.detach().clone()
    parametrize.register_parametrization(layer, "weight", TernaryWeight())
    near = layer.weight.detach().clone().requires_grad_()
    x = torch.randn(5, 6)
    (g,) = torch.autograd.grad((x @ near.T).square().sum(), near)
    layer(x).square().sum().backward()
    torch.optim.SGD(layer.parameters(), 0.1).step()
    original = layer.parametrizations.weight.original
    torch.testing.assert_close(original.detach(), before - 0.1 * g)


def test_it_goes_where_quantizers_go_and_layers_may_be_left_out():
    quantized = insert_quantizers(
        plain_mlp((8, 6, 5, 2)),
        weight=lambda name, w: TernaryWeight() if name == "3" else None,
        activation=lambda name: None,
    )
    counts = {n: len(quantized.get_submodule(n).weight.unique()) for n in "135"}
    assert counts["1"] > 3
    assert counts["3"] > 3  # three values for each filter
    assert [len(row.unique()) for row in quantized.get_submodule("3").weight] == [3] * 5
    assert counts["5"] > 3


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="size must divide the 9 weights of shape"):
        in_groups(4)(torch.ones(3, 3))
    with pytest.raises(ValueError, match="size must be"):
        in_groups(0)
    with pytest.raises(ValueError, match="rows holds 1 NaN"):
        TernaryWeight()(torch.tensor([[float("nan"), 1.0]]))
