"""Ranges that move in training: when they are watched, and when activations round."""

import pytest
import torch
from torch import nn

from effdl.quant.insert import insert_quantizers, quantizers_of
from effdl.quant.lsq_layers import LsqActivation
from effdl.quant.moving_ranges import moving_ranges
from effdl.quant.observers import MovingAverage
from effdl.quant.quantizers import ActivationQuantizer, WeightQuantizer
from effdl.train import fit


def quantized_relu(decay=0.5):
    return insert_quantizers(
        nn.Sequential(nn.ReLU()),
        weight=lambda name, w: None,
        activation=lambda name: (
            ActivationQuantizer(MovingAverage(decay), 2) if name == "0" else None
        ),
    )


def test_it_rounds_from_the_step_after_the_delay_on():
    net, x = quantized_relu(), torch.tensor([0.0, 0.4, 3.0])
    rounded = []
    with moving_ranges(net, delay=2) as after_step:
        for _ in range(4):
            rounded.append(not torch.equal(net(x), x))
            after_step()
    assert rounded == [False, False, True, True]


def test_without_delay_it_rounds_at_once_even_if_nothing_was_observed_before():
    net = quantized_relu()
    with moving_ranges(net):
        assert net(torch.tensor([0.4, 3.0])).tolist() == [0, 3]


def test_the_range_is_the_moving_average_over_the_steps():
    """Decay 0.5: 4, then 4 + (8 - 4) / 2 = 6."""
    net = quantized_relu()
    with moving_ranges(net, delay=9):
        net(torch.tensor([0.0, 4.0]))
        net(torch.tensor([0.0, 8.0]))
    assert quantizers_of(net)["0"].observer.limits()[1].item() == 6


def test_after_the_block_ranges_stand_still_and_all_is_rounded():
    net = quantized_relu()
    with moving_ranges(net, delay=9):
        net(torch.tensor([0.0, 3.0]))
    assert net(torch.tensor([0.4, 90.0])).tolist() == [0, 3]
    assert quantizers_of(net)["0"].observer.limits()[1].item() == 3


def test_an_error_in_the_block_leaves_the_network_ready_to_evaluate():
    net = quantized_relu()
    with pytest.raises(KeyError), moving_ranges(net, delay=9):
        net(torch.ones(2))
        raise KeyError
    layer = quantizers_of(net)["0"]
    assert (layer.observing, layer.quantizing) == (False, True)


def test_other_quantizers_are_left_alone():
    net = insert_quantizers(
        nn.Sequential(nn.ReLU()),
        weight=lambda name, w: None,
        activation=lambda name: LsqActivation(2) if name == "0" else None,
    )
    with moving_ranges(net, delay=5):
        net(torch.tensor([0.5, 1.0]))
    assert not hasattr(quantizers_of(net)["0"], "quantizing")


def test_fit_counts_the_steps_and_weights_learn_through_both_roundings():
    net = insert_quantizers(
        nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1)),
        weight=lambda name, w: WeightQuantizer(4),
        activation=lambda name: ActivationQuantizer(MovingAverage(0.9), 4),
    )
    x = torch.randn(64, 4)
    batches, sgd = [(x, x[:, :1])] * 10, torch.optim.SGD(net.parameters(), 0.1)
    with moving_ranges(net, delay=10) as after_step:
        losses = fit(
            net,
            lambda a, b: (net(a) - b).square().mean(),
            batches,
            sgd,
            epochs=4,
            after_step=after_step,
        )
    assert losses[-1] < 0.5 * losses[0]
    assert all(p.grad.count_nonzero() for p in net.parameters())


@pytest.mark.parametrize("delay", [-1, 1.5, True])
def test_bad_input_is_refused(delay):
    with (
        pytest.raises(ValueError, match="delay must be a whole number from 0 on"),
        moving_ranges(quantized_relu(), delay=delay),
    ):
        pass
