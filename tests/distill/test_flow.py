"""FSP: which channels of two layers act together."""

from itertools import product

import numpy as np
import pytest
import torch

from effdl.distill.flow import flow_loss, flow_matrix


def literal_matrix(first, second):
    """Return P of one input, by loops."""
    m, height, width = first.shape
    p = np.zeros((m, len(second)))
    for i, j, h, w in product(*map(range, (m, len(second), height, width))):
        p[i, j] += first[i, h, w] * second[j, h, w] / (height * width)
    return p


def layers(*channels, size=3, inputs=2):
    return [torch.randn(inputs, c, size, size, dtype=torch.float64) for c in channels]


def test_the_matrix_is_the_mean_product_over_pixels():
    first, second = layers(4, 5)
    pairs = zip(first.numpy(), second.numpy(), strict=True)
    expected = np.stack([literal_matrix(f, g) for f, g in pairs])
    np.testing.assert_allclose(flow_matrix(first, second), expected)


def test_the_loss_adds_up_squares_and_pairs_and_averages_inputs():
    """A public program has the mean over i and j where the paper has the sum."""
    student, teacher = layers(2, 3, 4), layers(2, 3, 4)
    expected = 0.0
    for a in range(2):
        for n in range(2):
            p_s, p_t = (
                literal_matrix(x[a][n].numpy(), x[a + 1][n].numpy())
                for x in (student, teacher)
            )
            expected += ((p_s - p_t) ** 2).sum() / 2
    np.testing.assert_allclose(float(flow_loss(student, teacher)), expected)


def test_by_hand():
    """Pixels (1, 2) and (3, 4): (3 + 8) / 2 = 5.5; against (1, 1) and (1, 1), 1."""
    student = [torch.tensor([[[[1.0, 2.0]]]]), torch.tensor([[[[3.0, 4.0]]]])]
    teacher = [torch.ones(1, 1, 1, 2)] * 2
    assert flow_matrix(*student).item() == 5.5
    assert flow_loss(student, teacher).item() == 4.5**2


def test_the_same_pixels_in_another_order_change_nothing():
    student, teacher = layers(3, 4), layers(3, 4)
    moved = [maps.flip(2) for maps in student]
    torch.testing.assert_close(flow_loss(moved, teacher), flow_loss(student, teacher))
    assert flow_loss([student[0], moved[1]], student) > 0


def test_layers_of_other_sizes_are_averaged_to_the_smaller():
    first, second = torch.rand(2, 3, 4, 4), torch.rand(2, 5, 2, 2)
    pooled = first.view(2, 3, 2, 2, 2, 2).mean((3, 5))
    torch.testing.assert_close(flow_matrix(first, second), flow_matrix(pooled, second))


def test_only_the_student_gets_a_gradient():
    student, teacher = layers(3, 4), layers(3, 4)
    for maps in student + teacher:
        maps.requires_grad_()
    flow_loss(student, teacher).backward()
    assert all(maps.grad.abs().sum() > 0 for maps in student)
    assert all(maps.grad is None for maps in teacher)


@pytest.mark.parametrize(
    ("student", "teacher", "message"),
    [
        ((3,), (3,), "as many layers, two at least, got 1 and 1"),
        ((3, 4), (3, 4, 5), "got 2 and 3"),
        ((3, 4), (3, 8), "student has 4 channels and teacher 8"),
        ((2, 4), (3, 4), "student has 2 channels and teacher 3"),
    ],
)
def test_layers_that_do_not_match_are_refused(student, teacher, message):
    with pytest.raises(ValueError, match=message):
        flow_loss(layers(*student), layers(*teacher))
