"""What each candidate of a supernet costs: multiply-adds, measured or modelled seconds.

Paper: Cai et al., "ProxylessNAS", ICLR 2019, https://arxiv.org/abs/1812.00332, section
3.2 and appendix B: the latency of a chain is nearly the sum of its blocks' latencies,
so measure every block once, and add up.

    latency(a) = stem + sum over layers l of table[l][a_l] + head

A chain of 21 layers with 7 candidates has 147 numbers to measure, not 7^21. Every
candidate is run on the input that its layer has in the supernet.

For a device that is not at hand there is a model, with peak P, bandwidth B
(:mod:`effdl.measure.roofline`) and a fixed time to start a layer:

    seconds = sum over inner layers of  overhead + max(MACs / P, bytes / B)

The model leaves out what happens between inner layers: sums, concatenations, shuffles.
The sum of a table leaves out what one block leaves in the cache for the next.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from effdl.measure.latency import latency
from effdl.measure.macs import torch_flops
from effdl.measure.probe import evaluating
from effdl.measure.roofline import Roofline, layer_costs
from effdl.nas.supernet import SuperNet

Table = tuple[dict[str, float], ...]  # one number for each candidate of each layer
Layers = list[
    tuple[dict[str, nn.Module], Tensor]
]  # candidates by name, and their input


def candidate_macs(net: SuperNet, x: Tensor) -> Table:
    """Return the multiply-adds of each candidate on the input of its layer.

    Args:
        net: The supernet; it comes back as it was.
        x: Images, (N, c, H, W).

    Example:
        >>> from effdl.nas.mbconv_space import small_mbconv_supernet
        >>> table = candidate_macs(small_mbconv_supernet(), torch.zeros(1, 1, 16, 16))
        >>> table[1]["k3 e3"], table[1]["skip"]
        (125952.0, 0.0)
    """
    return tuple(
        {name: torch_flops(block, y) / 2 for name, block in blocks.items()}
        for blocks, y in _layers(net, x)
    )


def candidate_seconds(
    net: SuperNet,
    x: Tensor,
    *,
    threads: int = 1,
    repeats: int = 20,
    clock: Callable[[], int] = time.perf_counter_ns,
) -> Table:
    """Return the measured seconds of each candidate on the input of its layer.

    The candidates of a layer are timed in turn; what counts is the median.

    Args:
        net: The supernet; it comes back as it was.
        x: Images, (N, c, H, W).
        threads: Threads that PyTorch may use for one operator.
        repeats: Samples of each candidate; at least 2.
        clock: Returns nanoseconds that only grow.

    Example:
        >>> from effdl.nas.mbconv_space import small_mbconv_supernet
        >>> net = small_mbconv_supernet()
        >>> len(candidate_seconds(net, torch.zeros(1, 1, 16, 16), repeats=2))
        6
    """
    table = []
    for blocks, y in _layers(net, x):
        times = latency(
            blocks,
            y,
            threads=threads,
            repeats=repeats,
            sample_seconds=0.001,
            clock=clock,
        )
        table.append({name: taken.median for name, taken in times.items()})
    return tuple(table)


def modelled_seconds(
    net: SuperNet, x: Tensor, roof: Roofline, *, overhead: float = 0.0
) -> Table:
    """Return the seconds of each candidate on a device of which only limits are known.

    Args:
        net: The supernet; it comes back as it was.
        x: Images, (N, c, H, W).
        roof: Peak and bandwidth of the device.
        overhead: Seconds to start one convolution, batch norm or activation.

    Example:
        >>> from effdl.nas.mbconv_space import small_mbconv_supernet
        >>> net, x = small_mbconv_supernet(), torch.zeros(1, 1, 16, 16)
        >>> modelled_seconds(net, x, Roofline(1e9, 1e9))[1]["skip"]
        0.0
    """

    def seconds(block: nn.Module, y: Tensor) -> float:
        costs = [c for c in layer_costs(block, y) if c.bytes]  # not the identity
        p, b = roof.macs_per_second, roof.bytes_per_second
        return sum((overhead + max(c.macs / p, c.bytes / b) for c in costs), 0.0)

    return tuple(
        {name: seconds(block, y) for name, block in blocks.items()}
        for blocks, y in _layers(net, x)
    )


def _layers(net: SuperNet, x: Tensor) -> Layers:
    """Return the candidates of each layer and its input, after the first candidates."""
    rows: Layers = []
    with evaluating(net), torch.no_grad():
        y = net.stem(x)
        for number, layer in enumerate(net.space.layers):
            candidates = net.candidates(number)
            rows.append((dict(zip(layer, candidates, strict=True)), y))
            y = candidates[0](y)
    return rows
