"""A convolution with batch norm folded in: against both apart, and torch's ConvBn2d."""

import copy
import warnings

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from effdl.quant.folded_conv import ChannelNorm, FoldedConv2d
from effdl.quant.graph import fold_into_
from effdl.quant.quantizers import WeightQuantizer


def pair(*, bias=False, groups=1):
    """Return a convolution and a batch norm that are not at their initial values."""
    conv = nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=groups, bias=bias)
    norm = nn.BatchNorm2d(6)
    with torch.no_grad():
        norm.weight.uniform_(-1.5, 1.5)
        norm.bias.normal_()
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2)
    return conv, norm


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("groups", [1, 2])
def test_without_rounding_it_is_convolution_and_batch_norm(bias, groups):
    conv, norm = pair(bias=bias, groups=groups)
    folded, x = FoldedConv2d(conv, norm), torch.randn(5, 4, 8, 8)
    for mode in (True, False):
        apart = nn.Sequential(conv, norm).train(mode)
        torch.testing.assert_close(
            folded.train(mode)(x), apart(x), rtol=1e-4, atol=1e-4
        )
    torch.testing.assert_close(folded.norm.mean, norm.running_mean)
    torch.testing.assert_close(folded.norm.var, norm.running_var)


def test_without_rounding_all_gradients_are_those_of_both_apart():
    conv, norm = pair()
    folded, x = FoldedConv2d(conv, norm), torch.randn(5, 4, 8, 8)
    g = torch.randn(5, 6, 4, 4)
    (folded(x) * g).sum().backward()
    (norm(conv(x)) * g).sum().backward()
    original = folded.parametrizations.weight.original
    for ours, theirs in (
        (original, conv.weight),
        (folded.norm.gamma, norm.weight),
        (folded.norm.beta, norm.bias),
    ):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-3, atol=1e-3)


def test_by_hand():
    """With w 3, gamma 2, variance 4, mean 1, beta 5: k = 1, output 3 x + 4."""
    conv, norm = nn.Conv2d(1, 1, 1, bias=False), nn.BatchNorm2d(1, eps=0)
    with torch.no_grad():
        conv.weight.fill_(3)
        norm.weight.fill_(2), norm.bias.fill_(5)
        norm.running_mean.fill_(1), norm.running_var.fill_(4)
    folded = FoldedConv2d(conv, norm).eval()
    assert folded.weight.item() == 3
    assert folded(torch.full((1, 1, 1, 1), 2.0)).item() == 10
    assert folded.folded_bias().item() == 4


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("axis", [0, None])
def test_with_rounding_it_is_torchs_convbn2d(frozen, axis):
    qat = pytest.importorskip("torch.ao.nn.intrinsic.qat")
    quantization = pytest.importorskip("torch.ao.quantization")
    conv, norm = pair()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = qat.ConvBn2d(
            4, 6, 3, 2, 1, bias=False, momentum=0.1,
            qconfig=quantization.QConfig(
                activation=nn.Identity, weight=lambda: WeightQuantizer(4, axis=axis)
            ),
        )  # fmt: skip
    theirs.weight = nn.Parameter(conv.weight.detach().clone())
    theirs.bn = copy.deepcopy(norm)
    ours = FoldedConv2d(conv, norm)
    parametrize.register_parametrization(ours, "weight", WeightQuantizer(4, axis=axis))
    ours.norm.frozen = frozen
    theirs.freeze_bn_stats() if frozen else theirs.update_bn_stats()
    x, g = torch.randn(5, 4, 8, 8), torch.randn(5, 6, 4, 4)
    y, z = ours(x), theirs(x)
    torch.testing.assert_close(y, z, rtol=1e-4, atol=1e-4)
    (y * g).sum().backward()
    (z * g).sum().backward()
    for a, b in (
        (ours.parametrizations.weight.original.grad, theirs.weight.grad),
        (ours.norm.gamma.grad, theirs.bn.weight.grad),
        (ours.norm.beta.grad, theirs.bn.bias.grad),
        (ours.norm.mean, theirs.bn.running_mean),
        (ours.norm.var, theirs.bn.running_var),
    ):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-3)


def test_what_is_rounded_is_the_folded_weight_of_the_running_variance():
    conv, norm = pair()
    plain = copy.deepcopy(conv)
    fold_into_(plain, norm)
    folded = FoldedConv2d(conv, norm)
    torch.testing.assert_close(folded.weight, plain.weight)
    torch.testing.assert_close(folded.folded_bias(), plain.bias)
    quantizer = WeightQuantizer(3, axis=None)
    parametrize.register_parametrization(folded, "weight", quantizer)
    torch.testing.assert_close(folded.weight, quantizer(plain.weight))
    with torch.no_grad():
        folded.norm.var.mul_(4)
    torch.testing.assert_close(
        ChannelNorm(norm).factor() / 2, folded.norm.factor(), rtol=1e-4, atol=1e-4
    )


def test_with_one_scale_a_channel_folding_early_changes_nothing():
    conv, norm = pair()
    factor = ChannelNorm(norm).factor()[:, None, None, None]
    each, one = WeightQuantizer(3, axis=0), WeightQuantizer(3, axis=None)
    torch.testing.assert_close(each(factor * conv.weight), factor * each(conv.weight))
    assert not torch.allclose(one(factor * conv.weight), factor * one(conv.weight))


def test_frozen_it_trains_on_what_eval_computes_and_statistics_stand_still():
    folded, x = FoldedConv2d(*pair()), torch.randn(5, 4, 8, 8)
    assert not torch.allclose(folded.train()(x), folded.eval()(x), atol=1e-2)
    folded.norm.frozen = True
    before = folded.norm.mean.clone()
    assert torch.equal(folded.train()(x), folded.eval()(x))
    assert torch.equal(folded.norm.mean, before)


def test_padding_mode_dilation_and_the_originals_are_kept():
    conv = nn.Conv2d(2, 3, 3, padding=2, dilation=2, padding_mode="reflect", bias=False)
    norm, x = nn.BatchNorm2d(3).eval(), torch.randn(2, 2, 7, 7)
    before = copy.deepcopy(conv.state_dict())
    folded = FoldedConv2d(conv, norm).eval()
    torch.testing.assert_close(folded(x), norm(conv(x)), rtol=1e-4, atol=1e-5)
    folded.train()(x)
    assert torch.equal(conv.weight, before["weight"])
    assert norm.running_mean.count_nonzero() == 0


@pytest.mark.parametrize(
    ("norm", "message"),
    [
        (nn.BatchNorm2d(3, affine=False), "must have running statistics"),
        (nn.BatchNorm2d(3, track_running_stats=False), "track_running_stats=True"),
        (nn.BatchNorm2d(3, momentum=None), "momentum must be a number"),
    ],
)
def test_bad_input_is_refused(norm, message):
    with pytest.raises(ValueError, match=message):
        ChannelNorm(norm)
    dead = nn.BatchNorm2d(3)
    with torch.no_grad():
        dead.weight[1] = 0
    with pytest.raises(ValueError, match=r"gamma is 0 in channels \[1\]"):
        ChannelNorm(dead)
