"""DIST: Pearson's correlation of rows and columns, and what it cannot see."""

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from effdl.data.digits import Split
from effdl.distill.dist import (
    between_classes,
    dist_loss,
    distil_relations,
    within_classes,
)
from effdl.distill.recipe import Recipe


def probabilities(seed, temperature=1.0):
    torch.manual_seed(seed)
    return (torch.randn(7, 5, dtype=torch.float64) / temperature).softmax(dim=1)


def test_the_loss_is_one_minus_the_mean_correlation_of_rows_and_of_columns():
    s, t = torch.randn(7, 5), 3 * torch.randn(7, 5)
    q, p = (np.exp(x.numpy() / 2.0) for x in (s, t))
    q, p = q / q.sum(1, keepdims=True), p / p.sum(1, keepdims=True)
    rows = 1 - np.mean([np.corrcoef(q[n], p[n])[0, 1] for n in range(7)])
    columns = 1 - np.mean([np.corrcoef(q[:, c], p[:, c])[0, 1] for c in range(5)])
    found = dist_loss(s, t, temperature=2.0, beta=0.7, gamma=1.5)
    assert float(found) == pytest.approx(4 * (0.7 * rows + 1.5 * columns), rel=1e-4)


def test_by_hand():
    """Rows (0, 1, 2) and (0, 2, 1): centred (-1, 0, 1) and (-1, 1, 0), r = 1/2."""
    one, other = torch.tensor([[0.0, 1, 2]]), torch.tensor([[0.0, 2, 1]])
    assert float(between_classes(one, other)) == pytest.approx(0.5)
    assert float(within_classes(one.T, other.T)) == pytest.approx(0.5)


def test_rows_may_be_stretched_and_moved_each_by_its_own_amount():
    q, p = probabilities(1), probabilities(2)
    a, b = torch.rand(7, 1) * 9 + 0.1, torch.randn(7, 1)
    torch.testing.assert_close(between_classes(q, a * p + b), between_classes(q, p))
    assert not torch.isclose(within_classes(q, a * p + b), within_classes(q, p))


def test_columns_may_be_stretched_and_moved_each_by_its_own_amount():
    q, p = probabilities(1), probabilities(2)
    a, b = torch.rand(5) * 9 + 0.1, torch.randn(5)
    torch.testing.assert_close(within_classes(q, a * p + b), within_classes(q, p))
    assert not torch.isclose(between_classes(q, a * p + b), between_classes(q, p))


@pytest.mark.parametrize("scale", [1e-5, 1e5])
def test_one_stretch_for_all_is_seen_by_neither(scale):
    q, p = probabilities(1), probabilities(2)
    for part in (between_classes, within_classes):
        torch.testing.assert_close(part(q, scale * p - 3 * scale), part(q, p))


def test_a_negative_stretch_turns_agreement_into_its_opposite():
    q = probabilities(1)
    for part in (between_classes, within_classes):
        assert float(part(q, q)) == pytest.approx(0, abs=1e-9)
        assert float(part(q, 1 - q)) == pytest.approx(2)


def test_no_spread_counts_as_no_correlation_and_has_a_finite_slope():
    assert float(dist_loss(torch.randn(4, 3), torch.zeros(4, 3))) == pytest.approx(2)
    start = torch.zeros(4, 3, requires_grad=True)
    dist_loss(start, torch.randn(4, 3)).backward()
    assert start.grad.isfinite().all()


def test_a_student_less_sure_than_its_teacher_pays_less_than_for_kl():
    """Of two classes, rows correlate fully whenever the same one is ahead."""
    s, t = (
        torch.tensor([[0.5, 0.0], [0.0, 0.2]]),
        torch.tensor([[9.0, 0.0], [0.0, 9.0]]),
    )
    assert float(dist_loss(s, t, gamma=0.0)) == pytest.approx(0, abs=1e-6)
    assert float(F.kl_div(s.log_softmax(1), t.softmax(1), reduction="batchmean")) > 0.4


def test_only_the_student_gets_a_slope():
    s, t = torch.randn(6, 4, requires_grad=True), torch.randn(6, 4, requires_grad=True)
    dist_loss(s, t).backward()
    assert t.grad is None
    assert s.grad.count_nonzero() == s.numel()


def test_the_default_weights_and_temperature_are_one():
    s, t = torch.randn(6, 4), torch.randn(6, 4)
    q, p = s.softmax(1), t.softmax(1)
    expected = between_classes(q, p) + within_classes(q, p)
    torch.testing.assert_close(dist_loss(s, t), expected)


def test_training_adds_the_relations_to_the_cross_entropy_of_the_labels():
    """One step of one batch: the epoch's loss is that of the weights at the start."""
    x = torch.randn(20, 6)
    split = Split(x, torch.randint(0, 4, (20,)))
    teacher, student = nn.Linear(6, 4).eval(), nn.Linear(6, 4)
    before, asked = copy.deepcopy(student), copy.deepcopy(teacher)
    recipe = Recipe(epochs=1, batch_size=20)
    settings = {"temperature": 3.0, "beta": 0.5, "gamma": 2.0}
    (loss,) = distil_relations(student, teacher, split, recipe, **settings)
    with torch.no_grad():
        expected = F.cross_entropy(before(x), split.targets)
        expected += dist_loss(before(x), teacher(x), **settings)
    assert loss == pytest.approx(float(expected), rel=1e-5)
    assert torch.equal(teacher.weight, asked.weight)
    assert teacher.weight.grad is None


def test_the_student_comes_to_relate_classes_as_the_teacher_does():
    x = torch.randn(200, 6)
    teacher, student = nn.Linear(6, 4).eval(), nn.Linear(6, 4)
    split = Split(x, teacher(x).argmax(dim=1))
    first = dist_loss(student(x), teacher(x)).item()
    distil_relations(student, teacher, split, Recipe(batch_size=20))
    assert dist_loss(student(x), teacher(x)).item() < first / 5


def test_bad_input_is_refused():
    x = torch.zeros(2, 3)
    with pytest.raises(ValueError, match="temperature must be"):
        dist_loss(x, x, temperature=0.0)
    with pytest.raises(ValueError, match="3 classes and teacher 4"):
        dist_loss(x, torch.zeros(2, 4))
    for weights in ({"beta": -1.0}, {"gamma": -1.0}, {"gamma": float("nan")}):
        with pytest.raises(ValueError, match="beta and gamma must be at least 0"):
            dist_loss(x, x, **weights)
    split = Split(torch.eye(2), torch.arange(2))
    with pytest.raises(ValueError, match="training mode"):
        distil_relations(nn.Linear(2, 2), nn.Linear(2, 2), split)
