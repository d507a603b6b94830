"""Huffman codes: short bit strings for frequent symbols, long ones for rare.

Papers: Huffman, "A Method for the Construction of Minimum-Redundancy Codes",
Proceedings of the IRE 1952, https://doi.org/10.1109/JRPROC.1952.273898; used for
weights by Han et al., "Deep Compression: Compressing Deep Neural Networks with Pruning,
Trained Quantization and Huffman Coding", ICLR 2016, https://arxiv.org/abs/1510.00149,
section 4.

Join the two rarest symbols into one, again and again. A symbol's code is as long as it
was joined often. With shares p and lengths l,

    entropy H = - sum of p log2 p    <=    mean length = sum of p l    <    H + 1

(one symbol alone takes 1 bit, H + 1).

Only the lengths are stored. Decoder and encoder number the codes in the same way:
shorter codes first, of one length in the order of the symbols (a canonical code).
"""

import heapq
import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


def code_lengths(counts: Sequence[int]) -> list[int]:
    """Return how many bits each symbol gets; 0 for one that does not occur.

    Args:
        counts: How often each symbol occurs.

    Raises:
        ValueError: If none occurs.

    Example:
        >>> code_lengths([8, 1, 0, 2])
        [1, 2, 0, 2]
    """
    heap = [(count, i, [i]) for i, count in enumerate(counts) if count > 0]
    if not heap:
        raise ValueError("counts has no symbol that occurs; there is nothing to code")
    lengths = [0] * len(counts)
    if len(heap) == 1:
        lengths[heap[0][1]] = 1  # no bits at all could not be counted
    heapq.heapify(heap)
    while len(heap) > 1:
        rarest, second = heapq.heappop(heap), heapq.heappop(heap)
        together = rarest[2] + second[2]
        for symbol in together:
            lengths[symbol] += 1
        heapq.heappush(heap, (rarest[0] + second[0], min(together), together))
    return lengths


def canonical_codes(lengths: Sequence[int]) -> dict[int, str]:
    """Return the code of each symbol that has one, a string of 0 and 1.

    Args:
        lengths: Bits of each symbol, 0 for none.

    Example:
        >>> canonical_codes([1, 2, 0, 2])
        {0: '0', 1: '10', 3: '11'}
    """
    codes, code, previous = {}, -1, 0
    for length, symbol in sorted((n, s) for s, n in enumerate(lengths) if n):
        code = (code + 1) << (length - previous) if previous else 0
        codes[symbol] = format(code, f"0{length}b")
        previous = length
    return codes


def huffman_encode(symbols: Tensor, lengths: Sequence[int]) -> Tensor:
    """Return the codes of all symbols in a row, as bytes, uint8.

    Args:
        symbols: Whole numbers, (n,).
        lengths: Bits of each symbol.

    Raises:
        ValueError: If a symbol has no code.

    Example:
        >>> huffman_encode(torch.tensor([0, 3, 1]), [1, 2, 0, 2])
        tensor([112], dtype=torch.uint8)
    """
    codes = canonical_codes(lengths)
    missing = set(symbols.tolist()) - set(codes)
    if missing:
        raise ValueError(f"symbols has {min(missing)}, which lengths gives no code")
    bits = "".join(codes[symbol] for symbol in symbols.tolist())
    packed = np.packbits(np.frombuffer(bits.encode(), dtype=np.uint8) - ord("0"))
    return torch.from_numpy(packed)


def huffman_decode(packed: Tensor, lengths: Sequence[int], count: int) -> Tensor:
    """Return the symbols, int64, (count,).

    Args:
        packed: What :func:`huffman_encode` returned.
        lengths: Bits of each symbol.
        count: How many symbols there are.

    Raises:
        ValueError: If the bytes end before the last symbol, or fit no code.

    Example:
        >>> packed = torch.tensor([112], dtype=torch.uint8)
        >>> huffman_decode(packed, [1, 2, 0, 2], 3)
        tensor([0, 3, 1])
    """
    symbols = {code: symbol for symbol, code in canonical_codes(lengths).items()}
    found: list[int] = []
    code = ""
    for bit in np.unpackbits(packed.numpy()).tolist():
        if len(found) == count:
            break
        code += "1" if bit else "0"
        if code in symbols:
            found.append(symbols[code])
            code = ""
    if len(found) < count:
        raise ValueError(
            f"packed ends after {len(found)} of {count} symbols; is it truncated, or "
            "are these the wrong lengths?"
        )
    return torch.tensor(found, dtype=torch.long)


def entropy(counts: Sequence[int]) -> float:
    """Return the mean bits that no code for single symbols can go below.

    Args:
        counts: How often each symbol occurs.

    Example:
        >>> entropy([1, 1, 2])
        1.5
    """
    total = sum(counts)
    return -sum(n / total * math.log2(n / total) for n in counts if n)
