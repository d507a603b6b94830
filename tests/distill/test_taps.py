"""The outputs of layers inside a network."""

import pytest
import torch
from torch import nn

from effdl.blocks import plain_net
from effdl.distill.taps import tapped


def test_outputs_are_those_of_the_layers_called_by_hand() -> None:
    net, x = plain_net(2).eval(), torch.randn(3, 1, 16, 16)
    with tapped(net, ["0", "2", "4.1"]) as taps:
        logits = net(x)
    torch.testing.assert_close(taps["0"], net[0](x))
    torch.testing.assert_close(taps["2"], net[2](net[1](net[0](x))))
    torch.testing.assert_close(logits, net(x))


def test_gradients_pass_through_a_tap() -> None:
    net = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    with tapped(net, ["0"]) as taps:
        net(torch.ones(1, 2))
    taps["0"].sum().backward()
    torch.testing.assert_close(net[0].weight.grad, torch.ones(3, 2))
    assert net[1].weight.grad is None


def test_the_last_run_counts_and_the_model_is_left_without_hooks() -> None:
    net = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    with tapped(net, ["0"]) as taps:
        net(torch.zeros(4, 2))
        net(torch.zeros(5, 2))
    assert len(taps["0"]) == 5
    net(torch.zeros(6, 2))
    assert len(taps["0"]) == 5
    assert not net[0]._forward_hooks


def test_hooks_go_when_the_block_fails() -> None:
    net = nn.Sequential(nn.Linear(2, 3))
    with pytest.raises(ZeroDivisionError), tapped(net, ["0"]):
        raise ZeroDivisionError
    assert not net[0]._forward_hooks


def test_an_output_overwritten_in_place_is_refused() -> None:
    net = nn.Sequential(nn.Linear(2, 3), nn.ReLU(inplace=True))
    with tapped(net, ["0", "1"]) as taps:
        y = net(torch.ones(1, 2))
    with pytest.raises(ValueError, match="'0' was overwritten in place"):
        taps["0"]
    assert taps["1"] is y


def test_layers_that_are_not_there_or_did_not_run_are_named() -> None:
    net = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    missing = "'7', which is no layer of the model; it has 0, 1"
    with pytest.raises(ValueError, match=missing), tapped(net, ["7"]):
        pass
    with tapped(net, ["0"]) as taps, pytest.raises(ValueError, match="'0' has not run"):
        taps["0"]
    with tapped(net, ["0"]) as taps:
        net(torch.zeros(1, 2))
    with pytest.raises(ValueError, match="'1' has not run; it is not tapped"):
        taps["1"]


def test_a_layer_that_puts_out_no_tensor_is_named() -> None:
    net = nn.GRU(2, 3)
    with tapped(net, [""]), pytest.raises(ValueError, match="a tuple, not a tensor"):
        net(torch.zeros(1, 1, 2))
