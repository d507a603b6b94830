"""Argument checks of distillation: temperatures, shares, logits, finished teachers."""

import math

from torch import Tensor, nn


def check_temperature(temperature: float | Tensor) -> None:
    """Require a temperature above 0 and finite.

    Args:
        temperature: T.

    Raises:
        ValueError: If it is not.

    Example:
        >>> check_temperature(0)
        Traceback (most recent call last):
        ValueError: temperature must be finite and above 0, got 0; 1 is plain softmax
    """
    if not 0 < temperature < math.inf:  # nan is neither
        raise ValueError(
            f"temperature must be finite and above 0, got {temperature}; "
            "1 is plain softmax"
        )


def check_share(**values: float) -> None:
    """Require every value to be a share, 0 to 1.

    Raises:
        ValueError: If one is not.

    Example:
        >>> check_share(alpha=1.5)
        Traceback (most recent call last):
        ValueError: alpha must be from 0 to 1, got 1.5; 0 leaves the teacher out
    """
    for name, value in values.items():
        if not 0 <= value <= 1:  # nan is neither
            cure = "; 0 leaves the teacher out" if name == "alpha" else ""
            raise ValueError(f"{name} must be from 0 to 1, got {value}{cure}")


def check_logits(student: Tensor, teacher: Tensor) -> None:
    """Require logits of the same inputs and the same classes, (N, C), not empty.

    Args:
        student: Logits of the student.
        teacher: Logits of the teacher.

    Raises:
        ValueError: If they have another rank, differ in shape or are empty.

    Example:
        >>> import torch
        >>> check_logits(torch.zeros(2, 10), torch.zeros(2, 100))
        Traceback (most recent call last):
        ValueError: student has 10 classes and teacher 100; give both the same classes
    """
    shapes = f"shapes {tuple(student.shape)} and {tuple(teacher.shape)}"
    if student.ndim != 2 or teacher.ndim != 2:
        raise ValueError(f"student and teacher must be logits (N, C), got {shapes}")
    if student.shape[1] != teacher.shape[1]:
        raise ValueError(
            f"student has {student.shape[1]} classes and teacher {teacher.shape[1]}; "
            "give both the same classes"
        )
    if student.shape[0] != teacher.shape[0]:
        raise ValueError(
            f"student and teacher have different inputs, got {shapes}; "
            "show both the same batch"
        )
    if student.numel() == 0:
        raise ValueError(f"student and teacher are empty, got {shapes}")


def check_teacher(teacher: nn.Module) -> None:
    """Require a network that is in evaluation mode, every layer of it.

    In training mode batch norm would answer for the batch, not for the input, and
    would change its averages.

    Args:
        teacher: The network that is to answer.

    Raises:
        ValueError: If a layer is in training mode; it names the first one.

    Example:
        >>> check_teacher(nn.Linear(2, 2))
        Traceback (most recent call last):
        ValueError: teacher is in training mode (Linear); call teacher.eval() first
    """
    for name, layer in teacher.named_modules():
        if layer.training:
            place = f"{type(layer).__name__} {name}".strip()
            raise ValueError(
                f"teacher is in training mode ({place}); call teacher.eval() first"
            )
