"""Our quantized networks in ONNX Runtime: the same integers, at most a step apart."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

pytest.importorskip("onnxruntime")

import onnxruntime
from onnx.reference import ReferenceEvaluator

from effdl.blocks import plain_net
from effdl.nets.mobilenet_v2 import MobileNetV2, Stage
from effdl.quant.fake import quantize
from effdl.quant.graph import fold_batch_norm
from effdl.quant.grid import symmetric_grid
from effdl.quant.insert import calibrate_, insert_quantizers, quantizers_of
from effdl.quant.integer_net import to_integers
from effdl.quant.observers import Extremes
from effdl.quant.onnx_files import OnnxNet, onnx
from effdl.quant.onnx_qdq import qdq_model, steps_apart
from effdl.quant.quantizers import ActivationQuantizer, WeightQuantizer

IMAGES = torch.rand(16, 1, 16, 16, generator=torch.Generator().manual_seed(0))


def inserted(net, bits=8, *, axis=0, activation_bits=8, **options):
    return insert_quantizers(
        fold_batch_norm(net.eval()),
        weight=lambda name, w: WeightQuantizer(bits, axis=axis),
        activation=lambda name: ActivationQuantizer(
            Extremes(), activation_bits, **options
        ),
    )


def calibrated(net, x, bits=8, *, axis=0):
    result = inserted(net, bits, axis=axis)
    calibrate_(result, [(x, None)])
    return result


def last_grid(quantized):
    return list(quantizers_of(quantized).values())[-1].grid()


def apart(quantized, x):
    """Return by how many steps ONNX Runtime and we are apart."""
    theirs = OnnxNet(qdq_model(quantized, x[:1]))(x)
    return steps_apart(quantized(x), theirs, last_grid(quantized))


@pytest.mark.parametrize(
    "layer",
    [
        nn.Linear(6, 4),
        nn.Linear(6, 4, bias=False),
        nn.Conv2d(6, 4, 3, stride=2, padding=1),
        nn.Conv2d(6, 4, (3, 1), padding=(1, 0), bias=False),
        nn.Conv2d(6, 6, 3, groups=6, padding=2),
    ],
)
@pytest.mark.parametrize("axis", [0, None])
def test_a_layer_is_computed_from_our_integers_by_the_definition(layer, axis):
    """All in float64: exact sums of integers, one multiplication, one rounding."""
    shape = (32, 6) if isinstance(layer, nn.Linear) else (32, 6, 7, 7)
    x = torch.randn(shape)
    quantized = calibrated(nn.Sequential(layer), x, axis=axis)
    source = quantizers_of(quantized)["input"].grid()
    grid = last_grid(quantized)
    weights = WeightQuantizer(8, axis=axis).grid(layer.weight)
    q = (quantize(x, source) - source.zero_point).double()
    w = quantize(layer.weight, weights).double()
    if isinstance(layer, nn.Linear):
        total = F.linear(q, w)
    else:
        total = F.conv2d(
            q, w, None, layer.stride, layer.padding, layer.dilation, layer.groups
        )
    unit = weights.scale.double().expand(len(w)) * source.scale.double()
    if layer.bias is not None:
        bias = (layer.bias.detach().double() / unit).round()
        total = total + bias.reshape([-1] + [1] * (total.ndim - 2))
    real = total * unit.reshape([-1] + [1] * (total.ndim - 2))
    steps = (real / grid.scale.double()).round() + grid.zero_point
    expected = (steps.clamp(0, 255) - grid.zero_point) * grid.scale
    found = OnnxNet(qdq_model(quantized, x))(x)
    difference = steps_apart(expected, found, grid)
    assert difference.max() <= 1
    assert (difference > 0).float().mean() < 0.01


def test_by_hand():
    """Steps of 0.1 for 0 to 25.5; 127 steps of 1 / 127; bias 0.5 = 635 / 1270."""
    layer = nn.Linear(1, 1)
    layer.weight.data.fill_(1.0)
    layer.bias.data.fill_(0.5)
    model = qdq_model(
        calibrated(nn.Sequential(layer), torch.tensor([[0.0], [25.5]])),
        torch.zeros(1, 1),
    )
    stored = [onnx.numpy_helper.to_array(t) for t in model.graph.initializer]
    integers = [t.tolist() for t in stored if t.dtype in ("int8", "int32") and t.any()]
    assert integers == [[[127]], [635]]
    found = OnnxNet(model)(torch.tensor([[-9.0], [1.03], [99.0]]))
    expected = torch.tensor([[0.5], [1.5], [26.0]])
    assert (found - expected).abs().max() < 0.06


def test_the_reference_implementation_of_onnx_is_at_most_a_step_away():
    quantized = calibrated(plain_net(2), IMAGES)
    model = qdq_model(quantized, IMAGES[:1])
    (theirs,) = ReferenceEvaluator(model).run(None, {"input": IMAGES.numpy()})
    found = steps_apart(
        quantized(IMAGES), torch.from_numpy(theirs), last_grid(quantized)
    )
    assert found.max() <= 1
    assert (found > 0).float().mean() < 0.1


@pytest.mark.parametrize(("bits", "axis"), [(8, 0), (8, None), (4, 0)])
def test_whole_networks_with_shortcuts_stay_close_to_both_of_ours(bits, axis):
    stages = [Stage(2, 8, 2, 2)]
    net = MobileNetV2(stages, stem=8, head=16, in_channels=1, classes=10)
    quantized = calibrated(net, IMAGES, bits, axis=axis)
    found = apart(quantized, IMAGES)
    assert found.max() <= 3
    assert (found > 0).float().mean() < 0.5
    engine = to_integers(quantized)
    grid = last_grid(quantized)
    ours = (engine(quantize(IMAGES, engine.source)) - grid.zero_point) * grid.scale
    theirs = OnnxNet(qdq_model(quantized, IMAGES[:1]))(IMAGES)
    assert steps_apart(ours, theirs, grid).max() <= 3


def test_every_layer_is_computed_in_integers(tmp_path):
    """The graph as ONNX Runtime rewrote it has no operation in floats but the ends."""
    stages = [Stage(2, 8, 2, 2)]
    net = MobileNetV2(stages, stem=8, head=16, in_channels=1, classes=10)
    model = qdq_model(calibrated(net, IMAGES), IMAGES[:1])
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "rewritten.onnx")
    options.log_severity_level = 3
    onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    nodes = onnx.load(tmp_path / "rewritten.onnx").graph.node
    kinds = {n.op_type for n in nodes} - {"Transpose"}
    integer = {"QLinearConv", "QLinearAdd", "QLinearGlobalAveragePool", "QGemm"}
    assert kinds == integer | {"QuantizeLinear", "DequantizeLinear", "Flatten"}


def test_the_functions_of_pytorch_are_written_like_the_layers():
    class Functions(nn.Module):
        def __init__(self, relu):
            super().__init__()
            self.a, self.b = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 4, 1)
            self.drop, self.same, self.relu = nn.Dropout(0.5), nn.Identity(), relu

        def forward(self, x):
            """Return an image."""
            y = self.relu(self.a(self.same(x)))
            return torch.add(self.b(self.drop(y)), y)

    for relu in (F.relu, F.relu6):
        net = Functions(relu)
        nn.init.normal_(net.a.weight, std=8.0)
        assert apart(calibrated(net, IMAGES), IMAGES).max() <= 1


def test_relu_and_relu6_cut_off_where_they_should():
    for layer, high in ((nn.ReLU(), 9.0), (nn.ReLU6(), 6.0)):
        net = nn.Sequential(nn.Linear(1, 1, bias=False), layer)
        net[0].weight.data.fill_(1.0)
        x = torch.tensor([[-9.0], [9.0]])
        found = OnnxNet(qdq_model(calibrated(net, x), x))(x)
        torch.testing.assert_close(
            found, torch.tensor([[0.0], [high]]), atol=0.1, rtol=0
        )


def test_relu6_cuts_off_where_the_grid_goes_on():
    net = nn.Sequential(nn.Linear(1, 1, bias=False), nn.ReLU6())
    net[0].weight.data.fill_(1.0)
    x = torch.tensor([[3.0], [9.0]])
    quantized = calibrated(net, x)
    quantizers_of(quantized)["1"].observer.high.fill_(12.0)
    assert apart(quantized, x).max() <= 1
    assert quantized(x).max() < 6.1


@pytest.mark.parametrize(("axis", "shape"), [(0, (3,)), (None, ())])
def test_there_are_as_many_scales_as_the_weight_has(axis, shape):
    quantized = calibrated(nn.Sequential(nn.Linear(2, 3)), torch.rand(9, 2), axis=axis)
    stored = {
        t.name: onnx.numpy_helper.to_array(t)
        for t in qdq_model(quantized, torch.rand(1, 2)).graph.initializer
    }
    names = list(stored)
    (weight,) = [n for n in names if stored[n].dtype == "int8" and stored[n].ndim == 2]
    assert stored[names[names.index(weight) + 1]].shape == shape


def test_a_channel_without_weights_still_puts_out_its_bias():
    net = nn.Sequential(nn.Linear(4, 3), nn.ReLU())
    net[0].weight.data[1].zero_()
    net[0].weight.data[2].fill_(1e-9)
    net[0].bias.data.copy_(torch.tensor([0.1, 0.7, 0.9]))
    assert apart(calibrated(net, torch.rand(9, 4)), torch.rand(9, 4)).max() <= 1


def test_the_file_holds_a_byte_for_each_weight():
    quantized = calibrated(plain_net(16), IMAGES)
    layers = [m for m in quantized.modules() if hasattr(m, "parametrizations")]
    weights = sum(m.weight.numel() for m in layers)
    channels = sum(len(m.weight) for m in layers)
    size = len(qdq_model(quantized, IMAGES[:1]).SerializeToString())
    # Two scales, a bias and two zero points are 17 bytes for each channel.
    assert weights + 17 * channels < size < weights + 17 * channels + 6000


def test_the_network_is_left_as_it_is():
    quantized = calibrated(plain_net(2), IMAGES).train()
    before = {n: t.clone() for n, t in quantized.state_dict().items()}
    qdq_model(quantized, IMAGES)
    assert all(m.training for m in quantized.children() if not len(list(m.children())))
    assert all(torch.equal(before[n], t) for n, t in quantized.state_dict().items())


def test_steps_apart_counts_in_both_directions():
    """The difference 1 - 0.8 is 1.9999999 steps in float32: two."""
    grid = symmetric_grid(torch.tensor(12.7), bits=8)
    first = torch.tensor([0.1, -0.2, 1.0, 1.0])
    second = torch.tensor([0.3, -0.3, 1.0, 0.8])
    assert steps_apart(first, second, grid).tolist() == [2, 1, 0, 2]
    assert steps_apart(second, first, grid).tolist() == [2, 1, 0, 2]


def without(part):
    """Return a calibrated network that lacks quantizers of weights or activations."""
    net = insert_quantizers(
        nn.Sequential(nn.Linear(2, 2)),
        weight=lambda n, w: None if part == "weight" else WeightQuantizer(8),
        activation=lambda n: (
            None if part == "activation" else ActivationQuantizer(Extremes(), 8)
        ),
    )
    calibrate_(net, [(torch.rand(4, 2), None)])
    return net


def other_grid(**options):
    net = inserted(nn.Sequential(nn.Linear(2, 2)), **options)
    calibrate_(net, [(torch.rand(4, 2), None)])
    return net


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: calibrated(nn.Sequential(nn.Tanh()), torch.rand(4, 2)),
            r"is Tanh\(\), which cannot be written; replace it",
        ),
        (
            lambda: calibrated(nn.Sequential(nn.Flatten(0)), torch.rand(4, 2)),
            "which cannot be written",
        ),
        (lambda: inserted(nn.Sequential(nn.ReLU())), "quantizer.input does not round"),
        (lambda: without("weight"), "0: it has no quantizer of its weight"),
        (lambda: without("activation"), "the input of 0 has no quantizer"),
        (lambda: other_grid(activation_bits=4), "grid must go from 0 to 255"),
        (lambda: other_grid(symmetric=True), "grid must go from 0 to 255"),
        (lambda: other_grid(bits=9), "integers must fit into int8"),
    ],
)
def test_what_cannot_be_written_is_refused_by_name(make, message):
    with pytest.raises(ValueError, match=message):
        qdq_model(make(), torch.rand(4, 2))


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (nn.Conv2d(1, 2, 3, padding="same"), "0 pads not by a number of zeros"),
        (nn.Conv2d(1, 2, 3, padding=1, padding_mode="reflect"), "0: padding must be"),
        (nn.Conv2d(1, 2, 3, dilation=2), "0: .* dilation 1"),
        (nn.AdaptiveAvgPool2d(2), "AdaptiveAvgPool2d.* cannot be written"),
    ],
)
def test_layers_of_another_kind_are_refused(layer, message):
    with pytest.raises(ValueError, match=message):
        qdq_model(calibrated(nn.Sequential(layer), IMAGES), IMAGES)
