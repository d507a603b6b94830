"""Draw small pictures at a random angle, size and place on a larger canvas.

A pixel (x, y) of the canvas shows the source at the point that the motion brings there,
with c and s the cosine and sine of the angle, z the scale and k the shear:

    u = (c (x - x0) + s (y - y0)) / z + k v
    v = (c (y - y0) - s (x - x0)) / z           both counted from the source's centre

read from the four pixels around it (bilinear interpolation), zero outside.

Randomness is NumPy's RandomState, whose stream NumPy has promised not to change: the
same seed gives the same scenes with every version, so stored results stay comparable.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Random = np.random.RandomState  # a stream that NumPy has promised not to change

CONTRAST = (0.7, 1.0)  # ink of a digit or of a fragment
FRAGMENT_SIZE = 4  # pixels
FRAGMENT_SCALE = (0.9, 1.3)


@dataclass(frozen=True)
class Motion:
    """Largest motion of a digit, drawn uniformly on both sides of none.

    Attributes:
        rotation: In degrees.
        scale: Smallest and largest factor.
        shift: In pixels of the canvas, along both axes.
        shear: Shift along a row for every row, in source pixels.
    """

    rotation: float
    scale: tuple[float, float]
    shift: float
    shear: float = 0.0


@dataclass(frozen=True)
class Scene:
    """How a scene is made.

    Attributes:
        size: Side of the canvas in pixels.
        motion: How the digit is turned, scaled, moved and sheared.
        noise: Standard deviation of the noise; ink is between 0 and 1.
        fragments: Pieces of other digits, each turned and put anywhere.
    """

    size: int
    motion: Motion
    noise: float
    fragments: int = 0


def draw(
    digits: Floats, chosen: NDArray[np.int64], scene: Scene, random: Random
) -> Floats:
    """Return one scene for each chosen digit, (N, size, size): ink plus noise.

    Args:
        digits: Source digits (D, h, w), ink between 0 and 1. Fragments come from them.
        chosen: Index (N,) of the digit that each scene shows.
        scene: The recipe.
        random: Advanced by the call.

    Example:
        >>> scene = Scene(size=6, motion=Motion(0.0, (1.0, 1.0), 0.0), noise=0.0)
        >>> digits = np.ones((1, 4, 4), dtype=np.float32)
        >>> draw(digits, np.array([0, 0]), scene, Random(0)).shape
        (2, 6, 6)
    """
    count, middle = len(chosen), (scene.size - 1) / 2
    shift = scene.motion.shift
    centres = middle + random.uniform(-shift, shift, (2, count))
    canvas = _dim(
        warp(digits[chosen], scene.motion, centres, scene.size, random), random
    )
    anywhere = Motion(rotation=180.0, scale=FRAGMENT_SCALE, shift=0.0)
    for _ in range(scene.fragments):
        pieces = _cut(digits[random.randint(0, len(digits), count)], random)
        centres = random.uniform(0, scene.size - 1, (2, count))
        pieces = _dim(warp(pieces, anywhere, centres, scene.size, random), random)
        canvas = np.maximum(canvas, pieces)
    noise = scene.noise * random.standard_normal(canvas.shape)
    return (canvas + noise).astype(np.float32)


def warp(
    pictures: Floats,
    motion: Motion,
    centres: NDArray[np.float64],
    size: int,
    random: Random,
) -> Floats:
    """Return pictures (N, h, w) turned, scaled and sheared on canvases (N, size, size).

    Args:
        pictures: Source pictures (N, h, w).
        motion: Ranges of angle, scale and shear; its shift is not used.
        centres: Column and row (2, N) of the canvas where the picture's centre goes.
        size: Side of the canvas.
        random: Advanced by the call.

    Example:
        >>> still = Motion(rotation=0.0, scale=(1.0, 1.0), shift=0.0)
        >>> dot = np.ones((1, 1, 1), dtype=np.float32)
        >>> warp(dot, still, np.array([[0.0], [1.0]]), 2, Random(0)).tolist()
        [[[0.0, 0.0], [1.0, 0.0]]]
    """
    count, height, width = pictures.shape
    each = (count, 1, 1)
    angle = np.deg2rad(random.uniform(-motion.rotation, motion.rotation, each))
    scale = random.uniform(*motion.scale, each)
    shear = random.uniform(-motion.shear, motion.shear, each)
    rows, columns = np.mgrid[0:size, 0:size]
    x, y = np.stack((columns, rows))[:, None] - centres[:, :, None, None]  # (N, H, W)
    cosine, sine = np.cos(angle) / scale, np.sin(angle) / scale
    v = cosine * y - sine * x  # (N, size, size)
    u = cosine * x + sine * y + shear * v
    return _bilinear(pictures, v + (height - 1) / 2, u + (width - 1) / 2)


def _bilinear(
    pictures: Floats, rows: NDArray[np.float64], columns: NDArray[np.float64]
) -> Floats:
    """Return the pictures at fractional rows and columns (N, H, W), 0 outside."""
    count, height, width = pictures.shape
    framed = np.pad(pictures, ((0, 0), (1, 1), (1, 1)))  # a border of zeros
    # Points further out than the border land in it, where both neighbours are 0.
    rows = np.clip(rows + 1, 0, height + 1)
    columns = np.clip(columns + 1, 0, width + 1)
    top = np.minimum(rows.astype(np.int64), height)
    left = np.minimum(columns.astype(np.int64), width)
    down = (rows - top).astype(np.float32)
    right = (columns - left).astype(np.float32)
    n = np.arange(count)[:, None, None]
    above = framed[n, top, left] * (1 - right) + framed[n, top, left + 1] * right
    below = (
        framed[n, top + 1, left] * (1 - right) + framed[n, top + 1, left + 1] * right
    )
    return above * (1 - down) + below * down


def _cut(pictures: Floats, random: Random) -> Floats:
    """Return pictures (N, h, w) that keep one square piece each, at its place."""
    count, height, width = pictures.shape
    kept = np.ones((count, 1, 1), dtype=bool)
    for axis, side in ((1, height), (2, width)):
        start = random.randint(0, side - FRAGMENT_SIZE + 1, count)[:, None]
        place = np.arange(side)[None, :]
        inside = (place >= start) & (place < start + FRAGMENT_SIZE)  # (N, side)
        kept = kept & np.expand_dims(inside, 3 - axis)
    return pictures * kept


def _dim(pictures: Floats, random: Random) -> Floats:
    contrast = random.uniform(*CONTRAST, (len(pictures), 1, 1))
    return pictures * contrast.astype(np.float32)
