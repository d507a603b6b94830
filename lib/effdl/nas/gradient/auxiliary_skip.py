"""DARTS-: a skip connection beside the mixture, faded out during the search.

Paper: Chu et al., "DARTS-: Robustly Stepping out of Performance Collapse Without
Indicators", ICLR 2021, https://arxiv.org/abs/2009.01027.

    mixed(x) = beta skip(x) + sum over k of  w_k o_k(x)      beta = 1 - progress

A skip connection does two things in a supernet: it is a candidate, and it helps deep
networks to train. The weight that it earns by the second is counted for the first. So
give the supernet a skip that is no candidate, and take it away slowly. At beta = 0 this
is DARTS, bit for bit.

Here the auxiliary skip is one more candidate on every edge. Its logit is inactive, so
neither the softmax nor the discretisation sees it, and the relaxation puts beta into
its column. A search needs all three parts:

    small_mixed_net(make_edge=auxiliary_edge)
    auxiliary_architecture([OPERATIONS] * 6)
    Method(relax=with_auxiliary_skip())

beta takes its last step before the last batch, not after it: the last step of the
search still has a beta of 1 / steps.
"""

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy

import torch
from torch import Tensor, nn

from effdl.nas.gradient.architecture import Architecture
from effdl.nas.gradient.mixed import MixedOperation
from effdl.nas.gradient.relaxations import softmax_weights
from effdl.nas.gradient.steps import Relaxation

AUXILIARY = "auxiliary_skip"


def linear_decay(progress: float) -> float:
    """Return the weight of the auxiliary skip: 1 at first, 0 at the end.

    Args:
        progress: Share of the search that is done, 0 to 1.

    Example:
        >>> linear_decay(0.25)
        0.75
    """
    return 1.0 - progress


def auxiliary_edge(candidates: Mapping[str, nn.Module]) -> MixedOperation:
    """Return a mixture with one candidate more: a copy of its skip connection.

    To be used as the ``make_edge`` of a supernet. A skip that halves the resolution has
    weights, and the copy has its own.

    Args:
        candidates: The modules by name, ``skip_connect`` among them.

    Raises:
        ValueError: If there is no ``skip_connect``.

    Example:
        >>> edge = auxiliary_edge({"skip_connect": nn.Identity(), "relu": nn.ReLU()})
        >>> list(edge.candidates)
        ['skip_connect', 'relu', 'auxiliary_skip']
    """
    if "skip_connect" not in candidates:
        raise ValueError(
            "candidates must hold skip_connect, which the auxiliary skip is a copy of, "
            f"got {list(candidates)}"
        )
    copy = deepcopy(candidates["skip_connect"])
    return MixedOperation({**candidates, AUXILIARY: copy})


def auxiliary_architecture(
    candidates: Sequence[Sequence[str]], *, spread: float = 1e-3
) -> Architecture:
    """Return an architecture with an inactive auxiliary skip on every edge.

    Args:
        candidates: Names of the real candidates of each edge.
        spread: Standard deviation of the logits at the start.

    Example:
        >>> found = auxiliary_architecture([("skip_connect", "nor_conv_3x3")])
        >>> found.candidates[0], found.left(0)[-1]
        (('skip_connect', 'nor_conv_3x3', 'auxiliary_skip'), 'nor_conv_3x3')
    """
    found = Architecture([(*names, AUXILIARY) for names in candidates], spread=spread)
    for edge, names in enumerate(candidates):
        found.keep_(edge, names)
    return found


def with_auxiliary_skip(
    relax: Relaxation = softmax_weights,
    *,
    beta: Callable[[float], float] = linear_decay,
) -> Relaxation:
    """Return a relaxation that gives the auxiliary skip of every edge the weight beta.

    What it returns raises ``ValueError`` for an architecture in which an edge has no
    auxiliary skip.

    Args:
        relax: Weighs the real candidates.
        beta: Of the progress, 0 to 1.

    Example:
        >>> found = auxiliary_architecture([("skip_connect", "none")], spread=0)
        >>> with_auxiliary_skip()(found, 0.25)
        tensor([[0.5000, 0.5000, 0.7500]], grad_fn=<AddBackward0>)
    """

    def relaxed(architecture: Architecture, progress: float) -> Tensor:
        column = torch.zeros_like(architecture.logits)
        for edge, names in enumerate(architecture.candidates):
            if AUXILIARY not in names:
                raise ValueError(
                    f"edge {edge} of the architecture has no {AUXILIARY}; make it with "
                    "auxiliary_architecture"
                )
            column[edge, names.index(AUXILIARY)] = beta(progress)
        return relax(architecture, progress) + column.detach()

    return relaxed
