"""Leaky neurons against their closed form, and tickets of spiking networks."""

import math

import pytest
import torch
from torch import nn
from torch.optim import AdamW

from effdl.data.digits import small_digits
from effdl.prune.lottery import find_tickets
from effdl.prune.pruned import count_kept, weights_of
from effdl.prune.recipe import Recipe
from effdl.prune.spiking import SpikingMLP, firing_period, leaky_fire, spikes
from effdl.train import accuracy


def test_the_neuron_written_out():
    currents = torch.rand(12, 7)
    found = leaky_fire(currents, 0.6)
    for neuron in range(7):
        u = 0.0
        for time in range(12):
            u = 0.6 * u + currents[time, neuron].item()
            fires = u > 1
            assert found[time, neuron].item() == fires
            if fires:
                u = 0.0


def test_by_hand():
    """Leak 1/2, current 3/4: .75, 1.125 and fire, .75, ...; with .25: 0 .25 .375 ..."""
    assert leaky_fire(torch.full((4,), 0.75), 0.5).tolist() == [0, 1, 0, 1]
    assert leaky_fire(torch.full((9,), 0.25), 0.5).sum() == 0
    pulses = torch.tensor([0.9, 0.0, 0.6, 0.6, 0.8])  # .9 .45 .825 1.0125! .8
    assert leaky_fire(pulses, 0.5).tolist() == [0, 0, 0, 1, 0]


@pytest.mark.parametrize("leak", [0.0, 0.3, 0.5, 0.9])
@pytest.mark.parametrize("current", [0.05, 0.15, 0.31, 0.52, 0.71, 0.97, 1.3])
def test_it_fires_with_the_period_of_the_closed_form(leak, current):
    currents = torch.full((120,), current, dtype=torch.float64)
    times = (leaky_fire(currents, leak).nonzero().flatten() + 1).tolist()
    period = firing_period(current, leak)
    if math.isinf(period):
        assert times == []
    else:
        assert times == list(range(period, 121, period))


def test_the_closed_form_of_the_map():
    leak, current = 0.8, 0.3
    wanted = math.ceil(math.log(1 - (1 - leak) / current) / math.log(leak))
    assert firing_period(current, leak) == wanted == 5


def test_a_potential_of_exactly_1_does_not_fire():
    """Current 1, leak 1/2: 1, then 1.5."""
    assert leaky_fire(torch.ones(4), 0.5).tolist() == [0, 1, 0, 1]
    assert firing_period(1.0, 0.5) == 2
    assert math.isinf(firing_period(1.0, 0.0))
    assert math.isinf(firing_period(0.5, 0.5))


def test_without_leak_and_in_one_step_it_is_a_network_of_binary_thresholds():
    net = SpikingMLP((6, 8, 5, 3), steps=1, leak=0.0)
    x = 3 * torch.randn(20, 6)
    a, b, c = net.layers
    wanted = c((b((a(x) > 1).float()) > 1).float())
    torch.testing.assert_close(net(x), wanted)
    torch.testing.assert_close(SpikingMLP.forward(net, x), wanted)


def test_logits_are_the_mean_current_of_the_last_layer_over_time():
    net = SpikingMLP((6, 8, 3), steps=5, leak=0.8)
    x = 2 * torch.randn(50, 1, 2, 3)
    first, last = net.layers
    fired = leaky_fire(torch.stack([first(x.flatten(1))] * 5), 0.8)
    wanted = sum(last(s) for s in fired) / 5
    torch.testing.assert_close(net(x), wanted)


def test_the_surrogate_is_a_triangle_of_width_1_around_the_threshold():
    u = torch.tensor([-1.0, 0.0, 0.25, 1.0, 1.5, 2.0, 3.0], requires_grad=True)
    (2 * spikes(u)).sum().backward()
    assert u.grad.tolist() == [0, 0, 0.5, 2, 1, 0, 0]


def test_gradients_go_through_time():
    currents = torch.tensor([0.5, 0.3, 0.2], requires_grad=True)
    leaky_fire(currents, 0.5)[2].backward()  # potentials .5, .55 and .475
    last, second = 0.475, 0.5 * (1 - 0.55**2)  # d u (1 - s) / du = 1 - u^2 if s = 0
    first = 0.5 * (1 - 0.5**2)
    wanted = torch.tensor([last * second * first, last * second, last])
    torch.testing.assert_close(currents.grad, wanted)


def test_tickets_are_found_in_spiking_networks_as_in_others():
    digits = small_digits(n_train=600, n_validation=200, n_test=1)
    train = Recipe(digits.train, lambda p: AdamW(p, 5e-3), epochs=8, batch_size=30)
    initial = SpikingMLP((144, 60, 10), steps=3)
    rounds = find_tickets(initial, [0.5, 0.75], train=train)
    held_out = digits.validation.batches(200)
    whole, ticket = (accuracy(rounds[i].trained, held_out) for i in (0, -1))
    assert whole > 0.4
    assert ticket > whole - 0.1
    last = rounds[-1]
    assert count_kept(last.masks).sparsity == 0.75
    for name, weight in weights_of(initial).items():
        assert torch.equal(weights_of(last.ticket)[name], weight * last.masks[name])
    assert all(isinstance(layer, nn.Linear) for layer in initial.layers)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: SpikingMLP((4, 2)), "widths must have a hidden layer"),
        (lambda: SpikingMLP(steps=0), "steps must be at least 1"),
        (lambda: SpikingMLP(leak=1.0), "leak must be at least 0 and below 1, got 1"),
        (lambda: leaky_fire(torch.ones(3), -0.1), "leak must be"),
        (lambda: firing_period(0.5, 1.0), "leak must be"),
    ],
)
def test_what_cannot_be_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
