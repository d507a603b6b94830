"""Deep Compression: prune, share values, code by frequency; a real file after each.

Paper: Han et al., "Deep Compression: Compressing Deep Neural Networks with Pruning,
Trained Quantization and Huffman Coding", ICLR 2016, https://arxiv.org/abs/1510.00149.

    pruned_file(net)                   the weights that are left, and where they stood
    share_weights_(net, paper_bits)    few values a layer; train them
    shared_file(net)                   codes instead of weights
    shared_file(net, coded=True)       frequent codes and gaps in fewer bits

The weights are written as in :mod:`effdl.prune.weight_bytes`, all other tensors, biases
and batch norm, as they are. Names and shapes are not written: who loads a file has to
have the architecture. The last four bytes are a check sum.

The paper reports 9 to 13 times smaller after the first stage, 27 to 31 after the second
and 35 (AlexNet) and 49 (VGG-16) after the third, in networks of mostly linear layers.

What differs: the paper counts bits; this writes them, with all tables. Gaps and codes
have one number of bits, as in the paper's main table.
"""

import struct
import zlib
from collections.abc import Callable

from torch import Tensor, nn

from effdl.nas.proxies.weights import connection_weights
from effdl.prune.pruned import plain_copy
from effdl.prune.weight_bytes import (
    Reader,
    pruned_bytes,
    raw,
    read_pruned,
    read_shared,
    shared_bytes,
)
from effdl.prune.weight_sharing import shared_of

BitsOf = Callable[[Tensor], int]
Read = Callable[[Reader, Tensor], Tensor]
CHECK_SUM = 4  # bytes


def paper_bits(weight: Tensor) -> int:
    """Return the paper's bits of a gap and of a code: 8 in convolutions, else 5.

    Args:
        weight: (out, in) or (out, in, k, k).

    Example:
        >>> import torch
        >>> paper_bits(torch.zeros(10, 20)), paper_bits(torch.zeros(8, 4, 3, 3))
        (5, 8)
    """
    return 8 if weight.ndim > 2 else 5


def pruned_file(model: nn.Module, bits_of: BitsOf = paper_bits) -> bytes:
    """Return the file after the first stage; :func:`load_pruned_file_` loads it.

    Args:
        model: The network, pruned or not.
        bits_of: Returns the bits of a gap for a weight.

    Example:
        >>> len(pruned_file(nn.Linear(4, 1)))  # 4 + 3 + 16, bias 4, check sum 4
        31
    """
    plain = plain_copy(model)
    weights = connection_weights(plain)
    parts = [pruned_bytes(w.detach(), bits_of(w)) for w in weights.values()]
    others = [raw(t) for name, t in plain.state_dict().items() if name not in weights]
    return _checked(parts + others)


def shared_file(
    model: nn.Module, bits_of: BitsOf = paper_bits, *, coded: bool = False
) -> bytes:
    """Return the file after the second stage or the third.

    Args:
        model: What :func:`~effdl.prune.weight_sharing.share_weights_` changed, with
            the same ``bits_of``.
        bits_of: Returns the bits of a gap and of a code for a weight.
        coded: Whether gaps and codes become Huffman codes: the third stage.

    Raises:
        ValueError: If the network shares no values.

    Example:
        >>> from effdl.prune.weight_sharing import share_weights_
        >>> net = nn.Linear(100, 10)
        >>> share_weights_(net, paper_bits)
        >>> len(shared_file(net)), len(pruned_file(nn.Linear(100, 10)))
        (1424, 4673)
    """
    shared = shared_of(model)
    if not shared:
        raise ValueError("model shares no values; call share_weights_ first")
    parts = [
        shared_bytes(values, codes, bits_of(codes), coded=coded)
        for values, codes in shared.values()
    ]
    state = model.state_dict()
    others = [raw(t) for name, t in state.items() if "parametrizations." not in name]
    return _checked(parts + others)


def load_pruned_file_(
    model: nn.Module, data: bytes, bits_of: BitsOf = paper_bits
) -> None:
    """Change an ordinary network into the one that was written after stage one.

    ``ValueError`` if the file is damaged, or ends early or late; another architecture
    or stage is not always noticed.

    Args:
        model: Of the same architecture.
        data: What :func:`pruned_file` returned.
        bits_of: As it was written.

    Example:
        >>> import torch
        >>> net, fresh = nn.Linear(4, 1), nn.Linear(4, 1)
        >>> load_pruned_file_(fresh, pruned_file(net))
        >>> torch.equal(fresh.weight, net.weight)
        True
    """
    _load_(model, data, lambda reader, like: read_pruned(reader, like, bits_of(like)))


def load_shared_file_(
    model: nn.Module, data: bytes, bits_of: BitsOf = paper_bits, *, coded: bool = False
) -> None:
    """Change an ordinary network into the one written after stage two or three.

    ``ValueError`` if the file is damaged, or ends early or late; another architecture
    or stage is not always noticed.

    Args:
        model: Of the same architecture.
        data: What :func:`shared_file` returned.
        bits_of: As it was written.
        coded: As it was written.

    Example:
        >>> from effdl.prune.weight_sharing import share_weights_
        >>> import torch
        >>> net, fresh = nn.Linear(4, 1), nn.Linear(4, 1)
        >>> share_weights_(net, paper_bits)
        >>> load_shared_file_(fresh, shared_file(net))
        >>> torch.equal(fresh.weight, net.weight)
        True
    """

    def read(reader: Reader, like: Tensor) -> Tensor:
        return read_shared(reader, like, bits_of(like), coded=coded)

    _load_(model, data, read)


def _checked(parts: list[bytes]) -> bytes:
    data = b"".join(parts)
    return data + struct.pack("<I", zlib.crc32(data))


def _load_(model: nn.Module, data: bytes, read: Read) -> None:
    content, check_sum = data[:-CHECK_SUM], data[-CHECK_SUM:]
    if struct.pack("<I", zlib.crc32(content)) != check_sum:
        raise ValueError(
            f"the check sum of data ({len(data)} bytes) is wrong: the file is damaged; "
            "write it again"
        )
    reader = Reader(content)
    state = model.state_dict()
    weights = connection_weights(model)
    loaded = {name: read(reader, weight.detach()) for name, weight in weights.items()}
    others = {name: like for name, like in state.items() if name not in weights}
    loaded |= {name: reader.tensor(like) for name, like in others.items()}
    if reader.left:
        raise ValueError(
            f"data has {reader.left} bytes more than the model needs; "
            "it is of another architecture or stage"
        )
    model.load_state_dict(loaded)
