"""Training speed: the sum of the first training losses ranks networks.

Paper: Ru et al., "Speedy Performance Estimation for Neural Architecture Search",
NeurIPS 2021, https://arxiv.org/abs/2006.04492, section 3.

A network that learns fast tends to end well. The training loss is known for nothing:
every step computes it, before it updates. With B batches in an epoch and T epochs done,

    l_t     = 1/B sum_b loss(f(X_b; theta_(t,b)), y_b)          mean of epoch t
    TSE     = sum over t = 1..T of l_t
    TSE-E   = sum over the last E epochs of l_t                  E = T: TSE
    TSE-EMA = sum over t of gamma^(T - t) l_t                    gamma = 1: TSE

All three are to be small. No validation set is needed. The idea comes from Bayesian
linear regression, where the sum of the losses of predicting each point from those
before it is minus the log marginal likelihood.

Public code differs: one version of TSE-EMA gives the newest epoch a weight of 0.9 and
all earlier ones together 0.1, nearly the last loss, and one sums such averages.

BTE and TBE look at batches instead of epochs (Luo et al., "LightNAS", TCAD 2023,
https://doi.org/10.1109/TCAD.2022.3208187, and "What to Expect of Early Training
Statistics?", CODES+ISSS 2022, https://doi.org/10.1109/CODES-ISSS55005.2022.00007).
Their formulas are in no open text. What stands here is a RECONSTRUCTION from what
abstract and survey say, "early batchwise training statistics" and "trained":

    BTE = mean loss of the first n batches
    TBE = mean loss of n batches after w batches of training

Before trusting any of them: compare networks that were trained in the same way, on the
same batches and for the same number of steps. A network that fits noise fast is ranked
high, and so is one that learns fast and stops early.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from effdl.checks import check_divides, check_positive, check_share

Floats = NDArray[np.float64]


def as_curves(curves: ArrayLike, *, shortest: int = 1, name: str = "losses") -> Floats:
    """Return curves as an array (runs, epochs) of float64, after a check.

    Args:
        curves: One row a run, one column an epoch (or a step).
        shortest: Epochs that there must be.
        name: What the caller calls the curves.

    Raises:
        ValueError: If the array has another rank, too few epochs, no run, or holds
            a value that is infinite or not a number.

    Example:
        >>> as_curves([[2, 1, 0.5]]).shape
        (1, 3)
    """
    array = np.asarray(curves, dtype=np.float64)
    if array.ndim != 2:
        raise ValueError(
            f"{name} must be (runs, epochs), got shape {array.shape}; "
            "put a single curve into brackets, average over seeds before"
        )
    if len(array) == 0 or array.shape[1] < shortest:
        raise ValueError(
            f"{name} must have a run and at least {shortest} epochs, "
            f"got shape {array.shape}; train longer"
        )
    if not np.isfinite(array).all():
        run, epoch = np.argwhere(~np.isfinite(array))[0]
        raise ValueError(
            f"{name} of run {run} is {array[run, epoch]} in column {epoch}; "
            "leave out runs that diverged"
        )
    return array


def tse(losses: ArrayLike) -> Floats:
    """Return the sum of the training losses of each run; small is good.

    Args:
        losses: Mean training loss of every epoch, (runs, epochs).

    Returns:
        One number a run, (runs,).

    Example:
        >>> tse([[2.0, 1.0, 0.5], [2.0, 1.5, 1.0]])
        array([3.5, 4.5])
    """
    return as_curves(losses).sum(axis=1)


def tse_last(losses: ArrayLike, epochs: int = 1) -> Floats:
    """Return TSE-E, the sum over the last ``epochs`` of them; small is good.

    Args:
        losses: Mean training loss of every epoch, (runs, epochs).
        epochs: Number E of epochs that count.

    Returns:
        One number a run, (runs,).

    Example:
        >>> tse_last([[2.0, 1.0, 0.5]], epochs=2)
        array([1.5])
    """
    check_positive(epochs=epochs)
    return as_curves(losses, shortest=epochs)[:, -epochs:].sum(axis=1)


def tse_ema(losses: ArrayLike, decay: float = 0.999) -> Floats:
    """Return TSE-EMA, a sum in which an epoch counts less with its age.

    Args:
        losses: Mean training loss of every epoch, (runs, epochs).
        decay: Factor gamma of every epoch of age, above 0 and at most 1.

    Returns:
        One number a run, (runs,); small is good.

    Example:
        >>> tse_ema([[2.0, 1.0, 0.5]], decay=0.5)
        array([1.5])
    """
    check_share(decay=decay)
    curves = as_curves(losses)
    age = np.arange(curves.shape[1])[::-1]  # 0 for the last epoch
    return curves @ decay**age


def epoch_means(losses: ArrayLike, batches: int) -> Floats:
    """Return the mean loss of every epoch, (runs, epochs).

    Args:
        losses: Training loss of every batch, (runs, steps).
        batches: Number B of batches in an epoch; divides the steps.

    Example:
        >>> epoch_means([[4.0, 2.0, 1.0, 0.0]], batches=2)
        array([[3. , 0.5]])
    """
    check_positive(batches=batches)
    curves = as_curves(losses, shortest=batches)
    check_divides("batches", batches, steps=curves.shape[1])
    return curves.reshape(len(curves), -1, batches).mean(axis=2)


def bte(losses: ArrayLike, batches: int) -> Floats:
    """Return the mean loss of the first batches (a reconstruction); small is good.

    Args:
        losses: Training loss of every batch from the first on, (runs, steps).
        batches: How many of them count.

    Returns:
        One number a run, (runs,).

    Example:
        >>> bte([[4.0, 2.0, 1.0, 0.0]], batches=2)
        array([3.])
    """
    check_positive(batches=batches)
    return as_curves(losses, shortest=batches)[:, :batches].mean(axis=1)


def tbe(losses: ArrayLike, batches: int, *, warm_up: int) -> Floats:
    """Return the mean loss of a window after a little training (a reconstruction).

    Args:
        losses: Training loss of every batch from the first on, (runs, steps).
        batches: How many count.
        warm_up: How many before them do not.

    Returns:
        One number a run, (runs,); small is good.

    Example:
        >>> tbe([[4.0, 2.0, 1.0, 0.0]], batches=2, warm_up=2)
        array([0.5])
    """
    check_positive(batches=batches, warm_up=warm_up)
    window = as_curves(losses, shortest=warm_up + batches)
    return window[:, warm_up : warm_up + batches].mean(axis=1)
