"""FBNet: samples that are smooth at first, and a loss times the logarithm of a cost.

Paper: Wu et al., "FBNet: Hardware-Aware Efficient ConvNet Design via Differentiable
Neural Architecture Search", CVPR 2019, https://arxiv.org/abs/1812.03443.

    m_l = softmax((theta_l + Gumbel noise) / tau)        a new sample in every step
    x_l = sum over k of  m[l, k] b_lk(x_(l-1))           all K candidates run
    LAT = base + sum over l, k of  m[l, k] table[l, k]
    theta minimises  CE * 0.2 log(LAT)^0.6               tau = 5 exp(-0.045 epoch)

While tau is large all weights are alike, and every candidate learns. Near 0 a sample is
nearly one-hot: what is trained comes close to what is kept. With one-hot m, LAT is the
sum of the chosen entries exactly.

All candidates of a layer run and are kept for the backward pass. So memory grows with
K; that is what sampling one path avoids.

What differs: the paper searches for 90 epochs, of which 10 leave theta alone. A shorter
search here runs through the same temperatures. It minimises the product over w, too;
there the factor of CE only scales a gradient, and it is left out. Weights of the
network and theta move in turn within an epoch, as in DARTS.
"""

import math

from effdl.nas.gradient.gumbel import ConcreteWeights, falling_exponentially
from effdl.nas.gradient.method import Method
from effdl.nas.hardware.expected_cost import CostTable
from effdl.nas.hardware.penalties import ALPHA, BETA, fbnet_product

START, DECAY, EPOCHS = 5.0, 0.045, 90  # the paper's: 5 exp(-0.045 epoch)


def fbnet(table: CostTable, *, alpha: float = ALPHA, beta: float = BETA) -> Method:
    """Return FBNet as a method. Warm-up is the caller's: a ninth of the epochs.

    Args:
        table: Costs; with the base, every architecture above 1: in microseconds rather
            than seconds.
        alpha: Factor of the loss.
        beta: Exponent of log(LAT). For errors see
            :func:`~effdl.nas.hardware.penalties.fbnet_product`.

    Example:
        >>> import torch
        >>> method = fbnet(CostTable(2.0, torch.tensor([[2.0, 4.0]])))
        >>> [round(method.relax.temperature(p), 2) for p in (0.0, 0.5, 1.0)]
        [5.0, 0.66, 0.09]
    """
    cooling = falling_exponentially(START, START * math.exp(-DECAY * EPOCHS))
    return Method(
        relax=ConcreteWeights(cooling),
        objective=fbnet_product(table, alpha=alpha, beta=beta),
    )
