"""Descent on the logits of a toy: its steps, and that it finds what is best."""

import pytest
import torch

from effdl.nas.gradient.method import Method
from effdl.nas.gradient.relaxations import sigmoid_weights, softmax_weights
from effdl.nas.hardware.additive_toy import best_for_multiplier, seeded_toy
from effdl.nas.hardware.expected_cost import CostTable, expected_cost
from effdl.nas.hardware.toy_descent import NOTHING, ToySearching, descend
from effdl.seed import seeded

TABLE = CostTable(
    2.0, torch.tensor([[1.0, 2.0, 5.0], [0.0, 3.0, 1.0], [2.0, 2.5, 4.0]])
)


def test_the_loss_is_minus_the_expected_utility():
    toy = seeded_toy(TABLE, 0)
    parts = (torch.nn.Identity(), toy.space(), softmax_weights, None, None, None)
    searching = ToySearching(*parts, utilities=toy.utilities)
    weights = torch.rand(3, 3)
    total = 0.0
    for edge in range(3):
        for k in range(3):
            total -= float(weights[edge, k]) * float(toy.utilities[edge, k])
    assert searching.loss(NOTHING, weights).item() == pytest.approx(total)


def test_two_steps_are_those_of_adam_with_the_authors_moments():
    toy = seeded_toy(TABLE, 1)
    with seeded(0):
        space, same = toy.space(spread=0.5), toy.space(spread=0.5)
    same.load_state_dict(space.state_dict())
    adam = torch.optim.Adam(same.parameters(), 0.05, (0.5, 0.999))
    for _ in range(2):
        adam.zero_grad()
        (-(same.logits.softmax(dim=1) * toy.utilities).sum()).backward()
        adam.step()
    assert descend(toy, space, steps=2, rate=0.05) is space
    torch.testing.assert_close(space.logits, same.logits)


@pytest.mark.parametrize("multiplier", [0.0, 0.08, 0.5])
def test_for_a_fixed_multiplier_it_ends_at_the_exact_answer(multiplier):
    toy = seeded_toy(TABLE, 2)

    def objective(loss, weights, _searching):
        return loss + multiplier * expected_cost(weights, TABLE)

    space = descend(toy, toy.space(), method=Method(objective=objective), steps=400)
    found = tuple(int(name) for name in space.strongest())
    assert found == best_for_multiplier(toy, multiplier)


def test_all_parts_of_a_method_but_its_step_are_used():
    toy = seeded_toy(TABLE, 3)
    seen = []

    def objective(loss, weights, searching):
        seen.append(("objective", searching.progress, weights.sum().item()))
        return loss

    def after_step(searching):
        seen.append(("after", searching.progress, float(searching.clip)))

    method = Method(sigmoid_weights, objective, after_step=after_step)
    descend(toy, toy.space(spread=0), method=method, steps=4)
    assert [what for what, _, _ in seen] == ["objective", "after"] * 4
    assert [progress for _, progress, _ in seen[::2]] == [0, 0.25, 0.5, 0.75]
    assert seen[0][2] == pytest.approx(4.5)  # nine sigmoids of 0


def test_no_step_is_none():
    toy = seeded_toy(TABLE, 0)
    with pytest.raises(ValueError, match="steps must be at least 1, got 0"):
        descend(toy, toy.space(), steps=0)
