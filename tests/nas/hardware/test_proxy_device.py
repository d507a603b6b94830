"""One proxy device: what equal orders guarantee, and what a transfer loses."""

from itertools import pairwise

import numpy as np
import pytest

from effdl.nas.cell_space import OPERATIONS, all_cells
from effdl.nas.cellbench import load_cellbench
from effdl.nas.hardware.proxy_device import (
    OperatorTable,
    adapt_table,
    dominated_area,
    fit_table,
    same_order,
    transfer_loss,
)
from effdl.nas.public_files import CELL_ACCURACIES, CELL_LATENCIES, CELL_NUMBERS
from effdl.nas.public_tables import load_nas_bench_201
from effdl.nas.ranking import pareto_front, spearman
from public_data import skip_unless_cached

ADDS = OPERATIONS[1:]  # none is what the others are compared with


def has_operators(cells):
    """Return for each cell and edge which of the four operations it has, (n, 24)."""
    places = {(e, o): e * 4 + k for e in range(6) for k, o in enumerate(ADDS)}
    rows = np.zeros((len(cells), 24))
    for row, cell in zip(rows, cells, strict=True):
        for edge, name in enumerate(cell.operations):
            if (edge, name) in places:
                row[places[edge, name]] = 1
    return rows


def rugged_area(costs, values, reference):
    """Return the area on a grid of all costs and values, cell by cell."""
    xs = sorted({*costs, reference[0]})
    ys = sorted({*values, reference[1]})
    area = 0.0
    for x0, x1 in pairwise(xs):
        for y0, y1 in pairwise(ys):
            inside = x1 <= reference[0] and y0 >= reference[1]
            beaten = any(
                c <= x0 and v >= y1 for c, v in zip(costs, values, strict=True)
            )
            area += (x1 - x0) * (y1 - y0) * (inside and beaten)
    return area


@pytest.mark.parametrize("seed", range(10))
def test_devices_of_the_same_order_have_the_same_front_exactly(seed):
    """The oracle, with ties: whatever rises strictly changes no front."""
    random = np.random.default_rng(seed)
    costs = random.integers(1, 30, size=60).astype(float)
    values = random.integers(0, 20, size=60).astype(float)
    other = np.exp(random.uniform(0.1, 0.5) * costs) + random.uniform(0, 9)
    assert same_order(costs, other)
    first, second = pareto_front(costs, values), pareto_front(other, values)
    assert np.array_equal(first, second)
    assert transfer_loss(costs, other, values) == 0
    assert spearman(costs, other) == pytest.approx(1)


def test_two_networks_changing_places_can_change_the_front():
    costs, values = np.array([1.0, 2, 3]), np.array([0.5, 0.6, 0.7])
    other = np.array([1.0, 4, 3])
    assert not same_order(costs, other)
    assert pareto_front(costs, values).tolist() == [0, 1, 2]
    assert pareto_front(other, values).tolist() == [0, 2]


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ([1, 2, 3], [1, 4, 9], True),
        ([2, 2, 3], [5, 5, 6], True),
        ([2, 2, 3], [5, 6, 7], False),
        ([1, 2, 3], [5, 5, 7], False),
        ([1, 2, 3], [3, 2, 1], False),
    ],
)
def test_an_order_has_its_ties(first, second, same):
    assert same_order(first, second) == same


@pytest.mark.parametrize("seed", range(5))
def test_the_area_is_that_of_the_grid(seed):
    random = np.random.default_rng(seed)
    costs, values = random.uniform(0, 1, 12), random.uniform(0, 1, 12)
    reference = (0.8, 0.2)  # some points do not beat it
    found = dominated_area(costs, values, reference=reference)
    assert found == pytest.approx(rugged_area(costs, values, reference))


def test_the_loss_of_a_front_by_hand():
    """Reference (4, 0). Own front on the target: (1, 1), (2, 2): 3 + 2 = 5.

    The proxy takes the last for the fastest and the first for slow: keeps (2, 2) and
    (3, 1.5) only, an area of 4.
    """
    target, values = [1.0, 2.0, 3.0], [1.0, 2.0, 1.5]
    proxy = [3.0, 2.0, 1.0]
    assert pareto_front(proxy, values).tolist() == [2, 1]
    loss = transfer_loss(proxy, target, values, reference=(4.0, 0.0))
    assert loss == pytest.approx(1 / 5)


def test_a_transfer_never_gains():
    random = np.random.default_rng(0)
    for _ in range(20):
        proxy, target, values = random.uniform(size=(3, 50))
        assert 0 <= transfer_loss(proxy, target, values) <= 1
        assert transfer_loss(target, target, values) == 0


def test_the_default_reference_is_the_worst_of_both():
    target, values = np.array([1.0, 2.0, 5.0]), np.array([0.1, 0.6, 0.9])
    proxy = [2.0, 1.0, 3.0]
    wanted = transfer_loss(proxy, target, values, reference=(5.0, 0.1))
    assert transfer_loss(proxy, target, values) == wanted


def test_a_table_that_adds_up_is_found_again():
    random = np.random.default_rng(0)
    has = random.integers(0, 3, size=(80, 10)).astype(float)
    each = random.uniform(size=10)
    table = fit_table(has, 4 + has @ each)
    assert table.base == pytest.approx(4)
    np.testing.assert_allclose(table.each, each)
    np.testing.assert_allclose(table.predict(has), 4 + has @ each)


def test_of_tables_that_fit_equally_the_smallest_is_taken():
    """Two operators that always come together share what they add, 6, evenly."""
    table = fit_table([[0, 0], [1, 1], [2, 2]], [1.0, 7.0, 13.0])
    np.testing.assert_allclose(table.each, [3.0, 3.0])


def proxy_and_target(seed):
    """Return a proxy's table, and one 3 times as slow with two operators different."""
    random = np.random.default_rng(seed)
    proxy = OperatorTable(5.0, random.uniform(1, 2, 24))
    each = 3 * proxy.each
    each[[4, 17]] *= [3.0, 4.0]
    return proxy, OperatorTable(40.0, each), random


@pytest.mark.parametrize("seed", range(3))
def test_a_few_measurements_find_the_few_operators_that_differ(seed):
    proxy, target, random = proxy_and_target(seed)
    few = random.integers(0, 2, size=(40, 24)).astype(float)
    many = random.integers(0, 2, size=(500, 24)).astype(float)
    adapted = adapt_table(proxy, few, target.predict(few))
    truth = target.predict(many)
    before = spearman(proxy.predict(many), truth)
    after = spearman(adapted.predict(many), truth)
    assert before < 0.9 < 0.97 < after
    change = adapted.each / proxy.each
    assert set(change.argsort()[-2:]) == {4, 17}


def test_a_device_that_is_slower_as_a_whole_needs_no_correction():
    proxy, _, random = proxy_and_target(0)
    few = random.integers(0, 2, size=(30, 24)).astype(float)
    adapted = adapt_table(proxy, few, 2 + 7 * few @ proxy.each)
    np.testing.assert_allclose(adapted.each, 7 * proxy.each)
    assert adapted.base == pytest.approx(2)


def test_a_high_price_leaves_the_proxys_proportions():
    proxy, target, random = proxy_and_target(1)
    few = random.integers(0, 2, size=(40, 24)).astype(float)
    measured = target.predict(few)
    counts = []
    for strength in (1e-3, 3e-2, 10.0):
        change = adapt_table(proxy, few, measured, strength=strength).each / proxy.each
        counts.append(int((abs(change - np.median(change)) > 1e-9).sum()))
    assert counts[0] > counts[1] > counts[2] == 0


def test_the_corrections_solve_the_stated_problem():
    """At the minimum the slope of the squares is at most the price, on b.

    b in units in which the largest operator moves the prediction by one deviation.
    """
    proxy, target, random = proxy_and_target(2)
    few = random.integers(0, 2, size=(40, 24)).astype(float)
    y, strength = target.predict(few), 0.02
    table = adapt_table(proxy, few, y, strength=strength)
    left = (y - table.predict(few)) / y.std()
    effect = few * proxy.each / proxy.each.max()
    slope = (effect - effect.mean(axis=0)).T @ left / len(y)
    total = few @ proxy.each
    factor = np.cov(total, y, bias=True)[0, 1] / total.var()
    b = table.each / proxy.each - factor
    moved = abs(b) > 1e-9
    np.testing.assert_allclose(slope[moved], strength * np.sign(b[moved]), rtol=1e-2)
    assert (abs(slope[~moved]) <= strength * 1.01).all()


def test_our_own_two_devices_are_one_image_and_sixty_four_at_once():
    """Not monotone at all: of one image it is the starts of operators that count."""
    table = load_cellbench()
    one, many = table.need("latency_1"), table.need("latency_64")
    values = table.mean("validation")
    assert not same_order(one, many)
    assert 0.5 < spearman(one, many) < 0.7
    loss = transfer_loss(one, many, values)
    assert 0 < loss < 0.1


def test_published_latencies_are_monotone_between_two_devices_of_three():
    skip_unless_cached(CELL_ACCURACIES, CELL_NUMBERS, *CELL_LATENCIES.values())
    table = load_nas_bench_201()
    raspi4, pixel3, eyeriss = (table.need(f"latency_{d}") for d in CELL_LATENCIES)
    assert spearman(raspi4, pixel3) == pytest.approx(0.967, abs=1e-3)
    assert spearman(raspi4, eyeriss) == pytest.approx(0.68, abs=5e-3)
    values = table.validation[:, 0]
    close = transfer_loss(raspi4, pixel3, values)
    far = transfer_loss(raspi4, eyeriss, values)
    assert 0 < close < far


def test_the_published_table_of_a_proxy_is_adapted_by_thirty_measurements():
    skip_unless_cached(CELL_ACCURACIES, CELL_NUMBERS, *CELL_LATENCIES.values())
    table = load_nas_bench_201()
    cells = tuple(all_cells())
    has = has_operators(cells)
    raspi4, eyeriss = (table.need(f"latency_{d}") for d in ("raspi4", "eyeriss"))
    proxy = fit_table(has, raspi4)
    few = np.random.default_rng(0).choice(len(cells), 30, replace=False)
    adapted = adapt_table(proxy, has[few], eyeriss[few])
    after = spearman(adapted.predict(has), eyeriss)
    assert after > spearman(proxy.predict(has), eyeriss)


def test_what_cannot_be_is_named():
    proxy = OperatorTable(0.0, np.ones(2))
    with pytest.raises(ValueError, match="strength must be above 0"):
        adapt_table(proxy, [[0, 1], [1, 0]], [1.0, 2.0], strength=0)
    with pytest.raises(ValueError, match="measure other networks"):
        adapt_table(proxy, [[0, 1], [1, 0]], [2.0, 2.0])
    with pytest.raises(ValueError, match=r"reference .* is not beaten"):
        transfer_loss([1, 2], [1, 2], [0.5, 0.5])
