"""SNAS: soft samples, all operations run, and a cost whose mean has a closed form."""

import dataclasses

import pytest
import torch
from torch import nn

from effdl.data.digits import Split
from effdl.nas.cell_space import OPERATIONS
from effdl.nas.gradient.architecture import Architecture
from effdl.nas.gradient.gumbel import ConcreteWeights
from effdl.nas.gradient.mixed import MixedOperation
from effdl.nas.gradient.mixed_net import small_mixed_net
from effdl.nas.gradient.search import search
from effdl.nas.gradient.snas import SNAS, loss_and_cost
from effdl.nas.gradient.steps import one_level_step
from effdl.nas.hardware.expected_cost import CostTable

LOGITS = torch.tensor([0.3, -1.0, 1.2])


def many(n):
    """Return an architecture of n edges with equal logits: n draws at once."""
    architecture = Architecture([("skip", "conv", "pool")] * n)
    architecture.logits.data = LOGITS.repeat(n, 1)
    return architecture


def test_the_mean_sample_is_the_softmax_when_cold():
    cold = ConcreteWeights(lambda _progress: 0.01)
    mean = cold(many(100_000)).mean(dim=0)
    torch.testing.assert_close(mean, LOGITS.softmax(dim=0), rtol=0, atol=0.006)


def test_the_mean_sample_is_pulled_to_uniform_when_warm():
    warm = ConcreteWeights(lambda _progress: 5.0)(many(20_000)).mean(dim=0)
    p = LOGITS.softmax(dim=0)
    assert ((warm - 1 / 3).abs() < (p - 1 / 3).abs()).all()


def test_the_gradient_of_the_mean_cost_is_the_analytic_one_when_cold():
    """p_k (c_k - sum p c). Averaged over 4e5 draws at tau = 0.1, to 3 percent."""
    n, costs = 400_000, torch.tensor([1.0, 4.0, 2.0])
    architecture = many(n)
    table = CostTable(7.0, costs.expand(n, 3))
    objective = loss_and_cost(table, 0.5)
    weights = ConcreteWeights(lambda _progress: 0.1)(architecture)
    objective(torch.tensor(0.0), weights, None).backward()
    p = LOGITS.softmax(dim=0)
    expected = 0.5 * p * (costs - p @ costs)
    found = architecture.logits.grad.mean(dim=0)
    torch.testing.assert_close(found, expected, rtol=0, atol=0.012)
    assert (found.sign() == expected.sign()).all()


def test_loss_and_cost_by_hand():
    """2 + 0.1 (1 + 0.25 * 2 + 0.75 * 4) = 2.45."""
    objective = loss_and_cost(CostTable(1.0, torch.tensor([[2.0, 4.0]])), 0.1)
    value = objective(torch.tensor(2.0), torch.tensor([[0.25, 0.75]]), None)
    assert value.item() == pytest.approx(2.45)


def test_every_operation_runs_and_has_a_gradient():
    net = small_mixed_net(OPERATIONS[1:])
    ran = set()
    edges = [m for m in net.modules() if isinstance(m, MixedOperation)]
    for edge, mixed in enumerate(edges):
        for name, module in mixed.candidates.items():
            at = (edge, name)
            module.register_forward_hook(lambda *_, at=at: ran.add(at))
    weights = SNAS.relax(Architecture([OPERATIONS[1:]] * 6), 0.0)
    net(torch.randn(4, 1, 12, 12), weights).square().sum().backward()
    assert len(ran) == 2 * 6 * 4
    assert all(p.grad is not None for p in net.parameters())


def test_the_temperature_falls_by_equal_factors_from_one_to_a_tenth():
    temperature = SNAS.relax.temperature
    assert [temperature(s) for s in (0.0, 0.5, 1.0)] == pytest.approx([
        1,
        0.1**0.5,
        0.1,
    ])


def toy_batches(n=40):
    return Split(torch.randn(n, 1, 12, 12), torch.arange(n) % 10).batches(20)


def test_one_loss_on_the_training_batches_moves_both():
    """The validation batches are never looked at: here they cannot be."""
    assert SNAS.step is one_level_step
    net, architecture = small_mixed_net(), Architecture([OPERATIONS] * 6)
    before = [p.detach().clone() for p in (architecture.logits, net.classifier.weight)]
    broken = [(torch.full((4, 1, 12, 12), torch.nan), torch.zeros(4).long())]
    search(net, architecture, toy_batches(), broken, epochs=1, method=SNAS)
    after = [architecture.logits, net.classifier.weight]
    assert all(not torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_a_high_price_makes_the_cheap_operation_win():
    net, architecture = small_mixed_net(), Architecture([OPERATIONS] * 6)
    costs = torch.tensor([3.0, 1.0, 3.0, 3.0, 3.0]).expand(6, 5)
    method = dataclasses.replace(
        SNAS, objective=loss_and_cost(CostTable(0.0, costs), 100.0)
    )
    batches = toy_batches()
    search(net, architecture, batches, batches, epochs=8, method=method)
    cheap = architecture.logits[:, 1]
    assert (cheap[:, None] >= architecture.logits).all()


def test_a_cost_of_a_discrete_sample_is_the_sum_over_its_choices():
    table = CostTable(1.0, torch.tensor([[2.0, 4.0], [1.0, 8.0]]))
    one_hot = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    cost = loss_and_cost(table, 1.0)(torch.tensor(0.0), one_hot, nn.Identity())
    assert cost.item() == table.of((1, 0)) == 6.0


def test_a_price_below_zero_is_refused():
    with pytest.raises(ValueError, match=r"price must be 0 or larger, got -1\.0"):
        loss_and_cost(CostTable(0.0, torch.ones(1, 1)), -1.0)
