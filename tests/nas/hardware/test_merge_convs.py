"""Two convolutions as one: where that is exact, where not, and what it costs."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from effdl.measure.count import parameter_count
from effdl.measure.macs import torch_flops
from effdl.nas.hardware.merge_convs import (
    dense_kernel,
    fold_norm,
    merge,
    merge_costs,
    merged_kernel,
)


def conv(c, n, side, **options):
    return nn.Conv2d(c, n, side, **options).double()


def maps(*shape):
    return torch.randn(*shape, dtype=torch.float64)


def test_the_merged_kernel_is_the_definition():
    """W[n, c, t] sums W2[n, m, q] W1[m, c, s] over all q + s = t, in loops."""
    first, second = torch.randn(3, 2, 3, 3), torch.randn(4, 3, 2, 2)
    wanted = torch.zeros(4, 2, 4, 4)
    for qy, qx, sy, sx in itertools.product(range(2), range(2), range(3), range(3)):
        wanted[:, :, qy + sy, qx + sx] += second[:, :, qy, qx] @ first[:, :, sy, sx]
    torch.testing.assert_close(merged_kernel(first, second), wanted)


@pytest.mark.parametrize(("k1", "k2"), [(1, 3), (3, 1), (3, 3), (5, 3), (2, 3)])
@pytest.mark.parametrize(("s1", "s2"), [(1, 1), (1, 2), (2, 1), (2, 2)])
@pytest.mark.parametrize("padding", [0, 1, 2])
def test_it_is_exact_everywhere_if_only_the_first_is_padded(k1, k2, s1, s2, padding):
    first = conv(3, 5, k1, stride=s1, padding=padding)
    second = conv(5, 4, k2, stride=s2)
    x = maps(2, 3, 13, 13)
    merged = merge(first, second)
    torch.testing.assert_close(merged(x), second(first(x)), atol=1e-12, rtol=1e-12)
    assert merged.kernel_size[0] == k1 + (k2 - 1) * s1


@pytest.mark.parametrize("bias", [True, False])
def test_with_a_padded_second_the_inside_is_exact_and_the_border_is_not(bias):
    """Its padding of 1 puts zeros where the merged one sees more of the input."""
    first = conv(3, 5, 3, padding=1, bias=bias)
    second = conv(5, 4, 3, padding=1, bias=bias)
    x = maps(2, 3, 9, 9)
    difference = (merge(first, second)(x) - second(first(x))).abs().amax(dim=(0, 1))
    assert difference[1:-1, 1:-1].max() < 1e-12
    difference[1:-1, 1:-1] = torch.inf
    assert difference.min() > 1e-3


def test_a_pointwise_first_without_bias_is_exact_whatever_the_second_pads():
    first, second = conv(3, 5, 1, bias=False), conv(5, 4, 3, padding=1)
    x = maps(2, 3, 9, 9)
    torch.testing.assert_close(merge(first, second)(x), second(first(x)))
    with_bias = conv(3, 5, 1)
    assert not torch.allclose(merge(with_bias, second)(x), second(with_bias(x)))


def test_single_precision_agrees_to_1e_5():
    first, second = nn.Conv2d(8, 48, 3, padding=2), nn.Conv2d(48, 8, 3)
    x = torch.randn(2, 8, 12, 12)
    merged = merge(first, second)
    torch.testing.assert_close(merged(x), second(first(x)), atol=1e-5, rtol=1e-5)
    assert parameter_count(merged) == 25 * 8 * 8 + 8


def test_an_inverted_residual_without_activations_is_one_convolution():
    """Pointwise, depthwise, pointwise, each with its batch norm folded in."""
    layers = [
        conv(4, 24, 1, padding=1, bias=False),
        conv(24, 24, 3, groups=24, bias=False),
        conv(24, 4, 1, bias=False),
    ]
    norms = [nn.BatchNorm2d(n).double() for n in (24, 24, 4)]
    for norm in norms:
        nn.init.uniform_(norm.weight, 0.5, 1.5)
        nn.init.normal_(norm.bias)
        norm.running_mean = maps(norm.num_features)
        norm.running_var = maps(norm.num_features).exp()
        norm.eval()
    x = maps(2, 4, 8, 8)
    y = x
    for layer, norm in zip(layers, norms, strict=True):
        y = norm(layer(y))
    folded = [fold_norm(*pair) for pair in zip(layers, norms, strict=True)]
    one = merge(merge(folded[0], folded[1]), folded[2])
    torch.testing.assert_close(one(x), y)
    assert one.weight.shape == (4, 4, 3, 3)


def test_a_folded_norm_by_hand():
    """Weight 2 and bias 1; mean 3, variance 4 - eps, scale 10 and shift 5.

    Factor 10 / 2 = 5: weight 10, bias 5 (1 - 3) + 5 = -5.
    """
    layer, norm = nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1)
    nn.init.constant_(layer.weight, 2.0)
    nn.init.constant_(layer.bias, 1.0)
    nn.init.constant_(norm.weight, 10.0)
    nn.init.constant_(norm.bias, 5.0)
    norm.running_mean.fill_(3.0)
    norm.running_var.fill_(4.0 - norm.eps)
    folded = fold_norm(layer, norm)
    assert folded.weight.item() == pytest.approx(10.0)
    assert folded.bias.item() == pytest.approx(-5.0)
    assert layer.weight.item() == 2.0  # the old one is left alone


def test_a_norm_without_scale_and_shift_folds_as_well():
    layer, norm = conv(3, 4, 3, padding=1, stride=2), nn.BatchNorm2d(4, affine=False)
    norm.double().running_mean = maps(4)
    x = maps(2, 3, 8, 8)
    torch.testing.assert_close(fold_norm(layer, norm)(x), norm.eval()(layer(x)))


def test_groups_are_zeros_in_the_dense_kernel():
    layer = conv(6, 4, 3, groups=2, padding=1, bias=False)
    x = maps(1, 6, 5, 5)
    own = F.conv2d(x, dense_kernel(layer), padding=1)
    torch.testing.assert_close(own, layer(x))


def test_merging_leaves_the_random_state_and_the_gradients_alone():
    before = torch.get_rng_state()
    first, second = conv(2, 3, 1), conv(3, 2, 1)
    torch.set_rng_state(before)
    merged = merge(first, second)
    assert torch.equal(torch.get_rng_state(), before)
    assert merged.weight.is_leaf
    assert merged.weight.requires_grad


@pytest.mark.parametrize(
    ("channels", "sides", "cheaper"),
    [
        ((16, 16, 16), (3, 3), False),  # 25 / 18
        ((16, 16, 16), (1, 3), True),  # 9 / 10
        ((16, 16, 16), (3, 5), False),  # 49 / 34
        ((16, 96, 16), (3, 3), True),  # 25 / 108
        ((16, 22, 16), (3, 3), False),  # just below 25 / 18
        ((16, 23, 16), (3, 3), True),
        ((16, 4, 16), (1, 1), False),
    ],
)
def test_merging_makes_cheaper_only_with_a_wide_middle(channels, sides, cheaper):
    before, after = merge_costs(channels, sides, 12)
    c, m, n = channels
    k1, k2 = sides
    assert before.parameters == k1**2 * c * m + k2**2 * m * n
    assert after.parameters == (k1 + k2 - 1) ** 2 * c * n
    assert before.macs == 144 * before.parameters
    assert after.macs == 144 * after.parameters
    assert (after.macs < before.macs) == cheaper


def test_the_costs_are_those_that_are_counted():
    first, second = nn.Conv2d(8, 16, 3, padding=1), nn.Conv2d(16, 8, 3, padding=1)
    x = torch.zeros(1, 8, 12, 12)
    before, after = merge_costs((8, 16, 8), (3, 3), 12)
    assert torch_flops(nn.Sequential(first, second), x) / 2 == before.macs
    assert torch_flops(merge(first, second), x) / 2 == after.macs


def test_what_cannot_be_is_named():
    first, second = nn.Conv2d(2, 3, 3), nn.Conv2d(4, 2, 3)
    with pytest.raises(ValueError, match="second must have 3 input channels"):
        merge(first, second)
    fine = nn.Conv2d(3, 2, 3)
    for wrong in (
        nn.Conv2d(2, 3, 3, dilation=2),
        nn.Conv2d(2, 3, 3, padding=1, padding_mode="reflect"),
        nn.Conv2d(2, 3, 3, padding="same"),
        nn.Conv2d(2, 3, 3, stride=(1, 2)),
        nn.Conv2d(2, 3, 3, padding=(0, 1)),
    ):
        with pytest.raises(ValueError, match="first must be padded by one number"):
            merge(wrong, fine)
    with pytest.raises(ValueError, match="second must be padded by one number"):
        merge(first, nn.Conv2d(3, 2, 3, dilation=2))
    with pytest.raises(ValueError, match="no running statistics"):
        fold_norm(first, nn.BatchNorm2d(3, track_running_stats=False))
    with pytest.raises(ValueError, match="norm must have the 3 channels"):
        fold_norm(first, nn.BatchNorm2d(4))
