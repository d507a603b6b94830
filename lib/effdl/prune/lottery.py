"""The lottery ticket: a small network that learns, found inside a large one.

Paper: Frankle and Carbin, "The Lottery Ticket Hypothesis: Finding Sparse, Trainable
Neural Networks", ICLR 2019, https://arxiv.org/abs/1803.03635.

    1  draw weights theta_0                             initial
    2  train a copy of them to theta_T                  train
    3  keep the largest |theta_T|: the mask m           scores_of, select
    4  go back: the ticket is m theta_0                 make_ticket

Trained alone, the ticket is to be about as good as the whole network, and clearly
better than m with other weights, or theta_0 with another mask: see
:mod:`effdl.prune.lottery_controls`. Without these controls a ticket shows nothing.

In rounds (iterative magnitude pruning), round r trains m_(r-1) theta_0, takes the share
q of the weights that are *left*, and goes back to theta_0 again. To have P gone after n
rounds, q = 1 - (1 - P)^(1/n): :func:`effdl.prune.schedules.sparsity_of_rounds`.

The paper prunes small networks layer by layer, the output layer at half the rate, and
deep ones globally. Biases and batch norm are not pruned, but reset like all the rest.

When not to trust it: a ticket is found by training the large network, so it saves no
training. In large networks going back to theta_0 fails, and going back to an early
theta_k does not: :mod:`effdl.prune.rewinding`.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from torch import Tensor, nn

from effdl.prune.iterative import Select
from effdl.prune.magnitude import magnitude_scores
from effdl.prune.masks import Masks, masks_of, prune_
from effdl.prune.pruned import count_kept
from effdl.prune.thresholds import layer_masks

Train = Callable[[nn.Module], object]
Scores = Callable[[nn.Module], Mapping[str, Tensor]]


class Round(NamedTuple):
    """One round: a ticket, and what became of it.

    Attributes:
        ticket: Masked, with the weights that its training began from.
        trained: A copy of it, trained.
    """

    ticket: nn.Module
    trained: nn.Module

    @property
    def masks(self) -> dict[str, Tensor]:
        """What is left; empty for the whole network."""
        return masks_of(self.ticket)


def make_ticket(initial: nn.Module, masks: Masks) -> nn.Module:
    """Return a copy of the network with masks: m theta_0, to the bit.

    Args:
        initial: Weights theta_0, not pruned; left as it is.
        masks: From names of parameters to bool tensors of their shapes.

    Example:
        >>> import torch
        >>> initial = nn.Linear(2, 1)
        >>> ticket = make_ticket(initial, {"weight": torch.tensor([[True, False]])})
        >>> ticket.weight[0, 0].item() == initial.weight[0, 0].item()
        True
    """
    ticket = copy.deepcopy(initial)
    prune_(ticket, masks)
    return ticket


def find_ticket(
    initial: nn.Module,
    sparsity: float,
    *,
    train: Train,
    select: Select = layer_masks,
    scores_of: Scores = magnitude_scores,
) -> nn.Module:
    """Return a ticket by the four steps, all pruning in one go; it is not trained.

    Args:
        initial: Weights theta_0, not pruned; left as it is.
        sparsity: Share of the weights that goes, at least 0 and below 1.
        train: Trains the network that it is given, in place.
        select: Makes masks of scores.
        scores_of: Scores the weights of the trained network.

    Example:
        >>> ticket = find_ticket(nn.Linear(4, 1), 0.5, train=lambda model: None)
        >>> count_kept(masks_of(ticket))
        Kept(kept=2, total=4)
    """
    trained = copy.deepcopy(initial)
    train(trained)
    return make_ticket(initial, select(scores_of(trained), sparsity, within=None))


def find_tickets(
    initial: nn.Module,
    sparsities: Sequence[float],
    *,
    train: Train,
    select: Select = layer_masks,
    scores_of: Scores = magnitude_scores,
) -> list[Round]:
    """Return the whole network and one ticket for each round, each also trained.

    Costs one training more than there are rounds.

    Args:
        initial: Weights theta_0, not pruned; left as it is.
        sparsities: Share of all weights that is gone after each round, rising.
        train: Trains the network that it is given, in place. To compare rounds, let it
            do the same steps on the same batches every time.
        select: Makes masks of scores.
        scores_of: Scores the weights of a trained network.

    Raises:
        ValueError: If there are no sparsities, one is below that before it, or the
            network is pruned already.

    Example:
        >>> rounds = find_tickets(nn.Linear(8, 1), [0.5, 0.75], train=lambda model: 0)
        >>> [count_kept(found.masks).kept for found in rounds[1:]]
        [4, 2]
    """
    if not sparsities or list(sparsities) != sorted(sparsities):
        raise ValueError(f"sparsities must rise, and not be empty, got {sparsities}")
    if masks_of(initial):
        raise ValueError("initial is pruned already; begin with the whole network")
    rounds = [_trained(copy.deepcopy(initial), train)]
    for sparsity in sparsities:
        last = rounds[-1]
        within = last.masks or None
        masks = select(scores_of(last.trained), sparsity, within=within)
        rounds.append(_trained(make_ticket(initial, masks), train))
    return rounds


def sparing(name: str, *, share: float = 0.5) -> Select:
    """Return a selection layer by layer in which one layer loses less in each round.

    Where all others lose the share q of what they have left, it loses ``share`` q. The
    sparsity that it is asked for is that of the others.

    Args:
        name: Of the weight, such as "5.weight"; the paper takes the output layer.
        share: From 0, which leaves the layer whole, to 1, the rate of the others.

    Raises:
        ValueError: If the share is out of range; when called, if there is no such
            weight, or no other.

    Example:
        >>> import torch
        >>> scores = {"hidden": torch.rand(100), "output": torch.rand(100)}
        >>> masks = sparing("output")(scores, 0.5, within=None)
        >>> [int(mask.sum()) for mask in masks.values()]
        [50, 75]
    """
    if not 0 <= share <= 1:
        raise ValueError(f"share must be from 0 to 1, got {share}")

    def select(
        scores: Mapping[str, Tensor], sparsity: float, *, within: Masks | None
    ) -> dict[str, Tensor]:
        if name not in scores or len(scores) < 2:
            known = ", ".join(scores)
            raise ValueError(
                f"name must be one of several weights, got {name}: {known}"
            )
        left = {n: 1.0 if within is None else _density(within, n) for n in scores}
        asked = dict.fromkeys(scores, sparsity)
        others = min(left[n] for n in scores if n != name)
        rate = 1 - (1 - sparsity) / others
        asked[name] = 1 - left[name] * (1 - share * rate)
        return layer_masks(scores, asked, within=within)

    return select


def _density(masks: Masks, name: str) -> float:
    return 1 - count_kept({name: masks[name]}).sparsity


def _trained(ticket: nn.Module, train: Train) -> Round:
    trained = copy.deepcopy(ticket)
    train(trained)
    return Round(ticket, trained)
