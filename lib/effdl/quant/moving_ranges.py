"""Ranges that move while the network is trained, and rounding that comes later.

Paper: Jacob et al., "Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference", CVPR 2018, https://arxiv.org/abs/1712.05877,
section 3.1.

Quantization-aware training needs no other loss and no other loop. The network rounds in
its forward pass; weights take their range from themselves in every step; activations
from a moving average that goes on while they train. Early, when ranges jump about,
activations are left in float: the paper waits 50,000 steps to 2 million.

    steps done < delay      watch, do not round
    afterwards              watch and round
    when the block ends     round, and do not watch any more

    quantized = insert_quantizers(folded, weight=..., activation=...)
    with moving_ranges(quantized, delay=60) as after_step:
        train_classifier(quantized, split, learning_rate=0.02, after_step=after_step)

The loss is that of the float network, called on the network that rounds.

Before trusting it: inside the block every input moves the ranges, those of a validation
part as well. Evaluate after the block.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from torch import fx

from effdl.quant.insert import quantizers_of
from effdl.quant.quantizers import ActivationQuantizer


@contextmanager
def moving_ranges(
    model: fx.GraphModule, *, delay: int = 0
) -> Iterator[Callable[[], None]]:
    """Let activations be watched inside the block, and rounded after a number of steps.

    Quantizers of other kinds, such as learned ones, are left alone.

    Args:
        model: What ``insert_quantizers`` returned, calibrated or not.
        delay: Optimiser steps without rounding of activations.

    Yields:
        What is to be called after every step; the ``after_step`` of ``fit``.

    Raises:
        ValueError: If ``delay`` is negative or not whole.

    Example:
        >>> import torch
        >>> from effdl.quant.insert import insert_quantizers
        >>> from effdl.quant.observers import MovingAverage
        >>> net = insert_quantizers(
        ...     torch.nn.Sequential(torch.nn.ReLU()),
        ...     weight=lambda name, w: None,
        ...     activation=lambda name: ActivationQuantizer(MovingAverage(), 1),
        ... )
        >>> with moving_ranges(net, delay=1) as after_step:
        ...     first = net(torch.tensor([0.0, 0.2, 1.0]))
        ...     after_step()
        ...     second = net(torch.tensor([0.0, 0.2, 1.0]))
        >>> first, second
        (tensor([0.0000, 0.2000, 1.0000]), tensor([0., 0., 1.]))
    """
    if isinstance(delay, bool) or not isinstance(delay, int) or delay < 0:
        raise ValueError(f"delay must be a whole number from 0 on, got {delay!r}")
    found = quantizers_of(model).values()
    layers = [q for q in found if isinstance(q, ActivationQuantizer)]
    done = 0

    def after_step() -> None:
        nonlocal done
        done += 1
        for layer in layers:
            layer.quantizing = done >= delay

    for layer in layers:
        layer.observing, layer.quantizing = True, delay == 0
    try:
        yield after_step
    finally:
        for layer in layers:
            layer.observing, layer.quantizing = False, True
