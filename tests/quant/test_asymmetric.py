"""Zero points: the four terms, and what they cost."""

import pytest
import torch

from effdl.quant.asymmetric import (
    extra_operations,
    folded_terms,
    four_grids,
    integer_product,
)
from effdl.quant.fake import dequantize, fake_quantize, quantize
from effdl.quant.grid import affine_grid, symmetric_grid
from effdl.quant.noise import signal_to_noise
from effdl.quant.quantizers import WeightQuantizer


def integers(*shape):
    return torch.randint(0, 256, shape)


@pytest.mark.parametrize("per_channel", [False, True])
def test_the_four_terms_are_the_product_of_differences(per_channel):
    x, weight = integers(5, 40), integers(7, 40) - 128
    zero_x = torch.tensor(91)
    zero_w = torch.randint(-20, 20, (7,)) if per_channel else torch.tensor(-13)
    column = zero_w.reshape(-1, 1) if per_channel else zero_w
    expected = ((x - zero_x).unsqueeze(1) * (weight - column)).sum(-1)
    found = integer_product(x, weight, (zero_x, zero_w))
    assert torch.equal(found, expected)
    assert found.dtype == torch.int64


def test_by_hand():
    """(3 - 4)(1 - 1) + (5 - 4)(2 - 1) = 1. In advance: 2 4 1 - 1 (3 + 5) = 0."""
    x, weight = torch.tensor([[1, 2]]), torch.tensor([[3, 5]])
    zeros = torch.tensor(1), torch.tensor(4)
    assert integer_product(x, weight, zeros).tolist() == [[1]]
    assert folded_terms(weight, zeros).tolist() == [0]
    assert folded_terms(weight, (torch.tensor(2), torch.tensor(0))).tolist() == [-16]


def test_bytes_do_not_overflow():
    x = torch.full((1, 1000), 255, dtype=torch.uint8)
    weight = torch.full((1, 1000), -127, dtype=torch.int8)
    zeros = torch.tensor(0), torch.tensor(0)
    assert integer_product(x, weight, zeros).item() == -255 * 127 * 1000


@pytest.mark.parametrize("name", list(four_grids(torch.eye(2))))
def test_integers_give_the_float_product_of_rounded_tensors(name):
    x, weight = torch.randn(5, 30).double(), torch.randn(4, 30).double() + 1
    grid_x = affine_grid(*x.aminmax(), bits=8)
    grid_w = four_grids(weight)[name]
    zeros = grid_x.zero_point, grid_w.zero_point
    product = integer_product(quantize(x, grid_x), quantize(weight, grid_w), zeros)
    expected = fake_quantize(x, grid_x) @ fake_quantize(weight, grid_w).T
    torch.testing.assert_close(product * grid_x.scale * grid_w.scale, expected)


def test_the_input_decides_only_on_the_second_term():
    """What is folded takes no input, so two inputs differ by the other terms."""
    weight, zeros = integers(3, 8), (torch.tensor(7), torch.tensor(9))
    one, two = integers(1, 8), integers(1, 8)
    difference = integer_product(one, weight, zeros) - integer_product(
        two, weight, zeros
    )
    expected = (one - two) @ weight.T - 9 * (one - two).sum(1, keepdim=True)
    assert torch.equal(difference, expected)


def test_operations_by_hand():
    """Two vectors of 100 into 10: 99 additions and 10 subtractions each."""
    sizes = {"batch": 2, "inputs": 100, "out": 10}
    grids = four_grids(torch.randn(10, 100) + 1)
    found = {name: extra_operations(g, **sizes) for name, g in grids.items()}
    counted = {n: (f.additions, f.multiplications) for n, f in found.items()}
    assert counted == {
        "symmetric, per layer": (0, 0),
        "symmetric, per channel": (0, 0),
        "asymmetric, per layer": (218, 2),
        "asymmetric, per channel": (218, 20),
    }


def test_the_four_grids_are_those_of_rows_or_of_all():
    weight = torch.randn(6, 3, 2, 2)
    grids = four_grids(weight, bits=5)
    for axis, name in ((None, "symmetric, per layer"), (0, "symmetric, per channel")):
        expected = WeightQuantizer(5, axis=axis).grid(weight)
        assert torch.equal(grids[name].scale, expected.scale)
        assert grids[name].axis == axis
    low, high = weight.flatten(1).aminmax(dim=1)
    each = affine_grid(low, high, bits=5, axis=0)
    assert torch.equal(grids["asymmetric, per channel"].zero_point, each.zero_point)
    whole = affine_grid(*weight.aminmax(), bits=5)
    assert torch.equal(grids["asymmetric, per layer"].scale, whole.scale)


def test_unequal_channels_need_a_scale_each_and_skewed_ones_a_zero_point():
    def ratio(weight, name):
        return signal_to_noise(weight, fake_quantize(weight, four_grids(weight)[name]))

    unequal = torch.randn(8, 200) * torch.logspace(-2, 0, 8).reshape(-1, 1)
    small = unequal[:1]
    whole = fake_quantize(unequal, four_grids(unequal)["symmetric, per layer"])[:1]
    assert ratio(small, "symmetric, per channel") > signal_to_noise(small, whole) + 20
    skewed = torch.rand(8, 200)
    gain = ratio(skewed, "asymmetric, per layer") - ratio(
        skewed, "symmetric, per layer"
    )
    assert gain == pytest.approx(6, abs=0.5)  # twice as many steps: one bit


def test_what_is_dequantized_is_near():
    weight = torch.randn(4, 50) + 0.5
    for grid in four_grids(weight).values():
        error = (dequantize(quantize(weight, grid), grid) - weight).abs().max()
        assert error <= grid.scale.max() * 1.0001


def test_bad_input_is_refused():
    x, zero = torch.zeros(1, 2).long(), torch.tensor(0)
    with pytest.raises(ValueError, match=r"x must hold integers, got torch\.float32"):
        integer_product(x.float(), x, (zero, zero))
    with pytest.raises(ValueError, match="weight must hold integers"):
        integer_product(x, x.float(), (zero, zero))
    with pytest.raises(ValueError, match="zeros must hold integers"):
        integer_product(x, x, (zero.float(), zero))
    with pytest.raises(ValueError, match="inputs must be at least 1, got 0"):
        grid = symmetric_grid(torch.tensor(1.0), bits=8)
        extra_operations(grid, batch=1, inputs=0, out=1)
