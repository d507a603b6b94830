"""Privileged features distillation: three losses, two learners, and a quiet start."""

import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import roc_auc_score
from torch import nn

from effdl.data.digits import Split
from effdl.distill.privileged_features import click_data, pfd_loss, train_together
from effdl.distill.recipe import Recipe, train_student
from effdl.seed import seeded

SHORT = Recipe(epochs=2, batch_size=25, weight_decay=0.0)


def pair(d=6):
    with seeded(1):
        return nn.Linear(d, 1), nn.Linear(d + 2, 1)


def clicks(n=100, d=6, seed=0):
    with seeded(seed):
        return click_data(0.5 * torch.randn(d), n)


def test_the_loss_is_three_cross_entropies_written_out():
    s, t, y = torch.randn(5), torch.randn(5), torch.tensor([0, 1, 1, 0, 1])

    def entropy(p, z):
        return -(p * z.sigmoid().log() + (1 - p) * (1 - z.sigmoid()).log()).mean()

    expected = entropy(y, s) + 0.7 * entropy(t.sigmoid(), s) + entropy(y, t)
    torch.testing.assert_close(pfd_loss(s, t, y, 0.7), expected)


def test_by_hand():
    """All logits 0: each of the three is the log of 2."""
    zero = torch.zeros(3)
    found = float(pfd_loss(zero, zero, torch.tensor([0, 1, 1]), 2.0))
    assert found == pytest.approx(4 * 0.693147, abs=1e-5)


def test_distilling_moves_the_student_and_not_the_teacher():
    s, t = (torch.randn(4, requires_grad=True) for _ in range(2))
    y = torch.tensor([0, 1, 1, 0])
    for weight in (0.0, 5.0):
        student, teacher = torch.autograd.grad(pfd_loss(s, t, y, weight), (s, t))
        torch.testing.assert_close(teacher, (t.sigmoid() - y).detach() / 4)
        expected = s.sigmoid() - y + weight * (s.sigmoid() - t.sigmoid())
        torch.testing.assert_close(student, expected.detach() / 4)


def test_a_column_of_logits_is_as_good_as_a_vector():
    s, t, y = torch.randn(5), torch.randn(5), torch.tensor([0, 1, 1, 0, 1])
    assert pfd_loss(s[:, None], t[:, None], y, 0.5) == pfd_loss(s, t, y, 0.5)


def alone(net, inputs, targets, recipe=SHORT):
    """Train a network by itself on the cross-entropy."""

    def loss_of(x, y):
        return F.binary_cross_entropy_with_logits(net(x)[:, 0], y.float())

    train_student(net, Split(inputs, targets), loss_of, recipe)


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_the_teacher_learns_as_if_it_were_alone(weight):
    data, (student, teacher), (_, single) = clicks(), pair(), pair()
    train_together(student, teacher, data, SHORT, weight=weight)
    alone(single, torch.cat([data.inputs, data.privileged], 1), data.targets)
    torch.testing.assert_close(teacher.weight, single.weight)


def test_with_weight_0_so_does_the_student():
    data, (student, teacher), (single, _) = clicks(), pair(), pair()
    train_together(student, teacher, data, SHORT, weight=0.0)
    alone(single, data.inputs, data.targets)
    torch.testing.assert_close(student.weight, single.weight)


def test_as_long_as_it_is_quiet_the_teacher_says_nothing():
    """Eight steps in all: quiet for eight is quiet, for seven is not."""
    data, found = clicks(), {}
    for weight, quiet in ((0.0, 0), (9.0, 8), (9.0, 7), (9.0, 0)):
        student, teacher = pair()
        train_together(student, teacher, data, SHORT, weight=weight, quiet_steps=quiet)
        found[weight, quiet] = student.weight.detach()
    assert torch.equal(found[9.0, 8], found[0.0, 0])
    assert not torch.equal(found[9.0, 7], found[0.0, 0])
    change = [(found[9.0, q] - found[0.0, 0]).norm() for q in (7, 0)]
    assert change[0] < change[1]


def test_the_student_never_gets_a_privileged_column():
    class Seeing(nn.Linear):
        def forward(self, x):
            columns.append(x)
            return super().forward(x)

    data, columns = clicks(), []
    train_together(Seeing(6, 1), pair()[1], data, Recipe(epochs=1, batch_size=100))
    (x,) = columns
    assert x.shape == (100, 6)
    assert {tuple(r) for r in x.tolist()} == {tuple(r) for r in data.inputs.tolist()}


def test_modes_are_put_back_and_the_teacher_trains_in_training_mode():
    modes = []

    class Seeing(nn.Linear):
        def forward(self, x):
            modes.append(self.training)
            return super().forward(x)

    teacher = Seeing(8, 1).eval()
    train_together(pair()[0], teacher, clicks(), Recipe(epochs=1, batch_size=100))
    assert modes == [True]
    assert not teacher.training


def test_behaviour_shows_the_wish_and_the_wish_decides():
    with seeded(3):
        taste = torch.randn(4)
        data = click_data(taste, 20000, mood=0.0, stay_noise=0.0, offset=-1.0)
    wish = data.inputs @ taste
    torch.testing.assert_close(data.privileged, wish[:, None].expand(-1, 2))
    for low, high in ((-1, 0), (1, 2), (3, 4)):
        chosen = (wish > low) & (wish < high)
        expected = (wish[chosen] - 1).sigmoid().mean()
        share = data.targets[chosen].double().mean()
        assert float(share) == pytest.approx(float(expected), abs=0.05)


def test_mood_and_noise_have_the_deviations_that_are_asked_for():
    with seeded(3):
        data = click_data(torch.zeros(2), 20000, mood=2.0, stay_noise=0.5)
    first, second = data.privileged.T
    assert float((first - second).std()) == pytest.approx(0.5 * 2**0.5, abs=0.02)
    assert float(first.var()) == pytest.approx(4.25, abs=0.15)


def test_teacher_above_distilled_above_plain_in_few_passes():
    """Areas under the curve on clicks that nobody trained on; means of four seeds."""
    areas = {"teacher": [], "taught": [], "plain": []}
    for seed in range(4):
        with seeded(seed):
            taste = 0.2 * torch.randn(50)
            train, test = click_data(taste, 500), click_data(taste, 3000)
            nets = [nn.Linear(50, 1), nn.Linear(50, 1), nn.Linear(52, 1)]
        for net in nets:
            nn.init.zeros_(net.weight)
        plain, taught, teacher = nets
        recipe = Recipe(epochs=3, batch_size=50, weight_decay=0.0, seed=seed)
        train_together(taught, teacher, train, recipe, weight=3.0, quiet_steps=10)
        alone(plain, train.inputs, train.targets, recipe)
        both = torch.cat([test.inputs, test.privileged], 1)
        for name, net, x in (
            ("teacher", teacher, both),
            ("taught", taught, test.inputs),
            ("plain", plain, test.inputs),
        ):
            logits = net(x).detach()[:, 0]
            areas[name].append(roc_auc_score(test.targets, logits))
    teacher, taught, plain = (sum(a) / 4 for a in areas.values())
    assert teacher > taught + 0.02
    assert taught > plain + 0.005


def test_bad_input_is_refused():
    y = torch.tensor([0, 1])
    with pytest.raises(ValueError, match="give one logit each"):
        pfd_loss(torch.zeros(2), torch.zeros(3), y, 1.0)
    with pytest.raises(ValueError, match="give one logit each"):
        pfd_loss(torch.zeros(2, 2), torch.zeros(2, 2), y, 1.0)
    for weight in (-1.0, float("inf"), float("nan")):
        with pytest.raises(ValueError, match="weight must be finite and at least 0"):
            pfd_loss(torch.zeros(2), torch.zeros(2), y, weight)
    with pytest.raises(ValueError, match="quiet_steps must be at least 0, got -1"):
        train_together(*pair(), clicks(), quiet_steps=-1)
    with pytest.raises(ValueError, match=r"taste must be one vector \(d,\), got \(\)"):
        click_data(torch.tensor(1.0), 5)
    with pytest.raises(ValueError, match=r"must be at least 0, got -1 and 0\.3"):
        click_data(torch.ones(2), 5, mood=-1)
    with pytest.raises(ValueError, match=r"must be at least 0, got 1\.0 and nan"):
        click_data(torch.ones(2), 5, stay_noise=float("nan"))
    with pytest.raises(ValueError, match="n must be at least 1"):
        click_data(torch.ones(2), 0)
