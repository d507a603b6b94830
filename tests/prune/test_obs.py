"""Brain surgery on a quadratic: what a weight costs, and how the others make up."""

import pytest
import torch

from effdl.prune.obs import (
    compensation,
    inverse_by_recursion,
    surgeon,
    surgeon_saliency,
    without_index,
)

DOUBLE = torch.float64


def quadratic(size=6, seed=0):
    """Return weights at the minimum of a random quadratic, its H and H^-1."""
    random = torch.Generator().manual_seed(seed)
    factor = torch.randn(size, size + 3, generator=random, dtype=DOUBLE)
    hessian = factor @ factor.T / size
    weight = torch.randn(size, generator=random, dtype=DOUBLE)
    return weight, hessian, torch.linalg.inv(hessian)


def only(index, size=6):
    return torch.arange(size) == index


def cost(step, hessian):
    return step @ hessian @ step / 2


def test_the_step_costs_what_the_saliency_says_and_sets_the_weight_to_0():
    weight, hessian, inverse = quadratic()
    saliency = surgeon_saliency(weight, inverse)
    for index in range(6):
        step = compensation(weight, inverse, only(index))
        assert (weight + step)[index] == 0
        torch.testing.assert_close(cost(step, hessian), saliency[index])
        column = -weight[index] / inverse[index, index] * inverse[:, index]
        torch.testing.assert_close(step, column)


def test_no_other_step_that_sets_the_weights_to_0_is_cheaper():
    weight, hessian, inverse = quadratic()
    gone = torch.tensor([True, False, True, False, False, True])
    step = compensation(weight, inverse, gone)
    best = cost(step, hessian)
    for _ in range(50):
        other = torch.where(gone, step, step + 0.1 * torch.randn(6, dtype=DOUBLE))
        assert cost(other, hessian) > best


def test_two_weights_by_hand():
    """H^-1 = (1, 1/2; 1/2, 1): the first weight 2 costs 4/2, the second moves by -1."""
    weight = torch.tensor([2.0, 5.0])
    inverse = torch.tensor([[1.0, 0.5], [0.5, 1.0]])
    assert surgeon_saliency(weight, inverse).tolist() == [2.0, 12.5]
    assert compensation(weight, inverse, only(0, 2)).tolist() == [-2.0, -1.0]


def test_in_a_linear_regression_it_is_the_refit_without_the_feature():
    inputs = torch.randn(40, 5, dtype=DOUBLE)
    targets = torch.randn(40, 1, dtype=DOUBLE)
    weight = torch.linalg.lstsq(inputs, targets).solution[:, 0]
    inverse = torch.linalg.inv(inputs.T @ inputs / 40)
    kept = ~only(2, 5)
    refit = torch.linalg.lstsq(inputs[:, kept], targets).solution[:, 0]
    pruned = weight + compensation(weight, inverse, only(2, 5))
    torch.testing.assert_close(pruned[kept], refit)


def test_with_a_diagonal_hessian_it_is_brain_damage():
    weight, diagonal = torch.randn(6), torch.rand(6) + 0.1
    inverse = torch.diag(1 / diagonal)
    torch.testing.assert_close(
        surgeon_saliency(weight, inverse), diagonal * weight**2 / 2
    )
    step = compensation(weight, inverse, only(4))
    torch.testing.assert_close(step, -weight[4] * only(4).float())


def test_without_an_index_it_is_the_inverse_of_the_smaller_matrix():
    _, hessian, inverse = quadratic()
    kept = ~only(3)
    smaller = without_index(inverse, 3)
    expected = torch.linalg.inv(hessian[kept][:, kept])
    torch.testing.assert_close(smaller[kept][:, kept], expected)


def test_what_went_is_exactly_0_in_it_without_rounding():
    _, _, inverse = quadratic(30)
    inverse = inverse.float()
    for index in range(30):
        smaller = without_index(inverse, index)
        assert not smaller[index].any()
        assert not smaller[:, index].any()


def test_one_by_one_or_all_at_once_ends_at_the_same_weights():
    weight, hessian, inverse = quadratic()
    done = surgeon(weight, inverse, 3)
    gone = torch.zeros(6, dtype=torch.bool)
    gone[done.removed] = True
    at_once = weight + compensation(weight, inverse, gone)
    torch.testing.assert_close(done.weight, at_once)
    assert (done.weight[gone] == 0).all()
    assert (done.weight[~gone] != 0).all()
    torch.testing.assert_close(
        done.increases.sum(), cost(done.weight - weight, hessian)
    )


def test_each_time_the_cheapest_of_what_is_left_goes():
    weight, _, inverse = quadratic(seed=1)
    done = surgeon(weight, inverse, 6)
    assert sorted(done.removed.tolist()) == list(range(6))
    assert not done.weight.any()
    for index, increase in zip(done.removed, done.increases, strict=True):
        left = surgeon_saliency(weight, inverse + 1e-300 * torch.eye(6, dtype=DOUBLE))
        torch.testing.assert_close(left[index], increase)
        live = inverse.diagonal() > 1e-9
        assert increase <= left[live].min() + 1e-9
        weight = weight - weight[index] / inverse[index, index] * inverse[:, index]
        inverse = without_index(inverse, int(index))


def test_the_arguments_are_left_as_they_were():
    weight, _, inverse = quadratic()
    before = weight.clone(), inverse.clone()
    surgeon(weight, inverse, 2)
    compensation(weight, inverse, only(0))
    assert torch.equal(weight, before[0])
    assert torch.equal(inverse, before[1])


def test_the_recursion_arrives_at_the_inverse():
    vectors = torch.randn(9, 5, dtype=DOUBLE)
    hessian = 0.01 * torch.eye(5, dtype=DOUBLE) + vectors.T @ vectors / 9
    found = inverse_by_recursion(vectors, damping=0.01)
    torch.testing.assert_close(found, torch.linalg.inv(hessian))
    assert inverse_by_recursion(vectors.float()).dtype == torch.float32


def test_surgery_beats_damage_where_weights_stand_in_for_each_other():
    """Two inputs are nearly the same: one of their weights can carry both."""
    inputs = torch.randn(200, 4, dtype=DOUBLE)
    inputs[:, 1] = inputs[:, 0] + 0.05 * torch.randn(200, dtype=DOUBLE)
    weight = torch.tensor([1.0, 1.2, 0.9, 0.8], dtype=DOUBLE)
    hessian = inputs.T @ inputs / 200
    surgery = surgeon(weight, torch.linalg.inv(hessian), 1)
    damage = (hessian.diagonal() * weight**2 / 2).argmin()
    assert surgery.removed.item() == 0
    assert damage.item() == 3
    step = torch.where(only(3, 4), -weight, 0)
    assert surgery.increases.item() < 0.05 * cost(step, hessian)


WEIGHT, EYE = torch.ones(2), torch.eye(2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: surgeon_saliency(WEIGHT, torch.eye(3)), "must be .2, 2., got .3, 3."),
        (lambda: surgeon_saliency(WEIGHT, -EYE), "would become nan; invert with more"),
        (lambda: compensation(WEIGHT, EYE * torch.nan, WEIGHT > 0), "positive on its"),
        (lambda: surgeon(WEIGHT, 0 * EYE, 1), "must be positive on its diagonal"),
        (lambda: compensation(WEIGHT, EYE, WEIGHT), "removed must be bool of shape"),
        (
            lambda: compensation(WEIGHT, EYE, only(0, 3)),
            "removed must be bool of shape",
        ),
        (lambda: surgeon(WEIGHT, EYE, 3), "count must be at most 2, got 3"),
        (lambda: surgeon(WEIGHT, EYE, 0), "count must be at least 1, got 0"),
        (lambda: inverse_by_recursion(EYE, damping=0), "damping must be above 0"),
        (lambda: inverse_by_recursion(EYE, damping=torch.nan), "damping must be"),
        (lambda: inverse_by_recursion(torch.zeros(0, 2)), "vectors must be at least 1"),
    ],
)
def test_what_would_end_in_nan_is_named_before(call, message):
    with pytest.raises(ValueError, match=message):
        call()
