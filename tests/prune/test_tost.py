"""Ghosts: how strong they are when, and that nothing is left of them."""

import copy
import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.optim import SGD

from effdl.blocks import plain_mlp, plain_net
from effdl.data.digits import Split
from effdl.prune.magnitude import magnitude_scores
from effdl.prune.masks import make_permanent_, masks_of, prune_
from effdl.prune.pruned import load_pruned_
from effdl.prune.thresholds import layer_masks
from effdl.prune.tost import GhostNeuron, Ghosts, GhostSkip, resized
from effdl.train import fit


def sparse_mlp():
    """Return a pruned network."""
    net = plain_mlp((6, 20, 10, 3))
    prune_(net, layer_masks(magnitude_scores(net), 0.7))
    return net


def ghosts_in(net):
    """Return the ghosts that a network has."""
    return [m for m in net.modules() if isinstance(m, (GhostNeuron, GhostSkip))]


def test_a_neuron_is_x_times_the_sigmoid_of_x_over_s():
    neuron, x = GhostNeuron(), torch.linspace(-4, 4, 41)
    for strength in (1.0, 0.5, 0.1):
        neuron.strength = strength
        expected = x / (1 + torch.exp(-x / strength))
        torch.testing.assert_close(neuron(x), expected)


def test_by_hand():
    """At s = 1/2 and x = log 3 / 2 the sigmoid is 3/4. 0.549306 x 3/4 = 0.411980."""
    neuron = GhostNeuron()
    neuron.strength = 0.5
    x = torch.tensor(3.0).log() / 2
    assert neuron(x).item() == pytest.approx(0.411980, abs=1e-6)


def test_at_strength_1_it_is_pytorchs_silu_and_at_0_its_relu():
    neuron, x = GhostNeuron(), torch.randn(100)
    torch.testing.assert_close(neuron(x), F.silu(x))
    neuron.strength = 0.0
    assert torch.equal(neuron(x), F.relu(x))


def test_it_differs_from_relu_by_at_most_0_2785_s():
    """The maximum of x / (1 + e^x) is the W of 1/e, 0.278465."""
    neuron, x = GhostNeuron(), torch.linspace(-20, 20, 400_001)
    for strength in (1.0, 0.3, 0.01):
        neuron.strength = strength
        gap = (neuron(x) - F.relu(x)).abs().max().item()
        assert gap == pytest.approx(0.278465 * strength, rel=1e-4)


def test_a_neuron_lets_a_gradient_through_where_relu_has_none():
    x = torch.tensor([-0.5], requires_grad=True)
    GhostNeuron()(x).backward()
    assert x.grad.item() != 0


def test_a_skip_adds_the_input_times_its_strength():
    skip, x = GhostSkip(nn.Linear(5, 5)), torch.randn(4, 5)
    for strength in (1.0, 0.25, 0.0):
        skip.strength = strength
        torch.testing.assert_close(skip(x), skip.layer(x) + strength * x)
    assert torch.equal(skip(x), skip.layer(x))


def test_where_sizes_differ_neighbours_are_averaged_or_repeated():
    """Channels and pixels alike: 2 channels of 4 x 2 to 1 of 2 x 1 is the mean of 8."""
    x = torch.arange(16.0).view(1, 2, 4, 2)
    halves = [x[0, :, :2].mean().item(), x[0, :, 2:].mean().item()]
    assert resized(x, (1, 2, 1)).flatten().tolist() == halves
    more = resized(torch.tensor([[1.0, 2.0]]), (4,))
    assert more.tolist() == [[1.0, 1.0, 2.0, 2.0]]
    same = torch.randn(2, 3)
    assert resized(same, (3,)) is same
    skip = GhostSkip(nn.Conv2d(2, 4, 3, stride=2, padding=1))
    x = torch.randn(2, 2, 6, 6)
    expected = skip.layer(x) + F.avg_pool2d(x, 2).repeat_interleave(2, dim=1)
    torch.testing.assert_close(skip(x), expected)


def test_every_relu_is_softened_and_every_layer_but_the_last_has_a_skip():
    net = plain_mlp((6, 20, 10, 3))
    Ghosts(net, steps=5)
    kinds = [type(m).__name__ for m in net]
    mixed = ["GhostSkip", "GhostNeuron"]
    assert kinds == ["Flatten", *mixed, *mixed, "Linear"]
    net = plain_mlp((6, 20, 10, 3))
    Ghosts(net, steps=5, skips=False)
    assert [type(m) for m in ghosts_in(net)] == [GhostNeuron] * 2
    net = plain_mlp((6, 20, 10, 3))
    Ghosts(net, steps=5, neurons=False)
    assert [type(m) for m in ghosts_in(net)] == [GhostSkip] * 2


def test_the_strength_falls_along_a_line_to_0_and_stays_there():
    net = sparse_mlp()
    ghosts, seen = Ghosts(net, steps=4), []
    found = ghosts_in(net)
    assert {ghost.strength for ghost in found} == {1.0}
    for _ in range(6):
        ghosts.after_step()
        seen.append(ghosts.strength)
        assert {ghost.strength for ghost in found} == {ghosts.strength}
    assert seen == [0.75, 0.5, 0.25, 0.0, 0.0, 0.0]


def test_labels_are_as_smooth_as_the_ghosts_are_strong():
    """Smoothed by e, the target has 1 - e + e / 3 at its class and e / 3 elsewhere."""
    logits, targets = torch.randn(8, 3), torch.randint(3, (8,))
    ghosts = Ghosts(sparse_mlp(), steps=2, smoothing=0.3)
    for smoothing in (0.3, 0.15, 0.0):
        wanted = F.one_hot(targets, 3) * (1 - smoothing) + smoothing / 3
        expected = -(wanted * logits.log_softmax(dim=1)).sum(dim=1).mean()
        torch.testing.assert_close(ghosts.loss(logits, targets), expected)
        ghosts.after_step()
    assert Ghosts(sparse_mlp(), steps=2).smoothing == 0.1


def test_ghosts_change_the_function_while_they_are_there():
    net, x = sparse_mlp(), torch.randn(9, 6)
    plain = net(x)
    for options in ({}, {"neurons": False}, {"skips": False}):
        haunted = copy.deepcopy(net)
        Ghosts(haunted, steps=3, **options)
        assert not torch.allclose(haunted(x), plain)


def test_nothing_is_left_the_state_loads_into_the_plain_sparse_network():
    """The oracle: train with ghosts to their end, load, and compare outputs bitwise."""
    x, y = torch.randn(40, 6), torch.randint(3, (40,))
    net = sparse_mlp()
    names, masks = list(net.state_dict()), masks_of(net)
    ghosts = Ghosts(net, steps=12)
    assert list(net.state_dict()) != names
    sgd = SGD(net.parameters(), 0.1, 0.9)
    before = copy.deepcopy(net.state_dict())
    fit(
        net,
        lambda inputs, targets: ghosts.loss(net(inputs), targets),
        [(x, y)],
        sgd,
        epochs=15,
        after_step=ghosts.after_step,
    )
    assert list(net.state_dict()) == names
    assert not ghosts_in(net)
    assert all(torch.equal(masks_of(net)[name], mask) for name, mask in masks.items())
    vanilla = plain_mlp((6, 20, 10, 3))
    load_pruned_(vanilla, net.state_dict())
    assert torch.equal(vanilla(x), net(x))
    make_permanent_(vanilla)
    assert [type(m) for m in vanilla] == [type(m) for m in plain_mlp((6, 20, 10, 3))]
    assert torch.equal(vanilla(x), net(x))
    trained = [n for n, v in before.items() if n.startswith("1.") and "mask" not in n]
    for name in trained:
        after = net.state_dict()[name.replace("1.layer.", "1.")]
        assert not torch.equal(before[name], after)


def test_optimisers_keep_the_same_parameters():
    net = sparse_mlp()
    before = {id(p) for p in net.parameters()}
    ghosts = Ghosts(net, steps=1)
    assert {id(p) for p in net.parameters()} == before
    ghosts.after_step()
    assert {id(p) for p in net.parameters()} == before


def test_a_convolutional_network_gets_its_ghosts_and_loses_them():
    net = plain_net(4).eval()
    x = torch.randn(2, 1, 16, 16)
    kept, plain = copy.deepcopy(net.state_dict()), net(x)
    ghosts = Ghosts(net, steps=2)
    assert len(ghosts_in(net)) == 10
    assert not torch.allclose(net(x), plain)
    ghosts.after_step()
    ghosts.after_step()
    assert list(net.state_dict()) == list(kept)
    assert torch.equal(net(x), plain)


def test_a_relu_that_is_used_under_two_names_is_softened_under_both():
    relu = nn.ReLU()
    net = nn.Sequential(nn.Linear(2, 2), relu, nn.Linear(2, 2), relu)
    ghosts = Ghosts(net, steps=1, skips=False)
    assert [type(m) for m in (net[1], net[3])] == [GhostNeuron] * 2
    ghosts.after_step()
    assert net[1] is relu
    assert net[3] is relu


def test_a_network_with_ghosts_learns():
    x = torch.randn(300, 20)
    split = Split(x, (x[:, 3] > 0).long())
    net = plain_mlp((20, 10, 2))
    prune_(net, layer_masks(magnitude_scores(net), 0.5))
    ghosts = Ghosts(net, steps=20)
    sgd = SGD(net.parameters(), 0.1, 0.9)
    losses = fit(
        net,
        lambda inputs, targets: ghosts.loss(net(inputs), targets),
        split.batches(100, seed=0),
        sgd,
        epochs=20,
        after_step=ghosts.after_step,
    )
    assert losses[-1] < 0.3 * losses[0]
    assert all(p.grad is not None for p in net.parameters())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Ghosts(sparse_mlp(), steps=0), "steps must be at least 1, got 0"),
        (
            lambda: Ghosts(sparse_mlp(), steps=1, smoothing=1.0),
            "smoothing must be at least 0 and below 1, got 1.0",
        ),
        (lambda: Ghosts(sparse_mlp(), steps=1, smoothing=-0.1), "smoothing must be"),
        (lambda: resized(torch.ones(2, 3, 4), (3, 2)), "x must be"),
        (lambda: resized(torch.ones(2, 3), (3, 2, 2)), "x must be"),
    ],
)
def test_what_cannot_be_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_errors_leave_the_network_without_ghosts():
    net = sparse_mlp()
    for options in ({"steps": 0}, {"steps": 1, "smoothing": 2.0}):
        with pytest.raises(ValueError, match="must be"):
            Ghosts(net, **options)
    assert not list(itertools.chain(ghosts_in(net)))
