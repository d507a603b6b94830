"""The roofline by hand, with a clock of our own, and layer costs counted by hand."""

import copy

import pytest
import torch
from torch import nn

from effdl.measure.macs import count_macs
from effdl.measure.roofline import LayerCost, Roofline, layer_costs, measure_roofline


class Ticks:
    """A clock: the next reading is later by the next of these nanoseconds."""

    def __init__(self, *steps):
        self.steps, self.now, self.i = steps, 0, 0

    def __call__(self):
        """Return the next reading."""
        self.now += self.steps[self.i % len(self.steps)]
        self.i += 1
        return self.now


def test_the_roof_by_hand():
    """40 GMAC/s and 10 GB/s: they meet at 4 MACs per byte."""
    roof = Roofline(macs_per_second=40e9, bytes_per_second=10e9)
    assert roof.ridge == 4.0
    assert [roof.attainable(i) for i in (0, 1, 4, 100)] == [0, 10e9, 40e9, 40e9]


def test_the_roof_never_falls():
    roof = Roofline(3e9, 2e9)
    rates = [roof.attainable(i / 10) for i in range(50)]
    assert rates == sorted(rates)
    assert max(rates) == 3e9


def test_a_negative_intensity_is_explained():
    with pytest.raises(ValueError, match="intensity must not be negative, got -1"):
        Roofline(1.0, 1.0).attainable(-1)


def test_the_measurement_by_hand():
    """A sample is one call of 0.1 s; the triad has 3 arrays of 1000 floats.

    64^3 MACs in the product; 8^2 3^2 28^2 in the convolution: more, and so the roof.
    """
    roof = measure_roofline(
        size=64, buffer_bytes=12_000, repeats=3, clock=Ticks(100_000_000)
    )
    assert roof.macs_per_second == pytest.approx(8**2 * 3**2 * 28**2 / 0.1)
    assert roof.bytes_per_second == pytest.approx(12_000 / 0.1)


def test_the_fastest_sample_is_the_roof():
    """Readings between samples are free; samples take 0.4, 0.1, 0.2, 0.3 s in turn."""
    steps = [x for ms in (400, 100, 200, 300) for x in (0, ms * 1_000_000)]
    roof = measure_roofline(size=8, buffer_bytes=1200, repeats=8, clock=Ticks(*steps))
    assert roof.macs_per_second == pytest.approx(3**2 * 28**2 / 0.1)
    assert roof.bytes_per_second == pytest.approx(1200 / 0.1)


def test_a_large_product_is_the_roof_where_it_does_more():
    """512^3 MACs in a sample of 0.1 s, against 64^2 3^2 28^2 = 28.9 million."""
    roof = measure_roofline(
        size=512, buffer_bytes=1200, repeats=2, clock=Ticks(100_000_000)
    )
    assert roof.macs_per_second == pytest.approx(512**3 / 0.1)


def test_the_number_of_threads_is_put_back():
    before = torch.get_num_threads()
    measure_roofline(threads=before + 1, size=8, buffer_bytes=1200, repeats=2)
    assert torch.get_num_threads() == before


@pytest.mark.parametrize("argument", ["size", "buffer_bytes"])
def test_sizes_must_be_positive(argument):
    with pytest.raises(ValueError, match=f"{argument} must be at least 1, got 0"):
        measure_roofline(**{argument: 0})


def test_too_small_a_buffer_is_named_with_its_own_size():
    with pytest.raises(ValueError, match="buffer_bytes must be at least 12, got 11"):
        measure_roofline(buffer_bytes=11)
    measure_roofline(size=8, buffer_bytes=12, repeats=2)


def test_a_convolution_by_hand():
    """100 positions * 8*3*9 MACs; 4 * (3*100 read + 216 weights + 8*100 written)."""
    conv = nn.Conv2d(3, 8, 3, padding=1, bias=False)
    (cost,) = layer_costs(conv, torch.zeros(1, 3, 10, 10))
    assert cost == LayerCost("", "Conv2d", macs=21_600, bytes=4 * (300 + 216 + 800))
    assert cost.intensity == 21_600 / 5_264


def test_a_depthwise_convolution_does_about_one_mac_per_byte():
    """9 MACs for each element, which is read and written: 9 / 8 for large maps."""
    conv = nn.Conv2d(16, 16, 3, padding=1, groups=16, bias=False)
    (cost,) = layer_costs(conv, torch.zeros(1, 16, 56, 56))
    assert cost.macs == 56 * 56 * 16 * 9
    assert cost.intensity == pytest.approx(9 / 8, rel=0.01)


def test_a_linear_layer_with_one_row_does_a_quarter_mac_per_byte():
    """Every weight of 4 bytes is used once; rows share the weights."""
    layer = nn.Linear(512, 512, bias=False)
    (one,), (many,) = (layer_costs(layer, torch.zeros(n, 512)) for n in (1, 64))
    assert one.macs == 512**2
    assert one.bytes == 4 * (512**2 + 1024)
    assert one.intensity == pytest.approx(1 / 4, rel=0.01)
    assert many.intensity > 40 * one.intensity


def test_half_precision_moves_half():
    layer, x = nn.Linear(8, 9), torch.zeros(1, 8)
    (full,) = layer_costs(layer, x)
    (half,) = layer_costs(layer.bfloat16(), x.bfloat16())
    assert half.bytes * 2 == full.bytes


@pytest.mark.parametrize("inplace", [True, False])
def test_an_activation_reads_and_writes(inplace):
    model = nn.Sequential(nn.Linear(4, 10), nn.ReLU(inplace))
    cost = layer_costs(model, torch.zeros(1, 4))[1]
    assert cost == LayerCost("1", "ReLU", macs=0, bytes=80)
    assert cost.intensity == 0.0


@pytest.mark.parametrize("layer", [nn.Flatten(), nn.Identity(), nn.Dropout()])
def test_a_change_of_shape_moves_nothing(layer):
    (cost,) = layer_costs(layer, torch.zeros(1, 3, 4))
    assert (cost.bytes, cost.intensity) == (0, 0.0)


def test_statistics_of_batch_norm_are_read():
    """60 floats in, 60 out, 4 * 3 of weight, bias, mean, variance, 1 counter of 8."""
    (cost,) = layer_costs(nn.BatchNorm2d(3), torch.zeros(1, 3, 4, 5))
    assert cost.bytes == 4 * (120 + 12) + 8


def test_rows_follow_the_calls():
    layer = nn.Linear(4, 4)
    costs = layer_costs(nn.Sequential(layer, nn.ReLU(), layer), torch.zeros(1, 4))
    assert [(c.name, c.kind) for c in costs] == [
        ("0", "Linear"),
        ("1", "ReLU"),
        ("0", "Linear"),
    ]
    assert [c.macs for c in costs] == [16, 0, 16]


def test_the_rows_of_a_network_add_up_to_its_macs():
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2),
        nn.BatchNorm2d(8),
        nn.Conv2d(8, 8, 3, padding="same", groups=8),
        nn.ConvTranspose2d(8, 4, 2, stride=2),
        nn.Flatten(),
        nn.LazyLinear(10),
    )
    x = torch.zeros(2, 3, 12, 12)
    model(x)
    assert sum(c.macs for c in layer_costs(model, x)) == count_macs(model, x).total


def test_a_module_with_an_empty_container_is_no_layer():
    """An empty Sequential, as in shortcuts, is a child though it is false in Python."""

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.shortcut = nn.Sequential()

        def forward(self, x):
            return self.shortcut(x) + x

    costs = layer_costs(Block(), torch.zeros(1, 4))
    assert costs == [LayerCost("shortcut", "Sequential", macs=0, bytes=0)]


def test_model_and_inputs_come_back_unchanged():
    model = nn.Sequential(nn.ReLU(inplace=True), nn.Linear(4, 3), nn.BatchNorm1d(3))
    before, x = copy.deepcopy(model.state_dict()), -torch.ones(5, 4)
    layer_costs(model, x)
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)
    assert (x == -1).all()
    assert all(m.training for m in model.modules())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_the_hooks_are_removed_after_an_error():
    model = nn.Sequential(nn.Linear(4, 3))
    with pytest.raises(RuntimeError):
        layer_costs(model, torch.zeros(1, 5))
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_an_empty_batch_is_explained():
    with pytest.raises(ValueError, match=r"empty batch, shape \(0, 4\)"):
        layer_costs(nn.Linear(4, 3), torch.zeros(0, 4))
