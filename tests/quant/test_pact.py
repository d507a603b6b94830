"""PACT: the clip, its levels, and the gradient that autograd finds without rounding."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from effdl.quant.dorefa import dorefa_activation
from effdl.quant.fake import fake_quantize
from effdl.quant.pact import PactActivation, alpha_penalty, pact


def clip(x, alpha):
    """Return the clip as the paper writes it."""
    return 0.5 * (x.abs() - (x - alpha).abs() + alpha)


def test_it_is_the_equation_of_the_paper():
    x, alpha = 4 * torch.randn(500), torch.tensor(2.5)
    expected = (clip(x, alpha) * 15 / alpha).round() * alpha / 15
    torch.testing.assert_close(pact(x, alpha, 4), expected)


def test_gradients_are_those_of_the_clip_without_rounding():
    g = torch.randn(500)
    found = []
    for function in (clip, lambda x, a: pact(x, a, 3)):
        torch.manual_seed(1)
        x = (4 * torch.randn(500)).requires_grad_()
        alpha = torch.tensor(2.5, requires_grad=True)
        (function(x, alpha) * g).sum().backward()
        found.append((x.grad, alpha.grad))
    torch.testing.assert_close(found[0], found[1])


def test_by_hand():
    """Alpha 3 on 2 bits has the levels 0, 1, 2, 3; 3 and 7 pull at alpha, 2 + 5."""
    alpha = torch.tensor(3.0, requires_grad=True)
    x = torch.tensor([-1.0, 0.0, 1.4, 3.0, 7.0], requires_grad=True)
    y = pact(x, alpha, 2)
    assert y.tolist() == [0, 0, 1, 3, 3]
    (y * torch.tensor([1.0, 1.0, 1.0, 2.0, 5.0])).sum().backward()
    assert alpha.grad.item() == 7
    assert x.grad.tolist() == [0, 1, 1, 0, 0]


@pytest.mark.parametrize("bits", range(1, 9))
def test_it_has_two_to_the_bits_levels(bits):
    x = torch.linspace(-1, 7, 4001)
    y = pact(x, torch.tensor(6.0), bits)
    assert len(y.unique()) == 2**bits
    assert (y.min().item(), y.max().item()) == pytest.approx((0, 6))


def test_with_a_large_alpha_and_many_bits_it_is_relu():
    x = torch.randn(100)
    torch.testing.assert_close(
        pact(x, torch.tensor(50.0), 16), F.relu(x), atol=1e-3, rtol=0
    )


def test_with_alpha_1_it_is_the_activation_of_dorefa():
    x = torch.randn(200, requires_grad=True)
    ours, theirs = pact(x, torch.tensor(1.0), 2), dorefa_activation(x, 2)
    torch.testing.assert_close(ours, theirs)
    slopes = [torch.autograd.grad(y.sum(), x)[0] for y in (ours, theirs)]
    assert torch.equal(*slopes)


def test_it_rounds_as_the_grid_it_reports_does():
    layer, x = PactActivation(3, alpha=2.0), 3 * torch.rand(300)
    torch.testing.assert_close(layer(x), fake_quantize(x, layer.grid()))
    assert (layer.grid().lowest, layer.grid().highest) == (0, 7)


def test_the_penalty_is_what_weight_decay_does():
    """Decay d is the slope d alpha, the penalty with factor d / 2 has the same."""
    net = nn.Sequential(PactActivation(4, alpha=3.0), PactActivation(4, alpha=5.0))
    assert alpha_penalty(net).item() == 9 + 25
    (0.1 / 2 * alpha_penalty(net)).backward()
    torch.optim.SGD(net.parameters(), 1.0).step()
    assert [layer.alpha.item() for layer in net] == pytest.approx([2.7, 4.5])


def test_alpha_falls_until_clipping_hurts_more_than_the_penalty():
    x = torch.rand(1000) * 4
    layer = PactActivation(8, alpha=8.0)
    sgd = torch.optim.SGD(layer.parameters(), 0.5)
    for _ in range(300):
        sgd.zero_grad()
        ((layer(x) - x).square().mean() + 0.01 * alpha_penalty(layer)).backward()
        sgd.step()
    assert 2 < layer.alpha.item() < 4  # below the largest value, and not at 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: PactActivation(4, alpha=0.0), "alpha must be above 0, got 0.0"),
        (lambda: pact(torch.ones(1), torch.tensor(-1.0), 4), "got -1; start from 6"),
        (lambda: PactActivation(0), "bits must be 1 to 16, got 0"),
        (lambda: pact(torch.ones(1), torch.tensor(1.0), 17), "got 17"),
        (lambda: alpha_penalty(nn.ReLU()), "has no PactActivation"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
