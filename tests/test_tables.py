"""The survey's tables are read as printed, and agree with what can be computed."""

import pytest

from effdl.tables import (
    load_benchmarks,
    load_boards,
    load_frameworks,
    load_search_methods,
)


def test_no_row_is_lost():
    tables = (
        load_search_methods(),
        load_benchmarks(),
        load_frameworks(),
        load_boards(),
    )
    assert [len(table) for table in tables] == [21, 15, 8, 11]


def test_a_board_by_hand():
    """Table 4 prints 32GB LPDDR4x, 32GB eMMC 5.1, 10W to 30W, 32TOPS and $1,099."""
    boards = {board.board: board for board in load_boards()}
    xavier = boards["Nvidia Jetson AGX Xavier"]
    assert (xavier.ram_gb, xavier.ram_type) == (32, "LPDDR4x")
    assert (xavier.power_low, xavier.power_high) == (10, 30)
    assert (xavier.tera_ops, xavier.ops, xavier.price) == (32, "TOPS", 1099)
    assert xavier.software[:2] == ("TensorFlow", "PyTorch")


def test_what_the_survey_leaves_out_is_none():
    boards = {board.board: board for board in load_boards()}
    assert boards["Google Edge TPU"].ram_gb is None
    methods = {method.method: method for method in load_search_methods()}
    assert methods["TuNAS"].hours is None
    assert methods["ProxylessNAS"].mega_macs is None


def test_the_peak_of_a_board_follows_from_its_cores():
    """Jetson Nano: 128 cores, 0.9216 GHz, 2 half-precision multiply-adds of 2."""
    boards = {board.board: board for board in load_boards()}
    nano = 128 * 0.9216e9 * 2 * 2 / 1e12
    assert boards["Nvidia Jetson Nano"].tera_ops == pytest.approx(nano, rel=2e-3)
    assert (
        boards["Google Edge TPU"].tera_ops == boards["Google Coral Dev Board"].tera_ops
    )


def test_power_ranges_are_ranges():
    assert all(0 < board.power_low <= board.power_high for board in load_boards())


def test_the_size_of_a_cell_space_follows_from_its_choices():
    """5 operations on 6 edges; NATS-Bench adds 8 widths in 5 places."""
    sizes = {row.benchmark: row.exact_size for row in load_benchmarks()}
    assert sizes["NAS-Bench-201"] == 5**6
    assert sizes["NATS-Bench"] == 5**6 + 8**5
    assert sizes["NAS-Bench-1Shot1"] == 6_240 + 29_160 + 363_648


def test_only_one_printed_size_is_far_from_the_exact_one():
    far = {
        row.benchmark
        for row in load_benchmarks()
        if row.size and row.exact_size and abs(row.size / row.exact_size - 1) > 0.1
    }
    assert far == {"NATS-Bench"}


def test_every_benchmark_is_a_table_or_a_model():
    assert all(row.tabular or row.surrogate for row in load_benchmarks())


def test_a_method_by_hand():
    """Table 1 prints 1,200 V100 hours, 230 M and 76.0 % for OFA."""
    ofa = {method.method: method for method in load_search_methods()}["OFA"]
    assert (ofa.hours, ofa.device, ofa.mega_macs, ofa.top1) == (1200, "V100", 230, 76.0)
    assert ofa.targets == ("GPUs", "CPUs", "Edge GPUs", "Mobile Phones")


def test_accuracies_are_per_cent():
    assert all(50 < m.top1 < 90 for m in load_search_methods() if m.top1 is not None)


def test_a_framework_by_hand():
    """Core ML is the only one that does not train; two are no longer maintained."""
    frameworks = load_frameworks()
    assert [row.framework for row in frameworks if not row.training] == ["CoreML"]
    retired = [row.framework for row in frameworks if not row.maintained]
    assert retired == ["Caffe", "MXNet"]
    assert frameworks[0].graph == ("Static", "Dynamic")
