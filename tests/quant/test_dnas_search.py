"""The search of DNAS: what learns from what, how it cools, what it finds."""

import itertools

import pytest
import torch
from torch import nn

from effdl.data.digits import Split
from effdl.nas.gradient.architecture import Architecture
from effdl.nas.hardware.expected_cost import CostTable
from effdl.quant import dnas_search
from effdl.quant.bit_choices import LayerSize
from effdl.quant.dnas_bits import bits_table, edges_of, parallel_bits
from effdl.quant.dnas_search import (
    bits_architecture,
    bits_drawn,
    bits_found,
    search_parallel_,
    set_shares_,
)

BITS = (2, 4, 8)


def task():
    """Return inputs of which only the first decides."""
    inputs = torch.randn(300, 2)
    return Split(inputs, (inputs[:, 0] > 0).long())


def start(**settings):
    net = parallel_bits(nn.Sequential(nn.Linear(2, 2)), BITS)
    theta, table = bits_architecture(net), bits_table([LayerSize("0", 4, 4)], BITS)
    losses = search_parallel_(
        net, theta, table, train=task(), validation=task(), **settings
    )
    return net, theta, losses


class Toy(nn.Module):
    """A network whose loss is the sum of what each of three layers does harm with.

    Logits are (0, log(e^h - 1)), so that the cross-entropy of class 0 is h.
    """

    def __init__(self, harm):
        super().__init__()
        self.harm = harm
        self.edges = nn.ModuleList(nn.Linear(1, 1) for _ in harm)
        self.shares = None

    def forward(self, x):
        """Return the logits, (N, 2)."""
        h = 1.0 + (self.shares * self.harm).sum()
        return torch.stack([torch.zeros(()), h.expm1().log()]).expand(len(x), 2)


def toy_search(harm, costs, gamma, monkeypatch):
    toy, theta = Toy(harm), Architecture([("1", "2", "3", "4")] * 3, spread=0)
    monkeypatch.setattr(
        dnas_search, "set_shares_", lambda net, m: setattr(net, "shares", m)
    )
    split = Split(torch.zeros(500, 1), torch.zeros(500).long())
    # the weights do not matter: a parameter that gets a gradient of 0
    toy.dummy = nn.Parameter(torch.zeros(()))
    forward = toy.forward
    toy.forward = lambda x: forward(x) + 0 * toy.dummy
    search_parallel_(
        toy, theta, costs, train=split, validation=split, gamma=gamma, epochs=16
    )
    return tuple(int(b) - 1 for b in bits_found(theta))


def test_on_a_toy_of_4_to_the_3_networks_it_finds_points_of_the_front(monkeypatch):
    """All 64 are enumerated; the found ones are not beaten, and gamma moves them."""
    harm = torch.tensor([
        [2.0, 0.7, 0.2, 0.0],
        [0.5, 0.2, 0.1, 0.0],
        [4.0, 1.5, 0.5, 0.0],
    ])
    costs = CostTable(0.0, torch.tensor([[10.0, 20.0, 30.0, 40.0]] * 3))
    points = {}
    for member in itertools.product(range(4), repeat=3):
        worth = 1 + sum(float(harm[i, k]) for i, k in enumerate(member))
        points[member] = (costs.of(member), worth)

    def regret(member):
        cost, worth = points[member]
        return worth - min(w for c, w in points.values() if c <= cost)

    found = [toy_search(harm, costs, g, monkeypatch) for g in (0.1, 3.0, 12.0)]
    assert [regret(member) for member in found] == pytest.approx([0, 0, 0], abs=0.11)
    prices = [points[member][0] for member in found]
    assert prices == sorted(prices, reverse=True)
    assert prices[0] > prices[-1]


def test_the_reported_loss_is_the_product_at_the_draw(monkeypatch):
    """With the draw replaced by even shares and no learning, all is known.

    Even logits of two classes have the cross-entropy log 2; 4 weights of 2, 4 and 8
    bits cost 56 / 3 on average: 0.3 log(2) log(56 / 3)^2 = 1.781.
    """

    class Even:
        def __init__(self, temperature):
            pass

        def __call__(self, architecture, progress):
            return architecture.masked_logits().softmax(dim=1)

    monkeypatch.setattr(dnas_search, "ConcreteWeights", Even)
    net = parallel_bits(nn.Sequential(nn.Linear(2, 2)), BITS)
    theta, table = bits_architecture(net), bits_table([LayerSize("0", 4, 4)], BITS)
    split = Split(torch.zeros(100, 2), torch.zeros(100).long())
    for p in net.parameters():
        p.data.zero_()
    frozen = [p.clone() for p in net.parameters()]
    monkeypatch.setattr(
        dnas_search, "SGD", lambda p, lr, momentum: torch.optim.SGD(p, 0.0)
    )
    settings = {"beta": 0.3, "gamma": 2.0, "epochs": 2}
    first, _ = search_parallel_(
        net, theta, table, train=split, validation=split, **settings
    )
    cost = 4 * (2 + 4 + 8) / 3
    expected = 0.3 * torch.tensor(2.0).log() * torch.tensor(cost).log() ** 2
    assert first == pytest.approx(float(expected))
    assert all(torch.equal(a, b) for a, b in zip(frozen, net.parameters(), strict=True))


def test_it_cools_from_start_to_end_and_theta_waits_for_a_third(monkeypatch):
    seen = []
    original = dnas_search.ConcreteWeights

    class Watching(original):
        def __call__(self, architecture, progress):
            seen.append(self.temperature(progress))
            return original.__call__(self, architecture, progress)

    monkeypatch.setattr(dnas_search, "ConcreteWeights", Watching)
    _, _, losses = start(epochs=6)
    assert len(losses) == 4
    assert seen[0] == pytest.approx(5.0)
    assert seen[-1] == pytest.approx(0.1)
    assert seen == sorted(seen, reverse=True)
    ratios = [b / a for a, b in itertools.pairwise(dict.fromkeys(seen))]
    assert ratios == pytest.approx([ratios[0]] * 5)


def test_weights_learn_from_one_part_and_theta_from_the_other():
    inputs = torch.randn(300, 2)
    right = Split(5 * inputs, (inputs[:, 0] > 0).long())
    wrong = Split(right.inputs, 1 - right.targets)
    net = parallel_bits(nn.Sequential(nn.Linear(2, 2)), BITS)
    theta, table = bits_architecture(net), bits_table([LayerSize("0", 4, 4)], BITS)
    search_parallel_(net, theta, table, train=right, validation=wrong, epochs=20)
    hits = (net(right.inputs).argmax(dim=1) == right.targets).float().mean()
    assert hits > 0.8
    assert theta.logits.abs().max() > 0.1


def test_a_strong_price_ends_at_the_fewest_bits():
    net, theta, _ = start(gamma=9.0)
    assert bits_found(theta) == (2,)
    [edge] = edges_of(net).values()
    torch.testing.assert_close(edge.shares, theta.logits.softmax(dim=1)[0].detach())
    assert not edge.shares.requires_grad


def test_draws_are_as_likely_as_the_softmax_says():
    theta = Architecture([("2", "4", "8")] * 3000, spread=0)
    theta.logits.data[:] = torch.tensor([0.2, 0.3, 0.5]).log()
    drawn = torch.tensor(bits_drawn(theta))
    shares = torch.stack([(drawn == b).float().mean() for b in BITS])
    torch.testing.assert_close(
        shares, torch.tensor([0.2, 0.3, 0.5]), atol=0.04, rtol=0.0
    )


def test_found_bits_are_the_largest_by_hand():
    theta = Architecture([("2", "8"), ("4", "2")], spread=0)
    theta.logits.data = torch.tensor([[0.1, 0.2], [0.2, 0.1]])
    assert bits_found(theta) == (8, 4)


def test_bad_input_is_refused():
    for wrong in ({"beta": 0.0}, {"gamma": -1.0}, {"epochs": 1}):
        with pytest.raises(ValueError, match="epochs at least 2, got"):
            start(**wrong)
    net = parallel_bits(nn.Sequential(nn.Linear(2, 2)), BITS)
    with pytest.raises(ValueError, match=r"shorter|longer"):
        set_shares_(net, torch.ones(2, 3))
