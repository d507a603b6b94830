"""The size of a model: how many parameters, and how many bytes on disk.

Two numbers that are often mixed up. A model of P parameters stored as 32-bit floats
takes 4 P bytes, plus its buffers, plus the names and the table of contents of the
file:

    file = sum over stored tensors (elements * bytes per element) + overhead

Compression moves them apart: quantisation shrinks the bytes and keeps the count,
and a pruned weight that is stored as a zero still takes its place in the file.
"""

import io

import torch
from torch import nn
from torch.nn.parameter import UninitializedParameter


def parameter_count(model: nn.Module, *, trainable_only: bool = False) -> int:
    """Return the number of parameters of a model.

    A parameter that several layers share counts once. Buffers, such as the running
    statistics of batch norm, are not parameters.

    Args:
        model: Any module.
        trainable_only: Leave out the parameters that do not require a gradient.

    Raises:
        ValueError: If a lazy layer does not know its size yet.

    Example:
        >>> parameter_count(nn.Linear(10, 3))
        33
    """
    total = 0
    for name, parameter in model.named_parameters():
        if isinstance(parameter, UninitializedParameter):
            raise ValueError(
                f"the size of {name} is not known yet; run one batch through the model"
            )
        if parameter.requires_grad or not trainable_only:
            total += parameter.numel()
    return total


def serialized_bytes(model: nn.Module) -> int:
    """Return the size in bytes of the file that ``torch.save`` would write.

    What is saved is the state dict, parameters and buffers, to memory; no file is
    made. Tensors that share memory are stored once. A tensor that is a slice of a
    larger one is stored with all of the larger one.

    Args:
        model: Any module.

    Example:
        >>> 4_000_000 < serialized_bytes(nn.Linear(1000, 1000, bias=False)) < 4_010_000
        True
    """
    buffer = io.BytesIO()
    torch.save(model.state_dict(), buffer)
    return buffer.getbuffer().nbytes
