"""Training in 8 bits, simulated: what is rounded, to which format, and what is not."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from effdl.blocks import plain_net
from effdl.compress.float8 import cast, cast_layers_
from effdl.compress.float_formats import BFLOAT16, E4M3, E5M2, rounded
from effdl.data.digits import Split
from effdl.train import train_classifier


def scaled(x, form):
    """Return x rounded with a scale, by the definition."""
    s = form.largest / x.abs().max()
    return rounded(s * x, form) / s


def test_values_and_gradients_are_rounded_with_scales_of_their_own():
    x, g = torch.randn(50, requires_grad=True), 1e-6 * torch.randn(50)
    y = cast(x, E4M3, E5M2)
    y.backward(g)
    torch.testing.assert_close(y, scaled(x, E4M3))
    torch.testing.assert_close(x.grad, scaled(g, E5M2))
    assert (x.grad - g).abs().max() > 0


def test_by_hand():
    """Largest 2, scale 224: 0.3 is 67.2, its neighbours are 64 and 72; 64 / 224."""
    y = cast(torch.tensor([2.0, 0.3]), E4M3)
    torch.testing.assert_close(y, torch.tensor([2.0, 64 / 224]))


def test_none_leaves_values_or_gradients_alone():
    x, g = torch.randn(50, requires_grad=True), torch.randn(50)
    cast(x, E4M3).backward(g)
    assert torch.equal(x.grad, g)
    assert torch.equal(cast(x, None, E5M2), x)


def test_a_scale_changes_nothing_but_the_size():
    x = torch.randn(50)
    torch.testing.assert_close(cast(1024 * x, E4M3), 1024 * cast(x, E4M3))
    assert torch.equal(cast(torch.zeros(3), E4M3), torch.zeros(3))


def test_tiny_tensors_and_formats_with_the_range_of_float32_stay_finite():
    tiny = torch.tensor([1e-40, 3e-41])
    for form in (E4M3, E5M2, BFLOAT16):
        torch.testing.assert_close(cast(tiny, form), tiny, rtol=0.1, atol=0)
    x = torch.randn(50)
    torch.testing.assert_close(cast(x, BFLOAT16), x, rtol=2**-8, atol=0)


def test_more_mantissa_rounds_less_and_the_largest_value_stays():
    x = torch.randn(500)
    errors = [(cast(x, f) - x).abs().max() for f in (E4M3, E5M2)]
    assert errors[0] < errors[1] / 1.5
    torch.testing.assert_close(cast(x, E4M3).abs().max(), x.abs().max())


@pytest.mark.parametrize("make", [lambda: nn.Linear(8, 4), lambda: nn.Conv2d(8, 4, 1)])
def test_a_layer_multiplies_rounded_numbers_in_both_directions(make):
    layer = make()
    shape = (5, 8) if isinstance(layer, nn.Linear) else (5, 8, 1, 1)
    weight, bias = (p.detach().clone() for p in (layer.weight, layer.bias))
    x = torch.randn(shape, requires_grad=True)
    cast_layers_(layer)
    y = layer(x)
    w = scaled(weight, E4M3).flatten(1)
    flat = scaled(x.detach(), E4M3).flatten(1)
    torch.testing.assert_close(y.flatten(1), flat @ w.T + bias)
    g = torch.randn_like(y)
    y.backward(g)
    coarse = scaled(g, E5M2).flatten(1)
    original = layer.parametrizations.weight.original
    torch.testing.assert_close(x.grad.flatten(1), coarse @ w)
    torch.testing.assert_close(original.grad.flatten(1), coarse.T @ flat)
    assert torch.equal(original, weight)


def test_weights_stay_in_32_bits_and_learn():
    with torch.random.fork_rng():
        net = plain_net(2)
    cast_layers_(net)
    assert {p.dtype for p in net.parameters()} == {torch.float32}
    classes = torch.arange(40) % 2
    images = torch.zeros(40, 1, 16, 16) + classes[:, None, None, None]
    images = images + 0.1 * torch.randn_like(images)
    losses = train_classifier(net, Split(images, classes), epochs=6, batch_size=10)
    assert losses[-1] < 0.5 * losses[0]
    original = net[0][0].parametrizations.weight.original
    assert not torch.equal(original, rounded(original, E4M3))


def test_handles_take_the_rounding_of_inputs_back():
    layer, x = nn.Linear(8, 4), torch.randn(3, 8)
    handles = cast_layers_(layer)
    for handle in handles:
        handle.remove()
    torch.testing.assert_close(layer(x), F.linear(x, layer.weight, layer.bias))


def test_other_formats_can_be_passed():
    layer, x = nn.Linear(8, 4, bias=False), torch.randn(3, 8)
    weight = layer.weight.detach().clone()
    cast_layers_(layer, E5M2, E4M3)
    torch.testing.assert_close(layer(x), scaled(x, E5M2) @ scaled(weight, E5M2).T)


def test_a_network_without_products_is_refused():
    with pytest.raises(ValueError, match="no convolution or linear layer"):
        cast_layers_(nn.ReLU())
