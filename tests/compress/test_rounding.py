"""Rounding and back: what is kept, what is refused, and what is shipped."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from effdl.blocks import conv_bn, mean_linear
from effdl.compress.rounding import deployed, rounded, unwrapped, weight_bits_of
from effdl.quant.fake import fake_quantize
from effdl.quant.folded_conv import FoldedConv2d
from effdl.quant.insert import quantizers_of
from effdl.quant.quantizers import ActivationQuantizer, WeightQuantizer


@pytest.fixture
def images():
    return torch.rand(40, 1, 8, 8)


@pytest.fixture
def net(images):
    """A small network whose batch norms have seen something."""
    model = nn.Sequential(conv_bn(1, 3, 3), conv_bn(3, 4, 3), *mean_linear(4, 5))
    for _ in range(60):
        model(images)
    return model.eval()


def grown(model, images, steps=3):
    """Train a little, so that weights, norms and ranges have moved."""
    optimizer = torch.optim.SGD(model.parameters(), 0.05)
    for _ in range(steps):
        optimizer.zero_grad()
        model.train()(images).square().mean().backward()
        optimizer.step()
    return model.eval()


def test_every_weight_is_rounded_per_channel_to_its_bits(net, images):
    small = rounded(net, 3, images)
    layers = [m for m in small.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert len(layers) == 3
    for layer in layers:
        for channel in layer.weight:
            steps = channel / (channel.abs().max() / 3)
            torch.testing.assert_close(steps, steps.round(), atol=1e-3, rtol=0)


def test_activations_have_eight_bits_and_ranges_of_the_images(net, images):
    small = rounded(net, 4, images)
    found = quantizers_of(small)
    assert [*found] == ["input", "0.2", "1.2", "2", "4"]
    assert all(q.bits == 8 and q.quantizing for q in found.values())
    low, high = found["input"].observer.limits()
    torch.testing.assert_close((low, high), images.aminmax())


def test_the_bits_are_those_that_were_asked_for(net, images):
    assert weight_bits_of(net) is None
    assert weight_bits_of(rounded(net, 5, images)) == 5
    assert weight_bits_of(deployed(rounded(net, 5, images))) == 5


def test_with_many_bits_the_network_computes_what_it_did(net, images):
    torch.testing.assert_close(
        rounded(net, 16, images)(images), net(images), atol=0.05, rtol=0.05
    )


def test_unwrapping_at_once_gives_the_network_back(net, images):
    again = unwrapped(rounded(net, 2, images))
    torch.testing.assert_close(again(images), net(images))
    assert {*map(type, again.modules())}.isdisjoint({
        WeightQuantizer,
        ActivationQuantizer,
        FoldedConv2d,
    })


def test_unwrapping_keeps_what_was_learned_in_weights_and_norms(net, images):
    small = grown(rounded(net, 4, images), images)
    again = unwrapped(small)
    for name in ("0.0", "1.0"):
        layer = small.get_submodule(name)
        found = again.get_submodule(name).weight
        assert torch.equal(found, layer.parametrizations.weight.original)
        norm = again.get_submodule(f"{name}_norm")
        assert torch.equal(norm.weight, layer.norm.gamma)
        assert torch.equal(norm.bias, layer.norm.beta)
        assert torch.equal(norm.running_mean, layer.norm.mean)
        assert torch.equal(norm.running_var, layer.norm.var)
    assert not torch.equal(again.get_submodule("0.0").weight, net[0][0].weight)


def test_the_float_network_learns_in_training_mode_and_can_be_rounded_again(
    net, images
):
    again = unwrapped(grown(rounded(net, 4, images), images))
    before = again.get_submodule("0.0_norm").running_mean.clone()
    again.train()(images)
    assert not torch.equal(again.get_submodule("0.0_norm").running_mean, before)
    twice = rounded(again.eval(), 4, images)
    torch.testing.assert_close(unwrapped(twice)(images), again(images))


def test_by_hand_a_layer_is_rounded_after_its_batch_norm_is_folded(images):
    """Gamma 2, variance 1, eps 0: what is rounded is 2 w."""
    net = nn.Sequential(nn.Conv2d(1, 1, 1, bias=False), nn.BatchNorm2d(1, eps=0)).eval()
    nn.init.constant_(net[0].weight, 0.6)
    nn.init.constant_(net[1].weight, 2.0)
    small = rounded(net, 2, images)
    assert small.get_submodule("0").weight.item() == pytest.approx(1.2)


def test_deploying_changes_nothing_but_leaves_no_batch_norm(net, images):
    for model in (net, grown(rounded(net, 4, images), images)):
        shipped = deployed(model)
        torch.testing.assert_close(shipped(images), model(images))
        kinds = {type(m) for m in shipped.modules()}
        assert nn.BatchNorm2d not in kinds
        assert not any(issubclass(kind, FoldedConv2d) for kind in kinds)


def test_no_step_touches_the_network_it_was_given(net, images):
    small = grown(rounded(net, 4, images), images)
    for step, model in (
        (lambda m: rounded(m, 4, images), net),
        (unwrapped, small),
        (deployed, small),
        (deployed, net),
    ):
        before = {k: v.clone() for k, v in model.state_dict().items()}
        answers = model(images)
        made = step(model)
        made.train()(images)
        after = model.state_dict()
        assert all(torch.equal(after[k], v) for k, v in before.items())
        assert torch.equal(model(images), answers)
        assert not model.training


def test_a_layer_without_batch_norm_keeps_weight_and_bias(images):
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), *mean_linear(2, 3)).eval()
    again = unwrapped(rounded(net, 2, images))
    for name in ("0", "4"):
        assert torch.equal(again.get_submodule(name).weight, net[int(name)].weight)
        assert torch.equal(again.get_submodule(name).bias, net[int(name)].bias)


def test_gradients_reach_every_parameter_of_a_rounding_network(net, images):
    small = rounded(net, 4, images).train()
    F.cross_entropy(small(images), torch.arange(40) % 5).backward()
    assert all(p.grad is not None and p.grad.any() for p in small.parameters())


def test_the_weight_behind_the_rounding_is_not_the_rounded_one(net, images):
    small = rounded(net, 2, images)
    layer = small.get_submodule("4")
    weight = unwrapped(small).get_submodule("4").weight
    quantizer = layer.parametrizations.weight[0]
    assert not torch.equal(weight, layer.weight)
    assert torch.equal(fake_quantize(weight, quantizer.grid(weight)), layer.weight)


def test_bad_input_is_refused(net, images):
    with pytest.raises(ValueError, match="rounds to 4 bits already; call unwrapped"):
        rounded(rounded(net, 4, images), 4, images)
    with pytest.raises(ValueError, match="model has no quantizers to take away"):
        unwrapped(net)
    with pytest.raises(ValueError, match="bits must be 2 to 16, got 1"):
        rounded(net, 1, images)
