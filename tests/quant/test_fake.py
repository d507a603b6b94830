"""To the grid and back: values and gradients beside torch's fake quantization."""

import math

import pytest
import torch

from effdl.quant.fake import dequantize, fake_quantize, quantize
from effdl.quant.grid import Grid, affine_grid, symmetric_grid


def test_values_are_those_of_the_definition():
    grid = affine_grid(torch.tensor(-1.0), torch.tensor(3.0), bits=3)
    s, z = grid.scale.item(), grid.zero_point.item()
    x = torch.randn(200) * 3
    expected = [min(max(round(v / s) + z, 0), 7) for v in x.tolist()]
    q = quantize(x, grid)
    assert q.tolist() == expected
    assert q.dtype == torch.int32
    torch.testing.assert_close(
        dequantize(q, grid), torch.tensor([s * (n - z) for n in expected])
    )


def test_half_a_step_goes_to_the_even_neighbour():
    grid = symmetric_grid(torch.tensor(7.0), bits=4)
    x = torch.tensor([0.5, 1.5, 2.5, -0.5, -1.5])
    assert quantize(x, grid).tolist() == [0, 2, 2, 0, -2]


def test_fake_quantization_is_to_the_grid_and_back_exactly():
    x = torch.randn(50, 3)
    grid = affine_grid(x.amin(0), x.amax(0), bits=4, axis=1)
    assert torch.equal(fake_quantize(x, grid), dequantize(quantize(x, grid), grid))


def slope(function, x):
    x = x.clone().requires_grad_()
    weights = torch.arange(1.0, x.numel() + 1).reshape(x.shape)
    (function(x) * weights).sum().backward()
    return x.grad


@pytest.mark.parametrize("signed", [False, True])
def test_torch_gives_the_same_values_and_slopes_for_a_tensor(signed):
    x = torch.randn(2000) * 2
    grid = affine_grid(torch.tensor(-2.0), torch.tensor(3.0), bits=6, signed=signed)

    def theirs(x):
        return torch.fake_quantize_per_tensor_affine(
            x, grid.scale, grid.zero_point, grid.lowest, grid.highest
        )

    assert torch.equal(fake_quantize(x, grid), theirs(x))
    mask = slope(lambda x: fake_quantize(x, grid), x)
    assert torch.equal(mask, slope(theirs, x))
    assert 0 < int((mask == 0).sum()) < 2000


@pytest.mark.parametrize("axis", [0, 1])
def test_torch_gives_the_same_values_and_slopes_for_channels(axis):
    x = torch.randn(6, 6, 50) * torch.arange(1, 7).reshape(-1, 1)
    grid = symmetric_grid(torch.arange(1.0, 7.0), bits=4, axis=axis)

    def theirs(x):
        return torch.fake_quantize_per_channel_affine(
            x, grid.scale, grid.zero_point, axis, grid.lowest, grid.highest
        )

    assert torch.equal(fake_quantize(x, grid), theirs(x))
    assert torch.equal(slope(lambda x: fake_quantize(x, grid), x), slope(theirs, x))


def test_in_the_range_the_error_is_at_most_half_a_step():
    x = torch.linspace(-1, 2, 3001)
    grid = affine_grid(*x.aminmax(), bits=5)
    error = (x - fake_quantize(x, grid)).abs().max()
    assert grid.scale * 0.49 < error <= grid.scale * 0.5001


def test_what_is_on_the_grid_stays():
    grid = affine_grid(torch.tensor(-1.1), torch.tensor(0.7), bits=8)
    values = dequantize(torch.arange(256), grid)
    assert torch.equal(quantize(values, grid), torch.arange(256, dtype=torch.int32))
    assert torch.equal(fake_quantize(values, grid), values)


def test_what_is_outside_is_clipped_even_infinity_and_nan_stays():
    grid = symmetric_grid(torch.tensor(3.0), bits=3)
    x = torch.tensor([99.0, -99.0, math.inf, math.nan])
    found = fake_quantize(x, grid)
    assert found[:3].tolist() == [3, -3, 3]
    assert bool(found[3].isnan())


def test_nothing_is_changed_in_place():
    x = torch.randn(9)
    before = x.clone()
    grid = symmetric_grid(torch.tensor(1.0), bits=3)
    fake_quantize(x, grid)
    quantize(x, grid)
    assert torch.equal(x, before)


def test_values_learn_and_stop_where_they_are_clipped():
    x = torch.tensor([0.2, 5.0], requires_grad=True)
    grid = symmetric_grid(torch.tensor(1.0), bits=8)
    sgd = torch.optim.SGD([x], 0.1)
    for _ in range(20):
        sgd.zero_grad()
        (fake_quantize(x, grid) - 0.6).square().sum().backward()
        sgd.step()
    assert x[0].item() == pytest.approx(0.6, abs=0.02)
    assert x[1].item() == 5


def test_bad_input_is_refused():
    grid = symmetric_grid(torch.tensor(1.0), bits=8)
    with pytest.raises(ValueError, match="x holds 1 NaN"):
        quantize(torch.tensor([math.nan]), grid)
    with pytest.raises(ValueError, match=r"q must be -127 to 127, got -128 to 3"):
        dequantize(torch.tensor([-128, 3]), grid)
    with pytest.raises(ValueError, match=r"q must be -127 to 127, got 0 to 128"):
        dequantize(torch.tensor([0, 128]), grid)
    channels = Grid(torch.ones(2), torch.zeros(2).int(), -1, 1, axis=0)
    with pytest.raises(ValueError, match="must have 2 channels"):
        fake_quantize(torch.zeros(3, 2), channels)
