"""DDPG: targets, updates, copies, noise, and a problem that it solves."""

import copy

import pytest
import torch
from scipy.stats import kstest, truncnorm

from effdl.quant.ddpg import Ddpg, Step, follow_, truncated_normal, value


def step(reward, *, last, action=0.5):
    return Step(torch.rand(3), action, reward, torch.rand(3), last)


def test_targets_are_reward_plus_what_the_slow_pair_expects():
    agent = Ddpg(3, discount=0.9)
    steps = [step(1.0, last=False), step(2.0, last=True)]
    for p in agent.critic.parameters():
        p.data.add_(99.0)  # the fast pair is not asked
    found = agent.targets(steps, baseline=0.25)
    after = steps[0].after
    with torch.no_grad():
        answer = agent.slow_actor(after[None])
        later = agent.slow_critic(torch.cat([after[None], answer], dim=1)).item()
    assert found[0].item() == pytest.approx(1.0 - 0.25 + 0.9 * later)
    assert found[1].item() == 2.0 - 0.25


def test_an_update_lowers_the_critics_loss_and_raises_what_the_actor_gets():
    agent = Ddpg(3, batch=200)
    for _ in range(50):
        agent.remember(step(float(torch.rand(())), last=True))
    losses = [agent.learn() for _ in range(200)]
    assert sum(losses[-20:]) < 0.7 * sum(losses[:20])


def test_the_actor_follows_the_critic_and_leaves_it_alone():
    agent, seen = Ddpg(3), torch.rand(20, 3)
    agent.remember(step(0.0, last=True))

    def worth():
        with torch.no_grad():
            return value(agent.critic, seen, agent.actor(seen)[:, 0]).mean().item()

    agent.critic_optimizer = torch.optim.SGD(agent.critic.parameters(), 0.0)
    frozen = [p.clone() for p in agent.critic.parameters()]
    before = worth()
    for _ in range(100):
        agent.learn()
    assert worth() > before
    for old, new in zip(frozen, agent.critic.parameters(), strict=True):
        assert torch.equal(old, new)


def test_two_updates_of_the_critic_are_two_steps_on_the_squared_error():
    agent, seen = Ddpg(3, batch=5), step(2.0, last=True, action=0.25)
    agent.remember(seen)
    agent.critic_optimizer = torch.optim.SGD(agent.critic.parameters(), 0.01)
    literal = copy.deepcopy(agent.critic)
    row = torch.cat([seen.observation, torch.tensor([0.25])])
    for _ in range(2):
        agent.learn()
        gradients = torch.autograd.grad(
            (literal(row) - 2.0).square(), literal.parameters()
        )
        for p, g in zip(literal.parameters(), gradients, strict=True):
            p.data -= 0.01 * g
    for ours, theirs in zip(
        agent.critic.parameters(), literal.parameters(), strict=True
    ):
        torch.testing.assert_close(ours, theirs)


def test_the_copies_go_a_share_of_the_way():
    """From 0 towards 1 at 0.25: 0.25, then 0.25 + 0.25 * 0.75 = 0.4375."""
    slow, fast = torch.nn.Linear(1, 1, bias=False), torch.nn.Linear(1, 1, bias=False)
    slow.weight.data.zero_()
    fast.weight.data.fill_(1.0)
    follow_(slow, fast, 0.25)
    follow_(slow, fast, 0.25)
    assert (slow.weight.item(), fast.weight.item()) == (0.4375, 1.0)


def test_learning_moves_both_copies_slowly():
    agent = Ddpg(3, copy_rate=0.1)
    agent.remember(step(5.0, last=True))
    pairs = ((agent.slow_actor, agent.actor), (agent.slow_critic, agent.critic))
    before = [[p.clone() for p in slow.parameters()] for slow, _ in pairs]
    agent.learn()
    for old, (slow, fast) in zip(before, pairs, strict=True):
        for was, now, ahead in zip(
            old, slow.parameters(), fast.parameters(), strict=True
        ):
            torch.testing.assert_close(now, was + 0.1 * (ahead - was))


def test_the_noise_is_a_normal_draw_given_that_it_is_an_action():
    draws = [truncated_normal(0.2, 0.4) for _ in range(2000)]
    law = truncnorm(-0.2 / 0.4, 0.8 / 0.4, loc=0.2, scale=0.4)
    assert kstest(draws, law.cdf).pvalue > 0.001


def test_without_noise_the_actor_answers_alone():
    agent, seen = Ddpg(3), torch.rand(3)
    assert agent.act(seen) == agent.act(seen) == agent.actor(seen[None]).item()
    assert len({agent.act(seen, noise=0.3) for _ in range(5)}) == 5


def test_the_oldest_step_is_forgotten():
    agent = Ddpg(3, memory=2)
    for reward in (1.0, 2.0, 3.0):
        agent.remember(step(reward, last=True))
    assert [s.reward for s in agent.memory] == [2.0, 3.0]


def test_it_learns_which_action_is_best_for_what_it_sees():
    """The reward is -(a - s)^2: the best action is the number that was seen."""
    agent = Ddpg(1)
    for _ in range(300):
        seen = torch.rand(1)
        action = agent.act(seen, noise=0.5)
        reward = -((action - seen.item()) ** 2)
        agent.remember(Step(seen, action, reward, seen, last=True))
    for _ in range(600):
        agent.learn()
    errors = [abs(agent.act(torch.tensor([s])) - s) for s in (0.2, 0.5, 0.8)]
    assert max(errors) < 0.15


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="the memory is empty"):
        Ddpg(2).learn()
    with pytest.raises(ValueError, match="copy_rate must be above 0"):
        Ddpg(2, copy_rate=0.0)
    for wrong in (1.5, -0.1, float("nan")):
        with pytest.raises(ValueError, match="discount must be 0 to 1, got"):
            Ddpg(2, discount=wrong)
    assert Ddpg(2, discount=0.0).discount == 0
    with pytest.raises(ValueError, match="size must be at least 1"):
        Ddpg(0)
