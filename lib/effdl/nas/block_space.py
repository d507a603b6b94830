"""Block-based search space: a chain of layers, and a free choice of block in each.

Papers: Guo et al., "Single Path One-Shot Neural Architecture Search with Uniform
Sampling", ECCV 2020, https://arxiv.org/abs/1904.00420, section 3; Cai et al.,
"ProxylessNAS", ICLR 2019, https://arxiv.org/abs/1812.00332, section 3.

    stem, layer 1, layer 2, ..., layer L, head

Layer l offers K_l candidates, blocks with equal shapes of input and output. An
architecture is L whole numbers, one choice a layer:

    size        K_1 K_2 ... K_L         with equal K: K^L networks
    candidates  K_1 + K_2 + ... + K_L   with equal K: K L blocks hold all of them
    neighbours  (K_1 - 1) + ...         differ in one layer

So a few hundred blocks contain more networks than anybody can train. They are put
together in :mod:`effdl.nas.supernet`.

Architectures may compute the same kind of function, and the space does not know: of
two equal layers it counts skipping the first and skipping the second separately.
"""

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import nn

from effdl.checks import check_positive

Maker = Callable[[], nn.Module]
Choices = tuple[int, ...]


class ChoiceStage(NamedTuple):
    """Layers of one width; only the first changes the shape.

    Attributes:
        channels: Channels of all outputs.
        layers: How many there are.
        stride: Of the first.
    """

    channels: int
    layers: int
    stride: int


@dataclass(frozen=True)
class BlockSpace:
    """A chain of layers with candidates by name, in order.

    Raises ``ValueError`` if there is no layer, or one without a candidate.

    Attributes:
        layers: For each layer, what makes each candidate. The order of the names is
            the order in which choices number them.

    Example:
        >>> space = BlockSpace(({"conv": nn.Identity, "skip": nn.Identity},) * 3)
        >>> space.size, space.candidates, space.names((0, 1, 0))
        (8, 6, ('conv', 'skip', 'conv'))
    """

    layers: tuple[Mapping[str, Maker], ...]

    def __post_init__(self) -> None:
        if not self.layers:
            raise ValueError("layers is empty; give one mapping of candidates a layer")
        for number, layer in enumerate(self.layers):
            if not layer:
                raise ValueError(f"layer {number} has no candidate; leave it out")

    @property
    def sizes(self) -> tuple[int, ...]:
        """Candidates of each layer, K_1 to K_L."""
        return tuple(len(layer) for layer in self.layers)

    @property
    def size(self) -> int:
        """How many architectures there are: the product of the sizes."""
        return math.prod(self.sizes)

    @property
    def candidates(self) -> int:
        """How many blocks hold all of them: the sum of the sizes."""
        return sum(self.sizes)

    def check(self, choices: Sequence[int]) -> Choices:
        """Return the choices as a tuple, if they are of this space.

        Args:
            choices: One whole number a layer, from 0.

        Raises:
            ValueError: If there are too few or too many, or one is not a candidate.
        """
        if len(choices) != len(self.layers):
            raise ValueError(
                f"choices must have one number for each of {len(self.layers)} layers, "
                f"got {len(choices)}"
            )
        for layer, (choice, size) in enumerate(zip(choices, self.sizes, strict=True)):
            if not 0 <= choice < size or int(choice) != choice:
                raise ValueError(
                    f"choice of layer {layer} must be in 0 to {size - 1}, got {choice}"
                )
        return tuple(map(int, choices))

    def names(self, choices: Sequence[int]) -> tuple[str, ...]:
        """Return the name of what is chosen in each layer. For errors see check.

        Args:
            choices: One number a layer.
        """
        checked = self.check(choices)
        return tuple(
            list(layer)[choice]
            for layer, choice in zip(self.layers, checked, strict=True)
        )

    def all_choices(self) -> Iterator[Choices]:
        """Yield every architecture, the last layer changing first."""
        yield from itertools.product(*map(range, self.sizes))

    def sample(self, random: np.random.Generator) -> Choices:
        """Return an architecture drawn uniformly from all.

        Args:
            random: Advanced by the call.
        """
        return tuple(int(random.integers(size)) for size in self.sizes)

    def neighbours(self, choices: Sequence[int]) -> list[Choices]:
        """Return the architectures that differ in one layer. For errors see check.

        Args:
            choices: One number a layer.
        """
        old = self.check(choices)
        return [
            (*old[:layer], new, *old[layer + 1 :])
            for layer, size in enumerate(self.sizes)
            for new in range(size)
            if new != old[layer]
        ]

    def mutate(self, choices: Sequence[int], random: np.random.Generator) -> Choices:
        """Return one of the neighbours, drawn uniformly.

        Args:
            choices: One number a layer; left as they are.
            random: Advanced by the call.

        Raises:
            ValueError: If no layer has a second candidate. Also as in check.
        """
        near = self.neighbours(choices)
        if not near:
            raise ValueError("layers have one candidate each: nothing can change")
        return near[int(random.integers(len(near)))]

    def one_hot(self, choices: Sequence[int]) -> NDArray[np.float64]:
        """Return zeros, and a one for each choice, (candidates,). See check for errors.

        Args:
            choices: One number a layer.
        """
        checked = self.check(choices)
        rows = zip(checked, self.sizes, strict=True)
        return np.concatenate([np.eye(size)[choice] for choice, size in rows])


def layer_shapes(
    in_channels: int, stages: Sequence[ChoiceStage]
) -> list[tuple[int, int, int]]:
    """Return channels in, channels out and stride of every layer of some stages.

    Args:
        in_channels: Channels of what comes from the stem.
        stages: Width, layers and stride of each stage.

    Example:
        >>> layer_shapes(8, [ChoiceStage(16, 2, 2), ChoiceStage(24, 1, 1)])
        [(8, 16, 2), (16, 16, 1), (16, 24, 1)]
    """
    shapes, before = [], in_channels
    for channels, layers, stride in stages:
        check_positive(channels=channels, layers=layers, stride=stride)
        for s in (stride, *[1] * (layers - 1)):
            shapes.append((before, channels, s))
            before = channels
    return shapes
