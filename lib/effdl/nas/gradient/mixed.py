"""The mixed operation: all candidates of an edge at once, weighted.

Paper: Liu et al., "DARTS: Differentiable Architecture Search", ICLR 2019,
https://arxiv.org/abs/1806.09055, section 2.2; equation 7 of the survey.

    mixed(x) = sum over k of  w_k o_k(x)          w = softmax(alpha) in DARTS

and, as in any cell, a node is the sum of what its edges send:

    x_j = sum over i < j of  mixed_ij(x_i)

(The survey's equation 7 leaves out the second sum, and so defines x_j by a single x_i.)
The weights come as an argument. So the same module serves a softmax, a sigmoid, a
sample, or a discrete choice: a candidate whose weight is 0 does not run, and with one
weight of 1 this *is* the candidate.

Some gradients need a candidate that has the weight 0 (ProxylessNAS): ``runs`` names
those that run.
"""

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from effdl.nas.darts_operations import Zero

Runs = Sequence[Sequence[int]]  # for each edge, the numbers of the candidates that run


def running(weights: Tensor) -> list[list[int]]:
    """Return which candidates run on each edge: those with a weight other than 0.

    Args:
        weights: Of all edges, (edges, K).

    Example:
        >>> import torch
        >>> running(torch.tensor([[0.0, 1.0], [0.5, 0.5]]))
        [[1], [0, 1]]
    """
    return [[k for k, w in enumerate(row) if w] for row in weights.tolist()]


class MixedOperation(nn.Module):
    """The weighted sum of the candidates of one edge; all have equal shapes.

    Args:
        candidates: The modules by name, in the order of the weights.

    Raises:
        ValueError: If there is no candidate.

    Example:
        >>> import torch
        >>> edge = MixedOperation({"skip": nn.Identity(), "relu": nn.ReLU()})
        >>> edge(torch.tensor([-1.0, 1.0]), torch.tensor([0.75, 0.25]))
        tensor([-0.7500,  1.0000])
    """

    def __init__(self, candidates: Mapping[str, nn.Module]) -> None:
        super().__init__()
        if not candidates:
            raise ValueError("candidates is empty; give an edge at least one operation")
        self.candidates = nn.ModuleDict(candidates)

    def forward(
        self, x: Tensor, weights: Tensor, runs: Sequence[int] | None = None
    ) -> Tensor:
        """Return the weighted sum of what the candidates make of ``x``.

        Args:
            x: What the edge reads.
            weights: One for each candidate, (K,); further ones are ignored.
            runs: Numbers of the candidates that run. None means those whose weight
                is not 0.

        Raises:
            ValueError: If nothing runs, or there are too few weights.
        """
        modules = list(self.candidates.values())
        if len(weights) < len(modules):
            raise ValueError(
                f"weights must be ({len(modules)},), one for each candidate, got "
                f"{tuple(weights.shape)}"
            )
        if runs is None:
            [runs] = running(weights[None, : len(modules)])
        if not runs:
            raise ValueError(
                f"no candidate of {list(self.candidates)} has a weight other than 0; "
                "leave at least one active"
            )
        sends = [k for k in runs if not isinstance(modules[k], Zero)] or runs[:1]
        each = weights.unbind()
        sent = [each[k] * modules[k](x) for k in sends]
        return sum(sent[1:], sent[0])
