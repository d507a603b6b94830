"""The additive table: its sum written out, and given back by published latencies."""

import itertools

import numpy as np
import pytest

from effdl.nas import fbnet_table
from effdl.nas.fbnet_table import (
    LAYERS,
    OPERATIONS,
    AdditiveTable,
    fit_additive,
    largest_error,
    load_fbnet,
)
from effdl.nas.public_files import FBNET_ARCHITECTURES, FBNET_LATENCIES
from public_data import as_pt, put, skip_unless_cached

STAGES = (1, 4, 4, 4, 4, 4, 1)  # layers of equal shape but for the first of each


def random_table(layers: int, operations: int, seed: int = 0) -> AdditiveTable:
    random = np.random.default_rng(seed)
    extra = random.uniform(0.1, 1, (layers, operations))
    extra[:, -1] = 0
    return AdditiveTable(float(random.uniform(1, 2)), extra)


def random_architectures(rows: int, layers: int, operations: int) -> np.ndarray:
    return np.random.default_rng(1).integers(operations, size=(rows, layers))


def test_a_latency_is_the_base_and_one_number_for_each_layer():
    table = random_table(5, 4)
    for architecture in random_architectures(20, 5, 4).tolist():
        total = table.base
        for layer, operation in enumerate(architecture):
            total += table.extra[layer][operation]
        assert table.latency(architecture) == pytest.approx(total, rel=1e-12)


def test_two_layers_by_hand():
    """4 of 4 architectures; 7 - 3 = 5 - 1 = 4 and 7 - 5 = 3 - 1 = 2, base 1."""
    every = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    table = fit_additive(every, np.array([7.0, 5.0, 3.0, 1.0]), operations=2)
    np.testing.assert_allclose(table.extra, [[4, 0], [2, 0]], atol=1e-12)
    assert table.base == pytest.approx(1)
    assert table.fastest() == (1, 1)
    assert table.slowest() == (0, 0)


def test_sums_give_back_the_table_that_made_them():
    truth = random_table(6, 5)
    seen = random_architectures(80, 6, 5)
    sums = np.array([truth.latency(row) for row in seen.tolist()])
    table = fit_additive(seen, sums, operations=5)
    np.testing.assert_allclose(table.extra, truth.extra, atol=1e-12)
    assert table.base == pytest.approx(truth.base)
    assert largest_error(table, seen, sums) < 1e-12


def test_noise_is_averaged_as_least_squares_does():
    """The residual of a least-squares fit is orthogonal to every unknown."""
    seen = random_architectures(200, 4, 3)
    truth = random_table(4, 3)
    noise = np.random.default_rng(2).normal(size=200)
    sums = np.array([truth.latency(row) for row in seen.tolist()]) + noise
    table = fit_additive(seen, sums, operations=3)
    residual = sums - [table.latency(row) for row in seen.tolist()]
    assert residual.sum() == pytest.approx(0, abs=1e-9)
    for layer, operation in itertools.product(range(4), range(3)):
        chosen = seen[:, layer] == operation
        assert residual[chosen].sum() == pytest.approx(0, abs=1e-9)


def test_the_fastest_and_the_slowest_are_found_without_trying_all():
    table = random_table(4, 3, seed=3)
    table.extra[1] = (-1, 2, 0)  # a skip need not be the fastest,
    table.extra[2] = (-2, -1, 0)  # and may be the slowest
    every = list(itertools.product(range(3), repeat=4))
    assert table.fastest() == min(every, key=table.latency)
    assert table.slowest() == max(every, key=table.latency)


def test_the_largest_error_is_the_worst_row_in_both_directions():
    table = AdditiveTable(1.0, np.array([[2.0, 0.0]]))
    rows = np.array([[0], [1], [0]])
    assert largest_error(table, rows, np.array([3.0, 1.5, 2.75])) == 0.5
    assert largest_error(table, rows, np.array([3.0, 0.5, 2.75])) == 0.5


@pytest.mark.parametrize("device", FBNET_LATENCIES)
def test_a_thousand_published_latencies_predict_the_other_four_thousand(device):
    skip_unless_cached(FBNET_ARCHITECTURES, FBNET_LATENCIES[device])
    architectures, latencies = load_fbnet(device)
    assert architectures.shape == (5000, LAYERS)
    table = fit_additive(architectures[:1000], latencies[:1000])
    assert largest_error(table, architectures[1000:], latencies[1000:]) < 1e-12
    assert table.fastest() == (OPERATIONS.index("skip"),) * LAYERS
    first = 0
    for layers in STAGES:  # layers of one shape cost the same
        same = table.extra[first + 1 : first + layers]
        np.testing.assert_allclose(same, same[:1].repeat(len(same), axis=0), atol=1e-12)
        first += layers
    assert first == LAYERS


def test_a_published_latency_by_hand():
    """The first architecture needs 30.252860404143576 ms on the Raspberry Pi 4."""
    skip_unless_cached(FBNET_ARCHITECTURES, FBNET_LATENCIES["raspi4"])
    architectures, latencies = load_fbnet("raspi4")
    assert latencies[0] == pytest.approx(0.030252860404143576, rel=1e-12)
    first = [7, 8, 1, 8, 4, 8, 8, 8, 7, 4, 1, 4, 7, 3, 2, 7, 3, 2, 4, 2, 4, 5]
    assert architectures[0].tolist() == first


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("EFFDL_CACHE", str(tmp_path))
    monkeypatch.delenv("EFFDL_ONLINE", raising=False)
    return tmp_path


def use(cache, monkeypatch, rows: int, latencies: list[float]) -> None:
    """Put small files of the published form into the cache."""
    content = as_pt(random_architectures(rows, LAYERS, 9).tolist())
    file = put(cache, FBNET_ARCHITECTURES, content)
    monkeypatch.setattr(fbnet_table, "FBNET_ARCHITECTURES", file)
    file = put(cache, FBNET_LATENCIES["fpga"], as_pt(latencies))
    monkeypatch.setattr(fbnet_table, "FBNET_LATENCIES", {"fpga": file})


def test_files_are_read_as_numbers_and_seconds(cache, monkeypatch):
    use(cache, monkeypatch, 3, [1.0, 20.0, 300.0])
    architectures, latencies = load_fbnet("fpga")
    assert architectures.dtype == np.int64
    assert architectures.tolist() == random_architectures(3, LAYERS, 9).tolist()
    assert latencies == pytest.approx([0.001, 0.02, 0.3])


def test_a_file_that_is_cut_short_is_refused(cache, monkeypatch):
    use(cache, monkeypatch, 3, [1.0, 20.0])
    with pytest.raises(ValueError, match=r"2 latencies on fpga do not fit .*\(3, 22\)"):
        load_fbnet("fpga")


def test_an_altered_file_is_named(cache):
    put(cache, FBNET_ARCHITECTURES, as_pt([]))
    with pytest.raises(ValueError, match=r"arch\.pt is truncated or altered"):
        load_fbnet("raspi4")


TABLE = random_table(2, 3)
ROWS, SUMS = random_architectures(9, 2, 3), np.ones(9)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: load_fbnet("abacus"), r"unknown device 'abacus'; choose from \['rasp"),
        (lambda: TABLE.latency([0]), "must have 2 operations, .* got 1"),
        (lambda: TABLE.latency([0, 3]), "unknown operation 3; use 0 to 2"),
        (lambda: TABLE.latency([-1, 0]), "unknown operation -1; use 0 to 2"),
        (
            lambda: fit_additive(ROWS, SUMS[:8], operations=3),
            r"got \(9, 2\) and \(8,\)",
        ),
        (lambda: fit_additive(ROWS - 1, SUMS, operations=3), "0 or larger"),
        (lambda: fit_additive(ROWS, SUMS, operations=2), "below 2, got 2"),
        (lambda: fit_additive(ROWS[:3], SUMS[:3], operations=3), "3 of 5 unknowns"),
        (lambda: fit_additive(ROWS, SUMS, operations=4), "5 of 7 unknowns; give more"),
    ],
)
def test_bad_input_is_explained(call, message):
    with pytest.raises(ValueError, match=message):
        call()
