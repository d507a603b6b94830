"""Four conventions, beside ONNX's operator and PyTorch's observers."""

import warnings

import numpy as np
import pytest
import torch

from effdl.quant.conventions import (
    bias_grid,
    onnx_dynamic_activation,
    pytorch_weight,
    pytorch_x86_activation,
    tensorrt_activation,
    tflite_activation,
    tflite_weight,
)
from effdl.quant.fake import fake_quantize, quantize

SHIFTS = (-5.0, 0.0, 0.3, 5.0)


def observers():
    """Return torch's module of observers, where it still is."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("torch.ao.quantization.observer")


def numbers(grid):
    return grid.scale.item(), grid.zero_point.item(), grid.lowest, grid.highest


def test_by_hand():
    """From -1 to 1.55 there are 255 steps of 0.01; from -1.55 to 1.55, 254."""
    x = torch.tensor([-1.0, 0.0, 1.55])
    assert numbers(tflite_activation(x)) == (pytest.approx(0.01), -28, -128, 127)
    assert numbers(onnx_dynamic_activation(x)) == (pytest.approx(0.01), 100, 0, 255)
    assert numbers(tensorrt_activation(x)) == (pytest.approx(1.55 / 127), 0, -128, 127)
    found = numbers(pytorch_x86_activation(x))
    assert found == (pytest.approx(2.55 / 127), 50, 0, 127)


@pytest.mark.parametrize("shift", SHIFTS)
def test_onnx_runs_the_same_operator(shift):
    onnx = pytest.importorskip("onnx")
    reference = pytest.importorskip("onnx.reference")
    x = torch.randn(200) + shift
    node = onnx.helper.make_node("DynamicQuantizeLinear", ["x"], ["y", "s", "z"])
    info = onnx.helper.make_tensor_value_info
    kind = onnx.TensorProto
    graph = onnx.helper.make_graph(
        [node],
        "one",
        [info("x", kind.FLOAT, [200])],
        [
            info("y", kind.UINT8, [200]),
            info("s", kind.FLOAT, []),
            info("z", kind.UINT8, []),
        ],
    )
    model = onnx.helper.make_model(graph)
    y, scale, zero = reference.ReferenceEvaluator(model).run(None, {"x": x.numpy()})
    grid = onnx_dynamic_activation(x)
    np.testing.assert_allclose(grid.scale.item(), scale, rtol=1e-6)
    assert grid.zero_point.item() == int(zero)
    assert np.abs(quantize(x, grid).numpy() - y.astype(int)).max() == 0


@pytest.mark.parametrize("shift", SHIFTS)
@pytest.mark.parametrize(
    ("ours", "reduced"),
    [(onnx_dynamic_activation, False), (pytorch_x86_activation, True)],
)
def test_torch_has_the_same_activations(shift, ours, reduced):
    x = torch.randn(200) + shift
    kind = observers().MinMaxObserver
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = kind(dtype=torch.quint8, reduce_range=reduced)
    theirs(x)
    scale, zero = theirs.calculate_qparams()
    grid = ours(x)
    torch.testing.assert_close(grid.scale, scale[0], rtol=1e-6, atol=0)
    assert grid.zero_point.item() == zero.item()
    assert (grid.lowest, grid.highest) == (theirs.quant_min, theirs.quant_max)


def test_torch_has_the_same_weights_for_channels_and_for_a_tensor():
    weight = torch.randn(5, 8)
    channels = observers().PerChannelMinMaxObserver(
        0, torch.qint8, torch.per_channel_symmetric
    )
    whole = observers().MinMaxObserver(torch.qint8, torch.per_tensor_symmetric)
    for theirs, axis in ((channels, 0), (whole, None)):
        theirs(weight)
        scale, zero = theirs.calculate_qparams()
        grid = pytorch_weight(weight, axis=axis)
        torch.testing.assert_close(
            grid.scale.reshape(-1), scale, rtol=1e-6, atol=0, check_dtype=False
        )
        assert not zero.any()
        assert not grid.zero_point.any()
        assert (grid.lowest, grid.highest) == (theirs.quant_min, theirs.quant_max)


def test_tflite_weights_never_are_minus_128():
    weight = -torch.rand(3, 4) - 0.1
    q = quantize(weight, tflite_weight(weight))
    assert q.amin(1).tolist() == [-127] * 3
    assert tflite_weight(weight).axis == 0


def test_the_largest_weight_of_pytorch_ends_half_a_step_short():
    weight = torch.tensor([[1.275]])
    rounded = fake_quantize(weight, pytorch_weight(weight))
    assert rounded.item() == pytest.approx(1.27)


def test_tensorrt_goes_one_step_further_down():
    grid = tensorrt_activation(torch.tensor([-1.27, 1.27]))
    assert quantize(torch.tensor([-9.0, 9.0]), grid).tolist() == [-128, 127]
    left = tensorrt_activation(torch.tensor([-2.54, 1.27]))
    assert left.scale.item() == pytest.approx(0.02)


def test_the_scale_of_a_bias_is_that_of_the_product():
    x, weight = torch.rand(9), torch.randn(3, 4)
    activation, grid = tflite_activation(x), tflite_weight(weight)
    bias = bias_grid(activation, grid)
    torch.testing.assert_close(bias.scale, activation.scale * grid.scale)
    assert (bias.lowest, bias.highest, bias.axis) == (-(2**31), 2**31 - 1, 0)
    assert not bias.zero_point.any()


def test_pairs_of_products_fit_sixteen_bits_with_seven_bits_only():
    for ours, fits in (
        (pytorch_x86_activation, True),
        (onnx_dynamic_activation, False),
    ):
        largest = 2 * ours(torch.rand(4)).highest * 128
        assert (largest <= 2**15 - 1) == fits


ALL = (
    tflite_activation,
    tensorrt_activation,
    onnx_dynamic_activation,
    pytorch_x86_activation,
)


@pytest.mark.parametrize("ours", [*ALL, tflite_weight, pytorch_weight])
def test_zeros_stay_zeros_in_every_convention(ours):
    zeros = torch.zeros(2, 3)
    assert torch.equal(fake_quantize(zeros, ours(zeros)), zeros)


def test_bad_input_is_refused():
    for ours in ALL:
        with pytest.raises(ValueError, match="x holds 1 NaN"):
            ours(torch.tensor([float("nan"), 1.0]))
    for ours in (tflite_weight, pytorch_weight):
        with pytest.raises(ValueError, match="weight holds 0 NaN and 1 infinite"):
            ours(torch.tensor([[torch.inf]]))
    with pytest.raises(ValueError, match="axis must be 0 or None, got 1"):
        pytorch_weight(torch.ones(2, 2), axis=1)
