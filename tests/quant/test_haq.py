"""HAQ: equal bins, the wall, the reward, and what the agent remembers."""

import itertools

import numpy as np
import pytest
import torch

from effdl.nas.search import run_search
from effdl.quant.bit_choices import LayerSize, bit_space, bits_of
from effdl.quant.bit_table import BitTable
from effdl.quant.ddpg import Ddpg
from effdl.quant.haq import Haq, action_wall, choice_of_action, haq_reward


def test_the_ends_are_the_fewest_and_the_most_bits_for_any_number_of_candidates():
    """With 3 to 9 bits, round(2.5) is 2 and not 3: Python rounds halves to even."""
    for candidates in range(1, 10):
        assert choice_of_action(0.0, candidates) == 0
        assert choice_of_action(1.0, candidates) == candidates - 1
    assert round(3 - 0.5 + 0.0) == 2  # what the formula of the paper gives for 3 to 9
    assert 3 + choice_of_action(0.0, 7) == 3


def test_it_is_the_formula_of_the_paper_for_2_to_8_bits():
    """Bits are round(b_min - 0.5 + a (b_max - b_min + 1)), halves aside."""
    actions = np.random.default_rng(0).uniform(size=5000)
    for action in actions:
        theirs = int(np.round(2 - 0.5 + action * (8 - 2 + 1)))
        assert 2 + choice_of_action(action, 7) == theirs
    for end, bits in ((0.0, 2), (1.0, 8)):
        assert int(np.round(2 - 0.5 + end * 7)) == bits == 2 + choice_of_action(end, 7)


def test_bins_are_equally_wide():
    actions = np.linspace(0, 1, 70_001)[:-1]
    counts = np.bincount([choice_of_action(a, 7) for a in actions])
    assert counts.tolist() == [10_000] * 7


def test_the_wall_by_hand():
    """Costs are sums. (2, 2, 2) is 6; from the last: 221, 211, 111, 110, 100, 000."""
    path = [(2, 2, 1), (2, 1, 1), (1, 1, 1), (1, 1, 0), (1, 0, 0), (0, 0, 0)]
    for budget, expected in zip(range(5, -1, -1), path, strict=True):
        assert action_wall((2, 2, 2), sum, budget) == expected
    assert action_wall((2, 2, 2), sum, 6) == (2, 2, 2)
    assert action_wall((2, 0, 2), sum, 2) == (1, 0, 1)
    assert action_wall((2, 2, 2), sum, 4, fixed=(2,)) == (1, 1, 2)


def test_within_the_budget_whatever_the_actions_and_never_higher_than_asked():
    space, sizes = bit_space(4), [LayerSize(str(n), n * n, 0) for n in (3, 1, 4, 2)]
    values = np.zeros(space.size)
    table = BitTable(space, sizes, values, values, values)
    for budget in (60, 77, 120, 240):
        for choices in space.all_choices():
            found = action_wall(choices, table.cost, budget)
            assert table.cost(found) <= budget
            assert all(f <= c for f, c in zip(found, choices, strict=True))
            if table.cost(choices) <= budget:
                assert found == choices


def test_the_reward_is_a_tenth_of_the_loss_in_points():
    assert haq_reward(88.0, 92.0) == pytest.approx(-0.4)
    assert haq_reward(93.0, 92.0, scale=1.0) == pytest.approx(1.0)


class Scripted(Ddpg):
    """An agent that says what it is told to, and notes what it sees."""

    def __init__(self, actions):
        super().__init__(10)
        self.actions, self.seen, self.learned = iter(actions), [], []

    def act(self, observation, *, noise=0.0):
        """Return the next action."""
        self.seen.append((observation.clone(), noise))
        return next(self.actions)

    def learn(self, baseline=0.0):
        """Note the baseline."""
        self.learned.append(baseline)
        return 0.0


def scripted(actions, *, warm_up=0, budget=99.0):
    agent = Scripted(actions)
    rows = torch.arange(20.0).reshape(2, 10)
    haq = Haq(bit_space(2), rows, sum, budget, 92.0, agent, warm_up=warm_up)
    return agent, haq


def test_an_episode_sees_each_row_with_the_choice_before():
    agent, haq = scripted([0.5, 0.9])
    assert haq.ask() == (1, 2)
    (first, _), (second, _) = agent.seen
    assert first.tolist() == [*range(9), 1.0]
    assert second.tolist() == [*range(10, 19), 0.5]


def test_every_step_is_remembered_with_the_final_reward_and_its_own_action():
    agent, haq = scripted([0.5, 0.9], budget=1.0)
    choices = haq.ask()
    assert choices == (0, 1)  # from (1, 2) over (1, 1)
    haq.tell(choices, 0.88)
    first, second = agent.memory
    assert (first.action, second.action) == (0.5, 0.9)
    assert first.reward == second.reward == pytest.approx(-0.4)
    assert (first.last, second.last) == (False, True)
    assert torch.equal(first.after, second.observation)
    assert torch.equal(first.observation, agent.seen[0][0])


def test_the_baseline_is_a_moving_average_of_rewards_by_hand():
    """Rewards -0.4, then 0: baselines -0.4, then -0.2; one update for each step."""
    agent, haq = scripted([0.5] * 4)
    haq.tell(haq.ask(), 0.88)
    haq.tell(haq.ask(), 0.92)
    assert agent.learned == pytest.approx([-0.4, -0.4, -0.2, -0.2])


def test_at_first_actions_are_random_and_nothing_is_learned():
    agent, haq = scripted([2.0] * 200, warm_up=50)  # 2.0 would be refused
    asked = []
    for _ in range(50):
        asked.append(haq.ask())
        haq.tell(asked[-1], 0.9)
    assert not agent.learned
    assert haq.noise == 0.5
    assert len(set(asked)) == 9
    with pytest.raises(ValueError, match=r"action must be 0 to 1, got 2\.0"):
        haq.ask()


def test_the_noise_falls_by_one_per_cent_after_the_warm_up():
    _, haq = scripted([0.5] * 99, warm_up=3)
    noises = []
    for _ in range(6):
        haq.tell(haq.ask(), 0.9)
        noises.append(haq.noise)
    falling = [0.5 * 0.99**n for n in (1, 2, 3)]
    assert noises == pytest.approx([0.5, 0.5, 0.5, *falling])


def test_the_answer_has_no_noise():
    agent, haq = scripted([0.5, 0.9], warm_up=5)
    assert haq.answer() == (1, 2)
    assert [noise for _, noise in agent.seen] == [0.0, 0.0]


def test_on_an_enumerated_space_of_four_layers_it_finds_the_best_within_a_budget():
    """All 81 members; half a hundred episodes, as a strategy of the NAS chapter."""
    space = bit_space(4)
    sizes = [LayerSize(str(n), n, 0) for n in (40, 10, 30, 20)]
    worth = torch.tensor([0.02, 0.5, 0.1, 0.3]).double()
    scores = np.array([
        float((worth * (1 - 2.0 ** -torch.tensor(bits_of(space, m)))).sum())
        for m in space.all_choices()
    ])
    table = BitTable(space, sizes, scores, scores, -scores)
    rows = torch.cat([torch.eye(4), torch.zeros(4, 6)], dim=1)
    budget = 400
    haq = Haq(space, rows, table.cost, budget, 100 * scores.max(), Ddpg(10))
    steps = run_search(haq, table, queries=60)
    assert all(table.cost(step.cell) <= budget for step in steps)
    enumerated = max(
        table.validation[table.row(m)]
        for m in itertools.product(range(3), repeat=4)
        if table.cost(m) <= budget
    )
    assert steps[-1].best_score >= enumerated - 0.005


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="action must be 0 to 1, got nan"):
        choice_of_action(float("nan"), 3)
    with pytest.raises(ValueError, match="budget must be at least 0, the cost of the"):
        action_wall((1, 1), sum, -1)
    with pytest.raises(ValueError, match="budget must be at least 2"):
        action_wall((2, 2), sum, 1, fixed=(0,))
    with pytest.raises(ValueError, match=r"rows must be \(3, 10\)"):
        Haq(bit_space(3), torch.zeros(2, 10), sum, 1.0, 90.0, Ddpg(10))
