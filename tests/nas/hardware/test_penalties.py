"""Penalties: values by hand, slopes in closed form, and which minima they have."""

import itertools
import math

import pytest
import torch

from effdl.nas.choice_front import choice_front
from effdl.nas.gradient.architecture import Architecture
from effdl.nas.hardware.expected_cost import CostTable, expected_cost
from effdl.nas.hardware.penalties import (
    absolute_penalty,
    add_cost,
    add_costs,
    fbnet_product,
    log_penalty,
)
from effdl.nas.hardware.pixel1_table import load_pixel1
from public_data import skip_unless_pixel1

UNIT = CostTable(0.0, torch.ones(1, 1, dtype=torch.float64))  # the weight is the cost
REACHES = Architecture([("one",)])  # of costs 1 only
TWO = CostTable(0.0, torch.tensor([[1.0, 100.0]], dtype=torch.float64))
BOTH = Architecture([("fast", "slow")])
RATE, TARGET = 0.3, 20.0


def slopes(objective, loss, cost):
    """Return the objective's slope in the cross-entropy and in the cost."""
    ce = torch.tensor(loss, dtype=torch.float64, requires_grad=True)
    lat = torch.tensor([[cost]], dtype=torch.float64, requires_grad=True)
    in_loss, in_cost = torch.autograd.grad(objective(ce, lat, None), (ce, lat))
    return in_loss.item(), in_cost.item()


def absolute():
    """Return a penalty of the cost itself with the target 20."""
    wide = CostTable(0.0, torch.tensor([[1.0, 100.0]], dtype=torch.float64))
    whole = absolute_penalty(RATE, wide, TARGET, BOTH)

    def objective(loss, weights, searching):
        share = (weights - 1) / 99  # of the slow one, so that the cost is the weight
        return whole(loss, torch.cat([1 - share, share], dim=1), searching)

    return objective


def fbnet_slope(ce, lat):
    """Return CE a b log(LAT)^(b - 1) / LAT with the paper's a and b."""
    return ce * 0.2 * 0.6 * math.log(lat) ** (0.6 - 1) / lat


LOSSES = {
    "add": (add_cost(RATE, UNIT), lambda ce, lat: RATE),
    "product": (fbnet_product(UNIT), fbnet_slope),
    "absolute": (absolute(), lambda ce, lat: RATE / TARGET * (-1) ** (lat < TARGET)),
    "log": (log_penalty(RATE, UNIT), lambda ce, lat: RATE / lat),
}


@pytest.mark.parametrize("name", LOSSES)
def test_the_slope_in_the_cost_is_the_closed_form(name):
    objective, closed = LOSSES[name]
    for ce, lat in itertools.product((0.5, 2.0), (1.7, 15.0, 60.0)):
        _, in_cost = slopes(objective, ce, lat)
        assert in_cost == pytest.approx(closed(ce, lat), rel=1e-9)


def test_only_the_product_pulls_by_the_loss_and_only_the_absolute_one_turns():
    """The survey gives all of them one form, CE + lambda LAT."""
    pull = {
        name: [slopes(objective, ce, lat)[1] for ce, lat in ((1, 10), (3, 10), (1, 40))]
        for name, (objective, _) in LOSSES.items()
    }
    assert pull["add"] == pytest.approx([RATE] * 3)  # whatever loss and cost
    first, with_loss, _ = pull["product"]
    assert with_loss == pytest.approx(3 * first)
    for name in ("add", "absolute", "log"):
        assert pull[name][0] == pytest.approx(pull[name][1])
    signs = {name: {math.copysign(1, s) for s in found} for name, found in pull.items()}
    assert signs.pop("absolute") == {-1, 1}
    assert all(found == {1} for found in signs.values())


def test_only_the_product_scales_the_loss():
    for name, (objective, _) in LOSSES.items():
        scaled = 0.2 * math.log(30.0) ** 0.6 if name == "product" else 1.0
        assert slopes(objective, 1.3, 30.0)[0] == pytest.approx(scaled)


def test_values_by_hand():
    """Costs 7 and 2 + e; 1 + 7 / 2, 1 + 7 / 2 + 2 (2 + e); 3 * 0.5 * 2^3; ..."""
    table = CostTable(3.0, torch.tensor([[4.0, 0.0]]))
    other = CostTable(2.0, torch.tensor([[math.e, 0.0]]))
    first, one = torch.tensor([[1.0, 0.0]]), torch.tensor(1.0)
    assert add_cost(0.5, table)(one, first, None).item() == 4.5
    both = add_costs([(0.5, table), (2.0, other)])(one, first, None)
    assert both.item() == pytest.approx(4.5 + 2 * (2 + math.e))
    squared = CostTable(0.0, torch.tensor([[math.e**2, 0.0]]))
    product = fbnet_product(squared, alpha=0.5, beta=3.0)
    assert product(3 * one, first, None).item() == pytest.approx(12.0)
    assert log_penalty(0.5, squared)(one, first, None).item() == pytest.approx(2.0)
    off = absolute_penalty(0.5, table, 5.0, Architecture([("a", "b")]))
    assert off(one, first, None).item() == pytest.approx(1 + 0.5 * 2 / 5)
    assert off(one, first.flip(1), None).item() == pytest.approx(1 + 0.5 * 2 / 5)


def three_tables():
    """Return random costs of 4 edges with 3 candidates, in double precision."""
    return [CostTable(1.0, torch.rand(4, 3, dtype=torch.float64)) for _ in range(3)]


def test_equation_10_with_two_rates_of_0_is_equation_9():
    latency, energy, memory = three_tables()
    ten = add_costs([(0.7, latency), (0.0, energy), (0.0, memory)])
    nine = add_cost(0.7, latency)
    weights = torch.rand(4, 3, dtype=torch.float64).softmax(dim=1)
    loss = torch.tensor(1.5, dtype=torch.float64)
    torch.testing.assert_close(ten(loss, weights, None), nine(loss, weights, None))


def test_gradients_of_equation_10_add_up():
    """And are linear in the rates."""
    rates = (0.7, 0.2, 1.1)
    terms = list(zip(rates, three_tables(), strict=True))
    logits = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    loss = torch.tensor(0.0, dtype=torch.float64)

    def gradient(objective):
        return torch.autograd.grad(objective(loss, logits.softmax(1), None), logits)[0]

    alone = [rate * gradient(add_cost(1.0, table)) for rate, table in terms]
    torch.testing.assert_close(gradient(add_costs(terms)), sum(alone))


def additive_optimum(rate, costs, worth):
    """Return the cost that gradient descent on alpha ends at, utility additive."""
    table = CostTable(0.0, costs)
    logits = torch.zeros_like(costs, requires_grad=True)
    adam = torch.optim.Adam([logits], 0.3)
    objective = add_cost(rate, table)
    for _ in range(120):
        weights = logits.softmax(dim=1)
        adam.zero_grad()
        objective(-(weights * worth).sum(), weights, None).backward()
        adam.step()
    return logits.argmax(dim=1)


def test_a_search_with_an_additive_utility_ends_at_the_best_of_each_layer():
    """At a fixed rate: argmin of -u + rate c, layer by layer. The cost never rises."""
    costs, worth = torch.rand(8, 4) * 5, torch.rand(8, 4)
    worth = worth.sort(dim=1).values
    costs = costs.sort(dim=1).values  # better is dearer
    ends = []
    for rate in (0.0, 0.1, 0.3, 1.0):
        found = additive_optimum(rate, costs, worth)
        assert torch.equal(found, (rate * costs - worth).argmin(dim=1))
        ends.append(CostTable(0.0, costs).of(found.tolist()))
    assert ends == sorted(ends, reverse=True)
    assert ends[0] > ends[-1]


def test_on_the_pixel_1_table_the_cost_falls_in_coarse_steps():
    """22 layers, 4 blocks, published ms; worth log2(k^2 t) is made up.

    As rate rises the cost falls from the highest to the lowest. Some rate picks 44 of
    the 84 points of the front.
    """
    skip_unless_pixel1()
    extra = 1e3 * load_pixel1().extra.double()
    costs = extra.tolist()
    worth = [math.log2(k * k * t) for k, t in ((3, 3), (3, 6), (5, 3), (5, 6))]
    table = CostTable(0.0, extra)
    gain = torch.tensor(worth, dtype=torch.float64)

    def ends(rate):
        choices = tuple((rate * table.extra - gain).argmin(dim=1).tolist())
        return choices, table.of(choices)

    falling = [ends(rate)[1] for rate in (0, 0.3, 0.5, 1, 2.5, 100)]
    assert falling == pytest.approx([122.85, 104.5, 78.5, 63.2, 61.0, 56.0], abs=0.06)
    rates = [0.0, *torch.logspace(-3, 2, 5000, dtype=torch.float64).tolist()]
    reached = {ends(rate)[0] for rate in rates}
    ticks = [[round(100 * ms) for ms in row] for row in costs]
    assert len(choice_front(ticks, [worth] * 22)) == 84
    assert len(reached) == 44


def test_another_unit_changes_the_product_and_not_the_logarithm():
    milliseconds, microseconds = (
        CostTable(0.0, torch.tensor([[10.0, 30.0]], dtype=torch.float64) * factor)
        for factor in (1.0, 1000.0)
    )

    def shares(make):
        """Return how the pulls on loss and cost compare, in two units."""
        found = []
        for table in (milliseconds, microseconds):
            logits = torch.zeros(1, 2, dtype=torch.float64, requires_grad=True)
            ce = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
            whole = make(table)(ce, logits.softmax(dim=1), None)
            in_loss, in_logits = torch.autograd.grad(whole, (ce, logits))
            found.append((in_logits[0, 1] / in_loss).item())
        return found

    one, other = shares(lambda table: log_penalty(RATE, table))
    assert one == pytest.approx(other)
    one, other = shares(fbnet_product)
    ratio = math.log(20_000) / math.log(20)  # the pull is CE b / (LAT log LAT)
    assert one / other == pytest.approx(ratio)


def test_alpha_of_the_product_scales_everything():
    loss, lat = torch.tensor(2.0), torch.tensor([[30.0]])
    one, ten = (fbnet_product(UNIT, alpha=a)(loss, lat, None) for a in (0.2, 2.0))
    assert (ten / one).item() == pytest.approx(10)


def test_the_target_itself_is_a_minimum_of_the_absolute_penalty():
    weights = torch.tensor([[1 - 19 / 99, 19 / 99]], dtype=torch.float64)
    assert expected_cost(weights, TWO).item() == pytest.approx(TARGET)
    penalty = absolute_penalty(1.0, TWO, TARGET, BOTH)
    zero = torch.tensor(0.0, dtype=torch.float64)
    at = penalty(zero, weights, None).item()
    assert at == pytest.approx(0, abs=1e-12)
    for step in (-0.01, 0.01):
        moved = weights + torch.tensor([[-step, step]])
        assert penalty(zero, moved, None).item() > 0.01


@pytest.mark.parametrize("make", [add_cost, log_penalty])
@pytest.mark.parametrize("rate", [-1.0, math.nan, math.inf])
def test_a_rate_below_0_is_refused(make, rate):
    with pytest.raises(ValueError, match="rate must be 0 or larger and finite, got"):
        make(rate, UNIT)
    with pytest.raises(ValueError, match="rate must be 0 or larger"):
        absolute_penalty(rate, UNIT, 1.0, REACHES)
    with pytest.raises(ValueError, match="rate must be 0 or larger"):
        add_costs([(1.0, UNIT), (rate, UNIT)])


def test_other_errors_name_what_is_wrong():
    one = torch.tensor(1.0)
    with pytest.raises(ValueError, match="terms is empty"):
        add_costs([])
    with pytest.raises(
        ValueError, match=r"target must be within 1 and 100, .* got 101"
    ):
        absolute_penalty(RATE, TWO, 101.0, BOTH)
    around = CostTable(0.0, torch.tensor([[-1.0, 1.0]]))
    with pytest.raises(ValueError, match=r"target must be above 0 .* got 0"):
        absolute_penalty(RATE, around, 0.0, BOTH)
    for wrong in ({"alpha": 0.0}, {"beta": -0.1}, {"alpha": math.inf}):
        with pytest.raises(ValueError, match="alpha must be above 0 and beta 0"):
            fbnet_product(UNIT, **wrong)
    with pytest.raises(ValueError, match=r"cost must be above 1 .* smaller unit"):
        fbnet_product(UNIT)(one, torch.tensor([[1.0]]), None)
    with pytest.raises(ValueError, match=r"cost must be above 0 .* got -0.5"):
        log_penalty(RATE, UNIT)(one, torch.tensor([[-0.5]]), None)
