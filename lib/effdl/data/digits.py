"""Real handwriting that is generated in under a second, and no network needed.

Source: the 1,797 scanned digits of 8 x 8 pixels that scikit-learn brings along, the
test part of Alpaydin and Kaynak, "Optical Recognition of Handwritten Digits", UCI
Machine Learning Repository, 1998, https://doi.org/10.24432/C50P49, CC BY 4.0.

As they are, they are too easy: 1,700 weights reach 98 percent, and nothing that makes
a network smaller can show what it costs. So each *scene* draws a source digit,

    turns it, scales it, shears it, moves it        by random amounts
    dims it, adds fragments of other digits         cluttered digits only
    adds noise: x = (ink + noise - 0.25) / 0.35     ink is between 0 and 1

on a larger canvas. Narrow networks then lose what wide ones keep.

Nobody writes in two parts, as far as one can tell: every form had to be filled with
the same 130 digits, so the labels start again wherever one begins, 14 times (the
documentation speaks of 13 writers). There the parts are cut: 8 forms to train, 2 to
validate, 4 to test; scenes use digits of their own part only. Choose on validation,
report on test: it is harder.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from torch import Tensor

from effdl.checks import check_positive, check_seed
from effdl.data.scenes import Motion, Random, Scene, draw

VALIDATION_STARTS, TEST_STARTS = 1029, 1287  # indices at which a form begins

INK_MEAN, INK_DEVIATION = 0.25, 0.35  # rough values; every part gets the same


@dataclass(frozen=True)
class Split:
    """Inputs and their classes; ``ValueError`` if they are not equally many.

    Attributes:
        inputs: Images (N, channels, H, W), float32.
        targets: Class indices (N,), int64.
    """

    inputs: Tensor
    targets: Tensor

    def __post_init__(self) -> None:
        count, found = len(self.inputs), len(self.targets)
        if count != found:
            raise ValueError(f"targets must be {count}, got {found}; one per input")

    def __len__(self) -> int:
        return len(self.targets)

    def batches(self, size: int, *, seed: int | None = None) -> "Batches":
        """Return the split in batches, the last of them smaller if ``size`` demands it.

        Args:
            size: Inputs per batch.
            seed: Makes a new order for every pass; without it, the order as it is.

        Raises:
            ValueError: If the split is empty, or a number is not whole or too small.

        Example:
            >>> split = Split(torch.zeros(5, 1, 8, 8), torch.arange(5))
            >>> [targets.tolist() for _, targets in split.batches(2)]
            [[0, 1], [2, 3], [4]]
        """
        check_positive(size=size)
        if seed is not None:
            check_seed(seed)
        if len(self) == 0:
            raise ValueError("the split is empty, it has no batches; give it inputs")
        return Batches(self, size, seed)


class Batches:
    """Passes over a split, made by :meth:`Split.batches`."""

    def __init__(self, split: Split, size: int, seed: int | None) -> None:
        self.split, self.size, self.seed = split, size, seed
        self.passes = 0

    def __len__(self) -> int:
        return -(-len(self.split) // self.size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        order = torch.arange(len(self.split))
        if self.seed is not None:
            shuffled = Random((self.seed, self.passes)).permutation(len(self.split))
            order = torch.from_numpy(shuffled)
        self.passes += 1
        for chosen in order.split(self.size):
            yield self.split.inputs[chosen], self.split.targets[chosen]


class Digits(NamedTuple):
    """Three parts that share no source digit and, as far as known, no writer."""

    train: Split
    validation: Split
    test: Split


LARGE = Motion(rotation=20.0, scale=(1.1, 1.6), shift=2.0, shear=0.2)
SMALL = Motion(rotation=15.0, scale=(0.9, 1.2), shift=1.5, shear=0.2)


def raw_digits() -> Digits:
    """Return the source digits themselves: 1,029 / 258 / 510 of (1, 8, 8).

    Example:
        >>> [len(split) for split in raw_digits()]
        [1029, 258, 510]
    """
    parts = [Split(_normalised(ink), torch.from_numpy(y)) for ink, y in _sources()]
    return Digits(*parts)


def moved_digits(
    *, seed: int = 0, n_train: int = 6000, n_validation: int = 1000, n_test: int = 2000
) -> Digits:
    """Return scenes of one digit each, (1, 16, 16): what most chapters use.

    Args:
        seed: Decides on everything random; 0 or larger.
        n_train: Scenes to train on.
        n_validation: Scenes to choose on.
        n_test: Scenes to report.

    Example:
        >>> moved_digits(n_train=3).train.inputs.shape
        torch.Size([3, 1, 16, 16])
    """
    scene = Scene(size=16, motion=LARGE, noise=0.1)
    return _scenes(scene, seed, (n_train, n_validation, n_test))


def cluttered_digits(
    *, seed: int = 0, n_train: int = 6000, n_validation: int = 1000, n_test: int = 2000
) -> Digits:
    """Return :func:`moved_digits` with a fragment of another digit in each: harder.

    Takes the arguments of :func:`moved_digits`.

    Example:
        >>> cluttered_digits(n_train=3).train.inputs.shape
        torch.Size([3, 1, 16, 16])
    """
    scene = Scene(size=16, motion=LARGE, noise=0.1, fragments=1)
    return _scenes(scene, seed, (n_train, n_validation, n_test))


def small_digits(
    *, seed: int = 0, n_train: int = 3000, n_validation: int = 1000, n_test: int = 2000
) -> Digits:
    """Return scenes of (1, 12, 12) with less motion, for thousands of trainings.

    Takes the arguments of :func:`moved_digits`, but trains on 3,000 unless told.

    Example:
        >>> small_digits(n_train=3).train.inputs.shape
        torch.Size([3, 1, 12, 12])
    """
    scene = Scene(size=12, motion=SMALL, noise=0.05)
    return _scenes(scene, seed, (n_train, n_validation, n_test))


def _sources() -> list[tuple[NDArray[np.float32], NDArray[np.int64]]]:
    """Return ink (N, 8, 8) from 0 to 1 and classes (N,) of the three parts."""
    bundle = load_digits()
    ink = (bundle.images / 16).astype(np.float32)
    cuts = [VALIDATION_STARTS, TEST_STARTS]
    targets = bundle.target.astype(np.int64)
    return list(zip(np.split(ink, cuts), np.split(targets, cuts), strict=True))


def _scenes(scene: Scene, seed: int, counts: tuple[int, int, int]) -> Digits:
    """Return scenes of the three parts, each from a random stream of its own."""
    names = ("n_train", "n_validation", "n_test")
    check_positive(**dict(zip(names, counts, strict=True)))
    check_seed(seed)
    parts = []
    for part, (count, (ink, y)) in enumerate(zip(counts, _sources(), strict=True)):
        random = Random((seed, part))
        chosen = random.randint(0, len(y), count)
        inputs = _normalised(draw(ink, chosen, scene, random))
        parts.append(Split(inputs, torch.from_numpy(y[chosen])))
    return Digits(*parts)


def _normalised(ink: NDArray[np.float32]) -> Tensor:
    return torch.from_numpy((ink - INK_MEAN) / INK_DEVIATION)[:, None]  # (N, 1, H, W)
