"""EdMIPS: one convolution does what all of them would, and limits are plain QAT."""

import itertools

import pytest
import torch
import torch.nn.functional as F

from effdl.quant.edmips import MixedActivation, MixedWeight, expected_bits, mixture
from effdl.quant.fake import fake_quantize
from effdl.quant.grid import affine_grid
from effdl.quant.observers import Extremes
from effdl.quant.quantizers import ActivationQuantizer, WeightQuantizer

BITS = (2, 4, 8)


def watched(layer, x):
    layer.observer.observe(x)
    layer.observing, layer.quantizing = False, True
    return layer


def test_one_convolution_is_the_weighted_sum_of_all_nine():
    weight, x = torch.randn(6, 4, 3, 3).double(), torch.rand(2, 4, 7, 7).double()
    mixed_weight = MixedWeight(BITS).double()
    mixed_input = watched(MixedActivation(Extremes(), BITS), x).double()
    mixed_weight.logits.data, mixed_input.logits.data = torch.randn(2, 3).double()
    once = F.conv2d(mixed_input(x), mixed_weight(weight))
    p, q = mixed_weight.logits.softmax(0), mixed_input.logits.softmax(0)
    total = torch.zeros_like(once)
    for (i, b), (j, a) in itertools.product(enumerate(BITS), repeat=2):
        rounded = fake_quantize(x, affine_grid(x.min().clamp(max=0), x.max(), bits=a))
        total = total + p[i] * q[j] * F.conv2d(rounded, WeightQuantizer(b)(weight))
    torch.testing.assert_close(once, total)


@pytest.mark.parametrize("chosen", range(3))
def test_a_one_hot_mixture_is_training_with_fixed_bits_value_and_gradient(chosen):
    weight, x = torch.randn(5, 4, requires_grad=True), torch.rand(3, 4)
    hard = torch.full((3,), -1e4)
    hard[chosen] = 0
    mixed_weight, mixed_input = MixedWeight(BITS), MixedActivation(Extremes(), BITS)
    mixed_weight.logits.data, mixed_input.logits.data = hard, hard.clone()
    fixed = WeightQuantizer(BITS[chosen])
    plain = watched(ActivationQuantizer(Extremes(), BITS[chosen]), x)
    watched(mixed_input, x)
    ours = F.linear(mixed_input(x), mixed_weight(weight)).square().sum()
    theirs = F.linear(plain(x), fixed(weight)).square().sum()
    assert torch.equal(ours, theirs)
    pair = [torch.autograd.grad(loss, weight)[0] for loss in (ours, theirs)]
    torch.testing.assert_close(*pair)


def test_by_hand():
    """Softmax of (0, ln 3) is (1/4, 3/4): 1/4 + 15/4 = 4, and 2/4 + 24/4 = 6.5."""
    logits = torch.tensor([1.0, 3.0]).log()
    values = [torch.tensor(1.0), torch.tensor(5.0)]
    torch.testing.assert_close(mixture(logits, values), torch.tensor(4.0))
    torch.testing.assert_close(expected_bits(logits, (2, 8)), torch.tensor(6.5))


def test_the_gradient_of_the_mean_bits_is_the_closed_form():
    logits = torch.randn(3, requires_grad=True)
    mean = expected_bits(logits, BITS)
    (found,) = torch.autograd.grad(mean, logits)
    p = logits.softmax(0)
    expected = p * (torch.tensor(BITS) - (p * torch.tensor(BITS)).sum())
    torch.testing.assert_close(found, expected.detach())
    torch.testing.assert_close(found.sum(), torch.tensor(0.0), atol=1e-6, rtol=0.0)


def test_mean_bits_agree_with_many_draws():
    logits = torch.tensor([0.3, -1.0, 0.8])
    drawn = torch.multinomial(logits.softmax(0), 100_000, replacement=True)
    seen = torch.tensor(BITS).float()[drawn].mean()
    torch.testing.assert_close(seen, expected_bits(logits, BITS), rtol=0.01, atol=0.0)


def test_all_candidates_of_an_activation_share_one_observed_range():
    mixed = MixedActivation(Extremes(), (2, 4))
    x = torch.tensor([0.0, 0.4, 3.0])
    assert torch.equal(mixed(x), x)
    mixed(torch.tensor([-1.0, 9.0]))
    mixed.observing, mixed.quantizing = False, True
    mixed(torch.tensor([-5.0, 99.0]))
    assert [limit.item() for limit in mixed.observer.limits()] == [-1.0, 9.0]
    grids = [affine_grid(*mixed.observer.limits(), bits=b) for b in (2, 4)]
    mean = sum(fake_quantize(x, grid) for grid in grids) / 2
    torch.testing.assert_close(mixed(x), mean)


def test_gradients_reach_weight_and_logits():
    weight = torch.randn(4, 4, requires_grad=True)
    mixed = MixedWeight(BITS)
    mixed(weight).square().sum().backward()
    assert weight.grad.abs().min() > 0
    assert mixed.logits.grad.abs().min() > 0
    assert [name for name, _ in mixed.named_parameters()] == ["logits"]


def test_more_bits_win_where_only_the_error_counts():
    weight, mixed = torch.randn(8, 8), MixedWeight(BITS)
    sgd = torch.optim.SGD(mixed.parameters(), 0.3)
    for _ in range(50):
        sgd.zero_grad()
        (mixed(weight) - weight).square().sum().backward()
        sgd.step()
    assert mixed.logits.argmax() == 2
    assert mixed.expected() > 6


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="candidates is empty"):
        MixedWeight([])
    with pytest.raises(ValueError, match="bits must be 2 to 16, got 1"):
        MixedWeight([1, 2])
    with pytest.raises(ValueError, match="bits must be 1 to 16, got 32"):
        MixedActivation(Extremes(), [2, 32])
    with pytest.raises(ValueError, match=r"shorter|longer"):
        mixture(torch.zeros(2), [torch.zeros(1)])
