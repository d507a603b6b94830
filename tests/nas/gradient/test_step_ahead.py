"""The step that is thought: where SGD would go, with nothing changed."""

from copy import deepcopy

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.optim import SGD, Adam

from effdl.nas.gradient.architecture import Architecture
from effdl.nas.gradient.mixed import MixedOperation
from effdl.nas.gradient.relaxations import softmax_weights
from effdl.nas.gradient.step_ahead import loss_at, step_ahead, trainable
from effdl.nas.gradient.steps import Searching, loss_alone, weight_step


class Net(nn.Module):
    """One edge of two linear maps, batch norm with buffers, and a head."""

    def __init__(self):
        super().__init__()
        self.edge = MixedOperation({"a": nn.Linear(3, 4), "b": nn.Linear(3, 4)})
        self.norm = nn.BatchNorm1d(4)
        self.head = nn.Linear(4, 2)

    def forward(self, x, weights, runs=None):
        """Return two logits."""
        return self.head(self.norm(self.edge(x, weights[0])).tanh())


@pytest.fixture
def searching():
    net, found = Net().double(), Architecture([("a", "b")]).double()
    sgd = SGD(net.parameters(), 0.2, momentum=0.9, weight_decay=0.1)
    adam = Adam(found.parameters(), 0.1)
    clip = 1e9
    return Searching(net, found, softmax_weights, loss_alone, sgd, adam, clip)


def batch(count=8):
    return torch.randn(count, 3).double(), torch.arange(count) % 2


def state(net):
    return {name: value.clone() for name, value in net.state_dict().items()}


def test_it_is_where_sgd_goes_with_momentum_and_decay(searching):
    weight_step(searching, batch(), None)  # now there is momentum
    train, weights = batch(), searching.weights().detach()
    ahead = step_ahead(searching, train, weights, rate=0.2)
    weight_step(searching, train, None)
    assert ahead.keys() == trainable(searching).keys()
    for name, value in searching.supernet.named_parameters():
        torch.testing.assert_close(ahead[name], value.detach())


def test_the_first_step_has_no_momentum_and_groups_have_their_own_settings(searching):
    """It is w - 0.5 (g + decay w), with decay 0.3 in the head only."""
    net = searching.supernet
    rest = [*net.edge.parameters(), *net.norm.parameters()]
    head = {"params": net.head.parameters(), "weight_decay": 0.3}
    searching.weight_optimizer = SGD([{"params": rest}, head], 0.2, momentum=0.9)
    (x, y), weights = batch(), searching.weights().detach()
    ahead = step_ahead(searching, (x, y), weights, rate=0.5)
    loss = F.cross_entropy(deepcopy(net)(x, weights), y)
    assert loss_at(searching, (x, y), weights, {}) == loss
    names, values = zip(*net.named_parameters(), strict=True)
    slopes = torch.autograd.grad(F.cross_entropy(net(x, weights), y), values)
    for name, w, slope in zip(names, values, slopes, strict=True):
        decay = 0.3 if name.startswith("head") else 0.0
        torch.testing.assert_close(ahead[name], w - 0.5 * (slope + decay * w))


def test_the_momentum_of_the_optimiser_counts(searching):
    weight_step(searching, batch(), None)
    train, weights = batch(), searching.weights().detach()
    with_momentum = step_ahead(searching, train, weights, rate=0.2)
    searching.weight_optimizer.param_groups[0]["momentum"] = 0.0
    without = step_ahead(searching, train, weights, rate=0.2)
    for name, w in trainable(searching).items():
        buffer = searching.weight_optimizer.state[w]["momentum_buffer"]
        torch.testing.assert_close(with_momentum[name], without[name] - 0.18 * buffer)


def test_nothing_is_changed_neither_buffers_nor_gradients(searching):
    weight_step(searching, batch(), None)
    before = state(searching.supernet)
    memory = deepcopy(searching.weight_optimizer.state_dict())
    logits = searching.architecture.logits.clone()
    step_ahead(searching, batch(), searching.weights(), rate=0.2, keep_graph=True)
    after = state(searching.supernet)
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert all(p.grad is None for p in searching.supernet.parameters())
    assert str(searching.weight_optimizer.state_dict()) == str(memory)
    assert torch.equal(searching.architecture.logits, logits)


def test_the_loss_elsewhere_is_that_of_a_copy_with_those_values(searching):
    other = Net().double()
    train, weights = batch(), searching.weights()
    values = dict(other.named_parameters())
    expected = F.cross_entropy(other(train[0], weights), train[1])
    torch.testing.assert_close(loss_at(searching, train, weights, values), expected)


def test_weights_off_the_path_stay_and_frozen_ones_are_not_there(searching):
    """With all the weight on b, a has no gradient: neither decay nor momentum."""
    weight_step(searching, batch(), None)
    net = searching.supernet
    net.head.bias.requires_grad = False
    only_b = torch.tensor([[0.0, 1.0]]).double()
    ahead = step_ahead(searching, batch(), only_b, rate=0.2)
    assert "head.bias" not in ahead
    for name, w in trainable(searching).items():
        assert torch.equal(ahead[name], w) == name.startswith("edge.candidates.a")


def test_gradients_reach_the_mixture_only_if_asked(searching):
    weights = searching.weights()
    plain = step_ahead(searching, batch(), weights, rate=0.2)
    assert not plain["head.weight"].requires_grad
    kept = step_ahead(searching, batch(), weights, rate=0.2, keep_graph=True)
    slope = torch.autograd.grad(
        kept["head.weight"].sum(), searching.architecture.logits
    )
    assert slope[0].abs().sum() > 0


def test_another_optimiser_is_named(searching):
    searching.weight_optimizer = Adam(searching.supernet.parameters())
    with pytest.raises(ValueError, match="must be SGD to look ahead, got Adam"):
        step_ahead(searching, batch(), searching.weights(), rate=0.1)
