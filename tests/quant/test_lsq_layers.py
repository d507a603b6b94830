"""LSQ in a network: where steps begin, how they are pulled, what they learn."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from effdl.blocks import plain_mlp
from effdl.data.digits import Split
from effdl.quant.fake import fake_quantize
from effdl.quant.insert import insert_quantizers, quantizers_of
from effdl.quant.lsq_layers import LsqActivation, LsqWeight
from effdl.train import accuracy, train_classifier


def test_a_weights_step_begins_and_is_pulled_as_in_the_paper():
    weight, g = torch.randn(6, 5), torch.randn(6, 5)
    layer = LsqWeight(weight, 3)
    assert layer.step.item() == pytest.approx(2 * weight.abs().mean().item() / 3**0.5)
    (layer(weight) * g).sum().backward()
    u = weight / layer.step.detach()
    inside = (u > -4) & (u < 3)
    expected = (g * torch.where(inside, u.round() - u, u.clamp(-4, 3))).sum()
    torch.testing.assert_close(layer.step.grad, expected / (30 * 3) ** 0.5)


def test_an_activations_step_counts_the_values_of_one_sample():
    x = torch.rand(7, 2, 3)
    layer = LsqActivation(2)
    layer(x).sum().backward()
    assert layer.step.item() == pytest.approx(2 * x.mean().item() / 3**0.5)
    u = x / layer.step.detach()
    expected = torch.where(u < 3, u.round() - u, 3.0).sum() / (6 * 3) ** 0.5
    torch.testing.assert_close(layer.step.grad, expected)


def test_only_the_first_batch_decides_on_the_step_and_the_sign():
    layer = LsqActivation(3)
    layer(torch.tensor([0.5, 1.0]))
    before = layer.step.item()
    assert layer(torch.tensor([-9.0, 0.0])).tolist() == [0, 0]
    assert layer.step.item() == before
    signed = LsqActivation(3)
    signed(torch.tensor([-0.5, 1.0]))
    assert (signed.grid().lowest, signed.grid().highest) == (-4, 3)
    assert (layer.grid().lowest, layer.grid().highest) == (0, 7)


def test_both_round_as_the_grid_they_report_does():
    weight, x = torch.randn(4, 6), torch.randn(50)
    layer, activation = LsqWeight(weight, 4, axis=0), LsqActivation(4)
    activation(x)
    assert torch.equal(layer(weight), fake_quantize(weight, layer.grid(weight)))
    assert torch.equal(activation(x), fake_quantize(x, activation.grid()))
    assert layer.step.shape == (4,)


def test_a_channels_step_has_a_factor_of_its_own_size():
    """Two channels of 8 weights and highest 1: the factor is 1 / sqrt(8)."""
    weight = torch.randn(2, 8)
    layer = LsqWeight(weight, 2, axis=0)
    layer(weight).sum().backward()
    alone = LsqWeight(weight[:1], 2)
    alone(weight[:1]).sum().backward()
    torch.testing.assert_close(layer.step.grad[0], alone.step.grad)


def test_a_step_pushed_below_0_still_works_and_can_come_back():
    weight = torch.tensor([0.5, -0.5])
    layer = LsqWeight(weight, 3)
    with torch.no_grad():
        layer.step.fill_(-0.1)
    value = layer(weight)
    assert value.isfinite().all()
    (-value[0]).backward()  # asks for a larger value, so for a larger step
    assert layer.step.grad.item() < 0


def test_a_copy_and_a_state_dict_keep_the_step():
    layer = LsqActivation(3)
    layer(torch.randn(9))
    fresh = LsqActivation(3)
    fresh.load_state_dict(copy.deepcopy(layer.state_dict()))
    x = torch.randn(9)
    assert torch.equal(fresh(x), layer(x))


def test_training_at_2_bits_learns_weights_and_steps():
    def split(n):
        x = torch.randn(n, 1, 4, 4)
        return Split(x, (x[:, 0, 0].sum(1) > x[:, 0, 1].sum(1)).long())

    net = plain_mlp((16, 32, 2))
    train, held_out = split(600), split(400)
    train_classifier(net, train, epochs=4)
    quantized = insert_quantizers(
        net,
        weight=lambda name, w: LsqWeight(w, 2),
        activation=lambda name: LsqActivation(2),
    )
    quantized(train.inputs[:100])
    before = accuracy(quantized, held_out.batches(400))
    steps = [q.step.item() for q in quantizers_of(quantized).values()]
    train_classifier(quantized, train, epochs=5, learning_rate=0.05)
    assert accuracy(quantized, held_out.batches(400)) > before + 0.02
    assert all(
        q.step.item() != s
        for q, s in zip(quantizers_of(quantized).values(), steps, strict=True)
    )
    F.cross_entropy(quantized(train.inputs), train.targets).backward()
    assert all(p.grad is not None for p in quantized.parameters())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: LsqWeight(torch.ones(2), 1), "a symmetric grid of 1 bit holds only 0"),
        (lambda: LsqActivation(17), "bits must be 1 to 16, got 17"),
        (lambda: LsqActivation(1)(torch.tensor([-1.0])), "bits must be 2 to 16, got 1"),
        (lambda: LsqActivation(4).grid(), "no step yet; send a batch through"),
        (lambda: LsqActivation(4)(torch.tensor([torch.nan])), "activation holds 1 NaN"),
        (lambda: LsqWeight(torch.tensor([torch.inf]), 4), "1 infinite"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_an_all_zero_weight_stays_0():
    weight = nn.Parameter(torch.zeros(3))
    assert LsqWeight(weight, 4)(weight).tolist() == [0, 0, 0]
