"""Lists of operations, and batch norm folded into the layer before it."""

import operator

import pytest
import torch
import torch.nn.functional as F
from torch import fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from effdl.blocks import conv_bn, plain_net
from effdl.checks import check_positive
from effdl.nets.mobilenet_v2 import small_mobilenet_v2
from effdl.quant.graph import (
    check_folded,
    fold_batch_norm,
    fold_into_,
    is_addition,
    is_relu,
    layer_at,
    traced,
)


def with_statistics(net):
    """Return a network in eval mode whose batch norms are not fresh."""
    for norm in net.modules():
        if isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.uniform_(norm.weight, -2, 2)
            nn.init.normal_(norm.bias)
            nn.init.normal_(norm.running_mean)
            nn.init.uniform_(norm.running_var, 0.1, 3)
    return net.eval()


class Functions(nn.Module):
    """One of each operation that is found by its function."""

    def forward(self, x):
        """Return an image."""
        y = x + F.relu(x)
        y = torch.add(y, F.relu6(x))
        y += torch.relu(y)
        y = y + 1
        return torch.add(y, x, alpha=2)


def test_folding_is_the_formula_in_each_channel():
    layer, norm = nn.Conv2d(3, 4, 3), with_statistics(nn.BatchNorm2d(4, eps=0.1))
    weight, bias = layer.weight.detach().clone(), layer.bias.detach().clone()
    fold_into_(layer, norm)
    for c in range(4):
        k = norm.weight[c] / torch.sqrt(norm.running_var[c] + 0.1)
        torch.testing.assert_close(layer.weight[c], k * weight[c])
        expected = norm.bias[c] + k * (bias[c] - norm.running_mean[c])
        torch.testing.assert_close(layer.bias[c], expected)


def test_folding_by_hand():
    """Weight 6, bias 4; gamma = 3, beta = 1, mean = 2, variance = 4: k = 3 / 2."""
    layer, norm = nn.Linear(1, 1), nn.BatchNorm1d(1, eps=0)
    for tensor, number in (
        (layer.weight, 6.0),
        (layer.bias, 4.0),
        (norm.weight, 3.0),
        (norm.bias, 1.0),
        (norm.running_mean, 2.0),
        (norm.running_var, 4.0),
    ):
        tensor.data.fill_(number)
    fold_into_(layer, norm)
    assert (layer.weight.item(), layer.bias.item()) == (9, 4)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(
    ("make", "norm", "fuse"),
    [
        (lambda b: nn.Conv2d(4, 6, 3, groups=2, bias=b), nn.BatchNorm2d, "conv"),
        (lambda b: nn.Linear(4, 6, bias=b), nn.BatchNorm1d, "linear"),
    ],
)
def test_folding_agrees_with_pytorch(make, norm, fuse, bias):
    layer, norm = make(bias).eval(), with_statistics(norm(6))
    fuse = {"conv": fuse_conv_bn_eval, "linear": fuse_linear_bn_eval}[fuse]
    theirs = fuse(layer, norm)
    fold_into_(layer, norm)
    torch.testing.assert_close(layer.weight, theirs.weight)
    torch.testing.assert_close(layer.bias, theirs.bias)


@pytest.mark.parametrize("make", [lambda: plain_net(4), small_mobilenet_v2])
def test_a_folded_network_computes_the_same_without_batch_norm(make):
    net, x = with_statistics(make()).double(), torch.rand(3, 1, 16, 16).double()
    before = {name: t.clone() for name, t in net.state_dict().items()}
    folded = fold_batch_norm(net)
    torch.testing.assert_close(folded(x), net(x))
    assert not any("BatchNorm" in type(m).__name__ for m in folded.modules())
    assert not any("BatchNorm" in str(m) for m in folded.children())
    for name, tensor in net.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    names = {n for n, m in net.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)}
    assert names <= {n for n, _ in folded.named_modules()}
    check_folded(folded)


def test_folded_weights_can_still_be_trained():
    folded = fold_batch_norm(conv_bn(1, 4, 3).eval())
    folded(torch.rand(2, 1, 5, 5)).sum().backward()
    assert all(p.grad is not None for p in folded.parameters())
    assert len(list(folded.parameters())) == 2


def test_a_traced_network_is_a_copy_with_the_same_names():
    net, x = plain_net(4).eval(), torch.rand(2, 1, 16, 16)
    listed = traced(net)
    again = traced(listed)
    assert isinstance(again, fx.GraphModule)
    assert again is not listed
    assert (
        list(listed.state_dict()) == list(net.state_dict()) == list(again.state_dict())
    )
    with torch.no_grad():
        for copy in (listed, again):
            assert torch.equal(copy(x), net(x))
            for parameter in copy.parameters():
                parameter.zero_()
    assert net(x).count_nonzero()


def test_checks_are_left_out_of_the_list():
    class Checked(nn.Module):
        def forward(self, x):
            """Return an image."""
            check_positive(channels=x.shape[1])
            return x.relu()

    listed = traced(Checked())
    assert [n.op for n in listed.graph.nodes] == [
        "placeholder",
        "call_method",
        "output",
    ]
    mobile = traced(small_mobilenet_v2())
    assert not [n for n in mobile.graph.nodes if "check" in str(n.target)]
    assert "check" not in mobile.code


def test_operations_are_recognised_as_functions():
    net = traced(Functions())
    nodes = {n.name: n for n in net.graph.nodes}
    assert [n for n in nodes if is_relu(net, nodes[n])] == ["relu", "relu6", "relu_1"]
    assert [n for n in nodes if is_addition(nodes[n])] == ["add", "add_1", "add_2"]
    nodes["add"].target = operator.iadd
    assert is_addition(nodes["add"])
    assert all(layer_at(net, n) is None for n in net.graph.nodes)


@pytest.mark.parametrize("layer", [nn.ReLU(), nn.ReLU6(), nn.Sigmoid()])
def test_operations_are_recognised_as_layers(layer):
    net = traced(nn.Sequential(layer))
    found = [is_relu(net, n) for n in net.graph.nodes]
    assert found == [False, not isinstance(layer, nn.Sigmoid), False]
    assert type(layer_at(net, list(net.graph.nodes)[1])) is type(layer)


class Twice(nn.Module):
    """A convolution that is called twice, each time with another batch norm."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 2, 1)
        self.first, self.second = nn.BatchNorm2d(2), nn.BatchNorm2d(2)

    def forward(self, x):
        """Return an image."""
        return self.second(self.conv(self.first(self.conv(x))))


class Both(Twice):
    """A convolution whose output is used beside the batch norm, too."""

    def forward(self, x):
        """Return an image."""
        y = self.conv(x)
        return self.first(y) + y


@pytest.mark.parametrize(
    ("net", "name"),
    [
        (nn.Sequential(nn.ReLU(), nn.BatchNorm2d(2)), "batch norm 1 follows 0"),
        (nn.Sequential(nn.BatchNorm2d(2)), "batch norm 0 follows input"),
        (Both(), "batch norm first follows conv"),
        (Twice(), "batch norm first follows conv"),
    ],
)
def test_a_batch_norm_that_cannot_be_folded_is_named(net, name):
    with pytest.raises(ValueError, match=name):
        fold_batch_norm(net.eval())


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="model is in training mode; call"):
        fold_batch_norm(conv_bn(1, 4, 3))
    with pytest.raises(ValueError, match=r"0\.1 is a batch norm; call fold_batch"):
        check_folded(traced(nn.Sequential(conv_bn(1, 2, 3))))
    for norm in (
        nn.BatchNorm2d(2, affine=False),
        nn.BatchNorm2d(2, track_running_stats=False),
    ):
        with pytest.raises(ValueError, match="norm must have running statistics"):
            fold_into_(nn.Conv2d(1, 2, 1), norm)
