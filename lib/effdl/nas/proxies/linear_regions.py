"""Linear region count: how many pieces does a ReLU network cut its inputs into?

Papers: Xiong et al., "On the Number of Linear Regions of Convolutional Neural
Networks", ICML 2020, https://arxiv.org/abs/2006.00978, and, as a proxy of accuracy,
Chen et al., "Neural Architecture Search on ImageNet in Four GPU Hours" (TE-NAS), ICLR
2021, https://arxiv.org/abs/2102.11535, section 3.1.2.

A ReLU either passes what it gets or gives 0. Which of them pass,

    A_nu = 1 if unit u is above 0 for input n, else 0        (N inputs, U units)

is the pattern of input n. Inputs with one pattern lie in one region, where the network
is a single linear map. So the number of *different* rows of A counts the regions that
the inputs hit: a lower bound of all regions, at most N. The more, the better.

TE-NAS counts without sorting: S = A (1 - A)^T + (1 - A) A^T holds in how many units two
inputs differ, and the sum over n of 1 / (how many m have S_nm = 0) is that number, too.
That takes N^2 U multiplications; here the rows are put into a set.

Its setting is small on purpose: one channel, 3 x 3 crops, 3,000 of them in batches of
1,000, three draws of weights with the deviation sqrt(2 / fan in). Whole images and a
wide network give a pattern of its own to every input: the count is N for each
candidate and ranks nothing.

Do not read it as a property of the weights alone: with batch norm in training mode,
what an input gives depends on its batch. Same inputs, same batches for all candidates.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils._python_dispatch import TorchDispatchMode

from effdl.checks import check_images, check_positive

RELUS = (torch.ops.aten.relu, torch.ops.aten.relu_)  # what every form of ReLU runs as
CROPS, CROP_SIZE = 3000, 3  # of TE-NAS


def linear_region_count(
    model: nn.Module, inputs: Tensor, *, batch_size: int = 1000
) -> int:
    """Return how many different activation patterns the inputs have.

    Runs forwards only and raises the errors of :func:`activation_patterns`.

    Args:
        model: As initialised; thin, or the count saturates at N.
        inputs: (N, ...), see :func:`random_crops`.
        batch_size: Inputs at a time; batch norm in training mode sees these together.

    Example:
        >>> model = nn.Sequential(nn.Linear(1, 2), nn.ReLU())
        >>> _ = nn.init.ones_(model[0].weight)
        >>> _ = model[0].bias.data.copy_(torch.tensor([0.0, -1.0]))  # bends at 0 and 1
        >>> linear_region_count(model, torch.linspace(-1, 2, 50)[:, None])
        3
    """
    check_positive(batch_size=batch_size)
    regions: set[bytes] = set()
    for batch in inputs.split(batch_size):
        bits = activation_patterns(model, batch).numpy(force=True)  # (n, U)
        regions.update(row.tobytes() for row in np.packbits(bits, axis=1))
    return len(regions)


def activation_patterns(model: nn.Module, inputs: Tensor) -> Tensor:
    """Return which ReLU units are above 0, for one batch.

    Sees modules and functions alike (``nn.ReLU``, ``F.relu``, ``x.relu_()``), but
    neither ReLU6 nor what a fused operator hides. The network runs in the mode it is
    in, without gradients, and comes back unchanged, batch statistics included.

    Args:
        model: Maps (N, ...) to anything.
        inputs: One batch (N, ...).

    Returns:
        Booleans (N, U), units in the order of the ReLUs that ran.

    Raises:
        ValueError: If the batch is empty, or no ReLU ran.

    Example:
        >>> activation_patterns(nn.ReLU(), torch.tensor([[1.0, -1.0], [2.0, 3.0]]))
        tensor([[ True, False],
                [ True,  True]])
    """
    if inputs.numel() == 0:
        raise ValueError(f"inputs is an empty batch, shape {tuple(inputs.shape)}")
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    recorder = _Recorder(len(inputs))
    with torch.no_grad(), recorder:
        functional_call(model, buffers, (inputs.clone(),))
    if not recorder.patterns:
        raise ValueError(
            f"{type(model).__name__} ran no ReLU: it has no linear regions to count; "
            "use a proxy that needs none"
        )
    return torch.cat(recorder.patterns, dim=1)


def random_crops(
    images: Tensor,
    random: np.random.Generator,
    *,
    count: int = CROPS,
    size: int = CROP_SIZE,
) -> Tensor:
    """Return small windows from random places of random images.

    Args:
        images: (N, C, H, W).
        random: Advanced by the call.
        count: Windows.
        size: Side of a window.

    Returns:
        (count, C, size, size).

    Raises:
        ValueError: If the images are smaller than a window.

    Example:
        >>> random_crops(torch.zeros(2, 1, 8, 8), np.random.default_rng(0)).shape
        torch.Size([3000, 1, 3, 3])
    """
    check_images(images)
    check_positive(count=count, size=size)
    height, width = images.shape[2:]
    if size > min(height, width):
        raise ValueError(f"size must be at most {min(height, width)}, got {size}")
    windows = images.unfold(2, size, 1).unfold(3, size, 1)  # (N, C, rows, columns, ...)
    which = random.integers(len(images), size=count)
    rows = random.integers(height - size + 1, size=count)
    columns = random.integers(width - size + 1, size=count)
    return windows[which, :, rows, columns]


class _Recorder(TorchDispatchMode):
    """Keeps the signs of everything that comes out of a ReLU."""

    def __init__(self, inputs: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.inputs = inputs
        self.patterns: list[Tensor] = []

    def __torch_dispatch__(
        self,
        func: Any,  # noqa: ANN401
        types: Any,  # noqa: ANN401
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        output = func(*args, **(kwargs or {}))
        if func.overloadpacket in RELUS:
            self.patterns.append((output > 0).reshape(self.inputs, -1))
        return output
