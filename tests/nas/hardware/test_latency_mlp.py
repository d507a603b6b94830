"""A learned latency: better than a sum where costs do not add up, and smooth."""

import numpy as np
import pytest
import torch
from torch import nn

from effdl.data.digits import small_digits
from effdl.nas.cell_space import all_cells
from effdl.nas.cellbench import load_cellbench
from effdl.nas.gradient.architecture import Architecture
from effdl.nas.gradient.mixed_net import small_mixed_net
from effdl.nas.gradient.search import search
from effdl.nas.hardware.cell_costs import agreement, cell_sums, fit_cell_costs
from effdl.nas.hardware.expected_cost import CostTable, expected_cost
from effdl.nas.hardware.latency_mlp import (
    LatencyMlp,
    add_predicted_cost,
    edgenas,
    fit_latency_mlp,
)
from effdl.nas.hardware.penalties import add_cost
from effdl.nas.public_files import CELL_LATENCIES, CELL_NUMBERS
from effdl.nas.public_tables import load_hw_latencies
from effdl.nas.table import CellTable
from effdl.seed import seeded
from public_data import skip_unless_cached


def one_hot(cells):
    """Return the weights of cells, (n, 6, 5)."""
    return torch.tensor(np.array([cell.one_hot() for cell in cells])).float()


def both_r2(cells, costs, *, seen=1000, epochs=40):
    """Return R2 on unseen cells of a sum and of a learned predictor, both of some."""
    order = np.random.default_rng(0).permutation(len(cells))
    known, rest = order[:seen], order[seen:]
    rest_cells = [cells[i] for i in rest]
    few = tuple(cells[i] for i in known)
    nothing = np.zeros((seen, 1))
    table = CellTable("some", few, nothing, None, None, None, {"cost": costs[known]})
    fitted, _ = fit_cell_costs(table, "cost")
    with seeded(0):
        unit = costs.mean()
        told = torch.tensor(costs[known] / unit).float()
        predictor = fit_latency_mlp(one_hot(few), told, epochs=epochs)
    predicted = predictor(one_hot(rest_cells)).double().numpy() * unit
    sums = cell_sums(fitted, rest_cells)
    return agreement(sums, costs[rest]).r2, agreement(predicted, costs[rest]).r2


def test_on_a_raspberry_pi_it_beats_the_sum():
    """R2 0.90 for a sum; both saw 1,000 of 15,625 cells."""
    skip_unless_cached(CELL_NUMBERS, CELL_LATENCIES["raspi4"])
    cells = tuple(all_cells())
    linear, learned = both_r2(cells, load_hw_latencies("raspi4", cells, online=False))
    assert linear == pytest.approx(0.90, abs=0.02)
    assert learned > linear + 0.02


def test_peak_memory_does_not_add_up_and_can_be_learned():
    """What is kept at once depends on edges together: our own table, no download."""
    table = load_cellbench()
    linear, learned = both_r2(table.cells, table.need("peak_bytes"), seen=2000)
    assert linear < 0.9
    assert learned > 0.97


def test_where_the_rest_is_noise_it_learns_the_noise():
    """Our latencies of single nets: with 2,000 of them, a sum does better."""
    table = load_cellbench()
    linear, learned = both_r2(table.cells, table.need("latency_1"), seen=2000)
    assert learned < linear


def test_a_sum_is_learned_nearly_exactly():
    extra = np.random.default_rng(1).random((6, 5))
    cells = tuple(all_cells())[::7]
    costs = np.array([(cell.one_hot() * extra).sum() for cell in cells])
    _, learned = both_r2(cells, costs)
    assert learned > 0.99


def test_one_architecture_or_many():
    predictor = LatencyMlp(6)
    many = torch.rand(4, 2, 3)
    each = torch.stack([predictor(weights) for weights in many])
    torch.testing.assert_close(predictor(many), each)
    assert predictor(many[0]).shape == ()


def test_layers_that_say_nothing_leave_the_mean():
    predictor = LatencyMlp(6)
    predictor.mean, predictor.scale = torch.tensor(3.0), torch.tensor(2.0)
    nn.init.zeros_(predictor.layers[-1].weight)
    nn.init.constant_(predictor.layers[-1].bias, 0.5)
    assert predictor(torch.rand(2, 3)).item() == 3 + 2 * 0.5


def test_the_fit_begins_at_mean_and_deviation_of_the_costs():
    x = torch.rand(20, 2, 3)
    costs = 7 + 3 * torch.rand(20)
    predictor = fit_latency_mlp(x, costs, epochs=1)
    assert predictor.mean == costs.mean()
    assert predictor.scale == costs.std()


def test_the_slope_in_the_weights_is_that_of_finite_differences():
    predictor = LatencyMlp(6).double()
    predictor.mean, predictor.scale = torch.tensor(3.0), torch.tensor(2.0)
    assert torch.autograd.gradcheck(
        predictor, torch.rand(2, 3, dtype=torch.float64, requires_grad=True)
    )


def test_the_unit_is_the_callers():
    """The same fit, a thousand times the numbers."""
    x = torch.rand(50, 2, 3)
    y = x.sum(dim=(1, 2))
    with seeded(0):
        one = fit_latency_mlp(x, y, epochs=3)(x)
    with seeded(0):
        thousand = fit_latency_mlp(x, 1000 * y, epochs=3)(x)
    torch.testing.assert_close(1000 * one, thousand, rtol=1e-3, atol=1e-2)


def test_a_fitted_predictor_takes_no_more_gradients():
    x = torch.rand(20, 2, 3)
    predictor = fit_latency_mlp(x, x.sum(dim=(1, 2)), epochs=1)
    assert not any(p.requires_grad for p in predictor.parameters())


class Sum(nn.Module):
    """A predictor that is the table's sum."""

    def __init__(self, table):
        super().__init__()
        self.table = table

    def forward(self, weights):
        """Return the sum."""
        return expected_cost(weights, self.table)


def test_with_a_sum_for_a_predictor_it_is_equation_9():
    table = CostTable(2.0, torch.rand(6, 5))
    logits = torch.randn(6, 5, requires_grad=True)
    found = []
    for objective in (add_predicted_cost(0.4, Sum(table)), add_cost(0.4, table)):
        whole = objective(torch.tensor(1.0), logits.softmax(dim=1), None)
        found.append((whole.detach(), torch.autograd.grad(whole, logits)[0]))
    torch.testing.assert_close(*found)


def test_edgenas_trains_one_uniform_path_and_minds_the_predicted_cost():
    """With a rate so high that accuracy does not count, the cheapest wins."""
    names = ("skip_connect", "nor_conv_3x3")
    costs = torch.tensor([[1.0, 2.0]]).repeat(6, 1)
    costs[4] = torch.tensor([2.0, 1.0])
    digits = small_digits(n_train=200, n_validation=100)
    net, found = small_mixed_net(names), Architecture([names] * 6, spread=0)
    parts = [split.batches(25, seed=0) for split in digits[:2]]
    ran = []
    for edge in net.layers[1].edges:
        edge.register_forward_hook(lambda _, inputs, __: ran.append(inputs[1].detach()))
    method = edgenas(100.0, Sum(CostTable(0.0, costs)))
    epochs = search(net, found, *parts, epochs=2, method=method)
    assert found.strongest() == (*names[:1] * 4, names[1], names[0])
    sharp = [bool(((w == 0) | (w == 1)).all()) for w in ran]
    assert sum(sharp) == len(ran) / 2  # every second forward pass is a path
    assert epochs[-1].loss < 2.4


def test_errors_name_the_argument():
    x = torch.rand(4, 2, 3)
    with pytest.raises(ValueError, match=r"weights must be \(n, edges, K\) and costs"):
        fit_latency_mlp(x, torch.ones(3))
    with pytest.raises(ValueError, match=r"weights must be \(n, edges, K\) and costs"):
        fit_latency_mlp(x[0], torch.ones(2))
    for costs in (torch.ones(4), torch.tensor([1.0, 2.0, torch.nan, 3.0])):
        with pytest.raises(ValueError, match="costs must be finite, and not all equal"):
            fit_latency_mlp(x, costs)
    with pytest.raises(ValueError, match="epochs must be at least 1, got 0"):
        fit_latency_mlp(x, x.sum(dim=(1, 2)), epochs=0)
    with pytest.raises(ValueError, match="hidden must be at least 1"):
        LatencyMlp(6, hidden=0)
    for rate in (-0.1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="rate must be 0 or larger and finite"):
            edgenas(rate, LatencyMlp(6))
