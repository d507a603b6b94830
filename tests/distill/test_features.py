"""Checks of features, and the smaller size of two."""

import pytest
import torch

from effdl.distill.features import check_maps, check_same_inputs, same_size


def test_both_maps_come_to_the_smaller_side_in_each_direction():
    """Sides (4, 2) and (2, 6) meet at (2, 2)."""
    a, b = same_size(torch.rand(3, 5, 4, 2), torch.rand(3, 1, 2, 6))
    assert a.shape == (3, 5, 2, 2)
    assert b.shape == (3, 1, 2, 2)


def test_by_hand():
    """Four pixels 1, 2, 3, 6 become their mean, 3; the other map stays."""
    large = torch.tensor([[[[1.0, 2.0], [3.0, 6.0]]]])
    small = torch.tensor([[[[7.0]]]])
    assert [m.item() for m in same_size(large, small)] == [3, 7]
    assert [m.item() for m in same_size(small, large)] == [7, 3]


def test_maps_of_one_size_are_left_as_they_are():
    a, b = torch.rand(2, 3, 5, 4), torch.rand(2, 7, 5, 4)
    same_a, same_b = same_size(a, b)
    assert same_a is a
    assert same_b is b


def test_comparable_features_pass():
    check_maps(torch.ones(2, 3, 4, 4), torch.ones(2, 5, 8, 8), same_channels=False)
    check_maps(torch.ones(2, 3, 4, 4), torch.ones(2, 3, 8, 8), same_channels=True)
    check_same_inputs(torch.ones(2, 3), torch.ones(2, 5, 8, 8))


@pytest.mark.parametrize(
    ("student", "teacher", "message"),
    [
        ((2, 3), (2, 3, 4, 4), r"must be maps \(N, C, H, W\), got \(2, 3\) and"),
        ((2, 3, 4, 4), (2, 3), r"and \(2, 3\)$"),
        ((2, 3, 4, 4), (1, 3, 4, 4), "student has 2 inputs and teacher 1; show both"),
        ((2, 3, 4, 4), (2, 6, 4, 4), "3 channels and teacher 6; map the student's by"),
        ((0, 3, 4, 4), (0, 3, 4, 4), "student must be features .* not empty"),
        ((2, 3, 4, 4), (2, 3, 0, 4), "teacher must be features .* not empty"),
    ],
)
def test_maps_that_cannot_be_compared_are_refused(student, teacher, message):
    with pytest.raises(ValueError, match=message):
        check_maps(torch.ones(student), torch.ones(teacher), same_channels=True)


def test_a_vector_is_no_batch_of_features():
    with pytest.raises(ValueError, match=r"student must be .* got \(4,\)"):
        check_same_inputs(torch.ones(4), torch.ones(4, 1))
