"""Argument checks of quantizers: bits that a grid can have, values that are finite."""

from torch import Tensor


def check_bits(bits: int, *, smallest: int = 1) -> None:
    """Require a whole number of bits that a grid can have.

    Args:
        bits: At most 16.
        smallest: Of what is asked for.

    Raises:
        ValueError: If it is out of range or not whole.

    Example:
        >>> check_bits(32)
        Traceback (most recent call last):
        ValueError: bits must be 1 to 16, got 32; leave the tensor in float instead
    """
    if isinstance(bits, bool) or not isinstance(bits, int):
        raise ValueError(f"bits must be a whole number, got {bits!r}; use int()")
    if not smallest <= bits <= 16:
        cure = "leave the tensor in float instead"
        if 1 <= bits < smallest:
            cure = "a symmetric grid of 1 bit holds only 0; use a sign or affine_grid"
        raise ValueError(f"bits must be {smallest} to 16, got {bits}; {cure}")


def check_levels(levels: int) -> None:
    """Require a number of levels that a range can be divided into.

    Args:
        levels: Numbers of a grid that are 0 or more.

    Raises:
        ValueError: If it is below 2 or not whole.

    Example:
        >>> check_levels(1)
        Traceback (most recent call last):
        ValueError: levels must be at least 2 and whole, got 1; 8 bits have 128 or 256
    """
    if isinstance(levels, bool) or not isinstance(levels, int) or levels < 2:
        raise ValueError(
            f"levels must be at least 2 and whole, got {levels!r}; "
            "8 bits have 128 or 256"
        )


def check_finite(**tensors: Tensor) -> None:
    """Require tensors without infinite values and without NaN, and not empty.

    Raises:
        ValueError: If one is empty or holds such a value; it names how many.

    Example:
        >>> import torch
        >>> check_finite(x=torch.tensor([1.0, float("nan")]))
        Traceback (most recent call last):
        ValueError: x holds 1 NaN and 0 infinite of 2 values; find where they come from
    """
    for name, tensor in tensors.items():
        if tensor.numel() == 0:
            raise ValueError(f"{name} is empty, shape {tuple(tensor.shape)}")
        if not bool(tensor.isfinite().all()):
            nan, infinite = int(tensor.isnan().sum()), int(tensor.isinf().sum())
            raise ValueError(
                f"{name} holds {nan} NaN and {infinite} infinite of {tensor.numel()} "
                "values; find where they come from"
            )
