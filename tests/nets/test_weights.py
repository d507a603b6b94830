"""Weights by order: between twins, and what must not half-happen."""

import pytest
import torch
from torch import nn

from effdl.nets.weights import load_in_order_


def net(width: int = 4, *, norm: bool = True) -> nn.Sequential:
    tail = [nn.BatchNorm2d(width)] if norm else []
    return nn.Sequential(nn.Conv2d(3, width, 3), *tail, nn.Conv2d(width, 2, 1))


class Renamed(nn.Module):
    """The same layers, found under other names."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm, self.head = net()

    def forward(self, x):
        """Return what the layers, one after the other, make of x."""
        return self.head(self.norm(self.stem(x)))


def test_the_output_becomes_that_of_the_source():
    torch.manual_seed(0)
    source, target, x = Renamed(), net(), torch.randn(2, 3, 8, 8)
    source(x)  # moves the running statistics, which must come along
    load_in_order_(target, source.state_dict())
    assert torch.equal(target.eval()(x), source.eval()(x))


def test_every_tensor_is_copied_not_shared():
    source, target = net(), net()
    load_in_order_(target, source.state_dict())
    for ours, theirs in zip(
        target.state_dict().values(), source.state_dict().values(), strict=True
    ):
        assert torch.equal(ours, theirs)
        assert ours.data_ptr() != theirs.data_ptr()


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (net(norm=False), "state must have 9 tensors, got 4; is it the same network"),
        (net(5), r"state\['0.weight'\] must have shape \(4, 3, 3, 3\) like 0.weight, "),
    ],
)
def test_another_network_is_refused_and_nothing_written(source, message):
    target = net()
    before = {name: tensor.clone() for name, tensor in target.state_dict().items()}
    with pytest.raises(ValueError, match=message):
        load_in_order_(target, source.state_dict())
    assert all(torch.equal(before[n], t) for n, t in target.state_dict().items())


def test_a_late_misfit_leaves_the_first_layers_alone():
    target, state = net(), net().state_dict()
    before = target[0].weight.clone()
    state["2.bias"] = torch.zeros(3)
    with pytest.raises(ValueError, match=r"got \(3,\); is it the same network"):
        load_in_order_(target, state)
    assert torch.equal(target[0].weight, before)
