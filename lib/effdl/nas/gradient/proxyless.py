"""ProxylessNAS: binary gates; one path for the weights, two for the architecture.

Paper: Cai et al., "ProxylessNAS: Direct Neural Architecture Search on Target Task and
Hardware", ICLR 2019, https://arxiv.org/abs/1812.00332, sections 3.1 to 3.3.

    out = sum over k of  g_k o_k(x)          g one-hot, drawn from p = softmax(a)

The weights move on the path that was drawn; nothing else runs. The architecture moves
by the gradient of the gates, as if they were p, which has the derivative of a softmax:

    dL/dg_j = <dL/dout, o_j(x)>
    dL/da_i = sum over j of  dL/dg_j p_j (delta_ij - p_i)

The gate of a path that did not run has no dL/dg_j: that takes its output. So the
architecture's step draws *two* paths an edge without replacement, and one of them by
q = softmax over the two. Both run; the value is that of the one, the gradient reaches
the gates of both. All other probabilities stay: their logits do not move, and the two
are shifted so that the sum of their exponentials is what it was. Memory is that of two
paths, however many candidates there are; not of one.

Cost enters as the mean over the drawn pair, sum over k of q_k cost_k. Where no gradient
can be had, :func:`reinforce_objective` needs only rewards of drawn networks.

What differs from the authors' code: a pair of which one is the zero operation is
updated here like any other; there, not if zero is the one that is drawn. There, the
output of the second path is cut off from the graph, so that of this path only the
output is kept; the gradients are the same, as its weight is 0.

When not to trust it: a pair is compared on one batch, with weights that saw few
batches each. The authors train the weights alone for a while first (``warm_up``).
"""

from __future__ import annotations

import torch
from torch import Tensor

from effdl.nas.gradient.architecture import Architecture
from effdl.nas.gradient.gumbel import (
    gumbel_noise,
    one_hot_of_largest,
    straight_through,
)
from effdl.nas.gradient.method import Method
from effdl.nas.gradient.steps import Batch, Searching, weight_step


def gate_gradient(of_gates: Tensor, probabilities: Tensor) -> Tensor:
    """Return dL/da from dL/dg, (edges, K); every row sums to 0.

    Args:
        of_gates: dL/dg, (edges, K); for two paths, 0 elsewhere.
        probabilities: p, or q with 0 for what was not drawn, (edges, K).

    Example:
        >>> gate_gradient(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.5, 0.5]]))
        tensor([[ 0.2500, -0.2500]])
    """
    mean = (probabilities * of_gates).sum(dim=1, keepdim=True)
    return probabilities * (of_gates - mean)


def sampled_path(architecture: Architecture, _progress: float = 0.0) -> Tensor:
    """Return weights (edges, K) of one path drawn from the softmax; no gradient.

    Args:
        architecture: Whose inactive candidates are never drawn.

    Example:
        >>> sampled_path(Architecture([("skip", "conv")] * 6)).sum().item()
        6.0
    """
    logits = architecture.masked_logits().detach()
    return one_hot_of_largest(logits + gumbel_noise(logits))


def sampled_pair(architecture: Architecture) -> Tensor:
    """Return two candidates of each edge, drawn by softmax without replacement.

    The two largest of logits plus Gumbel noise are such a draw.

    Args:
        architecture: Edges with one active candidate get that one only.

    Example:
        >>> sampled_pair(Architecture([("skip", "conv", "pool")])).sum().item()
        2
    """
    logits = architecture.masked_logits().detach()
    scores = logits + gumbel_noise(logits)
    two = scores.topk(min(2, logits.shape[1]), dim=1).indices
    pair = torch.zeros_like(architecture.active).scatter(1, two, value=True)
    return pair & architecture.active


def pair_probabilities(architecture: Architecture, pair: Tensor) -> Tensor:
    """Return q, (edges, K): the softmax over a pair, and 0 for all others.

    Args:
        architecture: Of the same edges.
        pair: Which candidates are in it, bool, (edges, K).

    Example:
        >>> found = Architecture([("skip", "conv", "pool")], spread=0)
        >>> pair_probabilities(found, torch.tensor([[True, False, True]])).tolist()
        [[0.5, 0.0, 0.5]]
    """
    return architecture.masked_logits().masked_fill(~pair, -torch.inf).softmax(dim=1)


@torch.no_grad()
def settle_(architecture: Architecture, before: Tensor, pair: Tensor) -> None:
    """Undo what a step did to the probabilities of candidates that are in no pair.

    Args:
        architecture: After the step; its logits are changed in place.
        before: The logits before it, (edges, K).
        pair: Which candidates were drawn, bool, (edges, K).

    Example:
        >>> found = Architecture([("skip", "conv", "pool")], spread=0)
        >>> before = found.logits.detach().clone()
        >>> found.logits.data = torch.tensor([[1.0, 1.0, 7.0]])
        >>> settle_(found, before, torch.tensor([[True, True, False]]))
        >>> torch.allclose(found.logits, before, atol=1e-6)
        True
    """
    after = architecture.logits
    gain = _log_sum(after, pair) - _log_sum(before, pair)
    after.copy_(torch.where(pair, after - gain, before))


def proxyless_step(searching: Searching, train: Batch, validation: Batch) -> float:
    """Return the training loss of a step: gates of two paths, then weights of one.

    Args:
        searching: Changed in place. Its objective gets q, (edges, K), as weights.
        train: The batch for w.
        validation: The batch for the architecture.

    Example:
        >>> proxyless_step.__name__  # runs inside effdl.nas.gradient.search.search
        'proxyless_step'
    """
    architecture = searching.architecture
    pair = sampled_pair(architecture)
    q = pair_probabilities(architecture, pair)
    log_q = q.detach().log()
    gates = straight_through(q, one_hot_of_largest(log_q + gumbel_noise(log_q)))
    runs = [row.nonzero().flatten().tolist() for row in pair]
    loss = searching.loss(validation, gates, runs)
    objective = searching.objective(loss, q, searching)
    before = architecture.logits.detach().clone()
    parameters = tuple(architecture.parameters())
    searching.move_architecture_(torch.autograd.grad(objective, parameters))
    settle_(architecture, before, pair)
    return weight_step(searching, train, validation)


def reinforce_objective(
    architecture: Architecture, choices: Tensor, rewards: Tensor, baseline: float = 0.0
) -> Tensor:
    """Return what has minus the gradient of the mean reward, from drawn networks.

    Args:
        architecture: What the networks were drawn from; gets the gradient.
        choices: Number of the candidate on each edge, (networks, edges).
        rewards: What each is worth, (networks,); needs no gradient.
        baseline: Taken off all rewards. It changes the spread, not the mean.

    Example:
        >>> found = Architecture([("skip", "conv")], spread=0)
        >>> loss = reinforce_objective(found, torch.tensor([[1]]), torch.tensor([2.0]))
        >>> round(loss.item(), 4)
        1.3863
    """
    log_p = architecture.masked_logits().log_softmax(dim=1)
    of_each = log_p[torch.arange(len(log_p)), choices].sum(dim=1)  # (networks,)
    return -((rewards - baseline) * of_each).mean()


def _log_sum(logits: Tensor, pair: Tensor) -> Tensor:
    return logits.masked_fill(~pair, -torch.inf).logsumexp(dim=1, keepdim=True)


# Binary gates: one path for the weights, two for the architecture.
PROXYLESS = Method(relax=sampled_path, step=proxyless_step)
