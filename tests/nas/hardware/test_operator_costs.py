"""Costs measured operator by operator: with made-up seconds, then with real ones."""

import itertools
import time

import pytest
import torch

from effdl.nas.candidate_tables import candidate_macs
from effdl.nas.cell_space import OPERATIONS, Cell
from effdl.nas.gradient.mixed_chain import chain_architecture
from effdl.nas.hardware import operator_costs as module
from effdl.nas.hardware.cell_costs import cell_sums
from effdl.nas.hardware.expected_cost import CostTable, cost_range
from effdl.nas.hardware.operator_costs import chain_costs, operator_costs
from effdl.nas.mbconv_space import small_mbconv_supernet

X = torch.zeros(2, 1, 12, 12)


def fake_latency(seconds):
    """Return a stand-in for the clock that notes what was timed on which input."""
    seen = {}

    def timed(models, inputs, **_options):
        for name in models:
            given = inputs[name]
            maps = given if isinstance(given, tuple) else (given,)
            seen[name] = (models[name], [tuple(m.shape) for m in maps])
        once = {n: [seconds(n)] * 2 for n in models}
        return {n: FakeLatency(taken[0]) for n, taken in once.items()}

    return timed, seen


class FakeLatency:
    """A median and nothing else."""

    def __init__(self, median):
        self.median = median


def test_entries_are_an_operation_and_a_sum_in_each_stage(monkeypatch):
    """Made-up seconds: 100 the net; skip 1, 1x1 7, 3x3 9, pool 5; a sum 2; twice."""
    made_up = {"net": 100.0, "skip_connect": 1.0, "nor_conv_1x1": 7.0}
    made_up |= {"nor_conv_3x3": 9.0, "avg_pool_3x3": 5.0, "+": 2.0}
    timed, seen = fake_latency(lambda name: made_up[name.split()[0]])
    monkeypatch.setattr(module, "latency", timed)
    table = operator_costs(X)
    row = torch.tensor([0.0, 2 * 3, 2 * 9, 2 * 11, 2 * 7])
    assert torch.equal(table.extra, row.expand(6, 5))
    assert table.base == 100 - 2 * 1 - 3 * 2 * 2
    assert seen["nor_conv_3x3 8"][1] == [(2, 8, 6, 6)]
    assert seen["nor_conv_3x3 16"][1] == [(2, 16, 3, 3)]
    assert seen["+ 16"][1] == [(2, 16, 3, 3)] * 2
    assert seen["net"][1] == [(2, 1, 12, 12)]


def test_the_sum_of_a_cell_counts_the_sums_that_its_network_takes(monkeypatch):
    """If a sum takes 1 s and all else nothing: edges that carry, less three nodes."""
    timed, _ = fake_latency(lambda name: float(name.startswith("+")))
    monkeypatch.setattr(module, "latency", timed)
    table = operator_costs(X, widths=(8,))
    for cell in (Cell(("skip_connect",) * 6), Cell(("nor_conv_1x1", "none") * 3)):
        carrying = 6 - cell.count("none")
        assert cell_sums(table, [cell])[0] == carrying - 3


def test_odd_images_are_halved_upwards(monkeypatch):
    timed, seen = fake_latency(lambda name: 1.0)
    monkeypatch.setattr(module, "latency", timed)
    operator_costs(torch.zeros(1, 3, 9, 11), ("nor_conv_1x1",), widths=(4, 6))
    assert seen["nor_conv_1x1 4"][1] == [(1, 4, 5, 6)]
    assert seen["nor_conv_1x1 6"][1] == [(1, 6, 3, 3)]
    net, _ = seen["net"]
    shapes = []
    net.classifier.register_forward_pre_hook(lambda _, x: shapes.append(x[0].shape))
    net(torch.zeros(1, 3, 9, 11))
    assert shapes == [(1, 6)]


def test_a_clock_that_ticks_once_a_look_makes_all_alike():
    ticks = itertools.count(0, 10_000_000)
    table = operator_costs(X, repeats=2, clock=lambda: next(ticks))
    convolutions = table.extra[:, 2:]
    assert torch.equal(convolutions, convolutions[:1, :1].expand(6, 3))


def test_the_real_clock_puts_cells_in_the_right_order():
    """Six 3x3 take longer than six skips; how much longer is the notebook's."""
    x, clock = torch.zeros(16, 1, 12, 12), time.process_time_ns
    table = operator_costs(x, repeats=5, clock=clock)
    cells = [Cell(("skip_connect",) * 6), Cell(("nor_conv_3x3",) * 6)]
    light, heavy = cell_sums(table, cells)
    assert 1.5 * light < heavy


def test_names_are_columns():
    names = ("nor_conv_3x3", "skip_connect")
    table = operator_costs(X, names, repeats=2, clock=time.process_time_ns)
    assert table.extra.shape == (6, 2)
    assert (table.extra[:, 0] > table.extra[:, 1]).all()


def test_chain_costs_are_the_candidates_costs_filled_up_with_zeros():
    net = small_mbconv_supernet()
    macs = candidate_macs(net, torch.zeros(1, 1, 16, 16))
    table = chain_costs(macs, base=5.0)
    assert table.extra.shape == (6, 7)
    for row, costs in zip(table.extra.tolist(), macs, strict=True):
        assert row[: len(costs)] == list(costs.values())
        assert not any(row[len(costs) :])
    choices = (0, 6, 2, 5, 1, 6)
    own = sum(list(costs.values())[k] for costs, k in zip(macs, choices, strict=True))
    assert table.of(choices) == 5 + own


def test_what_a_layer_does_not_have_does_not_count_in_the_range():
    """The zeros stand for nothing: no first layer is free."""
    net = small_mbconv_supernet()
    macs = candidate_macs(net, torch.zeros(1, 1, 16, 16))
    low, high = cost_range(chain_costs(macs), chain_architecture(net.space))
    assert low == sum(min(costs.values()) for costs in macs)
    assert high == sum(max(costs.values()) for costs in macs)


def test_errors_name_the_argument():
    with pytest.raises(ValueError, match="table is empty"):
        chain_costs(())
    with pytest.raises(ValueError, match=r"x must be \(N, C, H, W\)"):
        operator_costs(torch.zeros(1, 12, 12))
    with pytest.raises(ValueError, match="no module for operation 'dil_conv'"):
        operator_costs(X, (*OPERATIONS, "dil_conv"))
    assert isinstance(chain_costs(({"a": 1.0},)), CostTable)
