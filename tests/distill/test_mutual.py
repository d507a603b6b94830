"""Deep mutual learning: losses, who learns from whom, and equal peers."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from effdl.data.digits import Split
from effdl.distill.mutual import mutual_losses, train_peers
from effdl.distill.recipe import Recipe
from effdl.train import train_classifier

N, C = 6, 4
RECIPE = Recipe(epochs=2, batch_size=20, seed=3)


def divergence(p, q):
    """Return KL(p || q), the mean over inputs, of logits."""
    p, q = p.softmax(dim=1), q.softmax(dim=1)
    return (p * (p / q).log()).sum(dim=1).mean()


def test_the_losses_are_those_of_the_paper():
    z, y = list(torch.randn(3, N, C)), torch.randint(0, C, (N,))
    found = mutual_losses(z[:2], y)
    a = F.cross_entropy(z[0], y) + divergence(z[1], z[0])
    b = F.cross_entropy(z[1], y) + divergence(z[0], z[1])
    torch.testing.assert_close(found, torch.stack([a, b]))
    found = mutual_losses(z, y)[2]
    pull = (divergence(z[0], z[2]) + divergence(z[1], z[2])) / 2
    torch.testing.assert_close(found, F.cross_entropy(z[2], y) + pull)


def test_by_hand():
    """Peers at 3/4 and 1/4: KL = 1/2 log 3, CE = log 4/3 and log 4."""
    z = torch.tensor([[3.0, 1.0]]).log(), torch.tensor([[1.0, 3.0]]).log()
    pull = 0.5 * torch.tensor(3.0).log()
    expected = torch.tensor([4 / 3, 4.0]).log() + pull
    torch.testing.assert_close(mutual_losses(z, torch.tensor([0])), expected)


def test_the_gradient_of_a_loss_reaches_its_own_peer_only():
    z = [torch.randn(N, C, requires_grad=True) for _ in range(3)]
    losses = mutual_losses(z, torch.zeros(N).long())
    for k, loss in enumerate(losses):
        slopes = torch.autograd.grad(loss, z, retain_graph=True)
        assert [bool(slope.any()) for slope in slopes] == [k == j for j in range(3)]


def data():
    return Split(torch.randn(60, 5), torch.randint(0, C, (60,)))


def test_one_peer_alone_is_plain_training_bit_by_bit():
    split, net = data(), nn.Linear(5, C)
    twin = copy.deepcopy(net)
    losses = train_peers([net], split, RECIPE)
    expected = train_classifier(twin, split, epochs=2, batch_size=20, seed=3)
    assert losses == expected
    assert torch.equal(net.weight, twin.weight)


def test_equal_peers_stay_equal_and_learn_as_if_alone():
    split, net = data(), nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, C))
    peers = [copy.deepcopy(net) for _ in range(3)]
    train_peers(peers, split, RECIPE)
    train_classifier(net, split, epochs=2, batch_size=20, seed=3)
    for peer in peers:
        for own, alone in zip(peer.parameters(), net.parameters(), strict=True):
            torch.testing.assert_close(own, alone)


def test_different_peers_change_each_other_and_come_closer():
    split = data()
    peers = [nn.Linear(5, C) for _ in range(2)]
    alone = copy.deepcopy(peers)
    train_peers(peers, split, RECIPE)
    for net in alone:
        train_classifier(net, split, epochs=2, batch_size=20, seed=3)
    for peer, net in zip(peers, alone, strict=True):
        assert not torch.allclose(peer.weight, net.weight, atol=1e-4)
    apart = [
        divergence(*(net(split.inputs) for net in nets)) for nets in (peers, alone)
    ]
    assert apart[0] < apart[1]


def test_all_peers_are_put_into_training_mode():
    seen = []

    class Watch(nn.Linear):
        def forward(self, x):
            seen.append(self.training)
            return super().forward(x)

    train_peers([Watch(5, C).eval(), Watch(5, C).eval()], data(), RECIPE)
    assert all(seen)
    assert len(seen) == 2 * 2 * 3  # peers, epochs, steps


def test_bad_input_is_refused():
    net = nn.Linear(2, 2)
    with pytest.raises(ValueError, match="logits is empty; give those of one peer"):
        mutual_losses([], torch.zeros(1).long())
    with pytest.raises(ValueError, match="peers has one network twice"):
        train_peers([net, nn.Linear(2, 2), net], data())
    with pytest.raises(ValueError, match="2 classes and teacher 3"):
        mutual_losses([torch.zeros(1, 2), torch.zeros(1, 3)], torch.zeros(1).long())
