"""Meta-kernels: one convolution gives what K convolutions give, if all is linear."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from effdl.measure.macs import torch_flops
from effdl.measure.memory import peak_activation_bytes
from effdl.nas.hardware.meta_kernel import (
    MetaConv2d,
    meta_costs,
    mixed_kernel,
    padded_kernel,
)

SETS = [
    [(3, 8), (5, 8), (7, 8)],
    [(5, 8), (3, 4), (1, 8)],
    [(1, 2), (7, 6)],
    [(3, 5)],
]


class OneByOne(nn.Module):
    """The slow way as a module, to be measured."""

    def __init__(self, meta):
        super().__init__()
        self.meta = meta

    def forward(self, x, weights):
        """Return the mixture by K convolutions."""
        return self.meta.one_by_one(x, weights)


@pytest.mark.parametrize("candidates", SETS, ids=str)
def test_the_mixed_kernel_gives_the_mixed_outputs(candidates):
    """The oracle: linearity, to 1e-6, written out with no shared code."""
    meta = MetaConv2d(4, candidates)
    weights = torch.rand(len(candidates)).softmax(dim=0)
    x = torch.randn(3, 4, 9, 9)
    width = max(n for _, n in candidates)
    wanted = torch.zeros(3, width, 9, 9)
    for weight, kernel, (side, n) in zip(
        weights, meta.kernels, candidates, strict=True
    ):
        wanted[:, :n] += weight * F.conv2d(x, kernel, padding=side // 2)
    torch.testing.assert_close(meta(x, weights), wanted, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(meta.one_by_one(x, weights), wanted)


@pytest.mark.parametrize("candidates", SETS, ids=str)
def test_in_double_precision_the_two_differ_by_rounding_only(candidates):
    meta = MetaConv2d(4, candidates).double()
    weights = torch.randn(len(candidates), dtype=torch.float64)
    x = torch.randn(3, 4, 9, 9, dtype=torch.float64)
    difference = meta(x, weights) - meta.one_by_one(x, weights)
    assert difference.abs().max() < 1e-13


@pytest.mark.parametrize("number", range(3))
def test_one_weight_of_one_is_the_candidate(number):
    candidates = SETS[1]
    meta, x = MetaConv2d(4, candidates), torch.randn(2, 4, 8, 8)
    y = meta(x, torch.eye(3)[number])
    side, n = candidates[number]
    own = F.conv2d(x, meta.kernels[number], padding=side // 2)
    torch.testing.assert_close(y[:, :n], own, atol=1e-6, rtol=1e-5)
    assert not y[:, n:].any()


def test_both_ways_have_the_same_gradients():
    meta = MetaConv2d(3, SETS[0]).double()
    weights = torch.rand(3, dtype=torch.float64, requires_grad=True)
    x = torch.randn(2, 3, 8, 8, dtype=torch.float64)
    upstream = torch.randn(2, 8, 8, 8, dtype=torch.float64)
    inputs = [weights, *meta.kernels]
    first = torch.autograd.grad((meta(x, weights) * upstream).sum(), inputs)
    second = torch.autograd.grad((meta.one_by_one(x, weights) * upstream).sum(), inputs)
    for one, other in zip(first, second, strict=True):
        assert one.any()
        torch.testing.assert_close(one, other)


def test_a_kernel_is_padded_around_its_centre_by_hand():
    kernel = torch.arange(1.0, 10).reshape(1, 1, 3, 3)
    padded = padded_kernel(kernel, 2, 5)
    assert padded.shape == (2, 1, 5, 5)
    assert torch.equal(padded[0, 0, 1:4, 1:4], kernel[0, 0])
    assert padded.sum() == 45
    assert padded[0, 0, 2, 2] == 5


def test_with_a_norm_for_each_candidate_the_two_ways_part():
    """So an edge of DARTS, which has one behind every convolution, cannot be merged."""
    meta, x = MetaConv2d(4, [(3, 8), (5, 8)]), torch.randn(16, 4, 8, 8)
    weights = torch.tensor([0.5, 0.5])

    def normed(y):
        return F.batch_norm(y, None, None, training=True)

    apart = sum(
        0.5 * normed(F.conv2d(x, kernel, padding="same")) for kernel in meta.kernels
    )
    assert (normed(meta(x, weights)) - apart).abs().max() > 0.3


def test_the_costs_by_hand_and_as_they_are_counted():
    """16 to 16 channels on 12 x 12: 256 * 144 = 36,864 per kernel weight.

    Apart 9 + 25 + 49 = 83, mixed 49.
    """
    candidates = [(3, 16), (5, 16), (7, 16)]
    apart, mixed = meta_costs(16, candidates, 12)
    assert (apart.macs, mixed.macs) == (83 * 36_864, 49 * 36_864)
    assert (apart.parameters, mixed.parameters) == (83 * 256, 49 * 256)
    meta = MetaConv2d(16, candidates)
    x, weights = torch.randn(1, 16, 12, 12), torch.full((3,), 1 / 3)
    assert torch_flops(OneByOne(meta), (x, weights)) / 2 == apart.macs
    to_mix = 3 * mixed.parameters  # once, whatever the number of images
    assert torch_flops(meta, (x, weights)) / 2 == mixed.macs + to_mix


def test_widths_count_in_the_costs():
    apart, mixed = meta_costs(4, [(3, 8), (5, 2)], 6)
    assert apart.macs == 36 * 4 * (9 * 8 + 25 * 2)
    assert mixed.macs == 36 * 4 * 25 * 8


def test_one_output_is_stored_and_not_three():
    meta = MetaConv2d(16, [(3, 16), (5, 16), (7, 16)])
    inputs = (torch.randn(32, 16, 12, 12), torch.full((3,), 1 / 3))
    apart = peak_activation_bytes(OneByOne(meta), inputs, training=True)
    mixed = peak_activation_bytes(meta, inputs, training=True)
    assert mixed < 0.7 * apart


def test_kernels_start_like_those_of_the_small_network():
    meta = MetaConv2d(16, [(3, 64), (5, 64)])
    for kernel, side in zip(meta.kernels, (3, 5), strict=True):
        wanted = (2 / (side**2 * 64)) ** 0.5
        assert kernel.std().item() == pytest.approx(wanted, rel=0.05)


def test_what_cannot_be_is_named():
    kernel = torch.zeros(2, 1, 3, 3)
    for outputs, side in ((1, 3), (2, 1), (2, 4)):
        with pytest.raises(ValueError, match="cannot be padded"):
            padded_kernel(kernel, outputs, side)
    with pytest.raises(ValueError, match=r"weights must be \(1,\)"):
        mixed_kernel([kernel], torch.ones(2))
    with pytest.raises(ValueError, match="at least one kernel"):
        mixed_kernel([], torch.ones(0))
    with pytest.raises(ValueError, match="candidates is empty"):
        MetaConv2d(4, [])
    with pytest.raises(ValueError, match="side must be odd, got 4"):
        MetaConv2d(4, [(4, 8)])
    with pytest.raises(ValueError, match="x must have 4 channels"):
        MetaConv2d(4, [(3, 8)])(torch.zeros(1, 3, 6, 6), torch.ones(1))
