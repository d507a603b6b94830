"""NASWOT: count how many ReLUs tell two images apart, before any training.

Paper: Mellor et al., "Neural Architecture Search without Training", ICML 2021,
https://arxiv.org/abs/2006.04647, second version and later. The first version, of 2020,
has another score: :mod:`effdl.nas.proxies.jacov`.

Every ReLU unit is on or off for an image. The N_A units of the network together write
a binary code c_n for image n, one for each linear piece of the network. Two images of
one code lie on the same piece, where the network is one linear map.

    K_ij = N_A - Hamming(c_i, c_j)        the units on which the codes agree, (N, N)
         = c_i . c_j + (1 - c_i) . (1 - c_j)
    S    = log det K

S is largest if codes agree as little as they can, and -infinity if two images share
one (or if the units are so few that the rows of K cannot be independent). Higher is
better.

What counts is what runs: every ReLU, module or function, as often as it is called, and
none that the forward pass leaves out. The authors' code sees modules only.

Before trusting S: N_A is on the diagonal, so S grows with about N log N_A, and networks
with more units tend to score higher: compare with the count of units. It depends on
the batch and its size. Two equal images in it make every S -infinity.
"""

import torch
from torch import Tensor, nn

from effdl.measure.probe import undisturbed
from effdl.nas.proxies.linear_regions import activation_patterns

EXACT = 1 << 20  # units at a time: float32 counts so far without rounding


def naswot_score(model: nn.Module, inputs: Tensor) -> float:
    """Return S for a network and a batch; one forward pass, no gradient, no labels.

    Runs in training mode, with batch statistics. The model comes back as it was:
    weights, buffers, modes, random state, also after an error. Raises ``ValueError``
    if the batch is empty or no ReLU runs.

    Args:
        model: Takes images (N, ...).
        inputs: One batch, (N, ...). Do not split it: pairs of images are compared.

    Returns:
        S, or -infinity if K is singular to within rounding.

    Example:
        >>> x = torch.tensor([[1.0, -1.0], [-1.0, 1.0]])  # codes 10 and 01
        >>> round(naswot_score(nn.ReLU(), x), 6)  # log det of (2, 0) and (0, 2)
        1.386294
    """
    with undisturbed(model, training=True):
        codes = activation_patterns(model, inputs)  # (N, N_A)
    return log_determinant(code_kernel(codes))


def code_kernel(codes: Tensor) -> Tensor:
    """Return on how many units each two images agree, N_A minus the Hamming distance.

    Args:
        codes: On or off, (N, N_A), boolean.

    Returns:
        K, (N, N), float64; N_A on the diagonal.

    Example:
        >>> code_kernel(torch.tensor([[True, False, True], [True, True, True]]))
        tensor([[3., 2.],
                [2., 3.]], dtype=torch.float64)
    """
    kernel = torch.zeros(len(codes), len(codes), dtype=torch.float64)
    for part in codes.split(EXACT, dim=1):
        signs = part.float() * 2 - 1  # 1 where on, -1 where off
        # Of n products a agree: signs @ signs.T = a - (n - a).
        kernel += (signs @ signs.T + part.shape[1]).cpu() / 2
    return kernel


def log_determinant(kernel: Tensor) -> float:
    """Return log det K, -infinity if an eigenvalue is 0 within rounding.

    Args:
        kernel: Symmetric, (N, N), float64, with eigenvalues of at least 0.

    Example:
        >>> log_determinant(torch.ones(2, 2, dtype=torch.float64))
        -inf
    """
    eigenvalues = torch.linalg.eigvalsh(kernel)  # ascending
    rounding = len(kernel) * torch.finfo(kernel.dtype).eps * eigenvalues[-1]
    if eigenvalues[0] <= rounding:
        return -torch.inf
    return eigenvalues.log().sum().item()
