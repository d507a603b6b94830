"""EIE, simulated: a machine that stores no zeros and multiplies by none.

Paper: Han et al., "EIE: Efficient Inference Engine on Compressed Deep Neural Network",
ISCA 2016, https://arxiv.org/abs/1602.01528.

A layer b = W a is stored by columns, as :mod:`effdl.prune.eie_storage` does. Row i of W
belongs to processing element i mod n. Only activations a_j that are not 0 are sent, to
all elements at once, and each goes through its entries of column j, one a cycle:

    b_i += codebook[v] a_j

padding zeros included. Elements with fewer entries than others wait. Each has a queue,
so that it may fall some activations behind before the others have to wait for it:

    sent_j        = max(sent_(j-1) + 1, finished_k(j - depth) of every element k)
    finished_k(j) = max(finished_k(j-1), sent_j) + entries of column j in element k

With depth 1 all go in step. However deep the queue, no machine of this kind is faster
than the work of its busiest element. The paper's chip has 64 elements at 800 MHz, for
102 GOPS at 0.59 W.

What differs: this counts entries and cycles of the multiply-add, nothing else: no
pipeline, no reading of pointers, no energy. A column without entries costs an element
nothing. That 8 is the depth of the paper's queues is from memory.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from effdl.checks import check_positive
from effdl.prune.eie_storage import Columns, encode


@dataclass(frozen=True)
class Run:
    """One product of a matrix with a vector, as the machine did it.

    Attributes:
        output: b, (rows,).
        work: Cycles in which each element multiplied, (elements,).
        macs: Multiply-adds by a weight that is not 0.
        padding: Cycles spent on padding zeros, of all elements together.
        cycles: From the first activation until the last element is done.
    """

    output: Tensor
    work: Tensor
    macs: int
    padding: int
    cycles: int

    @property
    def efficiency(self) -> float:
        """Share of all elements' cycles in which they worked; 1 is perfect balance."""
        return float(self.work.sum()) / max(1, len(self.work) * self.cycles)


def interleave(codes: Tensor, elements: int) -> list[Columns]:
    """Return what each element stores: of n elements, the k-th has rows k, k + n, ...

    Args:
        codes: (rows, columns), whole numbers from 0 to 15.
        elements: n, at most the number of rows.

    Raises:
        ValueError: If there are more elements than rows.

    Example:
        >>> [stored.codes.tolist() for stored in interleave(torch.eye(3), 2)]
        [[1, 1], [1]]
    """
    check_positive(elements=elements)
    if elements > len(codes):
        raise ValueError(f"elements must be at most {len(codes)} rows, got {elements}")
    return [encode(codes[k::elements]) for k in range(elements)]


def run(
    memories: Sequence[Columns],
    codebook: Tensor,
    activations: Tensor,
    *,
    depth: int = 8,
) -> Run:
    """Return b = W a with all that was counted on the way.

    Args:
        memories: What each element stores.
        codebook: The shared values, the first of them 0.
        activations: a, (columns,).
        depth: Activations that an element may hold, the one it works on included.

    Raises:
        ValueError: If there is not one activation for each column, or the codebook does
            not begin with 0.

    Example:
        >>> weights = interleave(torch.tensor([[1, 0], [0, 2]]), 2)
        >>> done = run(weights, torch.tensor([0.0, 5, 7]), torch.tensor([1.0, 10]))
        >>> done.output.tolist(), done.macs, done.cycles
        ([5.0, 70.0], 2, 2)
    """
    check_positive(depth=depth)
    pointers = torch.stack([stored.pointers for stored in memories])
    if activations.shape != (pointers.shape[1] - 1,):
        raise ValueError(
            f"activations must have shape ({pointers.shape[1] - 1},), "
            f"got {tuple(activations.shape)}"
        )
    if codebook[0] != 0:
        raise ValueError(f"codebook must begin with 0, got {float(codebook[0])}")
    output = activations.new_zeros(sum(stored.rows for stored in memories))
    sent = activations.nonzero().flatten()
    padding = 0
    for k, stored in enumerate(memories):
        own = output[k :: len(memories)]
        for j in sent.tolist():
            entries = slice(stored.pointers[j], stored.pointers[j + 1])
            rows = (stored.runs[entries] + 1).cumsum(0) - 1
            own[rows] += codebook[stored.codes[entries]] * activations[j]
            padding += int(stored.codes[entries].eq(0).sum())
    entries_of = pointers.diff(dim=1)[:, sent]  # (elements, activations sent)
    work = entries_of.sum(dim=1)
    cycles = _cycles(entries_of, depth)
    return Run(output, work, int(work.sum()) - padding, padding, cycles)


def _cycles(entries: Tensor, depth: int) -> int:
    """Return the cycle in which the last element finishes its last column."""
    sent, finished = -1, torch.zeros(len(entries), dtype=torch.long)
    history: list[Tensor] = []  # of ``finished``, one for each activation
    for number in range(entries.shape[1]):
        free = int(history[number - depth].max()) if number >= depth else 0
        sent = max(sent + 1, free)
        finished = finished.clamp(min=sent) + entries[:, number]
        history.append(finished)
    return int(finished.max())
