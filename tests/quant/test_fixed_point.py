"""Multiplying by a real number with integers, beside Python's own numbers."""

import random
from fractions import Fraction

import pytest
import torch

from effdl.quant.fixed_point import (
    FixedPoint,
    divided,
    fixed_point,
    high_multiply,
    real_value,
    rescale,
    rescale_once,
    rounding_shift,
)

LOW, HIGH = -(2**31), 2**31 - 1
CORNERS = [LOW, LOW + 1, -(2**30), -3, -1, 0, 1, 2, 2**30 - 1, 2**30, HIGH]


def literal_high(a, b):
    """The C code of gemmlowp, whose division cuts towards 0."""
    if a == b == LOW:
        return HIGH
    product = a * b
    total = product + (2**30 if product >= 0 else 1 - 2**30)
    return total // 2**31 if total >= 0 else -(-total // 2**31)


def literal_shift(x, n):
    """To the nearest, half-way away from 0."""
    size = Fraction(abs(x), 2**n)
    return (1 if x >= 0 else -1) * int(size + Fraction(1, 2))


def int32(values):
    return torch.tensor(values, dtype=torch.int32)


def random_int32(count):
    source = random.Random(0)
    return [source.randint(LOW, HIGH) >> source.randint(0, 30) for _ in range(count)]


def test_the_high_product_is_that_of_gemmlowp():
    a = CORNERS + random_int32(400)
    for b in CORNERS + random_int32(20):
        expected = [literal_high(x, b) for x in a]
        assert torch.equal(high_multiply(int32(a), int32(b)), int32(expected))


def test_the_shift_rounds_half_way_away_from_0():
    x = CORNERS + random_int32(400) + list(range(-20, 21))
    for n in (0, 1, 2, 3, 9, 30, 31):
        expected = [literal_shift(value, n) for value in x]
        assert torch.equal(rounding_shift(int32(x), torch.tensor(n)), int32(expected))


def test_by_hand():
    """6 * 2^30 / 2^31 = 3; 7 gives 3.5, up to 4; -7 gives -3.5, up to -3; 5 / 2: 3."""
    half = int32(2**30)
    assert high_multiply(int32([6, 7, -7]), half).tolist() == [3, 4, -3]
    assert rounding_shift(int32([5, -5, 4]), torch.tensor(1)).tolist() == [3, -3, 2]


def test_the_error_of_a_multiplier_is_at_most_2_to_the_minus_31_of_it():
    real = torch.cat((torch.rand(2000), 2.0 ** torch.linspace(-31, 30, 62))).double()
    fixed = fixed_point(real)
    assert int(fixed.multiplier.min()) >= 2**30
    for m, m0, n in zip(real.tolist(), *(part.tolist() for part in fixed), strict=True):
        error = abs(Fraction(m0) / Fraction(2) ** (31 + n) - Fraction(m))
        assert error <= Fraction(m) / 2**31
    assert torch.allclose(real_value(fixed), real, rtol=2**-31, atol=0)


def test_what_rounds_up_to_1_gets_another_shift():
    multiplier, shift = fixed_point(torch.tensor(1 - 2**-40, dtype=torch.float64))
    assert (int(multiplier), int(shift)) == (2**30, -1)


def test_rescaling_is_within_one_of_the_exact_product():
    for m in (0.9, 0.37, 1 / 3, 0.013, 2**-20 * 1.7, 5.5, 40.0):
        fixed = fixed_point(torch.tensor(m, dtype=torch.float64))
        exact = Fraction(int(fixed.multiplier)) / Fraction(2) ** (31 + int(fixed.shift))
        x = [value for value in random_int32(500) if abs(value * m) < 2**30]
        best = [value * exact for value in x]
        twice, once = (f(int32(x), fixed).tolist() for f in (rescale, rescale_once))
        assert max(abs(a - b) for a, b in zip(twice, best, strict=True)) <= 1
        assert max(abs(a - b) for a, b in zip(once, best, strict=True)) <= 0.5


@pytest.mark.parametrize("shift", [1, 3, 6])
def test_rounding_twice_is_off_by_one_in_a_share_that_halves_with_every_shift(shift):
    fixed = fixed_point(torch.tensor(0.7310585 * 2**-shift, dtype=torch.float64))
    x = torch.arange(-200_000, 200_000, dtype=torch.int32)
    off = (rescale(x, fixed) - rescale_once(x, fixed)).abs()
    assert int(off.max()) == 1
    assert float(off.double().mean()) == pytest.approx(2.0 ** -(shift + 1), rel=0.02)


def test_without_a_shift_rounding_twice_is_rounding_once():
    fixed = fixed_point(torch.tensor(0.7310585))
    x = torch.arange(-999, 999, dtype=torch.int32)
    assert torch.equal(rescale(x, fixed), rescale_once(x, fixed))


def test_what_is_shifted_out_of_int32_is_cut():
    large = fixed_point(torch.tensor(1024.0))
    x = int32([2**30, -(2**30), 3])
    assert rescale(x, large).tolist() == [2**30, -(2**30), 3072]
    assert rescale_once(x, large).tolist() == [HIGH, LOW, 3072]


def test_dividing_is_that_of_fractions():
    for m in (0.7, 0.25, 3.0):
        fixed = fixed_point(torch.tensor(m))
        exact = Fraction(int(fixed.multiplier)) / Fraction(2) ** (31 + int(fixed.shift))
        for count in (1, 2, 3, 7, 49, 64, 16 << 18):
            m0, n = (int(part) for part in divided(fixed, count))
            assert 2**30 <= m0 < 2**31
            found = Fraction(m0) / Fraction(2) ** (31 + n)
            assert abs(found - exact / count) <= exact / count / 2**31


def test_a_quotient_that_rounds_up_to_1_gets_another_shift():
    """2^29 / (2^33 + 1) is 2^-4 (1 - 2^-33), and 2^-4 in 31 bits."""
    found = divided(fixed_point(torch.tensor(2.0**29)), 2**33 + 1)
    assert [int(part) for part in found] == [2**30, 3]
    most = FixedPoint(int32(2**31 - 1), int32(0))
    assert [int(part) for part in divided(most, 1)] == [2**31 - 1, 0]


def test_each_channel_can_have_its_own():
    fixed = fixed_point(torch.tensor([0.5, 2.0, 0.01])[:, None])
    x = int32([[100, -100]] * 3)
    assert rescale(x, fixed).tolist() == [[50, -50], [200, -200], [1, -1]]


@pytest.mark.parametrize("bad", [0.0, -1.0, 2.0**-33, 2.0**31, float("nan")])
def test_other_numbers_are_refused(bad):
    with pytest.raises(ValueError, match=r"real must be 2\^-32 to 2\^31, got "):
        fixed_point(torch.tensor([0.5, bad]))


def test_bad_input_is_refused():
    one = fixed_point(torch.ones(()))
    with pytest.raises(ValueError, match=r"x must be int32, got torch.int64; use .int"):
        rescale(torch.tensor([1]), one)
    with pytest.raises(ValueError, match=r"x must be int32, got torch.float32"):
        rescale_once(torch.ones(1), one)
    with pytest.raises(ValueError, match=r"b must be int32"):
        high_multiply(int32(1), torch.ones(1))
    with pytest.raises(ValueError, match="exponent must be 0 to 31, got 32"):
        rounding_shift(int32(1), torch.tensor(32))
    with pytest.raises(ValueError, match="exponent must be 0 to 31, got -1"):
        rounding_shift(int32(1), torch.tensor(-1))
    with pytest.raises(ValueError, match=r"count must leave 2\^-32 or more, got 8"):
        divided(fixed_point(torch.tensor(2.0**-31)), 8)
    with pytest.raises(ValueError, match="count must be at least 1, got 0"):
        divided(one, 0)
