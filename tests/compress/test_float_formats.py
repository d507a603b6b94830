"""Floating-point formats from their bits up, against every value that there is."""

import itertools

import pytest
import torch

from effdl.compress.float_formats import BFLOAT16, E4M3, E5M2, FLOAT16, Format, rounded

KNOWN = {
    FLOAT16: torch.float16,
    BFLOAT16: torch.bfloat16,
    E4M3: torch.float8_e4m3fn,
    E5M2: torch.float8_e5m2,
}
cases = pytest.mark.parametrize(("ours", "dtype"), KNOWN.items())


@cases
def test_the_numbers_are_those_of_torch(ours, dtype):
    info = torch.finfo(dtype)
    assert ours.largest == info.max
    assert ours.smallest_normal == info.tiny
    assert ours.step == info.eps
    assert ours.bits == info.bits
    one_up = torch.tensor([ours.smallest, ours.smallest / 2.1]).to(dtype).double()
    assert one_up.tolist() == [ours.smallest, 0]


def test_by_hand():
    """E4M3: 1.75 * 2^8, 2^-6, 2^-9. E5M2: 1.75 * 2^15, 2^-14, 2^-16."""
    assert (E4M3.bias, E4M3.largest) == (7, 448)
    assert (E4M3.smallest_normal, E4M3.smallest) == (2**-6, 2**-9)
    assert (E5M2.bias, E5M2.largest) == (15, 57344)
    assert (E5M2.smallest_normal, E5M2.smallest) == (2**-14, 2**-16)
    assert Format(4, 3).largest == 240


def values_of(form):
    """Return every finite value of a format, from its bits, by the definition."""
    found = []
    for e, m in itertools.product(range(2**form.exponent), range(2**form.mantissa)):
        top = e == 2**form.exponent - 1
        if top and (form.infinity or m == 2**form.mantissa - 1):
            continue
        if e > 0:
            found.append((1 + m / 2**form.mantissa) * 2.0 ** (e - form.bias))
        else:
            found.append(m / 2**form.mantissa * 2.0 ** (1 - form.bias))
    return torch.tensor(sorted({*found, *(-v for v in found)}), dtype=torch.float64)


@pytest.mark.parametrize(
    "form", [E4M3, E5M2, Format(3, 2), Format(2, 1, infinity=False)]
)
def test_rounding_finds_the_nearest_of_all_values(form):
    values = values_of(form)
    assert values.max() == form.largest
    assert values[values > 0].min() == form.smallest
    x = torch.randn(2000, dtype=torch.float64) * form.largest / 3
    x = torch.cat([x, x * form.smallest_normal / form.largest])
    x = x[x.abs() <= form.largest]
    distance = (x[:, None] - values).abs()
    torch.testing.assert_close((x - rounded(x, form)).abs(), distance.min(1).values)


@cases
def test_rounding_is_the_cast_of_torch_to_the_bit(ours, dtype):
    scale = torch.exp(8 * torch.randn(50_000))
    x = torch.cat([torch.randn(50_000) * scale, torch.tensor([0.0, float("nan")])])
    x = torch.cat([x, values_of(E4M3).float() * 1.0625])  # ties
    x = x[~(x.abs() > ours.largest)]
    assert torch.equal(
        rounded(x, ours).nan_to_num(7.0), x.to(dtype).float().nan_to_num(7.0)
    )


def test_a_tie_goes_to_the_even_neighbour():
    """Between 1 and 1.125: 1. Between 1.125 and 1.25: 1.25."""
    assert rounded(torch.tensor([1.0625, 1.1875]), E4M3).tolist() == [1.0, 1.25]


def test_a_value_of_the_format_stays_and_rounding_twice_is_rounding_once():
    for form in (E4M3, E5M2):
        values = values_of(form)
        assert torch.equal(rounded(values, form), values)
    x = torch.randn(1000)
    assert torch.equal(rounded(rounded(x, E5M2), E5M2), rounded(x, E5M2))


def test_what_is_too_large_is_infinite_or_stays_at_the_largest():
    x = torch.tensor([1e9, -1e9, float("inf"), float("nan")])
    e5, e4 = rounded(x, E5M2), rounded(x, E4M3)
    assert e5[:3].tolist() == [float("inf"), -float("inf"), float("inf")]
    assert e4[:3].tolist() == [448.0, -448.0, 448.0]
    assert e5[3].isnan()
    assert e4[3].isnan()


def test_the_type_of_the_tensor_stays():
    for dtype in (torch.float32, torch.float64):
        assert rounded(torch.ones(2, dtype=dtype), E4M3).dtype == dtype


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="exponent must be at least 2, got 1"):
        Format(1, 3)
    with pytest.raises(ValueError, match="mantissa must be at least 1, got 0"):
        Format(4, 0)
    with pytest.raises(ValueError, match=r"got torch.float16; use x.float\(\)"):
        rounded(torch.ones(1).half(), E4M3)
