"""What a finished network answers: computed once, and the network stays as it is."""

import torch
from torch import Tensor, nn

from effdl.checks import check_positive
from effdl.data.digits import Split
from effdl.distill.checks import check_teacher


@torch.no_grad()
def answers(teacher: nn.Module, inputs: Tensor, *, batch_size: int = 500) -> Tensor:
    """Return the teacher's outputs for all inputs, (N, ...), without gradient.

    The inputs of our trainings do not change from epoch to epoch, so every answer is
    needed once only. Raises ``ValueError`` if a layer of the teacher is in training
    mode, there are no inputs or the batch size is below 1.

    Args:
        teacher: Maps (n, ...) to one tensor (n, ...). In evaluation mode.
        inputs: All inputs, (N, ...).
        batch_size: How many are asked about at once; decides on memory only.

    Example:
        >>> answers(nn.Identity().eval(), torch.eye(3), batch_size=2).shape
        torch.Size([3, 3])
    """
    check_teacher(teacher)
    check_positive(batch_size=batch_size, inputs=len(inputs))
    return torch.cat([teacher(part) for part in inputs.split(batch_size)])


def numbered(split: Split) -> Split:
    """Return the same inputs with their numbers 0, 1, ... in place of the targets.

    A loss then gets numbers, and looks up whatever there is for these inputs: targets,
    answers, weights.

    Args:
        split: Inputs and targets.

    Example:
        >>> split = Split(torch.eye(2), torch.tensor([7, 9]))
        >>> numbered(split).targets
        tensor([0, 1])
    """
    return Split(split.inputs, torch.arange(len(split)))
