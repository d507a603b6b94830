"""ONNX Runtime's own quantization: its integers, its ranges, its choice of bits."""

from functools import cache

import pytest
import torch
from torch import nn

pytest.importorskip("onnxruntime")

from effdl.quant.fake import quantize
from effdl.quant.onnx_files import OnnxNet, onnx, onnx_model
from effdl.quant.onnx_static import static_int8
from effdl.quant.quantizers import WeightQuantizer

MODES = [(c, r) for c in (True, False) for r in (True, False)]


def constants(model):
    """Return the stored tensors by name."""
    return {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}


@cache
def small_net():
    """Return a network and its ONNX model."""
    net = nn.Sequential(nn.Conv2d(1, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(24, 3))
    return net, onnx_model(net, torch.zeros(2, 1, 4, 4))


def integers_of(model, shape):
    """Return the stored 8-bit integers of a shape, and their scale."""
    stored = constants(model)
    (name,) = [n for n, t in stored.items() if t.dtype == "int8" and t.shape == shape]
    scale = name.replace("_quantized", "_scale")
    return torch.from_numpy(stored[name].astype("int32")), stored[scale]


@pytest.mark.parametrize("axis", [0, None])
def test_the_integers_of_weights_are_those_of_a_symmetric_grid(axis):
    net, model = small_net()
    small = static_int8(model, [(torch.rand(20, 1, 4, 4), None)], per_channel=axis == 0)
    weight = net[0].weight
    grid = WeightQuantizer(8, axis=axis).grid(weight)
    found, scale = integers_of(small, (6, 1, 3, 3))
    difference = (found - quantize(weight, grid)).abs()
    assert difference.max() <= 1
    assert (difference > 0).float().mean() < 0.05
    torch.testing.assert_close(
        torch.from_numpy(scale), grid.scale.detach(), atol=0, rtol=1e-5
    )


def test_by_hand():
    """From 0 to 25.5, and so steps of 0.1; the weight 1 is 127 steps of 1 / 127."""
    net = nn.Linear(1, 1, bias=False)
    net.weight.data.fill_(1.0)
    x = torch.tensor([[0.0], [25.5]])
    small = OnnxNet(static_int8(onnx_model(net, x), [(x, None)]))
    found = small(torch.tensor([[-1.0], [0.26], [99.0]]))
    torch.testing.assert_close(found, torch.tensor([[0.0], [0.3], [25.5]]))


def test_a_network_puts_out_nearly_what_it_did_in_floats():
    net, model = small_net()
    images = torch.rand(64, 1, 4, 4)
    expected = net(images).detach()
    for per_channel, reduce_range in MODES:
        small = static_int8(
            model,
            [(images, None)],
            per_channel=per_channel,
            reduce_range=reduce_range,
        )
        error = (OnnxNet(small)(images) - expected).norm() / expected.norm()
        assert 0 < error < (0.1 if reduce_range else 0.5)  # 16 bits may saturate


@pytest.mark.parametrize(("per_channel", "reduce_range"), MODES)
def test_the_reduced_range_has_seven_bits_and_fits_into_16(per_channel, reduce_range):
    _, model = small_net()
    small = static_int8(
        model,
        [(torch.rand(20, 1, 4, 4), None)],
        per_channel=per_channel,
        reduce_range=reduce_range,
    )
    found, scale = integers_of(small, (6, 1, 3, 3))
    largest = int(found.abs().max())
    assert (63 <= largest <= 64) if reduce_range else (largest == 127)
    assert (2 * 255 * largest < 2**15) == reduce_range
    assert scale.shape == ((6,) if per_channel else ())


def test_every_batch_counts_in_the_calibration():
    model = onnx_model(nn.Linear(2, 2), torch.zeros(2, 2))
    halves = [(torch.full((3, 2), v), None) for v in (-1.0, 1.55)]
    stored = constants(static_int8(model, halves))
    assert stored["input_scale"] == pytest.approx(0.01)
    assert stored["input_zero_point"] == 100


def test_the_model_itself_stays_and_nothing_is_said(caplog, capsys):
    _, model = small_net()
    before = model.SerializeToString()
    caplog.clear()
    small = static_int8(model, [(torch.rand(20, 1, 4, 4), None)])
    assert model.SerializeToString() == before
    assert not small.metadata_props
    assert caplog.text == ""
    assert capsys.readouterr() == ("", "")


def test_bad_input_is_refused():
    model = onnx_model(nn.Linear(2, 2), torch.zeros(2, 2))
    with pytest.raises(ValueError, match="batches is empty; calibrate with a few"):
        static_int8(model, [])
    with pytest.raises(ValueError, match="inputs holds 2 NaN and 0 infinite"):
        static_int8(model, [(torch.full((1, 2), torch.nan), None)])
