"""The runtime of superkernels: exact at three corners, and off by a known residual."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from effdl.nas.hardware.pixel1_table import load_pixel1
from effdl.nas.hardware.superkernel import Decisions, SuperKernel, SuperKernelBlock
from effdl.nas.hardware.superkernel_runtime import (
    Runtimes,
    superkernel_loss,
    superkernel_runtime,
)
from public_data import skip_unless_pixel1

TIMES = Runtimes(k3_e3=1.2, k3_e6=2.0, k5_e3=1.5, k5_e6=3.0)
CORNERS = {  # d_5, d_3, d_6
    "k3_e3": (0.0, 1.0, 0.0),
    "k3_e6": (0.0, 1.0, 1.0),
    "k5_e3": (1.0, 1.0, 0.0),
    "k5_e6": (1.0, 1.0, 1.0),
}


def decisions(values):
    return Decisions(*torch.tensor(values, dtype=torch.float64))


def set_thresholds(kernel, values):
    with torch.no_grad():
        kernel.thresholds.copy_(torch.tensor(values))


def test_three_corners_are_exact_and_the_fourth_by_hand():
    """3 x 3, e3 is taken for 1.5 * 2 / 3 = 1.0 where 1.2 was measured."""
    found = {name: TIMES.expected(decisions(d)).item() for name, d in CORNERS.items()}
    assert found["k5_e6"] == pytest.approx(3.0)
    assert found["k5_e3"] == pytest.approx(1.5)
    assert found["k3_e6"] == pytest.approx(2.0)
    assert found["k3_e3"] == pytest.approx(1.0)
    assert TIMES.residual == pytest.approx(-0.2)


@pytest.mark.parametrize("ring", [0.0, 1.0])
@pytest.mark.parametrize("rest", [0.0, 1.0])
def test_no_block_needs_no_time(ring, rest):
    assert TIMES.expected(decisions((ring, 0.0, rest))) == 0


def test_between_the_corners_the_equation_holds_literally():
    d5, d3, d6 = 0.3, 0.6, 0.9
    ratio = 2.0 / 3.0
    wanted = d3 * (1.5 + d6 * (3.0 - 1.5)) * (ratio + (1 - ratio) * d5)
    assert TIMES.expected(decisions((d5, d3, d6))).item() == pytest.approx(wanted)


def test_on_the_published_pixel_1_times_three_corners_are_exact():
    skip_unless_pixel1()
    table = load_pixel1().extra.double()
    worst = 0.0
    for row in table:
        times = Runtimes(*row.tolist())
        for number, name in enumerate(("k3_e3", "k3_e6", "k5_e3", "k5_e6")):
            found = times.expected(decisions(CORNERS[name])).item()
            if name == "k3_e3":
                assert found - row[number].item() == pytest.approx(times.residual)
                worst = max(worst, abs(times.residual) / row[number].item())
            else:
                assert found == pytest.approx(row[number].item(), rel=1e-12)
    assert 0.01 < worst < 0.2


def test_the_runtime_of_a_network_is_the_sum_over_its_kernels():
    net = nn.Sequential(SuperKernelBlock(4, 4), SuperKernelBlock(4, 4))
    other = Runtimes(10.0, 20.0, 15.0, 40.0)
    assert superkernel_runtime(net, [TIMES, other]).item() == pytest.approx(43.0)
    set_thresholds(net[0].kernel, (math.inf, -math.inf, -math.inf))  # k3 e6
    assert superkernel_runtime(net, [TIMES, other]).item() == pytest.approx(42.0)
    set_thresholds(net[1].kernel, (0.0, math.inf, 0.0))  # skip
    assert superkernel_runtime(net, [TIMES, other]).item() == pytest.approx(2.0)


def test_the_loss_is_cross_entropy_and_the_price_of_the_logarithm():
    net = nn.Sequential(SuperKernelBlock(4, 4), nn.Flatten())
    x, y = torch.randn(6, 4, 1, 1), torch.arange(6) % 4
    found = superkernel_loss(net, [TIMES], 0.5)(x, y)
    wanted = F.cross_entropy(net(x), y) + 0.5 * math.log(3.0)
    torch.testing.assert_close(found, wanted)


def test_a_price_on_runtime_raises_every_threshold():
    kernel = SuperKernel(8)
    superkernel_runtime(kernel, [TIMES]).log().backward()
    assert (kernel.thresholds.grad < 0).all()  # descent raises them
    assert kernel.weight.grad.any()


def test_a_number_of_layers_that_does_not_fit_is_named():
    with pytest.raises(ValueError, match=r"layers must be 1, one for each .* got 2"):
        superkernel_runtime(SuperKernel(8), [TIMES, TIMES])
