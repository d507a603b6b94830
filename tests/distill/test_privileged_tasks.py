"""The four tasks: their rules written out, their noise, and who can know what."""

import pytest
import torch
from sklearn.linear_model import LogisticRegression

from effdl.distill.privileged_tasks import (
    PrivilegedData,
    clean_inputs,
    clean_labels,
    features_by_sample,
    relevant_features,
    standardised,
)

MANY = 4000


def plane(d=8):
    return torch.randn(d)


def test_clean_labels_are_the_distance_and_a_noise_of_deviation_1():
    alpha = plane()
    data = clean_labels(alpha, MANY)
    torch.testing.assert_close(data.privileged[:, 0], data.inputs @ alpha)
    for low, high in ((-2, -1), (-0.5, 0.5), (1, 2)):
        margin = data.privileged[:, 0]
        chosen = (margin > low) & (margin < high)
        expected = torch.special.ndtr(margin[chosen]).mean()
        share = data.targets[chosen].double().mean()
        assert float(share) == pytest.approx(float(expected), abs=0.07)


def test_clean_inputs_are_x_without_a_noise_that_says_nothing():
    alpha = plane()
    data = clean_inputs(alpha, MANY)
    assert torch.equal(data.targets, (data.privileged @ alpha > 0).long())
    noise = data.inputs - data.privileged
    assert float(noise.std()) == pytest.approx(1, abs=0.03)
    assert float((noise * data.privileged).mean()) == pytest.approx(0, abs=0.05)


def test_relevant_features_are_the_first_and_decide_alone():
    alpha = plane()
    data = relevant_features(alpha, 100, features=2)
    assert torch.equal(data.privileged, data.inputs[:, :2])
    assert torch.equal(data.targets, (data.inputs[:, :2] @ alpha[:2] > 0).long())


@pytest.mark.parametrize("fixed", [True, False])
def test_features_by_sample_are_other_features_of_x_in_every_row(fixed):
    alpha = plane()
    data = features_by_sample(alpha, 200, fixed=fixed)
    places = (data.privileged[:, :, None] == data.inputs[:, None]).long().argmax(2)
    assert torch.equal(data.inputs.gather(1, places), data.privileged)
    assert all(len(set(row)) == 3 for row in places.tolist())
    assert len({tuple(row) for row in places.tolist()}) > 100
    weights = alpha[:3].expand(200, 3) if fixed else alpha[places]
    expected = (data.privileged * weights).sum(1) > 0
    assert torch.equal(data.targets, expected.long())


def test_only_with_fixed_weights_can_the_teacher_know():
    """As the paper writes the task, x* does not tell which weights belong to it."""
    alpha, found = torch.randn(50), {}
    for fixed in (True, False):
        data = features_by_sample(alpha, MANY, fixed=fixed)
        rows, y = data.privileged.numpy(), data.targets.numpy()
        model = LogisticRegression().fit(rows[:2000], y[:2000])
        found[fixed] = model.score(rows[2000:], y[2000:])
    assert found[True] > 0.97
    assert found[False] < 0.65


def test_by_hand():
    data = relevant_features(torch.tensor([1.0, -1.0]), 3, features=1)
    assert data.targets.tolist() == [int(v > 0) for v in data.inputs[:, 0].tolist()]


def test_the_splits_hold_x_or_the_privileged_features_and_never_both():
    data = clean_labels(plane(), 5)
    assert data.for_student().inputs is data.inputs
    assert data.for_teacher().inputs is data.privileged
    assert data.for_student().targets is data.for_teacher().targets is data.targets


def test_standardising_uses_the_training_data_for_both():
    train, test = clean_inputs(plane(), 300), clean_inputs(plane(), 50)
    shifted = PrivilegedData(3 * test.inputs + 1, 2 * test.privileged, test.targets)
    a, b = standardised(train, shifted)
    torch.testing.assert_close(a.inputs.mean(0), torch.zeros(8), atol=1e-5, rtol=0)
    torch.testing.assert_close(a.privileged.std(0), torch.ones(8))
    mean, deviation = train.inputs.mean(0), train.inputs.std(0)
    torch.testing.assert_close(b.inputs * deviation + mean, shifted.inputs)
    mean, deviation = train.privileged.mean(0), train.privileged.std(0)
    torch.testing.assert_close(b.privileged * deviation + mean, shifted.privileged)
    assert torch.equal(b.targets, test.targets)


def test_bad_input_is_refused():
    x = torch.zeros(2, 3)
    with pytest.raises(ValueError, match=r"equally many, got \(2, 2, 1\)"):
        PrivilegedData(x, x, torch.zeros(1))
    with pytest.raises(ValueError, match="n must be at least 1, got 0"):
        clean_labels(plane(), 0)
    with pytest.raises(ValueError, match=r"alpha must be one vector \(d,\), got shape"):
        clean_inputs(x, 5)
    with pytest.raises(ValueError, match="features must be from 1 to the 8 of alpha"):
        relevant_features(plane(), 5, features=9)
    with pytest.raises(ValueError, match="features must be from 1 to the 8 of alpha"):
        features_by_sample(plane(), 5, features=0)
