"""The inverted residual against its equations and torchvision; what ReLU loses."""

import math

import pytest
import torch

from effdl.conv.cost import conv_cost
from effdl.conv.depthwise import depthwise
from effdl.conv.pointwise import pointwise
from effdl.measure.macs import torch_flops
from effdl.nets.inverted_residual import (
    InvertedResidual,
    relu_information_loss,
    relu_round_trip,
)
from effdl.nets.weights import load_in_order_
from on_paper import randomised

ANGLE = torch.linspace(0, 6 * math.pi, 200)
SPIRAL = torch.stack((ANGLE * ANGLE.cos(), ANGLE * ANGLE.sin()), dim=1)  # (200, 2)


@pytest.mark.parametrize(("stride", "n"), [(1, 5), (1, 7), (2, 5)])
def test_block_is_the_four_equations(stride, n):
    """Matrix products and shifted copies; inputs so large that ReLU6 clips."""
    block = randomised(InvertedResidual(5, n, stride=stride, expansion=3))
    (expand, bn1, _), (conv, bn2, _), (project, bn3) = block.layers
    x = 5 * torch.randn(2, 5, 8, 9)

    h = _normalised(pointwise(x, expand.weight[:, :, 0, 0]), bn1).clamp(0, 6)
    assert (h == 6).any()
    h = depthwise(h, conv.weight)[:, :, ::stride, ::stride]
    h = _normalised(h, bn2).clamp(0, 6)
    assert (h == 6).any()
    y = _normalised(pointwise(h, project.weight[:, :, 0, 0]), bn3)
    if stride == 1 and n == 5:
        y = y + x

    assert block.has_shortcut == (stride == 1 and n == 5)
    torch.testing.assert_close(block(x), y)


@pytest.mark.parametrize("stride", [1, 2])
def test_macs_by_the_formula(stride):
    """H W t c c + (H W / s^2) t c (9 + n), with t = 6, c = 4, n = 10, H = W = 8."""
    block = InvertedResidual(4, 10, stride=stride)
    outputs = 64 // stride**2
    macs = 64 * 6 * 4 * 4 + outputs * 6 * 4 * (9 + 10)
    assert torch_flops(block, torch.zeros(1, 4, 8, 8)) == 2 * macs
    if stride == 1:
        costs = conv_cost(4, 24, 1, 8) + conv_cost(24, 24, 3, 8, groups=24)
        assert (costs + conv_cost(24, 10, 1, 8)).macs == macs


@pytest.mark.parametrize("arguments", [(8, 8, 1, 6), (8, 12, 2, 6), (8, 8, 1, 1)])
def test_block_agrees_with_torchvision(arguments):
    reference = pytest.importorskip("torchvision.models.mobilenetv2")
    c, n, stride, expansion = arguments
    theirs = randomised(reference.InvertedResidual(*arguments))
    ours = InvertedResidual(c, n, stride=stride, expansion=expansion).eval()
    load_in_order_(ours, theirs.state_dict())
    x = torch.randn(2, c, 9, 10)
    torch.testing.assert_close(ours(x), theirs(x))


def test_no_expansion_leaves_the_first_layer_out():
    assert len(InvertedResidual(8, 8, expansion=1).layers) == 2
    assert len(InvertedResidual(8, 8).layers) == 3
    assert InvertedResidual(8, 8).layers[1][0].groups == 6 * 8  # t = 6 unless told


def test_the_end_is_linear():
    y = InvertedResidual(8, 12)(torch.randn(2, 8, 6, 6))
    assert (y.amin(dim=(0, 2, 3)) < 0).all()


def test_every_parameter_gets_a_gradient():
    block = InvertedResidual(8, 8)
    block(torch.randn(4, 8, 6, 6)).square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in block.parameters())


def test_round_trip_is_the_equation_point_by_point():
    points, matrix = torch.randn(5, 2).double(), torch.randn(4, 2).double()
    inverse = (matrix.T @ matrix).inverse() @ matrix.T  # of a matrix of full rank
    rows = [inverse @ (matrix @ point).clamp(min=0) for point in points]
    torch.testing.assert_close(relu_round_trip(points, matrix), torch.stack(rows))


def test_loss_by_hand():
    """T = 1: of (3, 0) and (0, -4) the second is lost, 4 of 5 in length.

    With both signs of every axis nothing is lost; with all points negative, all is.
    """
    points = torch.tensor([[3.0, 0.0], [0.0, -4.0]])
    axes = torch.eye(2)
    assert relu_information_loss(points, axes) == pytest.approx(0.8)
    both = torch.cat((axes, -axes))
    assert relu_information_loss(points, both) == pytest.approx(0, abs=1e-3)
    assert relu_information_loss(-points.abs(), axes) == 1


def test_loss_is_the_distance_at_the_best_of_many_sizes():
    points, matrix = torch.randn(20, 2).double(), torch.randn(3, 2).double()
    back = relu_round_trip(points, matrix)
    sizes = torch.linspace(0, 5, 20001).tolist()
    best = min((points - size * back).norm().item() for size in sizes)
    loss = relu_information_loss(points, matrix)
    assert loss == pytest.approx(best / points.norm().item(), abs=1e-6)


def test_a_spiral_loses_less_in_more_dimensions():
    """The paper's first figure, over 40 draws of T for each number of dimensions."""
    losses = [_loss(SPIRAL, n) for n in (2, 3, 5, 15, 30)]
    assert losses == sorted(losses, reverse=True)
    assert losses[0] > 2 * losses[-1]


def test_loss_in_many_dimensions_is_the_closed_form():
    """Squared, v / (1 + v) with v = (d + 2) / n, if -x is a point with every x."""
    v = (2 + 2) / 400
    mirrored = torch.cat((SPIRAL, -SPIRAL))
    assert _loss(mirrored, 400) == pytest.approx((v / (1 + v)) ** 0.5, rel=0.1)


def test_points_that_relu_leaves_alone_come_back_as_they_were():
    points, matrix = torch.rand(10, 2), torch.rand(6, 2)
    torch.testing.assert_close(relu_round_trip(points, matrix), points)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: InvertedResidual(0, 8), "in_channels must be at least 1, got 0"),
        (lambda: InvertedResidual(8, 0), "out_channels must be at least 1, got 0"),
        (lambda: InvertedResidual(8, 8, stride=0), "stride must be at least 1, got 0"),
        (lambda: InvertedResidual(8, 8, expansion=0), "expansion must be at least 1"),
        (lambda: InvertedResidual(8, 8, expansion=1.5), "expansion must be a whole"),
        (lambda: InvertedResidual(4, 8)(torch.zeros(1, 3, 5, 5)), "x must have 4 chan"),
        (
            lambda: relu_round_trip(torch.zeros(5, 3), torch.zeros(4, 2)),
            r"points must be \(P, d\) and matrix \(n, d\), got points \(5, 3\)",
        ),
        (
            lambda: relu_information_loss(torch.zeros(5), torch.zeros(4, 5)),
            r"points must be \(P, d\)",
        ),
        (
            lambda: relu_information_loss(torch.zeros(5, 2), torch.zeros(2)),
            r"points must be \(P, d\)",
        ),
        (
            lambda: relu_round_trip(torch.zeros(5, 3), torch.zeros(2, 3)),
            r"matrix must have d rows or more, got .*\(2, 3\); draw more",
        ),
    ],
)
def test_bad_arguments_and_inputs_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def _loss(points, dimensions):
    """Return the root of the mean squared loss over 40 normal matrices."""
    draws = [torch.randn(dimensions, points.shape[1]) for _ in range(40)]
    losses = [relu_information_loss(points, matrix) for matrix in draws]
    return (sum(loss**2 for loss in losses) / len(losses)) ** 0.5


def _normalised(x, bn):
    scale = bn.weight / (bn.running_var + bn.eps).sqrt()
    shift = bn.bias - bn.running_mean * scale
    return x * scale[:, None, None] + shift[:, None, None]
