"""The book's plain network: its layout, its count by hand, and that it learns."""

import pytest
import torch
from torch import nn

from effdl.blocks import plain_net


def convolutions(net: nn.Module) -> list[nn.Conv2d]:
    return [module for module in net.modules() if isinstance(module, nn.Conv2d)]


def test_widths_and_strides():
    layers = convolutions(plain_net(6))
    assert [conv.out_channels for conv in layers] == [6, 6, 12, 12, 24]
    assert [conv.stride[0] for conv in layers] == [1, 2, 1, 2, 1]
    assert {conv.kernel_size for conv in layers} == {(3, 3)}


def test_parameters_by_hand():
    """Width 4: convolutions 2196, batch norm 80, linear 170.

    9 (1*4 + 4*4 + 4*8 + 8*8 + 8*16) = 2196, 2 (4 + 4 + 8 + 8 + 16) = 80.
    """
    assert sum(p.numel() for p in plain_net(4).parameters()) == 2446


@pytest.mark.parametrize("size", [8, 12, 16, 32])
def test_it_takes_images_of_any_size(size):
    net = plain_net(4, in_channels=3, classes=7)
    assert net(torch.randn(2, 3, size, size)).shape == (2, 7)


def test_the_features_have_a_quarter_of_the_resolution():
    features = plain_net(4)[:5](torch.randn(2, 1, 16, 16))
    assert features.shape == (2, 16, 4, 4)


def test_the_last_feature_sees_21_pixels():
    net = plain_net(2).eval()
    for conv in convolutions(net):
        nn.init.ones_(conv.weight)
    x = torch.ones(1, 1, 64, 64, requires_grad=True)
    net[:5](x)[0, 0, 8, 8].backward()
    seen = (x.grad[0, 0] != 0).nonzero()
    assert (seen.amax(dim=0) - seen.amin(dim=0) + 1).tolist() == [21, 21]


def test_every_parameter_learns():
    torch.manual_seed(0)
    net = plain_net(4)
    net(torch.randn(4, 1, 16, 16)).square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in net.parameters())


@pytest.mark.parametrize("name", ["width", "in_channels", "classes"])
def test_bad_arguments_are_named(name):
    with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
        plain_net(**{"width": 4} | {name: 0})
