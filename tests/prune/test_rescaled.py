"""Factors of an initialisation: what they make smaller, and what they leave alone."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from effdl.blocks import plain_mlp, plain_net
from effdl.prune.masks import masks_of, prune_
from effdl.prune.pruned import weights_of
from effdl.prune.rescaled import learned_scales, rescale_
from effdl.prune.thresholds import layer_masks

NAMES = ["1.weight", "1.bias", "3.weight", "3.bias"]


def batches(count=2, size=40):
    """Return batches of three classes that can be told apart."""
    centres = torch.randn(3, 8)
    made = []
    for _ in range(count):
        y = torch.randint(3, (size,))
        made.append((centres[y] + 0.3 * torch.randn(size, 8), y))
    return made


def norm_of_gradient(net, inputs, targets):
    """Return the norm of the gradient of the cross-entropy over all parameters."""
    loss = F.cross_entropy(net(inputs), targets)
    slopes = torch.autograd.grad(loss, list(net.parameters()))
    return torch.cat([slope.flatten() for slope in slopes]).norm()


def by_differences(net, objective, rate):
    """Return factors after Adam's first step, from the sign of each derivative.

    Adam's first step is the rate times the sign. Derivatives are central differences.
    """
    found = {}
    for name in NAMES:
        values = []
        for factor in (1 - 1e-3, 1 + 1e-3):
            moved = copy.deepcopy(net)
            rescale_(moved, {name: factor})
            values.append(objective(moved))
        found[name] = 1 - rate if values[1] > values[0] else 1 + rate
    return found


def test_above_the_bound_a_step_makes_the_norm_of_the_gradient_smaller():
    """The definition: the sign of d |g| / d m, for every parameter."""
    net, data = plain_mlp((8, 12, 3)).double(), batches()
    data = [(x.double(), y) for x, y in data]
    expected = by_differences(net, lambda n: norm_of_gradient(n, *data[0]).item(), 0.01)
    found = learned_scales(net, data, most=1e-6)
    assert list(found) == NAMES
    assert found == pytest.approx(expected, abs=1e-6)


def test_below_it_a_step_makes_the_loss_after_a_step_of_training_smaller():
    """The step is a constant: found once, at the weights as they are."""
    net, data = plain_mlp((8, 12, 3)).double(), batches()
    data = [(x.double(), y) for x, y in data]
    (x, y), (x2, y2) = data
    half = torch.cat([x[:20], x2[:20]]), torch.cat([y[:20], y2[:20]])
    loss = F.cross_entropy(net(x), y)
    slopes = torch.autograd.grad(loss, list(net.parameters()))
    length = torch.cat([s.flatten() for s in slopes]).norm()

    def after_a_step(moved):
        with torch.no_grad():
            for parameter, slope in zip(moved.parameters(), slopes, strict=True):
                parameter.sub_(0.5 * slope / length)
        return F.cross_entropy(moved(half[0]), half[1]).item()

    expected = by_differences(net, after_a_step, 0.02)
    found = learned_scales(net, data, most=1e6, step=0.5, rate=0.02)
    assert found == pytest.approx(expected, abs=1e-6)


def test_a_norm_at_the_bound_is_allowed():
    """With w = 0 and one class in two, |g| is known; the loss is then what falls."""
    layer = nn.Linear(1, 2, bias=False)
    nn.init.zeros_(layer.weight)
    data = [(torch.ones(2, 1), torch.tensor([0, 0]))] * 2
    assert norm_of_gradient(layer, *data[0]).item() == pytest.approx(0.5**0.5)
    # at w = 0 a factor does nothing: all derivatives are 0, and so is Adam's step
    assert learned_scales(layer, data) == {"weight": 1.0}


def test_by_hand():
    """L = w x, w = 3 m, x = 2: |g| = 2 is allowed, so 2 (3 m - 0.1) falls, with m."""
    layer = nn.Linear(1, 1, bias=False)
    nn.init.constant_(layer.weight, 3.0)
    data = [(torch.full((2, 1), 2.0), torch.zeros(2, 1))] * 2
    found = learned_scales(layer, data, loss_fn=lambda y, _: y.mean(), most=3.0)
    assert found["weight"] == pytest.approx(0.99)


def test_above_the_bound_it_is_the_norm_that_falls_even_where_the_loss_would_not():
    """L = (3 m)^2 / 2: |g| = 3 m falls with m, the loss after a step of 5 rises."""
    layer = nn.Linear(1, 1, bias=False)
    nn.init.constant_(layer.weight, 3.0)
    data = [(torch.ones(2, 1), torch.zeros(2, 1))] * 2
    options = {"loss_fn": lambda y, _: y.square().mean() / 2, "step": 5.0}
    above = learned_scales(layer, data, **options, most=2.9)
    below = learned_scales(layer, data, **options, most=3.1)
    assert above["weight"] == pytest.approx(0.99)
    assert below["weight"] == pytest.approx(1.01)


def test_there_is_one_update_for_every_batch_but_the_last():
    layer = nn.Linear(1, 1, bias=False)
    nn.init.constant_(layer.weight, 3.0)
    data = [(torch.full((2, 1), 2.0), torch.zeros(2, 1))] * 6
    found = learned_scales(layer, data, loss_fn=lambda y, _: y.mean(), most=3.0)
    assert found["weight"] == pytest.approx(0.95, abs=1e-4)


def test_factors_do_not_fall_below_the_lower_bound():
    layer = nn.Linear(1, 1, bias=False)
    nn.init.constant_(layer.weight, 3.0)
    data = [(torch.full((2, 1), 2.0), torch.zeros(2, 1))] * 9
    options = {"loss_fn": lambda y, _: y.mean(), "most": 3.0, "rate": 0.5}
    assert learned_scales(layer, data, **options)["weight"] == pytest.approx(0.01)
    found = learned_scales(layer, data, **options, least=0.2)
    assert found["weight"] == pytest.approx(0.2)


def test_a_parameter_that_the_loss_does_not_reach_keeps_its_factor():
    layer = nn.Linear(8, 3)
    layer.spare = nn.Parameter(torch.ones(2))
    assert learned_scales(layer, batches(5))["spare"] == 1.0


def test_learning_the_factors_leaves_the_network_as_it_is():
    for net, shape in ((plain_mlp((8, 12, 3)), (6, 8)), (plain_net(2), (6, 1, 8, 8))):
        kept = copy.deepcopy(net.state_dict())
        data = [(torch.randn(shape), torch.randint(3, (6,)))] * 3
        learned_scales(net, data)
        assert all(torch.equal(v, kept[n]) for n, v in net.state_dict().items())
        assert all(p.grad is None and p.requires_grad for p in net.parameters())


def test_a_pruned_network_keeps_its_masks_and_its_zeros():
    net = plain_mlp((8, 12, 3))
    scores = {name: torch.rand_like(w) for name, w in weights_of(net).items()}
    prune_(net, layer_masks(scores, 0.7))
    masks, weights = masks_of(net), weights_of(net)
    scales = learned_scales(net, batches(10))
    assert set(scales) == {name for name, _ in net.named_parameters()}
    rescale_(net, scales)
    for name, mask in masks_of(net).items():
        assert torch.equal(mask, masks[name])
        key = name.replace("weight", "parametrizations.weight.original")
        torch.testing.assert_close(weights_of(net)[name], scales[key] * weights[name])


def test_rescaling_multiplies_what_is_named_and_nothing_else():
    net = plain_mlp((8, 12, 3))
    before = copy.deepcopy(net.state_dict())
    rescale_(net, {"1.weight": 2.0, "3.bias": -0.5})
    factors = {"1.weight": 2.0, "1.bias": 1.0, "3.weight": 1.0, "3.bias": -0.5}
    for name, value in net.state_dict().items():
        assert torch.equal(value, factors[name] * before[name])


def test_the_learned_factors_lower_the_loss_after_one_step():
    net, data = plain_mlp((8, 40, 40, 3)), batches(60)
    rescaled = copy.deepcopy(net)
    rescale_(rescaled, learned_scales(net, data))

    def after_one_step(model):
        sgd = torch.optim.SGD(model.parameters(), 0.1)
        inputs, targets = data[0]
        F.cross_entropy(model(inputs), targets).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        sgd.step()
        return F.cross_entropy(model(data[1][0]), data[1][1]).item()

    assert after_one_step(rescaled) < 0.98 * after_one_step(net)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: learned_scales(nn.Linear(8, 3), batches(1)),
            "batches must be two or more, got 1",
        ),
        (
            lambda: learned_scales(nn.Linear(8, 3), batches(), step=0.0),
            "step, most, rate and least must be above 0",
        ),
        (
            lambda: learned_scales(nn.Linear(8, 3), batches(), least=-1.0),
            "step, most, rate and least must be above 0",
        ),
        (lambda: rescale_(nn.Linear(8, 3), {"w": 2.0}), "scales names .*w"),
    ],
)
def test_what_cannot_be_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
