"""ERK: densities by the sides of the layers, against a root found by scipy."""

import math

import pytest

from effdl.blocks import plain_net
from effdl.prune.densities import erk_sparsities
from effdl.prune.pruned import count_kept, weights_of
from effdl.prune.thresholds import layer_masks

MLP = {"first": (200, 256), "second": (100, 200), "last": (10, 100)}
CONVOLUTIONS = {
    "a": (8, 1, 3, 3),
    "b": (16, 8, 3, 3),
    "c": (32, 16, 3, 3),
    "d": (10, 32),
}


def kept(shapes, sparsities):
    """Return how many weights are left, of how many."""
    sizes = {name: math.prod(shape) for name, shape in shapes.items()}
    return sum(s * (1 - sparsities[n]) for n, s in sizes.items()), sum(sizes.values())


@pytest.mark.parametrize("shapes", [MLP, CONVOLUTIONS])
@pytest.mark.parametrize("sparsity", [0.05, 0.3, 0.5, 0.8, 0.95, 0.99])
def test_densities_are_those_of_the_factor_that_scipy_finds(shapes, sparsity):
    """Solve sum of min(1, factor raw) size = (1 - sparsity) total for the factor."""
    optimize = pytest.importorskip("scipy.optimize")
    sizes = {name: math.prod(shape) for name, shape in shapes.items()}
    raw = {name: sum(shape) / sizes[name] for name, shape in shapes.items()}

    def excess(factor):
        left = sum(min(1, factor * raw[name]) * sizes[name] for name in sizes)
        return left - (1 - sparsity) * sum(sizes.values())

    factor = optimize.brentq(excess, 0, 1e6, xtol=1e-13)
    found = erk_sparsities(shapes, sparsity)
    for name, value in found.items():
        assert value == pytest.approx(1 - min(1, factor * raw[name]), abs=1e-6)


def test_densities_by_hand():
    """Sides of 20 + 20 for 400, and 10 + 10 for 100 weights: 0.1 against 0.2.

    A tenth of all, 50, is factor (40 + 20), so the factor is 5/6.
    """
    found = erk_sparsities({"wide": (20, 20), "thin": (10, 10)}, 0.9)
    assert found["wide"] == pytest.approx(1 - 0.1 * 5 / 6)
    assert found["thin"] == pytest.approx(1 - 0.2 * 5 / 6)


def test_a_kernel_counts_with_its_sides():
    """(2 + 2 + 3 + 3) / 36 against (2 + 18) / 36 for a matrix of as many weights."""
    found = erk_sparsities({"kernel": (2, 2, 3, 3), "matrix": (2, 18)}, 0.75)
    assert (1 - found["matrix"]) / (1 - found["kernel"]) == pytest.approx(2)


@pytest.mark.parametrize("shapes", [MLP, CONVOLUTIONS])
@pytest.mark.parametrize("sparsity", [0.0, 0.05, 0.5, 0.9, 0.999])
def test_all_layers_together_have_the_sparsity_and_each_is_within_bounds(
    shapes, sparsity
):
    found = erk_sparsities(shapes, sparsity)
    left, total = kept(shapes, found)
    assert left == pytest.approx((1 - sparsity) * total)
    assert all(0 <= value < 1 for value in found.values())
    assert found.keys() == shapes.keys()


def test_layers_that_would_be_more_than_whole_stay_whole():
    """At 80 % the last layer of the small network would have a density of 1.6."""
    found = erk_sparsities(MLP, 0.8)
    assert found["last"] == 0
    assert 0 < found["second"] < found["first"] < 1
    assert erk_sparsities(MLP, 0.0) == {"first": 0, "second": 0, "last": 0}


def test_layers_of_one_shape_share_evenly():
    found = erk_sparsities({"a": (4, 6), "b": (4, 6)}, 0.75)
    assert found == {"a": pytest.approx(0.75), "b": pytest.approx(0.75)}


def test_its_result_is_what_layer_masks_take():
    weights = weights_of(plain_net(4))
    shapes = {name: weight.shape for name, weight in weights.items()}
    scores = {name: weight.abs() for name, weight in weights.items()}
    masks = layer_masks(scores, erk_sparsities(shapes, 0.9))
    assert count_kept(masks).sparsity == pytest.approx(0.9, abs=0.001)


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="shapes is empty"):
        erk_sparsities({}, 0.5)
    with pytest.raises(ValueError, match="sparsity must be at least 0 and below 1"):
        erk_sparsities(MLP, 1.0)
