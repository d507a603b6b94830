"""The roofline: is a layer limited by arithmetic or by memory?

Paper: Williams, Waterman and Patterson, "Roofline: An Insightful Visual Performance
Model for Multicore Architectures", Communications of the ACM 52(4), 2009,
https://doi.org/10.1145/1498765.1498785.

A machine does at most P multiply-adds (MACs) and moves at most B bytes in a second.
A layer that does I MACs for every byte it moves, its arithmetic intensity, runs at

    attainable(I) = min(P, B * I)       MACs per second
    ridge         = P / B               MACs per byte; below it, memory decides

For a convolution without bias on (N, c, H, W), 4 bytes a number,

    I = N H W n (c / groups) k^2 / (4 (N H W c + N H W n + n (c / groups) k^2))

A dense 3x3 convolution does tens of MACs per byte, a depthwise one about one: a tenth
of the MACs need not be ten times faster.

What differs from the paper: MACs, not FLOPs; P from a matrix product or a convolution,
the faster of the two, and B from the triad a = b + s c; every number counted once.

A tensor still in the cache costs less than counted. A busy machine has a low roof.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from effdl.checks import check_positive
from effdl.measure.latency import latency
from effdl.measure.macs import flop_counter
from effdl.measure.probe import Inputs, as_inputs, clones, tensor_leaves, undisturbed


@dataclass(frozen=True)
class Roofline:
    """The two limits of a machine.

    Attributes:
        macs_per_second: Peak rate P.
        bytes_per_second: Peak rate B.

    Example:
        >>> roof = Roofline(macs_per_second=50e9, bytes_per_second=10e9)
        >>> roof.ridge, roof.attainable(1.0), roof.attainable(100.0)
        (5.0, 10000000000.0, 50000000000.0)
    """

    macs_per_second: float
    bytes_per_second: float

    @property
    def ridge(self) -> float:
        """Intensity in MACs per byte from which on arithmetic is the limit."""
        return self.macs_per_second / self.bytes_per_second

    def attainable(self, intensity: float) -> float:
        """Return the most MACs per second at an intensity in MACs per byte.

        Raises:
            ValueError: If the intensity is negative.
        """
        if intensity < 0:
            raise ValueError(f"intensity must not be negative, got {intensity}")
        return min(self.macs_per_second, self.bytes_per_second * intensity)


@dataclass(frozen=True)
class LayerCost:
    """What one call of one layer costs.

    Attributes:
        name: Name of the layer in the model, as in ``named_modules``.
        kind: Class of the layer, such as "Conv2d".
        macs: Multiply-adds.
        bytes: Inputs, parameters, buffers and outputs; 0 if only the shape changes.
    """

    name: str
    kind: str
    macs: int
    bytes: int

    @property
    def intensity(self) -> float:
        """Multiply-adds per byte; 0 where nothing moves."""
        return self.macs / self.bytes if self.bytes else 0.0


def measure_roofline(
    *,
    threads: int = 1,
    size: int = 1024,
    buffer_bytes: int = 2**28,
    repeats: int = 10,
    clock: Callable[[], int] = time.perf_counter_ns,
) -> Roofline:
    """Return the two limits of this machine, measured in float32 through PyTorch.

    The fastest of the samples counts: a roof is a limit. The triad is counted as three
    arrays; a processor that fetches before it overwrites moves four.

    Args:
        threads: Threads that PyTorch may use.
        size: Side of the square matrices; the convolution has size / 8 channels.
        buffer_bytes: Size of the triad's three arrays, several times the largest cache.
        repeats: Samples of each; at least 2.
        clock: Returns nanoseconds that only grow.

    Raises:
        ValueError: If a number is too small.

    Example:
        >>> measure_roofline(size=64, buffer_bytes=2**16, repeats=2).ridge > 0
        True
    """
    check_positive(size=size, buffer_bytes=buffer_bytes)
    if buffer_bytes < 12:
        raise ValueError(f"buffer_bytes must be at least 12, got {buffer_bytes}")
    channels = -(-size // 8)
    inputs: dict[str, Inputs] = {
        "product": tuple(torch.ones(size, size) for _ in range(3)),
        "conv": (torch.ones(1, channels, 28, 28), torch.ones(channels, channels, 3, 3)),
        "triad": tuple(torch.ones(buffer_bytes // 12) for _ in range(3)),
    }
    models: dict[str, Callable[..., Tensor]] = {
        "product": lambda a, b, out: torch.mm(a, b, out=out),
        "conv": lambda x, weight: F.conv2d(x, weight, padding=1),
        "triad": lambda b, c, out: torch.add(b, c, alpha=0.5, out=out),
    }
    times = latency(models, inputs, threads=threads, repeats=repeats, clock=clock)
    product, conv, triad = (min(times[name].samples) for name in models)
    return Roofline(
        macs_per_second=max(size**3 / product, 9 * (28 * channels) ** 2 / conv),
        bytes_per_second=12 * (buffer_bytes // 12) / triad,
    )


def layer_costs(model: nn.Module, inputs: Inputs) -> list[LayerCost]:
    """Return the cost of every call of every layer, in the order of the calls.

    A layer is a module without children. What a larger module does between its layers
    is only in :func:`effdl.measure.macs.count_macs`. The model comes back as it was.

    Args:
        model: The model to run once, in evaluation mode.
        inputs: One batch, (N, ...), or a tuple of tensors.

    Example:
        >>> conv = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        >>> layer_costs(nn.Sequential(conv, nn.ReLU()), torch.zeros(1, 3, 10, 10))[0]
        LayerCost(name='0', kind='Conv2d', macs=21600, bytes=5264)
    """
    arguments = clones(as_inputs(inputs))
    costs: list[LayerCost] = []
    with undisturbed(model), flop_counter() as counter:
        handles = []
        for name, layer in model.named_modules():
            if next(layer.children(), None) is None:
                watch = _Watch(name, counter.get_total_flops, costs)
                handles.append(layer.register_forward_pre_hook(watch.before))
                handles.append(layer.register_forward_hook(watch.after))
        try:
            model(*arguments)
        finally:
            for handle in handles:
                handle.remove()
    return costs


class _Watch:
    """Two hooks that compare the counter after a layer with the counter before it."""

    def __init__(
        self, name: str, flops: Callable[[], int], costs: list[LayerCost]
    ) -> None:
        self.name, self.flops, self.costs = name, flops, costs

    def before(self, _layer: nn.Module, inputs: object) -> None:
        self.start = self.flops()
        self.versions = [x._version for x in tensor_leaves(inputs)]

    def after(self, layer: nn.Module, inputs: object, outputs: object) -> None:
        read, made = tensor_leaves(inputs), tensor_leaves(outputs)
        known = {x.untyped_storage().data_ptr() for x in read}
        written = [x._version for x in read] != self.versions
        shared = all(y.untyped_storage().data_ptr() in known for y in made)
        own = [*layer.parameters(), *layer.buffers()]
        moved = 0 if shared and not written else _bytes([*read, *own, *made])
        macs = (self.flops() - self.start) // 2
        self.costs.append(LayerCost(self.name, type(layer).__name__, macs, moved))


def _bytes(tensors: Iterable[Tensor]) -> int:
    return sum(x.numel() * x.element_size() for x in tensors)
