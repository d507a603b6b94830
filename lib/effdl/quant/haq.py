"""HAQ: an agent goes from layer to layer and says how many bits.

Paper: Wang et al., "HAQ: Hardware-Aware Automated Quantization with Mixed Precision",
CVPR 2019, https://arxiv.org/abs/1811.08886, section 3.

    it sees     ten numbers of the layer, see :mod:`effdl.quant.haq_layers`
    it says     a, 0 to 1; and of K candidates the one numbered
                    choice = min(K - 1, floor(a K))          equal bins
    wall        while the cost is above the budget, one candidate less, from the last
                layer to the first, again and again
    reward      0.1 (accuracy - accuracy of the network that is not rounded)

The wall keeps the budget, so that the reward needs no price.

For 2 to 8 bits the paper has the same bins, as round(2 - 0.5 + 7 a). At a = 0 and 1
that is 2 and 8 only because halves are rounded to even numbers.

As in the authors' program, every step gets the final reward less a moving average, and
nothing is discounted: the critic adds up as many rewards as there are steps left.

What differs: the caller scores; the paper trains for an epoch first. It also keeps
first and last layer at 8 bits: :func:`action_wall` can, :class:`Haq` does not.
"""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from effdl.checks import check_positive
from effdl.nas.block_space import BlockSpace, Choices
from effdl.quant.ddpg import Ddpg, Step

Cost = Callable[[Sequence[int]], float]  # of choices


def choice_of_action(action: float, candidates: int) -> int:
    """Return the number of the candidate whose bin an action is in.

    Args:
        action: 0 to 1.
        candidates: K.

    Raises:
        ValueError: If ``action`` is out of range.

    Example:
        >>> [choice_of_action(a, 3) for a in (0.0, 0.3, 0.5, 0.7, 1.0)]
        [0, 0, 1, 2, 2]
    """
    check_positive(candidates=candidates)
    if not 0 <= action <= 1:
        raise ValueError(f"action must be 0 to 1, got {action}; clip it")
    return min(candidates - 1, math.floor(action * candidates))


def action_wall(
    choices: Sequence[int], cost: Cost, budget: float, *, fixed: Sequence[int] = ()
) -> Choices:
    """Return choices within the budget, made smaller from the last layer backwards.

    Args:
        choices: Of each layer.
        cost: Of choices; falls when a choice does.
        budget: In the unit of the cost.
        fixed: Numbers of layers that stay as they are.

    Raises:
        ValueError: If even the smallest choices cost more.

    Example:
        >>> action_wall((2, 2, 2), sum, budget=4)
        (2, 1, 1)
    """
    found = list(choices)
    while cost(found) > budget:
        before = list(found)
        for layer in reversed(range(len(found))):
            if found[layer] > 0 and layer not in fixed:
                found[layer] -= 1
            if cost(found) <= budget:
                break
        if found == before:
            raise ValueError(
                f"budget must be at least {cost(found)}, the cost of the smallest "
                f"choices, got {budget}"
            )
    return tuple(found)


def haq_reward(accuracy: float, original: float, *, scale: float = 0.1) -> float:
    """Return the reward of an episode.

    Args:
        accuracy: Of the rounded network.
        original: Of the network before, in the same unit.
        scale: The paper's lambda.

    Example:
        >>> round(haq_reward(90.0, 92.0), 3)
        -0.2
    """
    return scale * (accuracy - original)


class Haq:
    """The agent as a search strategy: ask for choices, tell their accuracy.

    Draws from PyTorch's generator.

    Args:
        space: Whose choices it makes; equally many candidates, by rising cost.
        rows: What it sees of each layer, (layers, 10); the last number of a row is
            replaced by the choice before, as a share of the largest; 1 at first.
        cost: Of choices.
        budget: In its unit.
        original: Accuracy of the network that is not rounded, in per cent.
        agent: Actor and critic for ten numbers.
        warm_up: Episodes of random actions at first.

    Raises:
        ValueError: If the shapes differ.

    Attributes:
        noise: Standard deviation of the draws of the next episode; falls by 1 % with
            each, from 0.5.

    Example:
        >>> from effdl.quant.bit_choices import bit_space
        >>> haq = Haq(bit_space(2), torch.zeros(2, 10), sum, 3.0, 90.0, Ddpg(10))
        >>> choices = haq.ask()
        >>> sum(choices) <= 3
        True
        >>> haq.tell(choices, 80.0)
    """

    def __init__(
        self,
        space: BlockSpace,
        rows: Tensor,
        cost: Cost,
        budget: float,
        original: float,
        agent: Ddpg,
        *,
        warm_up: int = 20,
    ) -> None:
        if len(rows) != len(space.layers) or len(set(space.sizes)) > 1:
            raise ValueError(
                f"rows must be ({len(space.layers)}, 10), and all layers must have as "
                f"many candidates, got {tuple(rows.shape)} and {space.sizes}"
            )
        self.space, self.rows, self.cost, self.budget = space, rows, cost, budget
        self.original, self.agent, self.warm_up = original, agent, warm_up
        self.episodes, self.noise = 0, 0.5
        self.baseline: float | None = None
        self._seen: list[tuple[Tensor, float]] = []

    def ask(self) -> Choices:
        """Return the choices of one episode, within the budget."""
        self._seen, choices = self._episode(self.noise)
        return choices

    def tell(self, _choices: Choices, score: float, /) -> None:
        """Learn from the episode that was asked for last.

        Args:
            score: Accuracy, 0 to 1.
        """
        reward = haq_reward(100 * score, self.original)
        before = reward if self.baseline is None else self.baseline
        self.baseline = 0.5 * before + 0.5 * reward
        seen = self._seen
        for number, (observation, action) in enumerate(seen):
            last = number == len(seen) - 1
            after = observation if last else seen[number + 1][0]
            self.agent.remember(Step(observation, action, reward, after, last))
            if self.episodes >= self.warm_up:
                self.agent.learn(self.baseline)
        self.episodes += 1
        if self.episodes > self.warm_up:
            self.noise *= 0.99

    def answer(self) -> Choices:
        """Return the choices of the actor alone, within the budget."""
        return self._episode(0.0)[1]

    def _episode(self, noise: float) -> tuple[list[tuple[Tensor, float]], Choices]:
        most, previous = self.space.sizes[0] - 1, 1.0
        seen, choices = [], []
        for row in self.rows:
            observation = torch.cat([row[:-1], row.new_tensor([previous])])
            action = self.agent.act(observation, noise=noise)
            if noise > 0 and self.episodes < self.warm_up:
                action = float(torch.rand(()))
            choices.append(choice_of_action(action, most + 1))
            previous = choices[-1] / most if most else 1.0
            seen.append((observation, action))
        return seen, action_wall(choices, self.cost, self.budget)
