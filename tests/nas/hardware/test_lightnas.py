"""The learned multiplier: its two updates, which way they push, and what they miss."""

from types import SimpleNamespace

import pytest
import torch

from effdl.data.digits import small_digits
from effdl.nas.gradient.architecture import Architecture
from effdl.nas.gradient.method import Method
from effdl.nas.gradient.mixed_net import small_mixed_net
from effdl.nas.gradient.relaxations import softmax_weights
from effdl.nas.gradient.search import Rates, search
from effdl.nas.hardware.additive_toy import AdditiveToy, seeded_toy, switches
from effdl.nas.hardware.expected_cost import CostTable, cost_range, expected_cost
from effdl.nas.hardware.lightnas import (
    LearnedMultiplier,
    mean_cost,
    sharpened_softmax,
    strongest_cost,
)
from effdl.nas.hardware.pixel1_table import load_pixel1
from effdl.nas.hardware.toy_descent import descend
from effdl.seed import seeded
from public_data import skip_unless_pixel1

TABLE = CostTable(1.0, torch.tensor([[0.0, 1.0, 3.0], [0.5, 1.5, 0.0]]))


def space_of(table, spread=1e-3):
    edges, candidates = table.extra.shape
    return Architecture([[str(k) for k in range(candidates)]] * edges, spread=spread)


def state(space, *, relax=softmax_weights, progress=0.0, rate=0.1):
    """Return as much of a search as a multiplier asks for."""
    return SimpleNamespace(
        architecture=space,
        weights=lambda: relax(space, progress),
        progress=progress,
        architecture_optimizer=torch.optim.SGD(space.parameters(), rate),
    )


@pytest.mark.parametrize("rho", [0.0, 4.0])
def test_the_objective_is_loss_plus_multiplier_times_excess_plus_damping(rho):
    space = space_of(TABLE)
    it = LearnedMultiplier(TABLE, 2.5, space, rho=rho)
    it.value = -0.75
    weights = torch.tensor([[0.25, 0.25, 0.5], [0.5, 0.25, 0.25]])
    latency = TABLE.base
    for edge in range(2):
        for k in range(3):
            latency += float(weights[edge, k]) * float(TABLE.extra[edge, k])
    g = latency / 2.5 - 1
    wanted = 0.6 - 0.75 * g + rho * g**2 / 2
    found = it.objective(torch.tensor(0.6), weights, None)
    assert found.item() == pytest.approx(wanted)


def test_the_damping_adds_rho_times_excess_to_the_multiplier_in_the_gradient():
    space = space_of(TABLE, spread=1.0)
    plain = LearnedMultiplier(TABLE, 2.0, space)
    damped = LearnedMultiplier(TABLE, 2.0, space, rho=3.0)
    weights = softmax_weights(space)
    excess = expected_cost(weights, TABLE).item() / 2.0 - 1
    damped.value, plain.value = 0.4, 0.4 + 3.0 * excess
    loss = torch.tensor(0.0)
    gradients = [
        torch.autograd.grad(
            it.objective(loss, weights, None), space.logits, retain_graph=True
        )[0]
        for it in (plain, damped)
    ]
    torch.testing.assert_close(*gradients)


def test_the_derivative_to_the_multiplier_is_the_excess_and_the_step_goes_up_it():
    space = space_of(TABLE, spread=1.0)
    it = LearnedMultiplier(TABLE, 2.0, space, rate=0.25)
    weights = softmax_weights(space).detach()
    loss = torch.tensor(1.0)
    values = []
    for it.value in (0.5, 1.5):
        values.append(it.objective(loss, weights, None).item())
    derivative = values[1] - values[0]
    it.value = 0.5
    it.after_step(state(space))
    assert it.value == pytest.approx(0.5 + 0.25 * derivative, abs=1e-6)
    excess = float(expected_cost(weights, TABLE)) / 2.0 - 1
    assert derivative == pytest.approx(excess, abs=1e-6)
    assert it.history == [(it.value, pytest.approx(excess + 1))]


def test_one_step_by_hand():
    """Costs 1 and 3 at weights 1/2: 2 / 1.6 - 1 = 1/4, times the rate 0.1."""
    table = CostTable(0.0, torch.tensor([[1.0, 3.0]]))
    space = space_of(table, spread=0)
    it = LearnedMultiplier(table, 1.6, space, rate=0.1)
    it.after_step(state(space))
    assert it.value == pytest.approx(0.025)


def test_the_default_rate_is_the_authors():
    assert LearnedMultiplier(TABLE, 2.0, space_of(TABLE)).rate == 5e-4


def test_at_the_target_the_multiplier_stays_zero():
    table = CostTable(0.0, torch.tensor([[1.0, 3.0]] * 4))
    space = space_of(table, spread=0)
    it = LearnedMultiplier(table, 8.0, space, rate=1.0, rho=1.0)
    toy = AdditiveToy(torch.zeros(4, 2), table)
    method = Method(objective=it.objective, after_step=it.after_step)
    descend(toy, space, method=method, steps=20)
    assert it.history == [(0.0, 1.0)] * 20
    assert not space.logits.any()


def toy_run(toy, target, *, steps=700, sign=1, **options):
    """Return multiplier and space after a search of a toy."""
    with seeded(0):
        space = toy.space()
    it = LearnedMultiplier(toy.table, target, space, **options)
    it.rate *= sign
    method = Method(objective=it.objective, after_step=it.after_step)
    descend(toy, space, method=method, steps=steps)
    return it, space


def flat(edges=8):
    """Return a toy with no utilities: only the latency counts."""
    table = CostTable(0.0, torch.tensor([[1.0, 2.0, 4.0]] * edges))
    return AdditiveToy(torch.zeros(edges, 3), table)


def test_ascent_comes_back_to_the_target_and_descent_runs_away_from_it():
    """From 18.7 of 8 to 32; wrong sign: the slowest network, and lambda for ever."""
    it, _ = toy_run(flat(), 14.0, rate=0.05, rho=4.0)
    assert it.history[-1][1] == pytest.approx(1.0, abs=0.01)
    wrong, space = toy_run(flat(), 14.0, rate=0.05, sign=-1)
    assert wrong.history[-1][1] == pytest.approx(32 / 14, abs=0.02)
    assert strongest_cost(state(space), wrong.table) == 32.0
    assert wrong.value < wrong.history[400][0] < 0


def test_plain_ascent_misses_on_the_pixel_table_and_damping_brings_it_to_the_target():
    """90 ms: the mean within 0.5 ms with damping, and more than 0.5 ms off without."""
    skip_unless_pixel1()
    toy, target = seeded_toy(load_pixel1(), 0), 0.09
    plain, _ = toy_run(toy, target, rate=0.05)
    damped, space = toy_run(toy, target, rate=0.05, rho=10.0)
    off = [target * abs(it.history[-1][1] - 1) for it in (plain, damped)]
    assert off[1] < 0.5e-3 < off[0]
    kept = abs(strongest_cost(state(space), toy.table) - target)
    assert off[1] < kept < 2e-3  # the mean is there, the network is not


def test_at_rest_the_multiplier_is_the_price_at_which_an_edge_switches():
    """The KKT multiplier of the relaxed knapsack, in utility per target."""
    toy = seeded_toy(CostTable(0.0, torch.tensor([[1.0, 2.0, 4.0]] * 6)), 1)
    it, _ = toy_run(toy, 14.0, rate=0.2, rho=10.0, steps=1200)
    prices = [price * 14.0 for price in switches(toy)]
    assert min(abs(it.value / price - 1) for price in prices) < 0.03


def test_the_mean_and_the_strongest_are_two_costs():
    space = space_of(TABLE, spread=0)
    with torch.no_grad():
        space.logits[0, 2] += 0.01
        space.logits[1, 0] += 0.01
    assert mean_cost(state(space), TABLE) == pytest.approx(3.0, abs=0.01)
    assert strongest_cost(state(space), TABLE) == pytest.approx(1 + 3 + 0.5)
    it = LearnedMultiplier(TABLE, 3.6, space, rate=1.0, of=strongest_cost)
    it.after_step(state(space))
    assert it.value == pytest.approx(4.5 / 3.6 - 1)
    assert it.history[0][1] == pytest.approx(3.0 / 3.6, abs=0.01)


@pytest.mark.parametrize(
    ("target", "start", "reset", "wanted"),
    [
        (2.0, -3.0, True, 0.0),  # too slow and negative
        (2.0, -3.0, False, -3.0 + 0.5),
        (4.0, -3.0, True, -3.0 - 0.25),  # too fast: may be negative
        (2.0, 1.0, True, 1.5),
    ],
)
def test_a_negative_multiplier_is_reset_while_the_network_is_too_slow(
    target, start, reset, wanted
):
    space = space_of(TABLE, spread=0)
    it = LearnedMultiplier(TABLE, target, space, rate=1.0, reset_negative=reset)
    it.value = start
    it.after_step(state(space))  # the mean is 3
    assert it.value == pytest.approx(wanted)


def rate_after(it, searching):
    it.after_step(searching)
    return searching.architecture_optimizer.param_groups[0]["lr"]


def test_steps_of_alpha_shrink_once_the_strongest_was_near_the_target_at_the_end():
    space = space_of(TABLE, spread=0)
    with torch.no_grad():
        space.logits[0, 2] += 0.01
        space.logits[1, 0] += 0.01  # the strongest costs 4.5
    it = LearnedMultiplier(TABLE, 4.4, space, damp_within=0.15)
    searching = state(space, progress=0.88)
    assert rate_after(it, searching) == 0.1  # not yet the last ninth
    searching.progress = 0.89
    assert rate_after(it, searching) == pytest.approx(0.1 * 0.1 / 4.4)
    with torch.no_grad():
        space.logits[0, 0] += 0.02  # now 1.5: far, but damping has begun
    assert rate_after(it, searching) == pytest.approx(0.1 * 2.9 / 4.4)

    far = LearnedMultiplier(TABLE, 4.4, space, damp_within=0.15)
    fresh = state(space, progress=0.9)
    assert rate_after(far, fresh) == 0.1
    never = LearnedMultiplier(TABLE, 1.5, space)
    assert rate_after(never, fresh) == 0.1


def test_a_sharpened_softmax_begins_as_one_and_ends_thirty_times_as_cold():
    space = space_of(TABLE, spread=0.1)
    torch.testing.assert_close(sharpened_softmax(space), softmax_weights(space))
    logits = space.masked_logits()
    torch.testing.assert_close(
        sharpened_softmax(space, 1.0), (30 * logits).softmax(dim=1)
    )
    space.keep_(0, ["0", "1"])
    assert sharpened_softmax(space, 0.5)[0, 2] == 0


def test_in_a_real_search_the_multiplier_follows_the_latency_of_the_mixture():
    names = ("skip_connect", "nor_conv_3x3")
    table = CostTable(1.0, torch.tensor([[0.0, 1.0]] * 6))
    with seeded(0):
        net, space = small_mixed_net(names), Architecture([names] * 6)
        it = LearnedMultiplier(table, 2.0, space, rate=1.0, rho=100.0)
        digits = small_digits(n_train=100, n_validation=100)
        parts = [split.batches(50) for split in digits[:2]]
        method = Method(objective=it.objective, after_step=it.after_step)
        rates = Rates(architecture=0.3)
        search(net, space, *parts, epochs=3, method=method, rates=rates)
    before, ratios = 0.0, []
    for value, ratio in it.history:
        assert value == pytest.approx(before + ratio - 1)
        before = value
        ratios.append(ratio)
    assert len(ratios) == 6
    assert 1.6 > ratios[0] > ratios[1] > ratios[2]  # from 2 towards the target


def test_what_cannot_be_is_named():
    space = space_of(TABLE)
    assert cost_range(TABLE, space) == (1.0, 5.5)
    for target in (0.5, 6.0, float("nan")):
        with pytest.raises(ValueError, match=r"target must be within 1 and 5.5.*got"):
            LearnedMultiplier(TABLE, target, space)
    for options in ({"rate": 0.0}, {"rho": -1.0}, {"rate": float("inf")}):
        with pytest.raises(ValueError, match="rate must be above 0 and rho 0 or larg"):
            LearnedMultiplier(TABLE, 2.0, space, **options)
