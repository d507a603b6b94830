"""Packed signs: XNOR and a count of ones equal the float product, exactly."""

import numpy as np
import pytest
import torch
from torch import Tensor

from effdl.quant.binarize import sign
from effdl.quant.packed_signs import (
    PackedSigns,
    count_ones,
    count_ones_by_table,
    multiply_pixels,
    multiply_signs,
    pack_signs,
    pack_words,
    unpack_signs,
)

LENGTHS = [1, 7, 8, 63, 64, 65, 200, 1024]


def signs_of(rows: int, length: int) -> Tensor:
    return sign(torch.randn(rows, length))


@pytest.mark.parametrize("length", LENGTHS)
def test_the_product_of_packed_signs_is_the_float_product(length):
    a, b = signs_of(5, length), signs_of(9, length)
    found = multiply_signs(pack_signs(a), pack_signs(b))
    assert torch.equal(found.float(), a @ b.T)
    assert found.dtype == torch.int32


@pytest.mark.parametrize("length", LENGTHS)
def test_eight_planes_of_bits_are_the_product_with_pixels(length):
    """The sum over n of 2^n (x_n . w) is the dot product of the integers."""
    x, b = torch.randint(0, 256, (4, length)), signs_of(6, length)
    assert torch.equal(multiply_pixels(x, pack_signs(b)).long(), x @ b.long().T)
    planes = [(x >> n) & 1 for n in range(8)]
    by_hand = sum(2**n * (plane @ b.long().T) for n, plane in enumerate(planes))
    assert torch.equal(multiply_pixels(x, pack_signs(b)).long(), by_hand)


def test_by_hand():
    """(+ - + +) . (+ + + -): bits 1011 and 0111 read from the right differ in 2."""
    a, b = torch.tensor([[1, -1, 1, 1]]), torch.tensor([[1, 1, 1, -1]])
    packed = pack_signs(a)
    assert packed.words.tolist() == [[0b1101]]
    assert multiply_signs(packed, pack_signs(b)).tolist() == [[4 - 2 * 2]]


def test_by_hand_for_pixels():
    """(3, 255) . (+, -): planes 0 and 1 give 0, planes 2 to 7 give -1 each."""
    signs = pack_signs(torch.tensor([[1.0, -1.0]]))
    found = multiply_pixels(torch.tensor([[3.0, 255.0]]), signs)
    assert found.tolist() == [[-(4 + 8 + 16 + 32 + 64 + 128)]]


def test_signs_come_back_and_take_a_bit_each():
    signs = signs_of(3, 130)
    packed = pack_signs(signs)
    assert torch.equal(unpack_signs(packed), signs)
    assert packed.words.shape == (3, 3)
    assert packed.words.dtype == np.uint64
    whole = pack_signs(signs_of(16, 640))
    assert 32 * whole.words.nbytes == 16 * 640 * 4  # of float32


def test_what_fills_the_last_word_changes_nothing():
    a = torch.ones(1, 3)
    assert multiply_signs(pack_signs(a), pack_signs(-a)).tolist() == [[-3]]
    assert pack_signs(-a).words.tolist() == [[0]]
    white = torch.full((1, 3), 255)
    assert multiply_pixels(white, pack_signs(-a)).tolist() == [[-3 * 255]]


def test_both_counts_are_python_s():
    words = np.frombuffer(np.random.default_rng(0).bytes(8 * 60), np.uint64)
    ends = np.array([0, 2**64 - 1], dtype=np.uint64)
    words = np.append(words, ends).reshape(2, 31)
    truth = [[int(word).bit_count() for word in row] for row in words]
    assert count_ones(words).tolist() == truth
    assert count_ones_by_table(words).tolist() == truth
    assert count_ones_by_table(words.T).tolist() == np.array(truth).T.tolist()


def test_without_numpy_s_count_the_table_does_it(monkeypatch):
    a, b = signs_of(5, 70), signs_of(9, 70)
    monkeypatch.delattr(np, "bitwise_count", raising=False)
    assert torch.equal(multiply_signs(pack_signs(a), pack_signs(b)).float(), a @ b.T)


def test_a_transposed_matrix_can_be_packed():
    signs = signs_of(70, 3).T
    assert torch.equal(unpack_signs(pack_signs(signs)), signs)


def test_integers_of_any_type_can_be_packed():
    signs = signs_of(2, 9)
    for dtype in (torch.int8, torch.int64, torch.float64, torch.bfloat16):
        assert (pack_signs(signs.to(dtype)).words == pack_signs(signs).words).all()


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match=r"must be \(rows, K\), got shape \(3,\)"):
        pack_signs(torch.ones(3))
    with pytest.raises(ValueError, match=r"got shape \(0, 3\)"):
        pack_signs(torch.ones(0, 3))
    for wrong in (0.0, 2.0, float("nan")):
        with pytest.raises(ValueError, match=r"\+1 and -1 only; take sign\(\)"):
            pack_signs(torch.tensor([[1.0, wrong]]))
    three, four = pack_signs(torch.ones(1, 3)), pack_signs(torch.ones(1, 4))
    with pytest.raises(ValueError, match="equally long, got 3 and 4"):
        multiply_signs(three, four)
    with pytest.raises(
        ValueError, match=r"pixels must be \(N, 3\), got shape \(1, 4\)"
    ):
        multiply_pixels(torch.zeros(1, 4), three)
    for wrong in (-1, 256, 0.5):
        with pytest.raises(ValueError, match="whole numbers from 0 to 255"):
            multiply_pixels(torch.full((1, 3), wrong), three)


def test_a_packed_matrix_keeps_its_length():
    packed = pack_signs(torch.ones(2, 5))
    assert isinstance(packed, PackedSigns)
    assert packed.length == 5


def test_words_hold_the_first_bit_lowest():
    bits = torch.zeros(1, 70, dtype=torch.bool)
    bits[0, [0, 9, 63, 69]] = True
    assert pack_words(bits).tolist() == [[1 + 2**9 + 2**63, 2**5]]
    assert pack_words(torch.zeros(2, 3, 4)).shape == (2, 3, 1)
