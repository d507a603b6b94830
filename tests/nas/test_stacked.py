"""Stacked layers: each network as PyTorch's own layer has it, gradient included."""

import pytest
import torch
from torch import nn

from effdl.nas.stacked import StackedBatchNorm, StackedConv, StackedLinear
from on_paper import randomised

REPLICAS = 3


def as_maps(x: torch.Tensor) -> torch.Tensor:
    """Return (B, H, W, c) as (B, c, H, W)."""
    return x.permute(0, 3, 1, 2)


def stacked_input(*shape) -> torch.Tensor:
    return torch.randn(REPLICAS, *shape, dtype=torch.float64, requires_grad=True)


def compare(stacked: nn.Module, layers: list[nn.Module], x: torch.Tensor) -> None:
    """Hold outputs, and gradients of a weighted sum, against the layers alone."""
    out = stacked(x)
    seen = torch.randn_like(out)
    (out * seen).sum().backward()
    for replica, layer in enumerate(layers):
        own = x[replica].detach().requires_grad_()
        alone = layer(as_maps(own)).permute(0, 2, 3, 1)
        (alone * seen[replica]).sum().backward()
        torch.testing.assert_close(out[replica], alone)
        torch.testing.assert_close(x.grad[replica], own.grad)
        for name, parameter in stacked.named_parameters():
            expected = getattr(layer, name).grad
            torch.testing.assert_close(parameter.grad[replica], expected)


@pytest.mark.parametrize("size", [(6, 6), (5, 7), (3, 3), (1, 2)])
@pytest.mark.parametrize(("kernel", "stride"), [(1, 1), (3, 1), (3, 2), (5, 2), (1, 2)])
def test_a_stacked_convolution_is_each_convolution(kernel, stride, size):
    layers = [
        nn.Conv2d(4, 6, kernel, stride, kernel // 2, bias=False).double()
        for _ in range(REPLICAS)
    ]
    compare(StackedConv(layers), layers, stacked_input(2, *size, 4))


def test_the_gradient_of_a_convolution_is_the_finite_difference():
    layers = [nn.Conv2d(2, 3, 3, 2, 1, bias=False).double() for _ in range(2)]
    conv = StackedConv(layers)
    x = torch.randn(2, 1, 4, 5, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(conv, (x,))


@pytest.mark.parametrize("training", [True, False])
def test_a_stacked_batch_norm_is_each_batch_norm(training):
    layers = [
        randomised(nn.BatchNorm2d(4)).double().train(training) for _ in range(REPLICAS)
    ]
    stacked = StackedBatchNorm(layers).train(training)
    for name in ("running_mean", "running_var"):
        together = torch.stack([getattr(layer, name) for layer in layers])
        getattr(stacked, name).copy_(together)
    compare(stacked, layers, stacked_input(5, 3, 2, 4))
    for name in ("running_mean", "running_var"):
        together = torch.stack([getattr(layer, name) for layer in layers])
        torch.testing.assert_close(getattr(stacked, name), together)


def test_statistics_start_as_those_of_a_new_batch_norm():
    fresh = nn.BatchNorm2d(4)
    stacked = StackedBatchNorm([fresh, fresh])
    torch.testing.assert_close(stacked.running_mean[1], fresh.running_mean)
    torch.testing.assert_close(stacked.running_var[1], fresh.running_var)


def test_a_stacked_linear_layer_is_each_linear_layer():
    layers = [nn.Linear(4, 3) for _ in range(REPLICAS)]
    x = torch.randn(REPLICAS, 5, 4)
    alone = torch.stack([layer(own) for layer, own in zip(layers, x, strict=True)])
    torch.testing.assert_close(StackedLinear(layers)(x), alone)


def test_the_layers_given_are_left_as_they_are():
    conv = nn.Conv2d(2, 2, 3, padding=1, bias=False)
    before = conv.weight.detach().clone()
    stacked = StackedConv([conv, conv])
    stacked.weight.data.zero_()
    torch.testing.assert_close(conv.weight.detach(), before)


def test_networks_do_not_see_each_other():
    layers = [nn.Conv2d(2, 2, 3, padding=1, bias=False).double() for _ in range(3)]
    x = stacked_input(1, 4, 4, 2)
    StackedConv(layers)(x)[1].sum().backward()
    assert x.grad[0].abs().sum() == x.grad[2].abs().sum() == 0 < x.grad[1].abs().sum()
