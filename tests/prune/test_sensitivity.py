"""How far the outputs move with a weight, and the rule that shrinks who moves none."""

import pytest
import torch
from torch import nn

from effdl.blocks import plain_mlp
from effdl.data.digits import small_digits
from effdl.prune.sensitivity import (
    chosen_weights,
    insensitivity,
    output_sensitivity,
    output_slopes,
    shrink_insensitive,
)
from effdl.train import train_classifier


def small_net():
    return nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 4))


def test_the_slopes_are_those_of_every_output_of_every_sample():
    net, inputs = small_net(), torch.randn(7, 3)
    slopes = output_slopes(net, inputs, chunk=3)
    assert {name: tuple(s.shape) for name, s in slopes.items()} == {
        "0.weight": (7, 4, 5, 3),
        "2.weight": (7, 4, 4, 5),
    }
    for n in range(7):
        for k in range(4):
            output = net(inputs[n : n + 1])[0, k]
            pair = torch.autograd.grad(output, (net[0].weight, net[2].weight))
            torch.testing.assert_close(slopes["0.weight"][n, k], pair[0])
            torch.testing.assert_close(slopes["2.weight"][n, k], pair[1])


def test_only_the_named_weights_are_looked_at_in_the_order_of_the_names():
    net, inputs = small_net(), torch.randn(4, 3)
    every = output_slopes(net, inputs)
    some = output_slopes(net, inputs, names=["2.weight"])
    assert list(some) == ["2.weight"]
    torch.testing.assert_close(some["2.weight"], every["2.weight"])
    assert list(chosen_weights(net, ["2.weight", "0.weight"])) == list(every)[::-1]


def test_of_a_linear_model_it_is_the_mean_size_of_the_input_over_the_outputs():
    """dy_k / dW_kj = x_j, and 0 for the other of the two outputs."""
    net, inputs = nn.Linear(4, 2), torch.randn(30, 4)
    expected = inputs.abs().mean(dim=0) / 2
    found = output_sensitivity(net, inputs)["weight"]
    torch.testing.assert_close(found, expected.expand(2, 4))


def test_it_agrees_with_a_finite_difference():
    net, inputs = small_net().double(), torch.randn(6, 3, dtype=torch.float64)
    found = output_sensitivity(net, inputs)["0.weight"]
    before, step = net(inputs).detach(), 1e-6
    for i, j in ((0, 0), (3, 2)):
        net[0].weight.data[i, j] += step
        moved = ((net(inputs) - before).abs() / step).mean().detach()
        net[0].weight.data[i, j] -= step
        torch.testing.assert_close(found[i, j], moved, rtol=1e-4, atol=1e-8)


def test_chunks_change_nothing_and_order_does_not_either():
    net, inputs = small_net(), torch.randn(7, 3)
    whole = output_sensitivity(net, inputs)
    torch.testing.assert_close(output_sensitivity(net, inputs, chunk=2), whole)
    torch.testing.assert_close(output_sensitivity(net, inputs.flip(0)), whole)


def test_slopes_of_two_samples_do_not_cancel():
    net = nn.Linear(1, 1)
    assert output_sensitivity(net, torch.tensor([[2.0], [-2.0]]))["weight"].item() == 2


def test_a_weight_into_a_dead_unit_moves_nothing():
    net = small_net()
    net[0].bias.data[1] = -100
    found = output_sensitivity(net, torch.randn(9, 3))
    assert not found["0.weight"][1].any()
    assert not found["2.weight"][:, 1].any()
    assert found["0.weight"].any()


def test_insensitivity_falls_from_1_to_0_and_stays_there():
    given = torch.tensor([0.0, 0.25, 1.0, 7.0])
    assert insensitivity(given).tolist() == [1.0, 0.75, 0.0, 0.0]


def test_a_step_shrinks_each_weight_by_its_insensitivity():
    net, inputs = small_net(), 0.3 * torch.randn(9, 3)
    sensitivity = output_sensitivity(net, inputs)
    before = {name: w.detach().clone() for name, w in chosen_weights(net).items()}
    bias = net[0].bias.detach().clone()
    shrink_insensitive(net, inputs, rate=0.1)()
    for name, weight in chosen_weights(net).items():
        expected = before[name] * (1 - 0.1 * insensitivity(sensitivity[name]))
        torch.testing.assert_close(weight.detach(), expected)
    assert torch.equal(net[0].bias, bias)


def test_the_sensitivity_is_taken_anew_as_often_as_asked():
    """Dead at first; alive, and moving the output by 5, from the second call on."""
    net = nn.Sequential(nn.Linear(1, 1), nn.ReLU())
    calls = {}
    for every in (1, 2):
        nn.init.ones_(net[0].weight)
        nn.init.constant_(net[0].bias, -100)
        after_step = shrink_insensitive(
            net, torch.tensor([[5.0]]), rate=0.5, every=every
        )
        after_step()
        nn.init.zeros_(net[0].bias)
        after_step()
        after_step()
        calls[every] = net[0].weight.item()
    assert calls == {1: 0.5, 2: 0.25}


def test_training_with_it_leaves_more_weights_near_0():
    part = small_digits(n_train=400).train
    shares = []
    for rate in (0.0, 0.02):
        torch.manual_seed(0)
        net = plain_mlp((144, 16, 10))
        after_step = shrink_insensitive(net, part.inputs[:32], rate=rate, every=4)
        train_classifier(net, part, epochs=8, after_step=after_step)
        weights = torch.cat([w.flatten() for w in chosen_weights(net).values()])
        shares.append((weights.abs() < 0.01).float().mean().item())
    assert shares[1] > 1.5 * shares[0]


def test_the_mode_comes_back_and_no_slope_is_left():
    net = nn.Sequential(nn.Linear(3, 5), nn.BatchNorm1d(5), nn.Linear(5, 2)).train()
    output_sensitivity(net, torch.randn(6, 3))
    assert net.training
    assert net[1].num_batches_tracked == 0
    assert net[0].weight.grad is None


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda net, x: output_sensitivity(net, x[:0]), "inputs is an empty batch"),
        (lambda net, x: output_slopes(net, x[:0]), "inputs is an empty batch"),
        (lambda net, x: output_slopes(net, x, chunk=0), "chunk must be at least 1"),
        (lambda net, x: chosen_weights(net, ["1.weight"]), "names has .'1.weight'."),
        (
            lambda net, x: shrink_insensitive(net, x, rate=1.0),
            "rate must be at least 0 and below 1, got 1.0",
        ),
        (lambda net, x: shrink_insensitive(net, x, rate=torch.nan), "rate must be"),
        (lambda net, x: shrink_insensitive(net, x, rate=0.1, every=0), "every must be"),
        (lambda net, x: shrink_insensitive(net, x[:0], rate=0.1), "empty batch"),
    ],
)
def test_what_cannot_be_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call(small_net(), torch.randn(4, 3))
