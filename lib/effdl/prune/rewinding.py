"""Rewinding: tickets that go back to an early step instead of to the very first.

Papers: Frankle et al., "Stabilizing the Lottery Ticket Hypothesis", 2019,
https://arxiv.org/abs/1903.01611 (weights); Renda et al., "Comparing Rewinding and
Fine-tuning in Neural Network Pruning", ICLR 2020, https://arxiv.org/abs/2003.02389
(learning rate).

    lottery ticket           m theta_0,  then all T steps            k = 0
    weight rewinding         m theta_k,  then the steps from k to T
    learning-rate rewinding  m theta_T,  then the steps from k to T
    fine-tuning              m theta_T,  then some steps at the last, small rate

So the lottery ticket with theta_k for theta_0 and the rest of the training for the
whole is weight rewinding; nothing else changes. It needs a training that can begin at
any step: :class:`effdl.prune.recipe.Recipe`. Its optimiser begins anew at step k, as
in the authors' program: momentum is not rewound.

When not to trust it: at the size of this book going back to theta_0 works, and
rewinding has little to repair. :mod:`effdl.prune.interpolation` tells when it has.
"""

import copy
from collections.abc import Sequence
from functools import partial

from torch import nn

from effdl.prune.iterative import Select
from effdl.prune.lottery import Round, Scores, find_tickets, make_ticket
from effdl.prune.magnitude import magnitude_scores
from effdl.prune.masks import masks_of
from effdl.prune.pruned import plain_copy
from effdl.prune.recipe import StepTraining
from effdl.prune.thresholds import layer_masks


def at_step(initial: nn.Module, step: int, *, train: StepTraining) -> nn.Module:
    """Return a copy of the network as it is after so many steps: theta_k.

    Args:
        initial: Weights theta_0; left as it is.
        step: Steps k, 0 for a plain copy.
        train: The training.

    Example:
        >>> at_step(nn.Linear(2, 1), 0, train=lambda model, start, stop: 0)
        Linear(in_features=2, out_features=1, bias=True)
    """
    early = copy.deepcopy(initial)
    if step:
        train(early, start=0, stop=step)
    return early


def find_rewound_tickets(
    initial: nn.Module,
    sparsities: Sequence[float],
    *,
    train: StepTraining,
    step: int,
    select: Select = layer_masks,
    scores_of: Scores = magnitude_scores,
) -> list[Round]:
    """Return the whole network and a ticket a round, all of them m theta_k, trained.

    With ``step=0`` it is :func:`~effdl.prune.lottery.find_tickets`, to the bit.

    Args:
        initial: Weights theta_0, not pruned; left as it is.
        sparsities: Share of all weights that is gone after each round, rising.
        train: The training.
        step: Step k that tickets go back to.
        select: Makes masks of scores.
        scores_of: Scores the weights of a trained network.

    Example:
        >>> def train(model, *, start=0, stop=None):
        ...     print("from", start, "to", stop)
        >>> _ = find_rewound_tickets(nn.Linear(4, 1), [0.5], train=train, step=3)
        from 0 to 3
        from 3 to None
        from 3 to None
    """
    return find_tickets(
        at_step(initial, step, train=train),
        sparsities,
        train=partial(train, start=step),
        select=select,
        scores_of=scores_of,
    )


def rewind_learning_rate(
    trained: nn.Module,
    sparsities: Sequence[float],
    *,
    train: StepTraining,
    step: int = 0,
    select: Select = layer_masks,
    scores_of: Scores = magnitude_scores,
) -> list[Round]:
    """Return a ticket for each sparsity: what was trained last, masked, trained again.

    Always from step k on. The first ticket is m theta_T.

    Args:
        trained: Weights theta_T, not pruned; left as it is.
        sparsities: Share of all weights that is gone after each round, rising.
        train: The training.
        step: Step k at which it begins again; 0 goes through all learning rates.
        select: Makes masks of scores.
        scores_of: Scores the weights of a trained network.

    Raises:
        ValueError: If there are no sparsities, or one is below that before it.

    Example:
        >>> def train(model, *, start=0, stop=None):
        ...     print("from", start)
        >>> _ = rewind_learning_rate(nn.Linear(4, 1), [0.25, 0.5], train=train)
        from 0
        from 0
    """
    if not sparsities or list(sparsities) != sorted(sparsities):
        raise ValueError(f"sparsities must rise, and not be empty, got {sparsities}")
    rounds: list[Round] = []
    for sparsity in sparsities:
        last = rounds[-1].trained if rounds else trained
        masks = select(scores_of(last), sparsity, within=masks_of(last) or None)
        ticket = make_ticket(plain_copy(last), masks)
        after = copy.deepcopy(ticket)
        train(after, start=step)
        rounds.append(Round(ticket, after))
    return rounds
