"""Output sensitivity: a weight matters if the outputs move with it.

Paper: Tartaglione et al., "Learning Sparse Neural Networks via Sensitivity-Driven
Regularization", NeurIPS 2018, https://arxiv.org/abs/1810.11764.

    S = mean over samples of  1/C sum over k of |dy_k / dw|       C outputs, no loss
    I = max(0, 1 - S)                                             insensitivity
    w <- w - eta g - rate w I                       after every step: who moves nothing,
                                                    shrinks towards 0
    |w| < threshold  ->  w = 0                      in the end, by magnitude

So the sensitivity does not choose the weights that go. It decides which of them become
small, and magnitude chooses. As a score of its own, S says nothing of how far the
outputs move when w goes: to first order that is |w| S.

What differs: the mean over samples is of absolute values, so that slopes of two samples
cannot cancel. The paper also weighs outputs by the label; here all count alike. It
computes S on the batch of the step; here on a fixed one, if one likes not every step.
"""

from collections.abc import Callable, Collection

import torch
from torch import Tensor, nn
from torch.func import functional_call, jacrev, vmap

from effdl.checks import check_positive
from effdl.measure.probe import as_inputs, evaluating
from effdl.nas.proxies.weights import connection_weights


def chosen_weights(
    model: nn.Module, names: Collection[str] | None = None
) -> dict[str, nn.Parameter]:
    """Return the weights of linear and convolutional layers, all or those named.

    Args:
        model: Not pruned.
        names: Which of them, in the order wanted; None takes all.

    Raises:
        ValueError: If a name is not that of such a weight.

    Example:
        >>> list(chosen_weights(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))))
        ['0.weight', '1.weight']
    """
    every = connection_weights(model)
    unknown = set(names or ()) - set(every)
    if unknown:
        raise ValueError(f"names has {sorted(unknown)}; weights are {list(every)}")
    return every if names is None else {name: every[name] for name in names}


def output_slopes(
    model: nn.Module,
    inputs: Tensor,
    *,
    names: Collection[str] | None = None,
    chunk: int = 50,
) -> dict[str, Tensor]:
    """Return dy_k/dw of every sample, output and weight, each (N, C, shape of w).

    Raises ``ValueError`` as :func:`chosen_weights` does, and for an empty batch.

    Args:
        model: Not pruned. Runs in evaluation mode, one sample at a time, so that no
            batch norm mixes them.
        inputs: One batch, (N, ...).
        names: Which weights; None takes those of linear and convolutional layers.
        chunk: Samples at once; fewer need less memory.

    Example:
        >>> output_slopes(nn.Linear(2, 1, bias=False), torch.tensor([[3.0, -4.0]]))
        {'weight': tensor([[[[ 3., -4.]]]])}
    """
    as_inputs(inputs)
    check_positive(chunk=chunk)
    weights = {n: w.detach() for n, w in chosen_weights(model, names).items()}

    def outputs(weights: dict[str, Tensor], sample: Tensor) -> Tensor:
        return functional_call(model, weights, sample[None])[0]

    with evaluating(model):
        slopes = vmap(jacrev(outputs), in_dims=(None, 0), chunk_size=chunk)
        return {n: s.detach() for n, s in slopes(weights, inputs.clone()).items()}


def output_sensitivity(
    model: nn.Module, inputs: Tensor, *, chunk: int = 50
) -> dict[str, Tensor]:
    """Return S for every weight of every linear and convolutional layer.

    Args:
        model: Not pruned. It stays as it is, and runs in evaluation mode.
        inputs: One batch, (N, ...).
        chunk: Samples at once; fewer need less memory.

    Example:
        >>> layer = nn.Linear(2, 1, bias=False)
        >>> output_sensitivity(layer, torch.tensor([[3.0, -4.0], [1.0, 0.0]]))
        {'weight': tensor([[2., 2.]])}
    """
    (batch,) = as_inputs(inputs)
    total: dict[str, Tensor] = {}
    for part in batch.split(chunk):
        for name, slopes in output_slopes(model, part, chunk=chunk).items():
            share = slopes.abs().mean(dim=1).sum(dim=0) / len(batch)
            total[name] = total[name] + share if name in total else share
    return total


def insensitivity(sensitivity: Tensor) -> Tensor:
    """Return I, between 0 and 1.

    Args:
        sensitivity: S, 0 or more, any shape.

    Example:
        >>> insensitivity(torch.tensor([0.0, 0.25, 3.0]))
        tensor([1.0000, 0.7500, 0.0000])
    """
    return (1 - sensitivity).clamp(min=0)


def shrink_insensitive(
    model: nn.Module, inputs: Tensor, *, rate: float, every: int = 1
) -> Callable[[], None]:
    """Return what to call after every step: it shrinks what moves no output.

    ``after_step`` of :func:`effdl.train.fit` is made for it.

    Args:
        model: Changed by every call; not pruned.
        inputs: On which S is computed anew, (N, ...); a few dozen samples.
        rate: Share of w that goes in a call where S is 0, at least 0 and below 1.
        every: Calls from one S to the next.

    Raises:
        ValueError: If the rate is out of range.

    Example:
        >>> layer = nn.Linear(2, 1, bias=False)
        >>> _ = nn.init.constant_(layer.weight, 1.0)
        >>> shrink_insensitive(layer, torch.tensor([[0.0, 5.0]]), rate=0.5)()
        >>> layer.weight.data
        tensor([[0.5000, 1.0000]])
    """
    check_positive(every=every)
    as_inputs(inputs)
    if not 0 <= rate < 1:
        raise ValueError(f"rate must be at least 0 and below 1, got {rate}")
    calls, factors = 0, dict[str, Tensor]()

    def after_step() -> None:
        nonlocal calls
        if calls % every == 0:
            for name, sensitivity in output_sensitivity(model, inputs).items():
                factors[name] = 1 - rate * insensitivity(sensitivity)
        calls += 1
        with torch.no_grad():
            for name, weight in connection_weights(model).items():
                weight.mul_(factors[name])

    return after_step
