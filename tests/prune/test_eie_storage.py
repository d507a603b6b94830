"""Columns with runs of zeros: encoded, padded, and decoded bit for bit."""

import pytest
import torch

from effdl.prune.eie_storage import decode, encode, nearest_codes


def random_codes(rows, columns, density):
    """Return codes of which about a share ``density`` is not 0."""
    kept = torch.rand(rows, columns) < density
    return torch.randint(1, 16, (rows, columns)) * kept


def literal(column):
    """Return the entries of a column, counting zeros one by one."""
    entries, zeros = [], 0
    last = max((i for i, code in enumerate(column) if code), default=-1)
    for code in column[: last + 1]:
        if code or zeros == 15:
            entries.append((code, zeros))
            zeros = 0
        else:
            zeros += 1
    return entries


def test_entries_are_those_of_counting_zeros_one_by_one():
    codes = random_codes(200, 12, 0.05)
    stored = encode(codes)
    for j in range(12):
        part = slice(stored.pointers[j], stored.pointers[j + 1])
        found = zip(
            stored.codes[part].tolist(), stored.runs[part].tolist(), strict=True
        )
        assert list(found) == literal(codes[:, j].tolist())


def test_a_column_of_the_paper_by_hand():
    """0 0 1 2, then 18 zeros, then 3: the 16th of these zeros is a padding zero."""
    column = torch.tensor([0, 0, 1, 2, *[0] * 18, 3])
    stored = encode(column.unsqueeze(1))
    assert stored.codes.tolist() == [1, 2, 0, 3]
    assert stored.runs.tolist() == [2, 0, 15, 2]
    assert stored.pointers.tolist() == [0, 4]
    assert stored.padding == 1
    assert stored.bits == 4 * 8 + 2 * 16
    assert stored.rows == 23


@pytest.mark.parametrize("gap", [0, 14, 15, 16, 17, 31, 32, 33])
def test_a_gap_takes_one_padding_zero_for_every_16_zeros(gap):
    column = torch.zeros(gap + 1, 1, dtype=torch.long)
    column[gap] = 9
    stored = encode(column)
    assert stored.padding == gap // 16
    assert stored.runs.max() <= 15
    assert torch.equal(decode(stored), column)


@pytest.mark.parametrize("density", [0.0, 0.02, 0.3, 1.0])
def test_what_is_decoded_is_what_was_encoded(density):
    codes = random_codes(150, 7, density)
    assert torch.equal(decode(encode(codes)), codes)


def test_padding_gets_rarer_as_the_matrix_gets_denser():
    """As a share of the entries; at a density of a quarter it is under 1 in 100."""
    shares = []
    for density in (0.01, 0.03, 0.1, 0.25):
        stored = encode(random_codes(1600, 20, density))
        shares.append(stored.padding / len(stored.codes))
    assert shares == sorted(shares, reverse=True)
    assert shares[0] > 0.7
    assert shares[-1] < 0.01


def test_the_share_of_padding_is_that_of_gaps_between_random_places():
    """(1 - d)^16 of all entries: an entry is padding if 16 zeros follow in a row."""
    stored = encode(random_codes(4000, 20, 0.1))
    assert stored.padding / len(stored.codes) == pytest.approx(0.9**16, rel=0.05)


def test_a_weight_gets_the_nearest_shared_value_and_none_if_it_is_gone():
    codebook = torch.tensor([0.0, -1.0, 0.5, 2.0])
    weight = torch.tensor([[0.0, -0.01, 0.01], [1.2, 1.3, -9.0]])
    assert nearest_codes(weight, codebook).tolist() == [[0, 2, 2], [2, 3, 1]]


def test_no_weight_that_is_left_gets_the_value_0():
    weight = torch.randn(50, 50) * (torch.rand(50, 50) < 0.3)
    codes = nearest_codes(weight, torch.tensor([0.0, *range(1, 8), *range(-8, 0)]))
    assert torch.equal(codes.ne(0), weight.ne(0))


@pytest.mark.parametrize("codes", [[[16]], [[-1]]])
def test_codes_beyond_4_bits_are_refused(codes):
    with pytest.raises(ValueError, match="codes must be from 0 to 15, got"):
        encode(torch.tensor(codes))


@pytest.mark.parametrize("codebook", [[1.0, 0.0], [0.0, 1.0, 0.0]])
def test_a_codebook_without_its_one_0_in_front_is_refused(codebook):
    with pytest.raises(ValueError, match="must begin with its only 0"):
        nearest_codes(torch.ones(2), torch.tensor(codebook))
