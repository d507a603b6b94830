"""Quantizers of weights and activations: values, gradients, flags."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from effdl.quant.observers import Extremes, MovingAverage
from effdl.quant.quantizers import ActivationQuantizer, WeightQuantizer


def rounding(x, bits, *, symmetric=False):
    """Return a quantizer that has seen x and rounds from now on."""
    layer = ActivationQuantizer(Extremes(), bits, symmetric=symmetric)
    layer(x)
    layer.observing, layer.quantizing = False, True
    return layer


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_each_channel_of_a_weight_is_rounded_by_the_definition(bits):
    weight, highest = torch.randn(5, 3, 3, 3), 2 ** (bits - 1) - 1
    found = WeightQuantizer(bits)(weight)
    for c in range(5):
        scale = max(abs(w) for w in weight[c].flatten().tolist()) / highest
        expected = [round(w / scale) * scale for w in weight[c].flatten().tolist()]
        torch.testing.assert_close(found[c].flatten(), torch.tensor(expected))


def test_by_hand():
    """Largest 7: steps of 1 for 4 bits. 0 to 15 in 2 bits: steps of 5."""
    weight = torch.tensor([[7.0, -2.4, 0.4], [0.0, 3.5, -0.2]])
    assert WeightQuantizer(4)(weight).tolist() == [[7, -2, 0], [0, 3.5, 0]]
    assert WeightQuantizer(4, axis=None)(weight).tolist() == [[7, -2, 0], [0, 4, 0]]
    x = torch.tensor([0.0, 2.4, 2.6, 12.6, 15.0])
    assert rounding(x, 2)(x).tolist() == [0, 0, 5, 15, 15]


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("axis", [0, 1, None])
def test_weights_agree_with_pytorch(bits, axis):
    weight, highest = torch.randn(4, 6, 3, 3), 2 ** (bits - 1) - 1
    if axis is None:
        scale = weight.abs().max().item() / highest
        theirs = torch.fake_quantize_per_tensor_affine(
            weight, scale, 0, -highest, highest
        )
    else:
        scale = weight.abs().amax([d for d in range(4) if d != axis]) / highest
        zeros = torch.zeros_like(scale, dtype=torch.int32)
        theirs = torch.fake_quantize_per_channel_affine(
            weight, scale, zeros, axis, -highest, highest
        )
    torch.testing.assert_close(WeightQuantizer(bits, axis=axis)(weight), theirs)


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("bits", [2, 5, 8])
def test_activations_agree_with_pytorch_in_value_and_gradient(bits, symmetric):
    seen, x = torch.randn(200), (2 * torch.randn(300)).requires_grad_()
    layer = rounding(seen, bits, symmetric=symmetric)
    grid = layer.grid()
    theirs = torch.fake_quantize_per_tensor_affine(
        x, grid.scale, grid.zero_point, grid.lowest, grid.highest
    )
    torch.testing.assert_close(layer(x), theirs)
    toward = torch.randn(300)
    ours, reference = (
        torch.autograd.grad((y * toward).sum(), x)[0] for y in (layer(x), theirs)
    )
    assert torch.equal(ours, reference)
    assert 0 < int((ours == 0).sum()) < 300


def test_the_gradient_of_a_weight_passes_everywhere_and_not_into_the_scale():
    weight, toward = torch.randn(3, 7, requires_grad=True), torch.randn(3, 7)
    for axis in (0, None):
        value = WeightQuantizer(3, axis=axis)(weight)
        (found,) = torch.autograd.grad((value * toward).sum(), weight)
        assert torch.equal(found, toward)


def test_as_a_parametrization_the_original_stays_and_learns():
    layer = nn.Linear(6, 3)
    before = layer.weight.detach().clone()
    parametrize.register_parametrization(layer, "weight", WeightQuantizer(2))
    assert torch.equal(layer.parametrizations.weight.original, before)
    assert all(len(row.unique()) <= 3 for row in layer.weight)
    layer(torch.randn(4, 6)).square().sum().backward()
    assert layer.parametrizations.weight.original.grad.count_nonzero()


def test_each_flag_does_its_own_part():
    x, y = torch.tensor([0.0, 0.4, 1.0]), torch.tensor([0.0, 0.7, 3.0])
    layer = ActivationQuantizer(Extremes(), 1)
    assert (layer.observing, layer.quantizing) == (True, False)
    assert layer(x) is x
    layer.quantizing = True
    assert layer(y).tolist() == [0, 0, 3]  # it looks first, then rounds
    layer.observing = False
    assert layer(10 * y).tolist() == [0, 3, 3]
    layer.quantizing = False
    assert layer(y) is y
    assert layer.grid().scale == 3


@pytest.mark.parametrize("observer", [Extremes, MovingAverage])
@pytest.mark.parametrize("copied", ["deepcopy", "state dict"])
def test_a_copy_rounds_as_the_original_does(observer, copied):
    x, layer = torch.randn(100), ActivationQuantizer(observer(), 4)
    layer(x)
    layer.observing, layer.quantizing = False, True
    if copied == "deepcopy":
        other = copy.deepcopy(layer)
    else:
        other = ActivationQuantizer(observer(), 4)
        other.load_state_dict(layer.state_dict())
    assert (other.observing, other.quantizing) == (False, True)
    assert torch.equal(other(3 * x), layer(3 * x))
    other.observing = True
    other(9 * x)
    assert torch.equal(layer.observer.limits()[1], x.max())


def test_a_state_dict_holds_tensors_only_and_can_be_written(tmp_path):
    state = ActivationQuantizer(Extremes(), 4).state_dict()
    assert all(isinstance(value, torch.Tensor) for value in state.values())
    torch.save(state, tmp_path / "state.pt")
    again = torch.load(tmp_path / "state.pt", weights_only=True)
    assert list(again) == list(state)


def test_a_symmetric_grid_covers_the_larger_side():
    x = torch.tensor([-3.0, 1.0])
    grid = rounding(x, 3, symmetric=True).grid()
    assert (grid.lowest, grid.highest, grid.zero_point.item()) == (-3, 3, 0)
    assert grid.scale == 1
    assert rounding(-x, 3, symmetric=True).grid().scale == 1


def test_zeros_stay_zeros():
    zeros = torch.zeros(3, 4)
    assert torch.equal(WeightQuantizer(4)(zeros), zeros)
    assert torch.equal(rounding(zeros, 4)(zeros), zeros)
    weight = torch.tensor([[0.0, 0.0], [1.0, 0.3]])
    assert WeightQuantizer(2)(weight).tolist() == [[0, 0], [1, 0]]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: WeightQuantizer(1), "bits must be 2 to 16, got 1; a symmetric grid"),
        (lambda: WeightQuantizer(17), "bits must be 2 to 16, got 17"),
        (lambda: WeightQuantizer(8)(torch.tensor([[torch.nan]])), "holds 1 NaN"),
        (lambda: ActivationQuantizer(Extremes(), 0), "bits must be 1 to 16, got 0"),
        (
            lambda: ActivationQuantizer(Extremes(), 1, symmetric=True),
            "bits must be 2 to 16, got 1",
        ),
        (lambda: ActivationQuantizer(Extremes(), 8).grid(), "nothing was observed yet"),
        (
            lambda: ActivationQuantizer(Extremes(), 8)(torch.tensor([torch.inf])),
            "activation holds 0 NaN and 1 infinite",
        ),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
