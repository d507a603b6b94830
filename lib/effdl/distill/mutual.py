"""Deep mutual learning: networks that begin together and teach one another.

Paper: Zhang et al., "Deep Mutual Learning", CVPR 2018,
https://arxiv.org/abs/1706.00384, sections 3.2 and 3.4.

K peers, other weights to begin with, the same batches. With p_k the softmax of peer k
(temperature 1)

    L_k = CE(p_k, label) + 1 / (K - 1) sum over l != k of KL(p_l || p_k)

in which p_l is a constant. No peer is trained before the others, none is larger. After
training one of them is used, or all of them as an ensemble. What each has to say to
the others is where it puts its *second* guess: all of them learn the labels anyway.

What differs: the paper lets peers move in turn, each seeing what the one before has
become; here all losses of a batch are computed first, then all peers move. So two
peers that begin with equal weights stay equal, and learn as if alone, which a test
uses; in turn they would part after one step. The authors' program draws a new batch
for each turn, and adds the K - 1 divergences up instead of averaging them.

Before trusting it: equal epochs are not equal work. K peers cost K trainings, where
distillation costs that of the student and, once, of the teacher.
"""

from collections.abc import Sequence
from itertools import combinations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from effdl.data.digits import Split
from effdl.distill.kd import soft_loss
from effdl.distill.recipe import TEN_EPOCHS, Recipe, train_student


def mutual_losses(logits: Sequence[Tensor], targets: Tensor) -> Tensor:
    """Return L of every peer, (K,). The gradient of L_k reaches peer k only.

    Args:
        logits: Of K peers for the same inputs, (N, C) each. Alone, a peer has its
            cross-entropy.
        targets: Class indices, (N,).

    Raises:
        ValueError: If there are no peers.

    Example:
        >>> z = torch.tensor([[2.0, 0.0]])
        >>> losses = mutual_losses([z, z], torch.tensor([0]))
        >>> [round(float(loss), 4) for loss in losses]
        [0.1269, 0.1269]
    """
    if not logits:
        raise ValueError("logits is empty; give those of one peer at least")
    losses = []
    for k, own in enumerate(logits):
        loss = F.cross_entropy(own, targets)
        others = [z for number, z in enumerate(logits) if number != k]
        if others:
            loss = loss + sum(soft_loss(own, z, 1.0) for z in others) / len(others)
        losses.append(loss)
    return torch.stack(losses)


def train_peers(
    peers: Sequence[nn.Module], split: Split, recipe: Recipe = TEN_EPOCHS
) -> list[float]:
    """Return the mean loss of every epoch, summed over peers, of mutual learning.

    Args:
        peers: K networks that map (N, ...) to logits (N, C); trained in place. Give
            them different weights to begin with. They may be of different kinds.
        split: Inputs and targets.
        recipe: How long and how fast, for all of them.

    Raises:
        ValueError: If two of them are the same object.

    Example:
        >>> split = Split(torch.eye(2).repeat(50, 1), torch.arange(2).repeat(50))
        >>> losses = train_peers([nn.Linear(2, 2), nn.Linear(2, 2)], split)
        >>> losses[-1] < losses[0]
        True
    """
    if any(a is b for a, b in combinations(peers, 2)):
        raise ValueError("peers has one network twice; make each of them anew")

    def loss_of(inputs: Tensor, targets: Tensor) -> Tensor:
        return mutual_losses([peer(inputs) for peer in peers], targets).sum()

    return train_student(nn.ModuleList(peers), split, loss_of, recipe)
