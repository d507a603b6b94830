"""Jacov: rate an untrained network by how differently it treats different images.

Paper: Mellor et al., "Neural Architecture Search without Training",
https://arxiv.org/abs/2006.04647, first version (2020). What ICML printed in 2021 under
this title is another score: :mod:`effdl.nas.proxies.naswot`.

Near an image x_n a ReLU network is a linear map. If that map is the same for all
images, the network can hardly learn to tell them apart. So take the gradient J_n of
the summed logits with respect to every image of a batch, the correlation matrix C of
these gradients, and its eigenvalues v_1 .. v_N, which add up to N:

    S = - sum over i of ( log(v_i + k) + 1 / (v_i + k) )           k = 1e-5

log v + 1/v is least at v = 1. So S is at most about -N, for gradients without any
correlation (all v_i = 1), and least where all are alike (one v_i = N, the others 0):
about -1/k for each of the N - 1 zeros. Higher is better.

Before trusting S: 1/(v + k) lets the smallest eigenvalues rule, and one pair of images
with nearly the same gradient can outweigh all others. S depends on the batch and its
size, and no label enters: give every candidate the same batch.

What differs: the eigenvalues come from a routine for symmetric matrices. The authors'
general one can return complex numbers.
"""

import torch
from torch import Tensor, nn

from effdl.nas.proxies.jacobian import correlation, input_gradients

OFFSET = 1e-5  # k


def jacov_score(model: nn.Module, inputs: Tensor) -> float:
    """Return S for a network and a batch; one forward and one backward pass.

    Takes the arguments of :func:`~effdl.nas.proxies.jacobian.input_gradients` and
    raises its errors, and ``ValueError`` if an image has the same gradient in every
    pixel. The model comes back as it was.

    Args:
        model: Maps images (N, ...) to logits (N, K).
        inputs: One batch, (N, ...). Do not split it: N enters the score.

    Example:
        >>> net = nn.Linear(4, 2)  # the same gradient everywhere: eigenvalues 2 and 0
        >>> round(jacov_score(net, torch.zeros(2, 4)))
        -99990
    """
    gradients, _ = input_gradients(model, inputs)
    return eigenvalue_score(correlation(gradients))


def eigenvalue_score(matrix: Tensor) -> float:
    """Return S of a correlation matrix.

    Args:
        matrix: Symmetric, (N, N), with eigenvalues of at least 0.

    Example:
        >>> eigenvalue_score(torch.eye(3, dtype=torch.float64))
        -3.0000000001...
    """
    shifted = torch.linalg.eigvalsh(matrix).clamp(min=0) + OFFSET  # v_i + k, (N,)
    return -(shifted.log() + 1 / shifted).sum().item()
