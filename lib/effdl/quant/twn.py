"""TWN and FGQ: a layer that computes with ternary weights, by tensor, filter or group.

Papers: Li et al., "Ternary Weight Networks", 2016, https://arxiv.org/abs/1605.04711;
Mellempudi et al., "Ternary Neural Networks with Fine-Grained Quantization", 2017,
https://arxiv.org/abs/1705.01462 (groups).

    W' = alpha t(W, D)        the layer computes with it
    dL/dW := dL/dW'           straight through to the weight that learns

Threshold D and scale alpha are made anew in every step, from the weights of a row:

    whole        the layer                one scale
    by_filter    an output channel        as many scales as filters
    in_groups    N consecutive weights    a scale each, as FGQ has it

The smaller the rows, the smaller the error, if D is the best one of each row: the best
of the whole is among what smaller rows may choose. With N weights a group, one product
a group is left of N; the others are additions.

What differs: FGQ ternarises a trained network and does not train on; here all of it
can be trained. Groups follow the order of the weight in memory, which need not be the
paper's. Rows are filters unless told otherwise, because filters differ in size where
batch norm was folded into them.

Before trusting it: nothing is small or fast yet. The weight is still a float that has
three values; :mod:`effdl.quant.trits` stores it. A rule of thumb promises nothing about
groups: with it, smaller groups may have a larger error.
"""

from collections.abc import Callable

from torch import Tensor, nn

from effdl.checks import check_positive
from effdl.nas.gradient.gumbel import straight_through
from effdl.quant.ternary import rule_of_thumb, ternarize, ternary_scale

Rows = Callable[[Tensor], Tensor]  # a weight in rows, (rows, n), in the same order
Threshold = Callable[[Tensor], Tensor]  # of rows, (rows, n) to (rows, 1)


def whole(weight: Tensor) -> Tensor:
    """Return a weight as one row, (1, n).

    Args:
        weight: Any shape.

    Example:
        >>> import torch
        >>> whole(torch.zeros(4, 2, 3, 3)).shape
        torch.Size([1, 72])
    """
    return weight.reshape(1, -1)


def by_filter(weight: Tensor) -> Tensor:
    """Return a weight with a row for each output, (out, n).

    Args:
        weight: (out, ...).

    Example:
        >>> import torch
        >>> by_filter(torch.zeros(4, 2, 3, 3)).shape
        torch.Size([4, 18])
    """
    return weight.reshape(len(weight), -1)


def in_groups(size: int) -> Rows:
    """Return a function that makes rows of consecutive weights.

    It raises ``ValueError`` for a weight that cannot be divided so.

    Args:
        size: Weights N of a row.

    Example:
        >>> import torch
        >>> in_groups(4)(torch.zeros(2, 8)).shape
        torch.Size([4, 4])
    """
    check_positive(size=size)

    def rows(weight: Tensor) -> Tensor:
        if weight.numel() % size:
            raise ValueError(
                f"size must divide the {weight.numel()} weights of shape "
                f"{tuple(weight.shape)}, got {size}"
            )
        return weight.reshape(-1, size)

    return rows


class TernaryWeight(nn.Module):
    """Maps a weight to alpha t(W), and the gradient straight through.

    A parametrization: pass it to :func:`effdl.quant.insert.insert_quantizers`, or to
    ``torch.nn.utils.parametrize.register_parametrization``.

    Args:
        rows: Which weights share threshold and scale.
        threshold: D of each row; ``rule_of_thumb`` or ``best_threshold``.

    Example:
        >>> import torch
        >>> TernaryWeight()(torch.tensor([[0.9, -3.0, 0.2], [4.0, 4.0, 0.0]]))
        tensor([[ 0., -3.,  0.],
                [ 4.,  4.,  0.]])
    """

    def __init__(
        self, rows: Rows = by_filter, threshold: Threshold = rule_of_thumb
    ) -> None:
        super().__init__()
        self.rows, self.threshold = rows, threshold

    def codes(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Return t and alpha, (rows, n) and (rows, 1), without a gradient."""
        rows = self.rows(weight.detach())
        codes = ternarize(rows, self.threshold(rows))
        return codes, ternary_scale(rows, codes)

    def forward(self, weight: Tensor) -> Tensor:
        """Return alpha t(W), shaped like the weight."""
        codes, scale = self.codes(weight)
        return straight_through(weight, (scale * codes).view_as(weight))
