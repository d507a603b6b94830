"""Generalized distillation: its loss, its two ends, and who has seen x*."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from effdl.data.digits import Split
from effdl.distill.generalized import distil_privileged, generalized_loss
from effdl.distill.kd import distil, kd_loss
from effdl.distill.privileged_tasks import clean_labels, standardised
from effdl.distill.recipe import Recipe
from effdl.seed import seeded
from effdl.train import accuracy, train_classifier

SHORT = Recipe(epochs=3, batch_size=20, weight_decay=0.0)


def test_the_loss_is_two_cross_entropies_written_out():
    logits, soft = torch.randn(7, 3), torch.randn(7, 3).softmax(1)
    y = torch.randint(0, 3, (7,))
    log_q = logits - logits.exp().sum(1, keepdim=True).log()
    rows = [0.7 * -log_q[i, y[i]] + 0.3 * -(soft[i] * log_q[i]).sum() for i in range(7)]
    found = generalized_loss(logits, soft, y, imitation=0.3)
    torch.testing.assert_close(found, torch.stack(rows).mean())


def test_by_hand():
    """Equal logits: both cross-entropies are the log of 2, whatever lambda is."""
    half = generalized_loss(
        torch.zeros(1, 2), torch.tensor([[0.9, 0.1]]), torch.tensor([1]), imitation=0.4
    )
    assert float(half) == pytest.approx(0.6931, abs=1e-4)


@pytest.mark.parametrize("imitation", [0.0, 0.4, 1.0])
def test_at_temperature_1_the_slopes_are_hintons(imitation):
    student, teacher = torch.randn(6, 4, requires_grad=True), torch.randn(6, 4)
    y = torch.randint(0, 4, (6,))
    ours = generalized_loss(student, teacher.softmax(1), y, imitation=imitation)
    his = kd_loss(student, teacher, y, temperature=1.0, alpha=imitation)
    slopes = [torch.autograd.grad(loss, student)[0] for loss in (ours, his)]
    torch.testing.assert_close(*slopes)


def test_unless_told_otherwise_only_the_teacher_is_imitated():
    student, soft = torch.randn(6, 4), torch.randn(6, 4).softmax(1)
    found = generalized_loss(student, soft, torch.zeros(6, dtype=torch.long))
    assert found == F.cross_entropy(student, soft)


def test_at_another_temperature_they_are_not():
    student, teacher = torch.randn(6, 4, requires_grad=True), torch.randn(6, 4)
    y = torch.randint(0, 4, (6,))
    ours = generalized_loss(student, (teacher / 4).softmax(1), y)
    his = kd_loss(student, teacher, y, temperature=4.0, alpha=1.0)
    slopes = [torch.autograd.grad(loss, student)[0] for loss in (ours, his)]
    assert not torch.allclose(*slopes, rtol=0.1)


def pair(inputs, privileged):
    """Return a student and a finished teacher, the same every time."""
    with seeded(1):
        return nn.Linear(inputs, 2), nn.Linear(privileged, 2).eval()


def test_without_imitation_it_is_plain_training_bit_for_bit():
    with seeded(0):
        data = clean_labels(torch.randn(10), 60)
    plain, _ = pair(10, 1)
    train_classifier(
        plain, data.for_student(), epochs=3, batch_size=20, weight_decay=0.0
    )
    student, teacher = pair(10, 1)
    split = data.for_student()
    distil_privileged(student, teacher, split, data.privileged, SHORT, imitation=0.0)
    assert torch.equal(student.weight, plain.weight)
    assert torch.equal(student.bias, plain.bias)


def test_if_the_teacher_sees_x_it_is_hintons_distillation():
    with seeded(0):
        split = clean_labels(torch.randn(10), 60).for_student()
    hinton, teacher = pair(10, 10)
    distil(hinton, teacher, split, SHORT, temperature=1.0, alpha=0.7)
    student, teacher = pair(10, 10)
    distil_privileged(student, teacher, split, split.inputs, SHORT, imitation=0.7)
    torch.testing.assert_close(student.weight, hinton.weight)


def test_the_temperature_softens_the_teachers_answers():
    split = Split(torch.randn(30, 4), torch.randint(0, 2, (30,)))
    found = {}
    for temperature in (1.0, 3.0):
        student, teacher = pair(4, 1)
        rows = split.inputs[:, :1]
        whole = Recipe(epochs=1, batch_size=30)
        with torch.no_grad():
            soft = (teacher(rows) / temperature).softmax(1)
            expected = F.cross_entropy(student(split.inputs), soft)
        found[temperature] = distil_privileged(
            student, teacher, split, rows, whole, temperature=temperature
        )
        assert found[temperature] == [pytest.approx(float(expected))]
    assert found[1.0] != found[3.0]


def test_the_student_is_called_with_x_only_and_the_teacher_stays_as_it_is():
    """A student that needed x* could not be called here, nor at test time."""
    seen = []

    class Student(nn.Linear):
        def forward(self, *arguments):
            seen.append([tuple(a.shape[1:]) for a in arguments])
            return super().forward(*arguments)

    data = clean_labels(torch.randn(10), 60)
    _, teacher = pair(10, 1)
    before = {name: t.clone() for name, t in teacher.state_dict().items()}
    student = Student(10, 2)
    distil_privileged(student, teacher, data.for_student(), data.privileged, SHORT)
    assert seen == [[(10,)]] * 9
    assert all(torch.equal(t, before[n]) for n, t in teacher.state_dict().items())
    assert all(p.grad is None for p in teacher.parameters())
    assert not teacher.training


def test_a_student_that_needs_the_privileged_features_cannot_be_evaluated():
    """The survey gives x* to the student: then there is nothing to call it with."""
    data = clean_labels(torch.randn(10), 20)
    both = torch.cat([data.inputs, data.privileged], dim=1)
    as_the_survey_says = nn.Linear(11, 2)
    assert as_the_survey_says(both).shape == (20, 2)
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        accuracy(as_the_survey_says, data.for_student().batches(20))


def test_clean_labels_teach_the_student_more_than_noisy_ones():
    recipe = Recipe(epochs=100, batch_size=200, weight_decay=0.0)
    gains = []
    for seed in range(3):
        with seeded(seed):
            alpha = torch.randn(50)
            train, test = standardised(
                clean_labels(alpha, 200), clean_labels(alpha, 2000)
            )
            teacher, plain, taught = nn.Linear(1, 2), nn.Linear(50, 2), nn.Linear(50, 2)
        for net, split in (
            (teacher, train.for_teacher()),
            (plain, train.for_student()),
        ):
            train_classifier(net, split, epochs=100, batch_size=200, weight_decay=0.0)
        x, extra = train.for_student(), train.privileged
        distil_privileged(taught, teacher.eval(), x, extra, recipe)
        held_out = test.for_student().batches(500)
        gains.append(accuracy(taught, held_out) - accuracy(plain, held_out))
    assert min(gains) > 0.02


def test_bad_input_is_refused():
    logits, y = torch.zeros(2, 2), torch.tensor([0, 1])
    with pytest.raises(ValueError, match="imitation must be from 0 to 1, got 2"):
        generalized_loss(logits, logits, y, imitation=2)
    with pytest.raises(ValueError, match="2 classes and teacher 3"):
        generalized_loss(logits, torch.zeros(2, 3), y)
    split, (student, teacher) = Split(torch.zeros(2, 3), y), pair(3, 1)
    with pytest.raises(ValueError, match="privileged has 5 rows and split 2"):
        distil_privileged(student, teacher, split, torch.zeros(5, 1))
    with pytest.raises(ValueError, match="imitation must be from 0 to 1, got -1"):
        distil_privileged(student, teacher, split, torch.zeros(2, 1), imitation=-1)
    with pytest.raises(ValueError, match="temperature must be finite and above 0"):
        distil_privileged(student, teacher, split, torch.zeros(2, 1), temperature=0)
    with pytest.raises(ValueError, match="teacher is in training mode"):
        distil_privileged(student, teacher.train(), split, torch.zeros(2, 1))
