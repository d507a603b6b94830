"""The missing class: what is left out, the exact bias, and what soft targets leave."""

import pytest
import torch
from torch import nn

from effdl.data.digits import Split
from effdl.distill.kd import distil
from effdl.distill.missing_class import (
    best_bias,
    leads,
    recall,
    shifted,
    without_class,
)
from effdl.distill.recipe import Recipe
from effdl.seed import seeded


def right(logits, targets):
    return int((logits.argmax(dim=1) == targets).sum())


def test_the_bias_is_as_good_as_the_best_of_many():
    for seed in range(5):
        with seeded(seed):
            logits = torch.randn(40, 4)
            targets = torch.randint(4, (40,))
        found = best_bias(logits, targets, 2)
        tried = torch.linspace(-8, 8, 1601).tolist()
        most = max(right(shifted(logits, 2, b), targets) for b in tried)
        assert right(shifted(logits, 2, found), targets) == most


def test_an_input_goes_over_when_the_bias_exceeds_its_lead():
    logits = torch.randn(50, 5)
    ahead = leads(logits, 3)
    for n in range(50):
        others = [float(logits[n, i]) for i in range(5) if i != 3]
        assert ahead[n].item() == pytest.approx(max(others) - float(logits[n, 3]))
    over = shifted(logits, 3, 0.7).argmax(dim=1) == 3
    assert torch.equal(over, ahead < 0.7)


def test_by_hand():
    """Leads 4, 3, 1 of class 1. Right: a, a, 1. Best above 1 and below 3: 2."""
    logits = torch.tensor([[4.0, 0.0], [3.0, 0.0], [1.0, 0.0]])
    assert best_bias(logits, torch.tensor([0, 0, 1]), 1) == 2
    assert best_bias(logits, torch.tensor([1, 1, 1]), 1) == 4.5  # above the last lead
    assert best_bias(logits, torch.tensor([0, 0, 0]), 1) == 0.5  # below the first


def test_equal_leads_go_over_together():
    """Between two equal leads there is no bias: all or none, and none is better."""
    logits = torch.tensor([[2.0, 0.0], [2.0, 0.0], [2.0, 0.0]])
    bias = best_bias(logits, torch.tensor([1, 0, 0]), 1)
    assert bias == 1.5 and right(shifted(logits, 1, bias), torch.tensor([1, 0, 0])) == 2


def test_inputs_that_are_wrong_anyway_cost_nothing():
    """Of class 2, called 0: whether it goes over to class 1 does not matter."""
    logits = torch.tensor([[1.0, 0.0, -9.0], [5.0, 0.0, -9.0]])
    assert best_bias(logits, torch.tensor([2, 1]), 1) == 5.5


def test_the_class_is_left_out_and_nothing_else():
    split = Split(torch.arange(6.0)[:, None], torch.tensor([0, 1, 2, 1, 0, 2]))
    left = without_class(split, 1)
    assert left.inputs.ravel().tolist() == [0.0, 2.0, 4.0, 5.0]
    assert left.targets.tolist() == [0, 2, 0, 2] and len(split) == 6


def test_only_one_column_is_shifted_and_the_logits_are_kept():
    logits = torch.randn(3, 4)
    before = logits.clone()
    difference = shifted(logits, 1, 2.5) - logits
    assert torch.equal(logits, before)
    assert difference[:, [0, 2, 3]].count_nonzero() == 0
    torch.testing.assert_close(difference[:, 1], torch.full((3,), 2.5))
    leads(logits, 1)
    best_bias(logits, torch.tensor([0, 1, 2]), 1)
    assert torch.equal(logits, before)


def test_recall_is_the_share_of_a_class():
    logits = torch.eye(4)[[0, 1, 1, 3]]
    targets = torch.tensor([0, 1, 3, 3])
    assert [recall(logits, targets, cls) for cls in (0, 1, 3)] == [1.0, 1.0, 0.5]


def test_soft_targets_tell_about_a_class_that_labels_leave_out():
    """Three clusters on a line, the middle one missing: between the others."""
    with seeded(0):
        targets = torch.arange(3).repeat(200)
        inputs = torch.stack([targets - 1 + 0.2 * torch.randn(600), targets * 0 + 1], 1)
    teacher = nn.Linear(2, 3).eval()
    with torch.no_grad():  # logits -6 x - 3, 0, 6 x - 3: the middle wins near 0
        teacher.weight.copy_(torch.tensor([[-6.0, -3.0], [0.0, 0.0], [6.0, -3.0]]))
        teacher.bias.zero_()
    split, found = Split(inputs, targets), {}
    for name, alpha in {"labels": 0.0, "teacher": 1.0}.items():
        with seeded(1):
            student = nn.Linear(2, 3)
        transfer = without_class(split, 1)
        distil(student, teacher, transfer, Recipe(20), temperature=4.0, alpha=alpha)
        with torch.no_grad():
            logits = student(inputs)
        found[name] = recall(logits, targets, 1)
        again = shifted(logits, 1, best_bias(logits, targets, 1))
        assert right(again, targets) >= right(logits, targets)
    assert found["teacher"] > 0.9 and found["labels"] < 0.1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x, y: without_class(Split(x, y), 7), r"got 7; it has \[0, 1\]"),
        (lambda x, y: without_class(Split(x, y * 0), 0), "one of several classes"),
        (lambda x, _: shifted(x, 3, 1.0), "missing must be from 0 to 2, got 3"),
        (lambda x, _: leads(x, -1), "missing must be from 0 to 2, got -1"),
        (lambda x, _: leads(x[0], 0), r"logits must be \(N, C\)"),
        (lambda x, _: leads(x[:, :1], 0), "two classes or more"),
        (lambda x, y: best_bias(x, y[:1], 0), r"targets must be \(2,\), got \(1,\)"),
        (lambda x, y: recall(x, y, 2), "cls must be a class that occurs, got 2"),
        (lambda x, y: recall(x, y[:1], 1), r"targets must be \(2,\)"),
        (lambda x, y: best_bias(x[:0], y[:0], 0), r"logits must be \(N, C\)"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call(torch.zeros(2, 3), torch.tensor([0, 1]))
