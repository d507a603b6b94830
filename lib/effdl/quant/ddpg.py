"""DDPG: an actor that answers with a number, and a critic that says how good it was.

Paper: Lillicrap et al., "Continuous control with deep reinforcement learning", ICLR
2016, https://arxiv.org/abs/1509.02971, algorithm 1.

    action       a = actor(s) + noise                    s: observation, a: 0 to 1
    target       y = r + discount critic'(s', actor'(s'))     0 after the last step
    critic       minimises  (critic(s, a) - y)^2
    actor        maximises  critic(s, actor(s))
    copies       w' <- (1 - rate) w' + rate w            of actor and critic, slowly

The pair (actor', critic') makes targets that do not run away from the critic that is
fitted to them. Steps are kept in a replay memory, and learnt from in mixed order.

What differs: the noise is a normal draw cut to the range of actions, as in HAQ. There
is one hidden layer. It needs many steps, and nothing says that it has converged.
"""

import copy
from collections import deque
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Adam

from effdl.checks import check_positive, check_share


class Step(NamedTuple):
    """One step of an episode.

    Attributes:
        observation: s, (size,).
        action: a, 0 to 1.
        reward: r.
        after: s', (size,); anything if ``last``.
        last: Whether the episode ends here.
    """

    observation: Tensor
    action: float
    reward: float
    after: Tensor
    last: bool


class Ddpg:
    """Actor, critic, their slow copies, and a memory.

    Draws from PyTorch's generator.

    Args:
        size: Numbers in an observation.
        hidden: Units of the hidden layers.
        discount: Of what comes later, 0 to 1.
        copy_rate: How fast the copies follow, above 0 to 1.
        memory: Steps that are remembered; the oldest is forgotten.
        batch: Steps of one update.

    Raises:
        ValueError: If ``discount`` is out of range. Other numbers out of range are
            refused, too.

    Example:
        >>> agent = Ddpg(3)
        >>> 0 <= agent.act(torch.zeros(3), noise=0.5) <= 1
        True
    """

    def __init__(
        self,
        size: int,
        *,
        hidden: int = 64,
        discount: float = 1.0,
        copy_rate: float = 0.01,
        memory: int = 2000,
        batch: int = 64,
    ) -> None:
        check_positive(size=size, hidden=hidden, memory=memory, batch=batch)
        check_share(copy_rate=copy_rate)
        if not 0 <= discount <= 1:
            raise ValueError(f"discount must be 0 to 1, got {discount}")
        self.discount, self.copy_rate, self.batch = discount, copy_rate, batch
        self.actor = nn.Sequential(_two_layers(size, hidden), nn.Sigmoid())
        self.critic = _two_layers(size + 1, hidden)
        self.slow_actor = copy.deepcopy(self.actor)
        self.slow_critic = copy.deepcopy(self.critic)
        self.actor_optimizer = Adam(self.actor.parameters(), 1e-3)
        self.critic_optimizer = Adam(self.critic.parameters(), 1e-2)
        self.memory: deque[Step] = deque(maxlen=memory)

    @torch.no_grad()
    def act(self, observation: Tensor, *, noise: float = 0.0) -> float:
        """Return the actor's answer, 0 to 1, with noise that is cut to this range.

        Args:
            observation: s, (size,).
            noise: Standard deviation of the normal draw before the cut.
        """
        middle = float(self.actor(observation[None]))
        return truncated_normal(middle, noise) if noise > 0 else middle

    def remember(self, step: Step) -> None:
        """Put a step into the memory."""
        self.memory.append(step)

    def targets(self, steps: list[Step], baseline: float = 0.0) -> Tensor:
        """Return y of at least one step, (steps,), with a baseline off the rewards."""
        after = torch.stack([step.after for step in steps])
        goes_on = torch.tensor([not step.last for step in steps])
        rewards = torch.tensor([step.reward - baseline for step in steps])
        with torch.no_grad():
            later = value(self.slow_critic, after, self.slow_actor(after)[:, 0])
        return rewards + self.discount * torch.where(goes_on, later, 0.0)

    def learn(self, baseline: float = 0.0) -> float:
        """Return the critic's loss before an update of all networks, done in place.

        Args:
            baseline: Taken off all rewards.

        Raises:
            ValueError: If nothing is remembered.
        """
        if not self.memory:
            raise ValueError("the memory is empty; remember a step before learning")
        places = torch.randint(len(self.memory), (self.batch,)).tolist()
        steps = [self.memory[place] for place in places]
        seen = torch.stack([step.observation for step in steps])
        done = torch.tensor([step.action for step in steps])
        goal = self.targets(steps, baseline)
        loss = F.mse_loss(value(self.critic, seen, done), goal)
        self.critic_optimizer.zero_grad()
        loss.backward()
        self.critic_optimizer.step()
        self.actor_optimizer.zero_grad()
        (-value(self.critic, seen, self.actor(seen)[:, 0]).mean()).backward()
        self.actor_optimizer.step()
        follow_(self.slow_actor, self.actor, self.copy_rate)
        follow_(self.slow_critic, self.critic, self.copy_rate)
        return loss.item()


def value(critic: nn.Module, observations: Tensor, actions: Tensor) -> Tensor:
    """Return what a critic thinks of actions, (N,).

    Args:
        critic: From (N, size + 1) to (N, 1).
        observations: (N, size).
        actions: (N,).

    Example:
        >>> value(nn.Linear(4, 1), torch.zeros(5, 3), torch.zeros(5)).shape
        torch.Size([5])
    """
    return critic(torch.cat([observations, actions[:, None]], dim=1))[:, 0]


@torch.no_grad()
def follow_(slow: nn.Module, fast: nn.Module, rate: float) -> None:
    """Move the parameters of a copy some way towards those of the original.

    Args:
        slow: Changed.
        fast: Of the same layers.
        rate: The share of the way, 0 to 1.

    Example:
        >>> slow, fast = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)
        >>> _ = nn.init.zeros_(slow.weight), nn.init.ones_(fast.weight)
        >>> follow_(slow, fast, 0.25)
        >>> slow.weight.item()
        0.25
    """
    for behind, ahead in zip(slow.parameters(), fast.parameters(), strict=True):
        behind.lerp_(ahead, rate)


def truncated_normal(middle: float, width: float) -> float:
    """Return a normal draw, given that it lies in 0 to 1.

    Args:
        middle: Mean before the cut.
        width: Standard deviation before the cut, above 0.

    Example:
        >>> 0 <= truncated_normal(0.9, 1.0) <= 1
        True
    """
    draw = nn.init.trunc_normal_(torch.empty(1), middle, width, 0.0, 1.0)
    return float(draw)


def _two_layers(inputs: int, hidden: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, 1))
