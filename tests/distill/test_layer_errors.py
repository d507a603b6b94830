"""What layers see and put out, and how far that is from the teacher's."""

import pytest
import torch
from torch import nn

from effdl.blocks import plain_net
from effdl.distill.layer_errors import layer_at, relative_errors, seen_at


def test_it_is_what_goes_in_and_comes_out():
    net, x = plain_net(2).eval(), torch.randn(3, 1, 8, 8)
    given, output = seen_at(net, "1.0", x)
    with torch.no_grad():
        assert torch.equal(given, net[0](x))
        assert torch.equal(output, net[1][0](net[0](x)))
    assert not output.requires_grad
    assert seen_at(net, "0.0", x)[0].data_ptr() != x.data_ptr()


def test_a_relu_in_place_does_not_reach_it():
    net = nn.Sequential(nn.Linear(2, 8), nn.ReLU(inplace=True)).eval()
    x = torch.randn(4, 2)
    assert torch.equal(seen_at(net, "0", x)[1], net[0](x))
    assert (seen_at(net, "0", x)[1] < 0).any()


def test_by_hand():
    """Outputs (3, 4) and (0, 0) for (3, 0) and (0, 0): 4 / 3."""
    x = torch.eye(2)
    student, teacher = nn.Sequential(nn.Linear(2, 2)), nn.Sequential(nn.Linear(2, 2))
    for net, row in ((student, [3.0, 4.0]), (teacher, [3.0, 0.0])):
        net[0].weight.data = torch.tensor([[row[0], 0.0], [row[1], 0.0]])
        nn.init.zeros_(net[0].bias)
    assert relative_errors(student, teacher, x, ["0"])["0"] == pytest.approx(4 / 3)


def test_an_output_of_zeros_has_an_error_of_one_and_the_same_network_none():
    net, x = plain_net(2).eval(), torch.randn(3, 1, 8, 8)
    silent = plain_net(2).eval()
    nn.init.zeros_(silent[2][0].weight)
    assert relative_errors(silent, net, x, ["2.0"]) == {"2.0": 1.0}
    names = ["0.0", "2.0", "7"]
    assert relative_errors(net, net, x, names) == dict.fromkeys(names, 0.0)


def test_channels_that_the_student_has_lost_are_not_compared():
    teacher = nn.Sequential(nn.Linear(2, 3))
    student = nn.Sequential(nn.Linear(2, 2))
    keep = {"0": torch.tensor([True, False, True])}
    student[0].weight.data = teacher[0].weight.data[keep["0"]]
    student[0].bias.data = teacher[0].bias.data[keep["0"]]
    x = torch.randn(5, 2)
    assert relative_errors(student, teacher, x, ["0"], keep=keep)["0"] < 1e-6


def test_the_hook_is_gone_afterwards():
    net = nn.Sequential(nn.Linear(2, 3))
    seen_at(net, "0", torch.zeros(1, 2))
    assert not net[0]._forward_hooks
    with pytest.raises(RuntimeError):
        seen_at(net, "0", torch.zeros(1, 5))
    assert not net[0]._forward_hooks


def test_layers_without_weights_are_refused():
    net = nn.Sequential(nn.Linear(2, 3), nn.ReLU())
    for name in ("1", "9", ""):
        with pytest.raises(ValueError, match=r"linear layer; choose of \['0'\]"):
            layer_at(net, name)
    with pytest.raises(ValueError, match="'1' is no convolution or linear layer"):
        seen_at(net, "1", torch.zeros(1, 2))
