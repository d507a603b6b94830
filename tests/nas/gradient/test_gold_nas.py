"""GOLD-NAS: lambda's rule, the family, and that only the price drops operations."""

from itertools import pairwise

import pytest
import torch

from effdl.data.digits import small_digits
from effdl.nas.cell_space import EDGES
from effdl.nas.gradient.architecture import Architecture
from effdl.nas.gradient.gate_pruning import PACE, Pace, gold_price, operations_left
from effdl.nas.gradient.gold_nas import GoldNas
from effdl.nas.gradient.method import SearchEpoch
from effdl.nas.gradient.mixed_net import small_mixed_net
from effdl.nas.gradient.relaxations import sigmoid_weights
from effdl.nas.gradient.search import Rates, search
from effdl.nas.gradient.steps import Searching, one_level_step
from effdl.nas.hardware.expected_cost import CostTable, expected_cost

NODES = [target for _, target in EDGES]
NAMES = ("none", "skip_connect", "nor_conv_1x1")
TABLE = CostTable(10.0, torch.tensor([[0.0, 0.0, 4.0]] * 6))


def inside(found, gates=None):
    """Return a search of an architecture, and an epoch that left these gates."""
    gates = sigmoid_weights(found).detach() if gates is None else gates
    searching = Searching(None, found, sigmoid_weights, None, None, None)
    return searching, [SearchEpoch(found.logits.detach(), gates, 1.0, 0.0)]


def test_the_objective_is_the_loss_and_lambda_times_the_price():
    """Prices are 1 + mu cost / mean cost; the mean of 0 and 4 is 2."""
    found = Architecture([NAMES] * 6, spread=1)
    gold = GoldNas(found, TABLE, NODES, mu=0.5)
    gold.weight = 0.3
    searching, [epoch] = inside(found)
    prices = torch.tensor([[9.0, 1.0, 2.0]] * 6)  # none is not counted
    price = gold_price(epoch.weights, prices, operations_left(found), NODES)
    value = gold.objective(torch.tensor(2.0), epoch.weights, searching)
    torch.testing.assert_close(value, 2 + 0.3 * price)


def test_without_mu_all_operations_cost_the_same():
    found = Architecture([NAMES] * 6)
    assert (GoldNas(found, TABLE, NODES, mu=0).prices == 1).all()


def test_lambda_rises_by_doubling_steps_and_is_halved_after_enough_drops():
    """Steps 2, 4, 8 of 1e-3: sums 2, 6, 14; after drops 7, then by 2 again."""
    found = Architecture([NAMES] * 6, spread=0)
    gold = GoldNas(found, TABLE, NODES, pace=Pace(start=1e-3, enough=2))
    seen = [gold.weight]
    for _ in range(3):
        gold.after_epoch(*inside(found))
        seen.append(gold.weight)
    with torch.no_grad():
        found.logits[2, 1:] = -20.0
    gold.after_epoch(*inside(found))
    seen.append(gold.weight)
    gold.after_epoch(*inside(found))
    seen.append(gold.weight)
    assert [1e3 * value for value in seen] == pytest.approx([0, 2, 6, 14, 7, 9])


def test_one_drop_of_two_is_too_few():
    found = Architecture([NAMES] * 6, spread=0)
    gold = GoldNas(found, TABLE, NODES, pace=Pace(start=1e-3, enough=2))
    with torch.no_grad():
        found.logits[2, 1] = -20.0
    gold.after_epoch(*inside(found))
    assert gold.weight == pytest.approx(2e-3)
    assert len(gold.family) == 2


def test_the_family_by_hand():
    """Base 10, six 1x1 convolutions of 4; two are dropped in the second epoch."""
    found = Architecture([NAMES] * 6, spread=0)
    gold = GoldNas(found, TABLE, NODES, cheapest=26)
    whole = (("skip_connect", "nor_conv_1x1"),) * 6
    assert gold.family == [(whole, 34.0, 0)]
    searching, epochs = inside(found)
    assert not gold.after_epoch(searching, epochs)
    assert len(gold.family) == 1
    with torch.no_grad():
        found.logits[1, 2] = found.logits[3, 2] = -20.0
    assert gold.after_epoch(searching, [*epochs, *inside(found)[1]])  # 26: cheap enough
    left, cost, epoch = gold.family[-1]
    assert left[1] == left[3] == ("skip_connect",)
    assert (cost, epoch) == (26.0, 2)


def test_what_is_left_of_an_edge_that_is_none_is_nothing():
    found = Architecture([NAMES] * 6, spread=0)
    gold = GoldNas(found, TABLE, NODES)
    with torch.no_grad():
        found.logits[5, 1:] = -20.0
    gold.after_epoch(*inside(found))
    assert gold.family[-1].left[5] == ()


def test_the_cost_of_a_mixture_is_linear_in_its_gates():
    """By a logit: cost times gate (1 - gate), the slope of the sigmoid."""
    found = Architecture([NAMES] * 6, spread=1)
    gates = sigmoid_weights(found)
    [slope] = torch.autograd.grad(expected_cost(gates, TABLE), found.logits)
    torch.testing.assert_close(slope, TABLE.extra * (gates * (1 - gates)).detach())
    double = expected_cost(2 * gates.detach(), TABLE) - TABLE.base
    assert double.item() == pytest.approx(
        2 * (expected_cost(gates.detach(), TABLE) - TABLE.base).item()
    )


def test_the_method_is_one_level_with_sigmoid_gates():
    gold = GoldNas(Architecture([NAMES] * 6), TABLE, NODES)
    method = gold.method()
    assert method.relax is sigmoid_weights
    assert method.step is one_level_step
    assert method.objective == gold.objective
    assert method.after_epoch == gold.after_epoch


def run(table=TABLE, *, pace, epochs=6):
    """Search the small cell; return the family, the epochs and the last lambda."""
    torch.manual_seed(3)
    net, found = small_mixed_net(NAMES), Architecture([NAMES] * 6, spread=0)
    gold = GoldNas(found, table, NODES, pace=pace)
    train = small_digits(n_train=128).train.batches(32, seed=0)
    done = search(
        net,
        found,
        train,
        train,
        epochs=epochs,
        method=gold.method(),
        rates=Rates(weights=0.05, architecture=0.3, architecture_decay=0.0),
    )
    return gold.family, done, gold.weight


def test_operations_only_become_fewer_and_the_price_makes_them_so():
    family, done, weight = run(pace=Pace(start=0.05, enough=2))
    assert weight > 0
    assert len(family) > 2
    for before, after in pairwise(family):
        assert after.epoch > before.epoch
        assert after.cost <= before.cost
        pairs = zip(before.left, after.left, strict=True)
        assert all(set(fewer) <= set(more) for more, fewer in pairs)
        assert after.left != before.left
    gone = [(epoch.weights == 0).sum() for epoch in done]
    assert all(a <= b for a, b in pairwise(gone))


def test_with_lambda_at_zero_costs_decide_nothing():
    """The same search, whatever the operations cost; and lambda stays 0."""
    other = TABLE._replace(extra=torch.rand(6, 3))
    pace = Pace(start=0.0, enough=2)
    family, done, weight = run(pace=pace, epochs=3)
    again, same, _ = run(other, pace=pace, epochs=3)
    assert weight == 0
    assert [member.left for member in family] == [member.left for member in again]
    assert torch.equal(done[-1].logits, same[-1].logits)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"nodes": NODES[:5]}, "nodes and table must be of 6 edges, .* got 5 and 6"),
        ({"table": CostTable(0.0, torch.ones(2, 3))}, "of 6 edges, .* got 6 and 2"),
        ({"mu": -1.0}, "mu must be 0 or larger, .* got -1.0"),
        ({"table": CostTable(1.0, torch.zeros(6, 3))}, "mean cost of 0.0"),
    ],
)
def test_what_cannot_be_is_named(changes, message):
    given = {"table": TABLE, "nodes": NODES, "mu": 1.0, **changes}
    with pytest.raises(ValueError, match=message):
        GoldNas(
            Architecture([NAMES] * 6), given["table"], given["nodes"], mu=given["mu"]
        )


def test_costs_of_nothing_are_fine_without_mu():
    nothing = CostTable(1.0, torch.zeros(6, 3))
    gold = GoldNas(Architecture([NAMES] * 6), nothing, NODES, mu=0, pace=PACE)
    assert gold.family[0].cost == 1.0
