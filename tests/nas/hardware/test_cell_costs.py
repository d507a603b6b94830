"""Fitted costs of cells: exact where costs add up, and honest where they do not."""

import numpy as np
import pytest
import torch

from effdl.measure.macs import count_macs
from effdl.nas.cell_classes import live_edges
from effdl.nas.cell_net import small_cell_net
from effdl.nas.cell_space import EDGES, OPERATIONS, Cell, all_cells
from effdl.nas.cellbench import load_cellbench
from effdl.nas.hardware.cell_costs import (
    Agreement,
    agreement,
    cell_sums,
    dead_cost,
    fit_cell_costs,
)
from effdl.nas.hardware.expected_cost import CostTable
from effdl.nas.public_files import CELL_LATENCIES, CELL_NUMBERS
from effdl.nas.public_tables import load_hw_latencies
from effdl.nas.table import CellTable
from public_data import skip_unless_cached

EVERY = tuple(all_cells())
DEAD_END = Cell(("nor_conv_3x3", "none", "none", "skip_connect", "none", "none"))


def table_of(cells, costs):
    """Return a table in which only a column "cost" means anything."""
    nothing = np.zeros((len(cells), 1))
    return CellTable("toy", tuple(cells), nothing, None, None, None, {"cost": costs})


def drawn_costs():
    """Return a random cost table whose first column is 0, in double precision."""
    extra = torch.rand(6, 5, dtype=torch.float64)
    extra[:, 0] = 0
    return CostTable(3.0, extra)


def test_sums_are_base_and_one_entry_for_each_edge():
    table = drawn_costs()
    for cell in (EVERY[0], EVERY[-1], DEAD_END, EVERY[7777]):
        total = table.base
        for edge, name in enumerate(cell.operations):
            total += table.extra[edge, OPERATIONS.index(name)].item()
        assert cell_sums(table, [cell])[0] == pytest.approx(total)


def test_agreement_by_hand():
    """Off by 0, 0 and 1; squares 1 of 2."""
    close = agreement(np.array([1.0, 2.0, 4.0]), np.array([1.0, 2.0, 3.0]))
    assert close == Agreement(0.5, pytest.approx(1 / 3), 1.0)
    worse = agreement(np.array([3.0, 1.0]), np.array([1.0, 3.0]))
    assert worse == Agreement(-3.0, 2.0, 2.0)
    too_small = agreement(np.array([1.0, 2.0, 2.0]), np.array([1.0, 2.0, 3.0]))
    assert too_small.largest_error == 1.0


def test_costs_that_add_up_come_back_exactly():
    truth = drawn_costs()
    some = [EVERY[i] for i in np.random.default_rng(0).permutation(len(EVERY))[:300]]
    table, close = fit_cell_costs(table_of(some, cell_sums(truth, some)), "cost")
    assert close.r2 == pytest.approx(1)
    assert close.largest_error < 1e-12
    assert table.base == pytest.approx(3.0)
    torch.testing.assert_close(table.extra, truth.extra.float())


def test_multiply_adds_come_back_from_the_networks_own_counts():
    """36 pixels of 8 channels and 9 of 16: 4,608 for 1x1 and 9 times that for 3x3."""
    bench = load_cellbench()
    table, close = fit_cell_costs(bench, "macs")
    row = torch.tensor([0.0, 0.0, 4608.0, 41472.0, 0.0])
    torch.testing.assert_close(table.extra, row.expand(6, 5), atol=0.02, rtol=1e-6)
    assert close.largest_error < 1e-6
    cell = Cell(("nor_conv_3x3", "skip_connect", "nor_conv_1x1") * 2)
    counted = count_macs(small_cell_net(cell), torch.zeros(1, 1, 12, 12)).total
    assert cell_sums(table, [cell])[0] == pytest.approx(counted, rel=1e-6)


def test_a_dead_end_is_charged_and_costs_nothing():
    """Node 1 sends nothing on: its 3x3 never runs."""
    assert live_edges(DEAD_END) == (3,)
    table, _ = fit_cell_costs(load_cellbench(), "macs")
    assert dead_cost(table, DEAD_END) == pytest.approx(41472, rel=1e-6)
    counted = count_macs(small_cell_net(DEAD_END), torch.zeros(1, 1, 12, 12)).total
    charged = cell_sums(table, [DEAD_END])[0]
    assert charged - dead_cost(table, DEAD_END) == pytest.approx(counted, rel=1e-6)


def test_a_cell_without_dead_ends_is_charged_for_nothing():
    table = drawn_costs()
    for cell in EVERY[::501]:
        carrying = tuple(e for e, o in enumerate(cell.operations) if o != "none")
        is_alive = live_edges(cell) == carrying
        assert (dead_cost(table, cell) == 0) == is_alive
        assert dead_cost(table, cell) >= 0


def test_four_cells_in_ten_have_a_dead_edge():
    """6,180 of 15,625, the 341 disconnected ones included (but not six times none)."""
    table = CostTable(0.0, torch.ones(6, 5) * (torch.arange(5) > 0))
    dead = [dead_cost(table, cell) for cell in EVERY]
    counted = sum(len(live_edges(c)) < len(EDGES) - c.count("none") for c in EVERY)
    assert sum(d > 0 for d in dead) == counted == 6180


def test_fewer_names_use_fewer_cells():
    names = ("skip_connect", "nor_conv_1x1", "nor_conv_3x3")
    table, _ = fit_cell_costs(load_cellbench(), "macs", names)
    assert table.extra.shape == (6, 3)
    skips = count_macs(
        small_cell_net(Cell(("skip_connect",) * 6)), torch.zeros(1, 1, 12, 12)
    )
    assert table.base == pytest.approx(skips.total)
    with pytest.raises(ValueError, match=r"operations \['none'\] that names="):
        cell_sums(table, [DEAD_END], names)


def test_the_fit_is_the_one_with_the_least_squares():
    """Any change to one of its numbers makes the squares larger."""
    bench = load_cellbench()
    measured = bench.need("latency_64") * 1e3
    table, close = fit_cell_costs(table_of(bench.cells, measured), "cost")
    some = torch.zeros(6, 5)
    some[2, 3] = 1
    for step in (-0.01, 0.01):
        moved = CostTable(table.base, table.extra + step * some)
        assert agreement(cell_sums(moved, bench.cells), measured).r2 < close.r2


def test_our_own_latencies_are_additive_in_part():
    """The rest is mostly the clock's: the notebook measures some of them again."""
    for cost in ("latency_1", "latency_64"):
        _, close = fit_cell_costs(load_cellbench(), cost)
        assert 0.6 < close.r2 < 0.9


@pytest.mark.parametrize(
    ("device", "low", "high"),
    [("raspi4", 0.90, 0.91), ("pixel3", 0.88, 0.90), ("eyeriss", 1 - 1e-12, 1 + 1e-12)],
)
def test_published_latencies_are_additive_on_one_device_only(device, low, high):
    """Eyeriss is a model that sums up, dead ends included; the others were measured."""
    skip_unless_cached(CELL_NUMBERS, CELL_LATENCIES[device])
    seconds = load_hw_latencies(device, EVERY, online=False)
    _, close = fit_cell_costs(table_of(EVERY, seconds), "cost")
    assert low < close.r2 < high


def test_errors_name_what_is_missing():
    few = table_of(EVERY[:25], np.arange(25.0))
    with pytest.raises(ValueError, match="25 architectures determine 9 of 25 unknown"):
        fit_cell_costs(few, "cost")
    with pytest.raises(ValueError, match="toy lacks 'latency_1'"):
        fit_cell_costs(few, "latency_1")
    with pytest.raises(ValueError, match=r"sums and measured must be \(n,\)"):
        agreement(np.zeros(3), np.zeros(2))
    for measured in (np.ones(3), np.ones(1)):
        with pytest.raises(ValueError, match="two different numbers"):
            agreement(measured, measured)
