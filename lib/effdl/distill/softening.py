"""What a temperature does to a distribution: Eq. (19) of the survey.

Paper: Hinton et al., "Distilling the Knowledge in a Neural Network", 2015,
https://arxiv.org/abs/1503.02531, section 2.

With logits y and p = softmax(y), the softmax at temperature T is

    z_i = exp(y_i / T) / sum_j exp(y_j / T) = p_i^(1/T) / sum_j p_j^(1/T)

so probabilities are enough: the constant between y and log p drops out. T = 1 gives p
back, a large T goes to 1/C for each of C classes, a small one to the largest class.
The entropy H = -sum_i z_i log z_i never falls as T rises:

    dH/dT = Var_z(y) / T^3

with the variance of the logits under z, which is 0 only if all logits are the same.

What differs: the paper has logits only. The form with probabilities is a consequence,
good for checking printed examples.

Before trusting it: a probability that was rounded to 0 stays 0 at every temperature.
Printed with two decimals, small probabilities are off by a large factor, and that is
what a high temperature brings forward.
"""

import math

from torch import Tensor

from effdl.distill.kd import softened


def softened_probabilities(probabilities: Tensor, temperature: float) -> Tensor:
    """Return p^(1/T), divided by its sum: the softened form of finished probabilities.

    Raises ``ValueError`` if T is not above 0, or these are no probabilities.

    Args:
        probabilities: p, (..., C), each row summing to 1.
        temperature: T, above 0.

    Example:
        >>> import torch
        >>> p = torch.tensor([0.02, 0.95, 0.01, 0.01, 0.01])
        >>> [round(float(value), 3) for value in softened_probabilities(p, 5.0)]
        [0.173, 0.375, 0.151, 0.151, 0.151]
    """
    _check_probabilities(probabilities)
    return softened(probabilities.log(), temperature)


def entropy(logits: Tensor, temperature: float = 1.0) -> Tensor:
    """Return the entropy H of the softened distribution, in nats, (...).

    Raises ``ValueError`` if T is not above 0.

    Args:
        logits: y, (..., C), finite.
        temperature: T, above 0.

    Example:
        >>> import torch
        >>> round(entropy(torch.zeros(8)).item() / math.log(2), 3)  # bits
        3.0
    """
    z = softened(logits, temperature)
    return -z.xlogy(z).sum(dim=-1)  # 0 log 0 is 0


def entropy_slope(logits: Tensor, temperature: float) -> Tensor:
    """Return dH/dT, the variance of the logits under z over T^3, (...); never below 0.

    Raises ``ValueError`` if T is not above 0.

    Args:
        logits: y, (..., C), finite.
        temperature: T, above 0.

    Example:
        >>> import torch
        >>> entropy_slope(torch.tensor([1.0, -1.0, 1.0, -1.0]), 1e9).item() < 1e-26
        True
    """
    z = softened(logits, temperature)
    mean = (z * logits).sum(dim=-1, keepdim=True)
    return (z * (logits - mean).square()).sum(dim=-1) / temperature**3


def temperature_for(probabilities: Tensor, largest: float) -> float:
    """Return the temperature at which the largest of the probabilities is ``largest``.

    By halving an interval of log T, between T = 0.001 and 1,000,000.

    Args:
        probabilities: p, (C,), summing to 1.
        largest: What the largest is to become: above 1/C and below 1.

    Raises:
        ValueError: If no temperature makes it that, or these are no probabilities.

    Example:
        >>> import torch
        >>> p = torch.tensor([0.02, 0.95, 0.01, 0.01, 0.01])
        >>> round(temperature_for(p, 0.6), 1)
        2.4
    """
    _check_probabilities(probabilities)
    low, high = math.log(1e-3), math.log(1e6)

    def reached(log_temperature: float) -> float:
        z = softened_probabilities(probabilities, math.exp(log_temperature))
        return float(z.max())

    coldest, warmest = reached(low), reached(high)
    if probabilities.ndim != 1 or not warmest < largest < coldest:  # nan is neither
        raise ValueError(
            f"largest must be between {warmest:.3g} and {coldest:.3g} for "
            f"probabilities of shape {tuple(probabilities.shape)}, got {largest}; "
            "give one distribution (C,) that is not uniform"
        )
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if reached(middle) > largest else (low, middle)
    return math.exp((low + high) / 2)


def _check_probabilities(probabilities: Tensor) -> None:
    """Require rows of numbers from 0 that sum to 1.

    Raises:
        ValueError: If they are not.
    """
    total = probabilities.sum(dim=-1)
    if not bool((probabilities >= 0).all() and ((total - 1).abs() < 1e-3).all()):
        raise ValueError(
            "probabilities must be at least 0 and sum to 1 in every row, got a "
            f"smallest of {float(probabilities.min()):.3g} and sums up to "
            f"{float(total.max()):.3g}; of logits take their softmax first"
        )
