"""One pruned linear layer, run in five ways: the same numbers, very different times.

Papers: Han et al., "EIE: Efficient Inference Engine on Compressed Deep Neural Network",
ISCA 2016, https://arxiv.org/abs/1602.01528, on why zeros alone save no time; Elsen et
al., "Fast Sparse ConvNets", CVPR 2020, https://arxiv.org/abs/1911.09723, on where they
do without new hardware.

All of them compute y = x W^T + b, with x of shape (N, in) and W of (out, in):

    nn.Linear          zeros in place       every weight is read, zeros too
    CompressedLinear   rows (CSR)           value and column number of each non-zero
    CompressedLinear   blocks (BSR)         one column number for a block of values
    GatheredLinear     the same blocks      a small dense product for a row of blocks
    SmallerLinear      whole rows gone      an ordinary layer, only narrower

The more a format may assume about where the zeros lie, the less it has to look up. What
an index costs is fixed, what a zero saves is not: so each format has a sparsity from
which on it is faster than the zeros in place, its break-even.

What differs: the CSR and BSR kernels are those that PyTorch has from MKL, with square
blocks only; Elsen et al. wrote theirs for phones. Column numbers have 32 bits. So CSR
takes twice the bytes of a float32 weight that is left, and saves none up to a half.

Before trusting it: these layers are for inference on a CPU, without gradients, and
PyTorch can neither deepcopy nor save a compressed one: make it from the weight again. A
break-even belongs to a machine, a shape, a batch and a version of PyTorch. Even the way
to call matters: ``F.linear`` with a CSR weight runs another, slower kernel.
"""

import warnings

import torch
from torch import Tensor, nn

from effdl.checks import check_divides, check_positive


class CompressedLinear(nn.Module):
    """Runs a linear layer from compressed sparse rows, of weights or of blocks.

    Args:
        weight: With its zeros, (out, in), float.
        bias: (out,), or None.
        block: Side of the square blocks; it divides out and in. A block with a single
            non-zero is stored whole. None stores weights one by one (CSR).

    Example:
        >>> layer = CompressedLinear(torch.tensor([[0.0, 2.0], [3.0, 0.0]]))
        >>> layer(torch.tensor([[1.0, 10.0]]))
        tensor([[20.,  3.]])
    """

    weight: Tensor
    bias: Tensor | None

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor | None = None,
        *,
        block: int | None = None,
    ) -> None:
        super().__init__()
        side = 1 if block is None else block
        _check_weight(weight, (side, side))
        self.register_buffer("weight", _compressed(weight.detach(), block))
        self.register_buffer("bias", None if bias is None else bias.detach())

    def forward(self, x: Tensor) -> Tensor:
        """Return y, (N, out), for x of shape (N, in)."""
        y = (self.weight @ x.t()).t()
        return y if self.bias is None else y + self.bias


class GatheredLinear(nn.Module):
    """Runs a linear layer as one dense product for each row of blocks.

    The columns of the blocks that are left are gathered, and multiplied by these blocks
    laid side by side. Nothing here is a sparse kernel.

    Args:
        weight: With its zeros, (out, in), float.
        bias: (out,), or None.
        block: Height and width of a block; they divide out and in.

    Example:
        >>> layer = GatheredLinear(torch.eye(4), block=(2, 2))
        >>> layer(torch.ones(1, 4))
        tensor([[1., 1., 1., 1.]])
    """

    bias: Tensor | None

    def __init__(
        self, weight: Tensor, bias: Tensor | None = None, *, block: tuple[int, int]
    ) -> None:
        super().__init__()
        _check_weight(weight, block)
        self.out_features, self.height = len(weight), block[0]
        self.rows = [
            (number, columns, strip[:, columns].contiguous())
            for number, strip in enumerate(weight.detach().split(block[0]))
            if len(columns := _columns_of_blocks(strip, block[1]))
        ]
        self.register_buffer("bias", None if bias is None else bias.detach())

    def forward(self, x: Tensor) -> Tensor:
        """Return y, (N, out), for x of shape (N, in)."""
        features = x.t().contiguous()  # (in, N): a gathered column is a row in memory
        y = features.new_zeros(self.out_features, len(x))
        for number, columns, weights in self.rows:
            start = number * self.height
            torch.mm(weights, features[columns], out=y[start : start + self.height])
        return y.t() if self.bias is None else y.t() + self.bias


class SmallerLinear(nn.Linear):
    """Runs the rows of a linear layer that are not all zero, and returns only these.

    What a row of zeros gave was its bias alone. The next layer has to lose the same
    columns, or to fold what the bias still did into its own.

    Args:
        weight: With its zeros, (out, in), float, with at least one that is not.
        bias: (out,), or None.

    Attributes:
        rows: Which rows are left: column i of the output is what row ``rows[i]`` of the
            whole layer gives.

    Raises:
        ValueError: If no row is left.

    Example:
        >>> layer = SmallerLinear(torch.tensor([[0.0, 0.0], [3.0, 1.0]]))
        >>> layer(torch.tensor([[1.0, 10.0]])), layer.rows
        (tensor([[13.]], grad_fn=<MmBackward0>), tensor([1]))
    """

    def __init__(self, weight: Tensor, bias: Tensor | None = None) -> None:
        _check_weight(weight)
        rows = weight.ne(0).any(dim=1).nonzero().flatten()
        if not len(rows):
            raise ValueError("weight is 0 everywhere; no layer is left to run")
        super().__init__(weight.shape[1], len(rows), bias=bias is not None)
        self.rows = rows
        with torch.no_grad():
            self.weight = nn.Parameter(weight[rows].clone())
            if bias is not None:
                self.bias = nn.Parameter(bias[rows].clone())


def _compressed(weight: Tensor, block: int | None) -> Tensor:
    """Return a CSR tensor, or a BSR one, with column numbers of 32 bits."""
    with warnings.catch_warnings(action="ignore"):  # "in beta state", once
        blocks = None if block is None else (block, block)
        made = weight.to_sparse_csr() if not blocks else weight.to_sparse_bsr(blocks)
        parts = made.crow_indices().int(), made.col_indices().int(), made.values()
        layout = torch.sparse_csr if block is None else torch.sparse_bsr
        return torch.sparse_compressed_tensor(*parts, made.shape, layout=layout)


def _columns_of_blocks(strip: Tensor, width: int) -> Tensor:
    """Return the columns of a row of blocks that lie in a block with a non-zero."""
    blocks = strip.ne(0).any(dim=0).view(-1, width).any(dim=1)
    return blocks.repeat_interleave(width).nonzero().flatten()


def _check_weight(weight: Tensor, block: tuple[int, int] = (1, 1)) -> None:
    if weight.ndim != 2:
        raise ValueError(
            f"weight must be (out, in), got shape {tuple(weight.shape)}; "
            "use weight.flatten(1)"
        )
    for name, size, side in zip(("out", "in"), weight.shape, block, strict=True):
        check_positive(block=side)
        check_divides("block", side, **{name: size})
