"""Grids: scale and zero point by hand and beside torch's observers."""

import warnings

import pytest
import torch

from effdl.quant.fake import dequantize, fake_quantize, quantize
from effdl.quant.grid import affine_grid, symmetric_grid


def observers():
    """Return torch's module of observers, where it still is."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("torch.ao.quantization.observer")


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("signed", [False, True])
def test_the_affine_grid_is_that_of_the_definition(bits, signed):
    low, high = torch.tensor(-0.7), torch.tensor(1.9)
    grid = affine_grid(low, high, bits=bits, signed=signed)
    lowest = -(2 ** (bits - 1)) if signed else 0
    assert (grid.lowest, grid.highest) == (lowest, lowest + 2**bits - 1)
    assert grid.scale.item() == pytest.approx(2.6 / (2**bits - 1), rel=1e-6)
    assert grid.zero_point.item() == lowest + round(0.7 / grid.scale.item())
    assert grid.zero_point.dtype == torch.int32


def test_by_hand():
    """From -1 to 2 with 2 bits: steps of 1, and 0 is the second of four values."""
    grid = affine_grid(torch.tensor(-1.0), torch.tensor(2.0), bits=2)
    assert (grid.scale.item(), grid.zero_point.item()) == (1, 1)
    assert dequantize(torch.arange(4), grid).tolist() == [-1, 0, 1, 2]
    symmetric = symmetric_grid(torch.tensor(6.0), bits=3)
    assert (symmetric.scale.item(), symmetric.lowest, symmetric.highest) == (2, -3, 3)
    assert symmetric.zero_point.item() == 0


@pytest.mark.parametrize("shift", [0.0, 5.0, -5.0])
def test_torch_finds_the_same_affine_numbers(shift):
    x = torch.randn(1000) + shift
    theirs = observers().MinMaxObserver(dtype=torch.quint8)
    theirs(x)
    scale, zero_point = theirs.calculate_qparams()
    grid = affine_grid(*x.aminmax(), bits=8)
    torch.testing.assert_close(grid.scale, scale[0], rtol=1e-6, atol=0)
    assert grid.zero_point.item() == zero_point.item()


def test_torch_finds_the_same_symmetric_numbers_for_each_channel():
    weight = torch.randn(7, 5, 3, 3)
    theirs = observers().PerChannelMinMaxObserver(
        0, torch.qint8, torch.per_channel_symmetric, quant_min=-127, quant_max=127
    )
    theirs(weight)
    scale, zero_point = theirs.calculate_qparams()
    grid = symmetric_grid(weight.abs().amax((1, 2, 3)), bits=8, axis=0)
    torch.testing.assert_close(grid.scale, scale, rtol=1e-6, atol=0)
    assert torch.equal(grid.zero_point, zero_point.int())


@pytest.mark.parametrize(("low", "high"), [(2.0, 5.0), (-5.0, -2.0), (-1.3, 0.9)])
@pytest.mark.parametrize("signed", [False, True])
def test_zero_is_always_on_the_grid(low, high, signed):
    limits = torch.tensor(low), torch.tensor(high)
    grid = affine_grid(*limits, bits=4, signed=signed)
    assert fake_quantize(torch.zeros(3), grid).tolist() == [0, 0, 0]
    ends = dequantize(torch.tensor([grid.lowest, grid.highest]), grid)
    assert ends[0] <= low + grid.scale / 2
    assert ends[1] >= high - grid.scale / 2


@pytest.mark.parametrize("bits", [2, 8])
def test_a_tensor_of_zeros_stays_one(bits):
    zero = torch.tensor(0.0)
    for grid in (affine_grid(zero, zero, bits=bits), symmetric_grid(zero, bits=bits)):
        assert grid.scale.item() == 1
        assert fake_quantize(torch.zeros(2), grid).tolist() == [0, 0]


@pytest.mark.parametrize("value", [3.0, -3.0])
def test_a_constant_tensor_keeps_its_value(value):
    x = torch.full((4,), value)
    for grid in (affine_grid(*x.aminmax(), bits=8), symmetric_grid(abs(x[0]), bits=8)):
        torch.testing.assert_close(fake_quantize(x, grid), x)


def test_a_dead_channel_does_not_spoil_the_others():
    grid = symmetric_grid(torch.tensor([0.0, 1.27]), bits=8, axis=0)
    torch.testing.assert_close(grid.scale, torch.tensor([1.0, 0.01]))


def test_each_channel_has_its_own_grid_in_whatever_dimension():
    x = torch.randn(3, 4, 5)
    for axis in (0, 1, 2, -1):
        others = [d for d in range(3) if d != axis % 3]
        grid = affine_grid(x.amin(others), x.amax(others), bits=5, axis=axis)
        for i in range(x.shape[axis]):
            part = x.select(axis, i)
            alone = affine_grid(*part.aminmax(), bits=5)
            assert torch.equal(quantize(x, grid).select(axis, i), quantize(part, alone))


def test_bad_input_is_refused():
    one, two = torch.tensor(1.0), torch.tensor(2.0)
    with pytest.raises(ValueError, match=r"low must be at most high, got 2.0 and 1.0"):
        affine_grid(two, one, bits=8)
    with pytest.raises(ValueError, match="are they swapped"):
        affine_grid(torch.zeros(2), torch.ones(3), bits=8, axis=0)
    with pytest.raises(ValueError, match=r"largest must be 0 or more, got -1\.0"):
        symmetric_grid(-one, bits=8)
    with pytest.raises(ValueError, match="high holds 1 NaN"):
        affine_grid(one, torch.tensor(float("nan")), bits=8)
    with pytest.raises(ValueError, match="largest holds 0 NaN and 1 infinite"):
        symmetric_grid(torch.tensor(float("inf")), bits=8)
    with pytest.raises(ValueError, match="bits must be 1 to 16, got 17"):
        affine_grid(one, two, bits=17)
    with pytest.raises(ValueError, match="bits must be 2 to 16, got 1"):
        symmetric_grid(one, bits=1)
    with pytest.raises(ValueError, match="axis must be given for one range a channel"):
        symmetric_grid(torch.ones(3), bits=8)
    with pytest.raises(ValueError, match="axis=0"):
        affine_grid(one, two, bits=8, axis=0)
    grid = symmetric_grid(torch.ones(3), bits=8, axis=1)
    for shape in ((3, 2), (3,)):
        with pytest.raises(ValueError, match="must have 3 channels in dimension 1"):
            grid.along(torch.zeros(shape))


def test_a_range_beyond_float32_is_refused():
    """From -3e38 to 3e38 it is 6e38 wide, which float32 does not hold."""
    with pytest.raises(ValueError, match="scale holds 0 NaN and 1 infinite"):
        affine_grid(torch.tensor(-3e38), torch.tensor(3e38), bits=8)
