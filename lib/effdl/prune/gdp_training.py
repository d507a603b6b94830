"""What happens to the gates of GDP after each step: small ones close, and eps falls.

Paper: Guo et al., "GDP: Stabilized Neural Network Pruning via Gates with Differentiable
Polarization", ICCV 2021, https://arxiv.org/abs/2109.02220.

    phi <- argmin over p of  (p - phi)^2 / 2 + amount [p != 0]
         = 0 if |phi| <= sqrt(2 amount), else phi
    eps <- 0.1 (1e-4 / 0.1)^(share of the steps that are done)

The first is the proximal step of a price on the number of gates that are not 0, which
is what the smooth price in :mod:`effdl.prune.gdp` becomes as eps falls. Unlike the step
of an L1 price, it leaves large gates as they are.

What differs: the paper's abstract says that gates become exactly 0; both rules are our
own, see there.

Before trusting it: a gate that has closed has no gradient, but the momentum of an
optimiser can push it. It stays closed if such a push is smaller than the threshold.
"""

import math
from collections.abc import Callable

import torch
from torch import nn

from effdl.checks import check_positive
from effdl.nas.gradient.gumbel import Temperature, falling_exponentially
from effdl.prune.gdp import PolarizedLayer

FALLING = falling_exponentially(0.1, 1e-4)


@torch.no_grad()
def close_small_(model: nn.Module, amount: float) -> None:
    """Change the gates: set phi to 0 where |phi| is at most the root of 2 ``amount``.

    That is where 0 minimises (p - phi)^2 / 2 + amount [p != 0] over p.

    Args:
        model: A network from :func:`~effdl.prune.gdp.with_gates`.
        amount: Learning rate times the price of an open gate; at least 0.

    Raises:
        ValueError: If it is below 0.

    Example:
        >>> layer = PolarizedLayer(nn.Linear(2, 1))
        >>> _ = layer.phi.data.copy_(torch.tensor([0.5, 0.1]))
        >>> close_small_(layer, 0.02)
        >>> layer.phi.tolist()
        [0.5, 0.0]
    """
    if not amount >= 0:
        raise ValueError(f"amount must be 0 or more, got {amount}")
    for module in model.modules():
        if isinstance(module, PolarizedLayer):
            module.phi[module.phi.abs() <= math.sqrt(2 * amount)] = 0


def polarize(
    model: nn.Module,
    *,
    steps: int,
    amount: float,
    eps: Temperature = FALLING,
) -> Callable[[], None]:
    """Return what to call after every step: it closes small gates and lowers eps.

    ``after_step`` of :func:`effdl.train.fit` is made for it.

    Args:
        model: A network from :func:`~effdl.prune.gdp.with_gates`.
        steps: Steps until eps is where it ends.
        amount: That of :func:`close_small_`.
        eps: As a function of the share of the steps that are done.

    Example:
        >>> layer = PolarizedLayer(nn.Linear(2, 1))
        >>> polarize(layer, steps=1, amount=0.001)()
        >>> round(layer.eps, 6)
        0.0001
    """
    check_positive(steps=steps)
    done = 0

    def after_step() -> None:
        nonlocal done
        done += 1
        close_small_(model, amount)
        for module in model.modules():
            if isinstance(module, PolarizedLayer):
                module.eps = eps(min(done / steps, 1.0))

    return after_step
