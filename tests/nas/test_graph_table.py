"""The table of graph networks: a small copy, the real one, and files that do harm."""

import os
import pickle

import numpy as np
import pytest

from effdl.nas import graph_table
from effdl.nas.graph_space import ARCHITECTURES, GraphArchitecture
from effdl.nas.graph_table import GraphTable, load_graph_table
from effdl.nas.public_files import GRAPH_NETWORKS
from public_data import put, skip_unless_cached

CHAIN = GraphArchitecture((0, 1, 2, 3), ("gcn", "gin", "skip", "gat"))
FORK = GraphArchitecture((0, 0, 0, 0), ("fc", "gin", "gat", "gcn"))
ENTRIES = {
    88120: {"valid_perf": 0.5, "perf": 0.25, "latency": 0.002, "para": 0.000007},
    127: {
        "valid_perf": 0.75,
        "perf": 0.125,
        "latency": 0.003,
        "para": np.float64(1.736711),
    },
}


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("EFFDL_CACHE", str(tmp_path))
    monkeypatch.delenv("EFFDL_ONLINE", raising=False)
    monkeypatch.setattr(graph_table, "ARCHITECTURES", len(ENTRIES))
    return tmp_path


def use(cache, monkeypatch, content: bytes) -> None:
    file = put(cache, GRAPH_NETWORKS, content)
    monkeypatch.setattr(graph_table, "GRAPH_NETWORKS", file)


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_what_was_measured_is_found_by_architecture(cache, monkeypatch, protocol):
    use(cache, monkeypatch, pickle.dumps(ENTRIES, protocol))
    table = load_graph_table()
    assert len(table) == 2
    for architecture, number in ((CHAIN, 88120), (FORK, 127)):
        row = table.row(architecture)
        assert table.numbers[row] == number
        entry = ENTRIES[number]
        assert table.validation[row] == entry["valid_perf"]
        assert table.test[row] == entry["perf"]
        assert table.latency[row] == entry["latency"]
        assert table.parameters[row] == round(1e6 * entry["para"])


def test_equal_architectures_share_a_row(cache, monkeypatch):
    use(cache, monkeypatch, pickle.dumps(ENTRIES))
    table = load_graph_table()
    other = GraphArchitecture((0, 1, 2, 3), ("skip", "gcn", "gin", "gat"))
    assert other != CHAIN
    assert table.row(other) == table.row(CHAIN)


def test_the_published_table_holds_every_architecture():
    skip_unless_cached(GRAPH_NETWORKS)
    table = load_graph_table()
    assert len(table) == len(set(table.numbers)) == ARCHITECTURES == 26_206
    for number in table.numbers[::20]:
        architecture = GraphArchitecture.numbered(number)
        assert table.numbers[table.row(architecture)] == number


def test_the_published_numbers_are_of_the_promised_kind():
    """Validation and test accuracy of Cora correlate with 0.94 (Pearson)."""
    skip_unless_cached(GRAPH_NETWORKS)
    table = load_graph_table()
    correlation = np.corrcoef(table.validation, table.test)[0, 1]
    assert correlation == pytest.approx(0.944, abs=0.001)
    assert table.validation.max() == pytest.approx(0.81933, abs=1e-5)
    assert 0 < table.latency.min() < table.latency.max() < 0.01
    assert table.parameters.min() == 436_743


class Harmful:
    """What a pickle can do."""

    def __reduce__(self):
        return os.mkdir, ("harm",)


def test_a_pickle_with_anything_but_numbers_is_refused(cache, monkeypatch):
    monkeypatch.chdir(cache)
    use(cache, monkeypatch, pickle.dumps({1: Harmful(), 2: ENTRIES[127]}))
    with pytest.raises(pickle.UnpicklingError, match="mkdir has no place in a pickle"):
        load_graph_table()
    assert not (cache / "harm").exists()


@pytest.mark.parametrize(
    "name", ["numpy.ndarray", "builtins.eval", "other.scalar", "builtins.dtype"]
)
def test_only_what_a_number_takes_is_looked_up(cache, monkeypatch, name):
    module, _, attribute = name.rpartition(".")
    use(cache, monkeypatch, f"c{module}\n{attribute}\n.".encode())
    with pytest.raises(pickle.UnpicklingError, match=f"{name} has no place"):
        load_graph_table()


def test_a_table_that_is_cut_short_is_refused(cache, monkeypatch):
    use(cache, monkeypatch, pickle.dumps({127: ENTRIES[127]}))
    with pytest.raises(ValueError, match=r"cora\.bench has 1 of the 2 architectures"):
        load_graph_table()


def test_an_altered_file_is_named_before_it_is_opened(cache):
    put(cache, GRAPH_NETWORKS, pickle.dumps({1: Harmful()}))
    with pytest.raises(ValueError, match=r"cora\.bench is truncated or altered"):
        load_graph_table()


def small(rows: int = 1, seen: int = 1) -> GraphTable:
    one = np.ones(rows)
    return GraphTable("small", (127,) * seen, one, np.ones(1), one, one)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: small().row(CHAIN), r"small has no row for .*; it holds 1 archi"),
        (lambda: small(rows=2), "validation of small must have 1 rows, .* got 2"),
        (lambda: small(rows=2, seen=2), "test of small must have 2 rows, .* got 1"),
    ],
)
def test_bad_input_is_explained(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_four_skips_were_never_trained():
    skip_unless_cached(GRAPH_NETWORKS)
    nothing = GraphArchitecture((0, 1, 2, 3), ("skip",) * 4)
    with pytest.raises(ValueError, match="has no row for"):
        load_graph_table().row(nothing)
