"""TF-NAS: operator, depth and width searched at once, and a latency that is met.

Paper: Hu et al., "TF-NAS: Rethinking Three Search Freedoms of Latency-Constrained
Differentiable Neural Architecture Search", ECCV 2020,
https://arxiv.org/abs/2008.05314. Details are those of the authors' program,
github.com/AberHu/TF-NAS.

    operator   in every step w is trained on two paths: one drawn by the softmax of
               alpha, one uniformly from the candidates that the first left out
    depth      a stage of blocks 1 to L ends in a sink, which weighs the outputs:
               y = sum over l of  b_l x_l,   x_l = block_l(x_(l-1)),   b = softmax(beta)
    width      after every epoch channels inside the blocks are scaled until latency is
               just below the target: :mod:`effdl.nas.hardware.elastic_widths`

Without a sink, depth is chosen by a skip that competes with the operations of every
layer; and skips in different layers then name the same network several times. In a sink
every depth is there once. With one-hot b the stage is a chain of that depth.

What differs: alpha moves before w in a step, and in every step (there: after w, and in
every second). There the operations of a search's mixture are weighed by Gumbel samples;
here by whatever relaxation the method is given.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from effdl.nas.gradient.architecture import Architecture
from effdl.nas.gradient.steps import Batch, Searching
from effdl.nas.hardware.sampled_paths import (
    path_by_softmax,
    step_on_paths,
    uniform_path,
)


def two_paths(architecture: Architecture) -> list[Tensor]:
    """Return a path drawn by the softmax, and a uniform one of other candidates.

    Args:
        architecture: Of the search; where an edge has one candidate, both take it.

    Example:
        >>> first, second = two_paths(Architecture([("skip", "conv")] * 3))
        >>> (first + second).unique()
        tensor([1.])
    """
    first = path_by_softmax(architecture)
    return [first, uniform_path(architecture, without=first)]


def bi_sampling_step(searching: Searching, train: Batch, validation: Batch) -> float:
    """Return the mean training loss of a step: alpha on the mixture, w on two paths.

    Args:
        searching: Changed in place.
        train: The batch for w, which both paths see.
        validation: The batch for alpha.

    Example:
        >>> bi_sampling_step.__name__  # for effdl.nas.gradient.method.Method
        'bi_sampling_step'
    """
    return step_on_paths(two_paths)(searching, train, validation)


class SinkStage(nn.Module):
    """A chain of blocks whose outputs meet in a weighted sum.

    Args:
        blocks: From the stage's input to its output, in order; all outputs have equal
            shapes.
        least: The smallest depth on offer: 1, or 0 if the first block keeps the shape.

    Raises:
        ValueError: If there is no block, or ``least`` is neither 0 nor 1.

    Example:
        >>> stage = SinkStage([nn.ReLU(), nn.Sigmoid()])
        >>> stage(torch.tensor([-1.0]), torch.tensor([0.5, 0.5]))  # 0 and 1/2
        tensor([0.2500])
    """

    def __init__(self, blocks: Sequence[nn.Module], *, least: int = 1) -> None:
        super().__init__()
        if not blocks:
            raise ValueError("blocks is empty; give a stage at least one block")
        if least not in {0, 1}:
            raise ValueError(f"least must be 0 or 1, got {least}")
        self.blocks = nn.ModuleList(blocks)
        self.least = least

    def forward(self, x: Tensor, weights: Tensor) -> Tensor:
        """Return the weighted sum; what is deeper than every weight does not run.

        Args:
            x: The stage's input.
            weights: Of the depths from ``least`` to the number of blocks, (depths,).

        Raises:
            ValueError: If there are too few or too many weights, or all are 0.
        """
        depths = len(self.blocks) + 1 - self.least
        if weights.shape != (depths,) or not weights.any():
            raise ValueError(
                f"weights must be ({depths},), not all 0, got {weights.tolist()}"
            )
        of_depth = dict(enumerate(weights.unbind(), start=self.least))
        deepest = self.least + int(weights.nonzero().max())
        outputs = [] if self.least else [of_depth[0] * x]
        for depth, block in enumerate(self.blocks[:deepest], start=1):
            x = block(x)
            outputs.append(of_depth[depth] * x)
        return torch.stack(outputs).sum(dim=0)


def sink_cost(weights: Tensor, costs: Sequence[float], *, least: int = 1) -> Tensor:
    """Return the expected cost of a stage, with gradients to the weights.

    A depth l costs what its first l blocks cost together.

    Args:
        weights: Of the depths from ``least`` on, (depths,).
        costs: Of each block.
        least: The smallest depth, as in :class:`SinkStage`.

    Example:
        >>> sink_cost(torch.tensor([0.5, 0.5]), [2.0, 3.0])  # 2 or 5
        tensor(3.5000)
    """
    up_to = torch.tensor([0.0, *costs], dtype=weights.dtype).cumsum(0)
    return (weights * up_to[least:]).sum()
