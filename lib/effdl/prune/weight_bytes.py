"""One weight tensor as bytes, and back: the three stages of Deep Compression.

Paper: Han et al., "Deep Compression: Compressing Deep Neural Networks with Pruning,
Trained Quantization and Huffman Coding", ICLR 2016, https://arxiv.org/abs/1510.00149.

    pruned    entries (4 bytes), gaps of z bits, values of 32 bits
    shared    entries (4), table (2 + 4 k bytes), gaps of z bits, codes of z bits
    coded     entries (4), table, and for gaps and codes each: a length of 1 byte for
              every symbol, how many bytes follow (4), the Huffman codes

An entry is a weight that is left, or a filler (:mod:`effdl.prune.run_lengths`).
"""

import struct

import numpy as np
import torch
from torch import Tensor

from effdl.prune.bits import pack_bits, packed_bytes, unpack_bits
from effdl.prune.huffman import code_lengths, huffman_decode, huffman_encode
from effdl.prune.run_lengths import places_of, run_lengths


class Reader:
    """Bytes that are read from the front; ``ValueError`` if they end too early.

    Args:
        data: All of them.

    Example:
        >>> reader = Reader(raw(torch.tensor([1.5])))
        >>> reader.tensor(torch.zeros(1)), reader.left
        (tensor([1.5000]), 0)
    """

    def __init__(self, data: bytes) -> None:
        self.data, self.place = data, 0

    @property
    def left(self) -> int:
        """Bytes that have not been read."""
        return len(self.data) - self.place

    def take(self, count: int) -> bytes:
        """Return the next bytes.

        Raises:
            ValueError: If there are fewer.
        """
        if count > self.left:
            raise ValueError(
                f"the data end {count - self.left} bytes too early; are they "
                "truncated, or of another architecture?"
            )
        self.place += count
        return self.data[self.place - count : self.place]

    def number(self, form: str) -> int:
        """Return the next whole number, of a form as in ``struct``."""
        [number] = struct.unpack(form, self.take(struct.calcsize(form)))
        return int(number)

    def tensor(self, like: Tensor) -> Tensor:
        """Return the next tensor, of the shape and type of ``like``."""
        found = np.frombuffer(self.take(like.nbytes), dtype=like.numpy().dtype)
        return torch.from_numpy(found.copy()).view(like.shape)


def raw(tensor: Tensor) -> bytes:
    """Return the bytes of a tensor as they lie in memory.

    Args:
        tensor: Any.

    Example:
        >>> len(raw(torch.zeros(2, 3)))
        24
    """
    return tensor.detach().contiguous().numpy().tobytes()


def pruned_bytes(weight: Tensor, bits: int) -> bytes:
    """Return a weight after the first stage; :func:`read_pruned` reads it.

    Args:
        weight: Any shape, float32, 0 where weights are gone.
        bits: Bits z of a gap.

    Example:
        >>> len(pruned_bytes(torch.eye(4), 5))  # 4 + 3 + 4 weights of 4 bytes
        23
    """
    runs, is_weight = run_lengths(weight != 0, bits)
    entries = weight.new_zeros(len(runs))
    entries[is_weight] = weight[weight != 0]
    return struct.pack("<I", len(runs)) + raw(pack_bits(runs, bits)) + raw(entries)


def read_pruned(reader: Reader, like: Tensor, bits: int) -> Tensor:
    """Return the weight, bit for bit.

    Args:
        reader: At what :func:`pruned_bytes` wrote.
        like: Of the shape and type of the weight.
        bits: Bits z of a gap.

    Example:
        >>> data = pruned_bytes(torch.eye(2), 5)
        >>> torch.equal(read_pruned(Reader(data), torch.zeros(2, 2), 5), torch.eye(2))
        True
    """
    count = reader.number("<I")
    runs = _read_plain(reader, bits, count)
    return _placed(runs, reader.tensor(like.new_zeros(count)), like)


def shared_bytes(values: Tensor, codes: Tensor, bits: int, *, coded: bool) -> bytes:
    """Return a weight after the second or third stage; :func:`read_shared` reads it.

    Args:
        values: The table, (k,), float32.
        codes: Shaped like the weight: 0 for 0, m for the value m - 1.
        bits: Bits z of a gap and of a code.
        coded: Whether gaps and codes become Huffman codes: the third stage.

    Example:
        >>> codes = torch.eye(4).long()  # 4 + 2 + 4 + 3 + 3
        >>> len(shared_bytes(torch.tensor([0.5]), codes, 5, coded=False))
        16
    """
    runs, is_weight = run_lengths(codes != 0, bits)
    entries = torch.zeros(len(runs), dtype=torch.long)
    entries[is_weight] = codes[codes != 0]
    write = _coded if coded else _plain
    head = struct.pack("<IH", len(runs), len(values)) + raw(values)
    return head + write(runs, bits) + write(entries, bits)


def read_shared(reader: Reader, like: Tensor, bits: int, *, coded: bool) -> Tensor:
    """Return the weight, bit for bit.

    Args:
        reader: At what :func:`shared_bytes` wrote.
        like: Of the shape and type of the weight.
        bits: Bits z of a gap and of a code.
        coded: As it was written.

    Example:
        >>> codes = torch.tensor([0, 1])
        >>> data = shared_bytes(torch.tensor([0.5]), codes, 5, coded=True)
        >>> read_shared(Reader(data), torch.zeros(2), 5, coded=True)
        tensor([0.0000, 0.5000])
    """
    count, size = reader.number("<I"), reader.number("<H")
    table = torch.cat([like.new_zeros(1), reader.tensor(like.new_zeros(size))])
    read = _read_coded if coded else _read_plain
    runs, codes = read(reader, bits, count), read(reader, bits, count)
    return _placed(runs, table[codes], like)


def _placed(runs: Tensor, entries: Tensor, like: Tensor) -> Tensor:
    weight, places = torch.zeros_like(like).flatten(), places_of(runs)
    if len(places) and places[-1] >= len(weight):
        raise ValueError(
            f"the data have a weight at {int(places[-1])}, shape {tuple(like.shape)} "
            f"ends at {len(weight) - 1}; are they of another architecture?"
        )
    weight[places] = entries
    return weight.view(like.shape)


def _plain(numbers: Tensor, bits: int) -> bytes:
    return raw(pack_bits(numbers, bits))


def _read_plain(reader: Reader, bits: int, count: int) -> Tensor:
    return unpack_bits(_bytes(reader, packed_bytes(count, bits)), bits, count)


def _coded(numbers: Tensor, bits: int) -> bytes:
    if not len(numbers):
        return b""
    lengths = code_lengths(numbers.bincount(minlength=2**bits).tolist())
    codes = raw(huffman_encode(numbers, lengths))
    return bytes(lengths) + struct.pack("<I", len(codes)) + codes


def _read_coded(reader: Reader, bits: int, count: int) -> Tensor:
    if not count:
        return torch.zeros(0, dtype=torch.long)
    lengths = list(reader.take(2**bits))
    return huffman_decode(_bytes(reader, reader.number("<I")), lengths, count)


def _bytes(reader: Reader, count: int) -> Tensor:
    return reader.tensor(torch.zeros(count, dtype=torch.uint8))
