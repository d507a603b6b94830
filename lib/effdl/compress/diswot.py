"""DisWOT: does a student see as the teacher sees, before either has learned anything?

Paper: Dong et al., "DisWOT: Student Architecture Search for Distillation WithOut
Training", CVPR 2023, https://arxiv.org/abs/2303.15678.

Both networks have random weights and get one batch of N inputs with labels. Of each

    samples    A A^T      A (N, features): the maps before the pooling, flattened
    classes    G G^T      G (C, channels): dL/dW of the last linear layer, L the
                          cross-entropy; row c is the class activation of c

every row divided by its norm. The score of a pair is how little they differ,

    score = - mean of (samples_t - samples_s)^2 - mean of (classes_t - classes_s)^2

at most 0; the larger, the better the pair is said to be. Two networks need not have the
same channels for it, as both matrices are about inputs and classes.

What differs: the samples are as in the listing that the authors publish. For the
classes the listing multiplies channels, per class g g^T: that needs as many channels in
both networks, and changes if the channels of one are put in another order, which
changes nothing about that network. Their program for other proxies has a third
formula, from the statistics of batch norm alone, under the same name.

Before trusting it: nothing of the teacher's training is seen. A teacher that is
larger, better or finished scores as any other draw of its weights does. Draw
again and see what remains of the order; and ask for the order of teachers, students and
pairs apart, with :func:`effdl.compress.pairs.pair_agreement`.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from effdl.distill.taps import tapped
from effdl.nas.proxies.weights import connected_layers, gradients, loss_of_weights


class Views(NamedTuple):
    """How one network relates inputs, and classes, to each other.

    Attributes:
        samples: (N, N), rows of norm 1.
        classes: (C, C), rows of norm 1.
    """

    samples: Tensor
    classes: Tensor


def views(network: nn.Module, inputs: Tensor, targets: Tensor, features: str) -> Views:
    """Return how a network sees a batch.

    It runs once in the mode it is in, forward and back, and comes back unchanged.
    Raises ``ValueError`` if the batch is empty, there is no layer of that name or no
    linear layer at all.

    Args:
        network: As initialised; its last linear layer gives the logits.
        inputs: One batch, (N, ...); the same for all networks compared.
        targets: Class indices, (N,).
        features: Name of the layer that puts out the maps before the pooling.

    Raises:
        ValueError: If the last layer with weights is not linear.

    Example:
        >>> from effdl.blocks import plain_net
        >>> x, y = torch.randn(6, 1, 16, 16), torch.arange(6)
        >>> seen = views(plain_net(2), x, y, "4")
        >>> seen.samples.shape, seen.classes.shape
        (torch.Size([6, 6]), torch.Size([10, 10]))
    """
    name, last = [*connected_layers(network).items()][-1]
    if not isinstance(last, nn.Linear):
        raise ValueError(
            f"the last layer with weights, {name!r}, is a {type(last).__name__}; "
            "it must be linear and give the logits"
        )
    with torch.enable_grad(), tapped(network, [features]) as taps:
        weights, loss = loss_of_weights(network, inputs, targets, F.cross_entropy)
        maps = taps[features].detach().flatten(1)
    (slope,) = gradients(loss, {name: weights[f"{name}.weight"]}).values()
    return Views(_gram(maps), _gram(slope))


def diswot_score(teacher: Views, student: Views) -> float:
    """Return the score of a pair, at most 0; the larger, the better.

    Symmetrical: it does not know who teaches.

    Args:
        teacher: From :func:`views`.
        student: Of the same batch.

    Raises:
        ValueError: If they have other numbers of inputs or of classes.

    Example:
        >>> one, swapped = torch.eye(2), torch.eye(2).flip(0)
        >>> diswot_score(Views(one, one), Views(one, swapped))
        -1.0
    """
    for name, ours, theirs in zip(Views._fields, student, teacher, strict=True):
        if ours.shape != theirs.shape:
            raise ValueError(
                f"teacher and student have different {name}, {len(theirs)} and "
                f"{len(ours)}; show both the same batch"
            )
    pairs = zip(teacher, student, strict=True)
    return -sum(float(F.mse_loss(ours, theirs)) for ours, theirs in pairs)


def _gram(rows: Tensor) -> Tensor:
    """Return the products of all rows with each other, its rows of norm 1."""
    return F.normalize(rows @ rows.T, dim=1)
