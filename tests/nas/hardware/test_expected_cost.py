"""Expected costs: sums, their closed-form slope, and what a target may be."""

import itertools

import numpy as np
import pytest
import torch

from effdl.nas.fbnet_table import fit_additive, load_fbnet
from effdl.nas.gradient.architecture import Architecture
from effdl.nas.hardware.expected_cost import (
    CostTable,
    check_target,
    cost_range,
    expected_cost,
)
from effdl.nas.public_files import FBNET_ARCHITECTURES, FBNET_LATENCIES
from public_data import skip_unless_cached

SMALL = CostTable(1.0, torch.tensor([[2.0, 4.0, 9.0], [0.5, 3.0, 1.0]]))


def drawn(edges=5, candidates=4):
    """Return a table of random costs in double precision, some of them negative."""
    return CostTable(0.7, torch.randn(edges, candidates, dtype=torch.float64))


def test_it_is_the_mean_over_architectures_drawn_edge_by_edge():
    """Every architecture with its probability: a sum over K^E of them."""
    table = drawn(edges=4, candidates=3)
    weights = torch.randn(4, 3, dtype=torch.float64).softmax(dim=1)
    mean = 0.0
    for choices in itertools.product(range(3), repeat=4):
        chance = np.prod([weights[e, k].item() for e, k in enumerate(choices)])
        mean += chance * table.of(choices)
    assert expected_cost(weights, table).item() == pytest.approx(mean, rel=1e-12)


def test_the_slope_in_the_logits_is_the_closed_form():
    """In logit a_k it is p_k (c_k - sum_j p_j c_j), edge by edge."""
    table = drawn()
    logits = torch.randn(5, 4, dtype=torch.float64, requires_grad=True)
    expected_cost(logits.softmax(dim=1), table).backward()
    for edge in range(5):
        p, c = logits.detach()[edge].softmax(dim=0), table.extra[edge]
        closed = torch.stack([p[k] * (c[k] - (p * c).sum()) for k in range(4)])
        torch.testing.assert_close(logits.grad[edge], closed)


def test_by_hand():
    """1 + (2 + 9) / 2 + 3 = 9.5; and 1 + 4 + 1 = 6."""
    half = torch.tensor([[0.5, 0.0, 0.5], [0.0, 1.0, 0.0]])
    assert expected_cost(half, SMALL).item() == 9.5
    assert SMALL.of((1, 2)) == 6.0


def test_one_hot_weights_cost_what_was_chosen():
    table = drawn()
    found = Architecture([("a", "b", "c", "d")] * 5)
    for choices in ((0, 0, 0, 0, 0), (3, 1, 2, 0, 1), (3, 3, 3, 3, 3)):
        weights = found.one_hot(["abcd"[k] for k in choices]).double()
        cost = expected_cost(weights, table).item()
        assert cost == pytest.approx(table.of(choices), rel=1e-14)


def test_a_table_fitted_to_some_sums_gives_all_others():
    """Synthetic: 4 layers of 3 operations, 40 sums seen of 81."""
    random = np.random.default_rng(0)
    truth = CostTable(2.0, torch.from_numpy(random.random((4, 3))))
    rows = np.array(list(itertools.product(range(3), repeat=4)))
    random.shuffle(rows)
    sums = np.array([truth.of(row) for row in rows.tolist()])
    fitted = fit_additive(rows[:40], sums[:40], operations=3)
    table = CostTable(fitted.base, torch.from_numpy(fitted.extra))
    found = np.array([table.of(row) for row in rows.tolist()])
    np.testing.assert_allclose(found, sums, rtol=1e-12)


@pytest.mark.parametrize("device", list(FBNET_LATENCIES))
def test_the_published_fbnet_latencies_are_additive_to_rounding(device):
    """1,000 architectures give the latency of 400 others, by one-hot weights."""
    skip_unless_cached(FBNET_ARCHITECTURES, FBNET_LATENCIES[device])
    rows, seconds = load_fbnet(device, online=False)
    fitted = fit_additive(rows[:1000], seconds[:1000])
    table = CostTable(fitted.base, torch.from_numpy(fitted.extra))
    weights = torch.eye(9, dtype=torch.float64)[torch.from_numpy(rows[1000::10])]
    found = np.array([expected_cost(w, table).item() for w in weights])
    np.testing.assert_allclose(found, seconds[1000::10], rtol=1e-11)


def test_the_range_holds_every_architecture_and_is_reached():
    found = Architecture([("a", "b", "c")] * 2)
    costs = [SMALL.of(c) for c in itertools.product(range(3), repeat=2)]
    assert cost_range(SMALL, found) == (min(costs), max(costs)) == (3.5, 13.0)


def test_what_is_dropped_does_not_count_in_the_range():
    found = Architecture([("a", "b", "c"), ("a", "b")])
    assert cost_range(SMALL, found) == (3.5, 13.0)
    found.keep_(0, ["b"])
    assert cost_range(SMALL, found) == (5.5, 8.0)


def test_a_target_within_the_range_passes_its_ends_included():
    found = Architecture([("a", "b", "c")] * 2)
    for target in (3.5, 6.1, 13.0):
        check_target(target, SMALL, found)


def test_errors_tell_the_range_and_the_shape():
    found = Architecture([("a", "b", "c")] * 2)
    for target in (3.4, 13.1, float("nan")):
        with pytest.raises(ValueError, match=r"within 3.5 and 13, .* got"):
            check_target(target, SMALL, found)
    with pytest.raises(ValueError, match=r"weights must be \(2, 3\)"):
        expected_cost(torch.ones(3, 2), SMALL)
