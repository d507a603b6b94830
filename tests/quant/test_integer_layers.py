"""Convolutions and linear layers on integers, beside loops over Python's integers."""

import math
from itertools import product

import pytest
import torch
from torch import nn

from effdl.quant.fixed_point import fixed_point, rescale, rescale_once
from effdl.quant.grid import Grid
from effdl.quant.integer_layers import (
    IntegerLayer,
    Requantize,
    check_integers,
    largest_total,
)

BYTES = Grid(torch.tensor(0.5), torch.tensor(7), 0, 255)
KEEP = Requantize(
    fixed_point(torch.tensor(1.0)),
    Grid(BYTES.scale, torch.tensor(0), -(2**31), 2**31 - 1),
)


def random_layer(like, source=BYTES):
    weight = torch.randint(-127, 128, like.weight.shape)
    bias = torch.randint(-999, 999, (len(weight),))
    return (
        IntegerLayer(weight, bias, source, KEEP, like),
        weight.tolist(),
        bias.tolist(),
    )


def literal_convolution(q, weight, bias, like, zero):
    """Seven loops; what lies outside the image stands for 0."""
    n, c, height, width = q.shape
    image = q.tolist()
    (sy, sx), (py, px) = like.stride, like.padding
    kernel, groups = like.kernel_size, like.groups
    rows = (height + 2 * py - kernel[0]) // sy + 1
    columns = (width + 2 * px - kernel[1]) // sx + 1
    out, inner = len(weight), c // groups
    result = torch.zeros(n, out, rows, columns, dtype=torch.int32)
    for b, o, y, x in product(range(n), range(out), range(rows), range(columns)):
        total = bias[o]
        for i, ky, kx in product(range(inner), range(kernel[0]), range(kernel[1])):
            v, u = y * sy - py + ky, x * sx - px + kx
            if 0 <= v < height and 0 <= u < width:
                channel = o // (out // groups) * inner + i
                total += weight[o][i][ky][kx] * (image[b][channel][v][u] - zero)
        result[b, o, y, x] = total
    return result


@pytest.mark.parametrize(
    "like",
    [
        nn.Conv2d(4, 6, 3, padding=1),
        nn.Conv2d(4, 4, 3, stride=2, padding=1, groups=4),
        nn.Conv2d(4, 6, (3, 2), stride=(1, 2), padding=(2, 0), groups=2),
        nn.Conv2d(4, 3, 1),
    ],
    ids=["3x3", "depthwise", "odd", "pointwise"],
)
def test_a_convolution_is_its_loops(like):
    layer, weight, bias = random_layer(like)
    q = torch.randint(0, 256, (2, 4, 6, 5), dtype=torch.int32)
    expected = literal_convolution(q, weight, bias, like, 7)
    assert torch.equal(layer.totals(q), expected)
    assert torch.equal(layer(q), expected)


def test_a_linear_layer_is_its_loops():
    layer, weight, bias = random_layer(nn.Linear(5, 3))
    q = torch.randint(0, 256, (4, 5), dtype=torch.int32)
    expected = [
        [
            b + sum(w * (x - 7) for w, x in zip(ws, row, strict=True))
            for ws, b in zip(weight, bias, strict=True)
        ]
        for row in q.tolist()
    ]
    assert layer(q).tolist() == expected


def test_by_hand():
    """2 * (11 - 1) - 3 * (4 - 1) + 4 = 15; half of it is 7.5, 8; and 1 on top: 9."""
    grid = Grid(torch.tensor(0.5), torch.tensor(1), 0, 255)
    layer = IntegerLayer(
        torch.tensor([[2, -3]]),
        torch.tensor([4]),
        grid,
        Requantize(fixed_point(torch.tensor([0.5])), grid),
        nn.Linear(2, 1),
    )
    assert layer(torch.tensor([[11, 4]], dtype=torch.int32)).tolist() == [[9]]


def test_padding_stands_for_0_and_not_for_the_integer_0():
    like = nn.Conv2d(1, 1, 3, padding=1)
    layer = IntegerLayer(
        torch.ones(1, 1, 3, 3).int(), torch.zeros(1).int(), BYTES, KEEP, like
    )
    zeros = torch.full((1, 1, 4, 4), 7, dtype=torch.int32)
    assert layer(zeros).count_nonzero() == 0


def test_each_channel_has_its_own_multiplier():
    fixed = fixed_point(torch.tensor([1.0, 0.5, 0.25]))
    grid = Grid(torch.tensor(1.0), torch.tensor(3), 0, 255)
    to_grid = Requantize(fixed, grid)
    total = torch.full((2, 3, 1, 2), 40, dtype=torch.int32)
    assert to_grid(total)[0, :, 0].tolist() == [[43, 43], [23, 23], [13, 13]]
    assert to_grid(total[:, :, 0, 0])[1].tolist() == [43, 23, 13]


def test_limits_are_those_of_the_activation():
    grid = Grid(torch.tensor(0.1), torch.tensor(20), 0, 255)
    total = torch.tensor([-500, -15, 0, 30, 59, 60, 61, 500], dtype=torch.int32)
    one = fixed_point(torch.tensor(1.0))
    found = {c: Requantize(one, grid, c)(total).tolist() for c in (None, math.inf, 6.0)}
    assert found[None] == [0, 5, 20, 50, 79, 80, 81, 255]
    assert found[math.inf] == [20, 20, 20, 50, 79, 80, 81, 255]
    assert found[6.0] == [20, 20, 20, 50, 79, 80, 80, 80]


def test_relu6_ends_where_the_grid_does_if_that_is_before_6():
    grid = Grid(torch.tensor(0.01), torch.tensor(0), 0, 255)
    assert Requantize(fixed_point(torch.tensor(1.0)), grid, 6.0).highest == 255
    wide = Grid(torch.tensor(1e-9), torch.tensor(0), 0, 15)
    assert Requantize(fixed_point(torch.tensor(1.0)), wide, 6.0).highest == 15


def test_a_single_multiplier_can_be_divided():
    grid = Grid(torch.tensor(1.0), torch.tensor(3), 0, 255)
    to_grid = Requantize(fixed_point(torch.tensor(0.5)), grid)
    total = torch.full((1, 2, 1, 1), 48, dtype=torch.int32)
    assert to_grid(total, 6).flatten().tolist() == [7, 7]
    assert to_grid(total).flatten().tolist() == [27, 27]


def test_how_it_is_multiplied_can_be_exchanged():
    grid = Grid(torch.tensor(1.0), torch.tensor(0), 0, 255)
    to_grid = Requantize(fixed_point(torch.tensor(1 / 3)), grid)
    total = torch.tensor([10], dtype=torch.int32)
    assert (to_grid.rescale, to_grid(total).item()) == (rescale, 4)
    to_grid.rescale = rescale_once
    assert to_grid(total).item() == 3


def test_the_largest_total_is_reached_and_never_passed():
    grid = Grid(torch.tensor(1.0), torch.tensor(100), 0, 255)
    weight, bias = torch.randint(-9, 10, (3, 4)), torch.tensor([50, -50, 0])
    layer = IntegerLayer(weight, bias, grid, KEEP, nn.Linear(4, 3))
    q = torch.randint(0, 256, (5000, 4), dtype=torch.int32)
    bound = largest_total(weight, bias, grid)
    assert bool((layer.totals(q).abs().amax(0) <= bound).all())
    up = torch.where(weight[0] > 0, 255, 0).int()[None]
    signs = weight.abs().sum(1)[0] * 155 + 50
    assert bound[0] == signs
    assert layer.totals(up)[0, 0] <= bound[0]


def test_the_farther_end_of_the_grid_decides():
    for zero, reach in ((0, 255), (100, 155), (200, 200), (255, 255)):
        grid = Grid(torch.tensor(1.0), torch.tensor(zero), 0, 255)
        assert largest_total(torch.tensor([[-2]]), torch.tensor([3]), grid).item() == (
            2 * reach + 3
        )


def test_it_is_stored_as_bytes_where_that_is_enough():
    like = nn.Linear(2, 1)
    small, large = (
        IntegerLayer(torch.tensor([[w, 0]]), torch.tensor([5]), BYTES, KEEP, like)
        for w in (-127, 128)
    )
    assert (small.weight.dtype, large.weight.dtype) == (torch.int8, torch.int16)
    assert (small.bias.dtype, small.requantize.multiplier.dtype) == (torch.int32,) * 2
    assert small.requantize.shift.dtype == torch.int8
    q = torch.tensor([[8, 9]], dtype=torch.int32)
    assert (small(q).item(), large(q).item()) == (-122, 133)


def test_what_may_leave_int32_is_refused():
    wide = Grid(torch.tensor(1.0), torch.tensor(0), 0, 2**16 - 1)
    weight, like = torch.full((1, 2), 2**14), nn.Linear(2, 1)
    rest = 2**31 - 1 - 2**15 * (2**16 - 1)
    IntegerLayer(weight, torch.tensor([rest]), wide, KEEP, like)
    with pytest.raises(ValueError, match="may add up to 2147483648, int32 ends at"):
        IntegerLayer(weight, torch.tensor([rest + 1]), wide, KEEP, like)


def test_bad_input_is_refused():
    layer, _, _ = random_layer(nn.Linear(2, 2))
    with pytest.raises(ValueError, match=r"q must be int32, got torch.float32; call"):
        layer(torch.ones(1, 2))
    with pytest.raises(ValueError, match=r"q must be int32, got torch.int64"):
        check_integers(torch.ones(1).long())
    for other in ({"padding_mode": "reflect"}, {"dilation": 2}):
        with pytest.raises(ValueError, match="must be of zeros and dilation 1, got"):
            random_layer(nn.Conv2d(1, 1, 3, padding=1, **other))


@pytest.mark.filterwarnings("ignore")
def test_it_is_at_most_one_step_from_pytorchs_own_quantized_convolution():
    """Its kernels rescale in float; weights of 7 bits keep them from saturating."""
    own = pytest.importorskip("torch.ao.nn.quantized.functional")
    if "none" in torch.backends.quantized.engine:
        pytest.skip("this PyTorch has no quantized kernels")
    like = nn.Conv2d(4, 6, 3, stride=2, padding=1)
    q = torch.randint(0, 256, (2, 4, 9, 9), dtype=torch.int32)
    weight, bias = torch.randint(-63, 64, like.weight.shape), torch.randn(6)
    scales, target = (
        torch.rand(6) * 0.01 + 0.001,
        Grid(BYTES.scale, BYTES.zero_point, 0, 255),
    )
    steps = scales.double() * 0.5
    layer = IntegerLayer(
        weight,
        (bias / steps).round().long(),
        BYTES,
        Requantize(fixed_point(steps / target.scale), target),
        like,
    )
    zeros = torch.zeros(6, dtype=torch.int64)
    x = torch.quantize_per_tensor((q - 7) * 0.5, 0.5, 7, torch.quint8)
    w = torch.quantize_per_channel(
        weight * scales[:, None, None, None], scales, zeros, 0, torch.qint8
    )
    theirs = own.conv2d(x, w, bias, 2, 1, scale=0.5, zero_point=7).int_repr().int()
    apart = (layer(q) - theirs).abs()
    assert int(apart.max()) <= 1
    assert float(apart.double().mean()) < 0.02
