"""The runtime of superkernels: from three measured times of a layer, with slopes.

Paper: Stamoulis et al., "Single-Path NAS: Designing Hardware-Efficient ConvNets in less
than 4 Hours", ECML PKDD 2019, https://arxiv.org/abs/1904.02877, section 3.

With the three decisions d of :mod:`effdl.nas.hardware.superkernel`, a layer needs

    R = d_3 (R_5x5,e3 + d_6 (R_5x5,e6 - R_5x5,e3)) (r + (1 - r) d_5)
    r = R_3x3,e6 / R_5x5,e6                     loss = CE + weight log(sum of R)

which is exact for these three blocks and for none at all. The fourth, 3x3,e3, is taken
to be to 5x5,e3 as 3x3,e6 is to 5x5,e6. Its own measured time does not enter R: it tells
how far off that is, :attr:`Runtimes.residual`.

The logarithm makes the weight the price of a *relative* change of the runtime. It does
not aim at any given runtime: for that the weight has to be tried out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from effdl.nas.hardware.superkernel import Decisions, SuperKernel


class Runtimes(NamedTuple):
    """What the four blocks of one layer need, in any one unit.

    Attributes:
        k3_e3: Kernel 3 x 3, expansion 3.
        k3_e6: Kernel 3 x 3, expansion 6.
        k5_e3: Kernel 5 x 5, expansion 3.
        k5_e6: Kernel 5 x 5, expansion 6; above 0.
    """

    k3_e3: float
    k3_e6: float
    k5_e3: float
    k5_e6: float

    def expected(self, decisions: Decisions) -> Tensor:
        """Return R, a scalar with slopes.

        Args:
            decisions: Of the layer.
        """
        ring, half, rest = decisions
        ratio = self.k3_e6 / self.k5_e6
        channels = half * (self.k5_e3 + rest * (self.k5_e6 - self.k5_e3))
        return channels * (ratio + (1 - ratio) * ring)

    @property
    def residual(self) -> float:
        """What R gives for k3_e3 beyond what was measured; the others are exact."""
        return self.k5_e3 * self.k3_e6 / self.k5_e6 - self.k3_e3


def superkernel_runtime(net: nn.Module, layers: Sequence[Runtimes]) -> Tensor:
    """Return the sum of R over the superkernels of a network, a scalar with slopes.

    Args:
        net: Holds as many superkernels as there are ``layers``, in this order.
        layers: Measured times.

    Raises:
        ValueError: If the numbers differ.

    Example:
        >>> from effdl.nas.hardware.superkernel import SuperKernelBlock
        >>> superkernel_runtime(SuperKernelBlock(4, 4), [Runtimes(1, 2, 1.5, 3)]).item()
        3.0
    """
    kernels = [m for m in net.modules() if isinstance(m, SuperKernel)]
    if len(kernels) != len(layers):
        raise ValueError(
            f"layers must be {len(kernels)}, one for each superkernel, got "
            f"{len(layers)}"
        )
    each = [
        times.expected(kernel.masked()[1])
        for times, kernel in zip(layers, kernels, strict=True)
    ]
    return torch.stack(each).sum()


def superkernel_loss(
    net: nn.Module, layers: Sequence[Runtimes], weight: float
) -> Callable[[Tensor, Tensor], Tensor]:
    """Return the loss CE + weight log(sum of R) as :func:`effdl.train.fit` takes it.

    Weights and thresholds are moved by the same gradient: there is one level only.

    Args:
        net: Maps images to logits.
        layers: Measured times of its superkernels.
        weight: What a relative change of the runtime is worth, in cross-entropy.

    Example:
        >>> from effdl.nas.hardware.superkernel import SuperKernelBlock
        >>> net = nn.Sequential(SuperKernelBlock(4, 4), nn.Flatten())
        >>> loss_of = superkernel_loss(net, [Runtimes(1, 2, 1.5, 3)], 0.1)
        >>> loss_of(torch.ones(2, 4, 1, 1), torch.tensor([0, 0])).shape
        torch.Size([])
    """

    def loss_of(inputs: Tensor, targets: Tensor) -> Tensor:
        runtime = superkernel_runtime(net, layers)
        return F.cross_entropy(net(inputs), targets) + weight * runtime.log()

    return loss_of
