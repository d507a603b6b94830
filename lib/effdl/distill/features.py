"""Features of two networks, checked and made comparable: what the losses begin with.

Papers: the two that compare features layer by layer, Romero et al., "FitNets: Hints for
Thin Deep Nets", ICLR 2015, https://arxiv.org/abs/1412.6550, and Zagoruyko and
Komodakis, "Paying More Attention to Attention", ICLR 2017,
https://arxiv.org/abs/1612.03928.

A feature is what a layer puts out for a batch: maps (N, C, H, W), or vectors (N, C).
Both networks see the same N inputs. Everything else may differ, and each loss says what
it can stand: other channels, other sizes, both or neither.

Before trusting a comparison: which layer goes with which is a setting, like a weight.
"""

import torch.nn.functional as F
from torch import Tensor


def check_maps(student: Tensor, teacher: Tensor, *, same_channels: bool) -> None:
    """Require maps (N, C, H, W) of the same inputs, not empty.

    Args:
        student: Features of the student.
        teacher: Features of the teacher. Their sizes may differ.
        same_channels: Whether the channels must be as many, too.

    Raises:
        ValueError: If that is not so.

    Example:
        >>> import torch
        >>> a, b = torch.ones(2, 4, 8, 8), torch.ones(2, 6, 8, 8)
        >>> check_maps(a, b, same_channels=False)
        >>> check_maps(a, b, same_channels=True)
        Traceback (most recent call last):
        ValueError: student has 4 channels and teacher 6; map the student's by a 1 x 1 \
convolution that is trained beside it
    """
    if student.ndim != 4 or teacher.ndim != 4:
        raise ValueError(
            f"student and teacher must be maps (N, C, H, W), got {_shapes(student)} "
            f"and {_shapes(teacher)}"
        )
    check_same_inputs(student, teacher)
    if same_channels and student.shape[1] != teacher.shape[1]:
        raise ValueError(
            f"student has {student.shape[1]} channels and teacher {teacher.shape[1]}; "
            "map the student's by a 1 x 1 convolution that is trained beside it"
        )


def check_same_inputs(student: Tensor, teacher: Tensor) -> None:
    """Require features of the same N inputs, any shape beyond, not empty.

    Args:
        student: (N, ...).
        teacher: (N, ...).

    Raises:
        ValueError: If that is not so.

    Example:
        >>> import torch
        >>> check_same_inputs(torch.ones(2, 4), torch.ones(3, 4))
        Traceback (most recent call last):
        ValueError: student has 2 inputs and teacher 3; show both the same batch
    """
    for name, features in {"student": student, "teacher": teacher}.items():
        if features.ndim < 2 or features.numel() == 0:
            raise ValueError(
                f"{name} must be features (N, ...), not empty, got {_shapes(features)}"
            )
    if len(student) != len(teacher):
        raise ValueError(
            f"student has {len(student)} inputs and teacher {len(teacher)}; "
            "show both the same batch"
        )


def same_size(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Return both maps at the smaller height and the smaller width, by averaging.

    Nothing changes where the sizes agree.

    Args:
        first: (N, C, H, W).
        second: (N, D, h, w).

    Example:
        >>> import torch
        >>> a, b = same_size(torch.ones(1, 2, 8, 8), torch.ones(1, 3, 4, 4))
        >>> a.shape, b.shape
        (torch.Size([1, 2, 4, 4]), torch.Size([1, 3, 4, 4]))
    """
    sizes = zip(first.shape[2:], second.shape[2:], strict=True)
    height, width = (min(pair) for pair in sizes)
    return _averaged(first, height, width), _averaged(second, height, width)


def _averaged(maps: Tensor, height: int, width: int) -> Tensor:
    if maps.shape[2:] == (height, width):
        return maps
    return F.adaptive_avg_pool2d(maps, (height, width))


def _shapes(features: Tensor) -> str:
    return str(tuple(features.shape))
