"""Neurons that do alike: their saliency, their merger, and how far it is wrong."""

import inspect

import pytest
import torch
from torch import nn

from effdl.prune.data_free import merge_neurons, merge_saliency


def pair(inputs=4, neurons=6, outputs=3, bias=True):
    return nn.Linear(inputs, neurons, bias=bias), nn.Linear(neurons, outputs)


def test_the_saliency_is_the_mean_square_of_what_goes_times_the_distance():
    incoming, outgoing = torch.randn(5, 4), torch.randn(3, 5)
    found = merge_saliency(incoming, outgoing)
    for i in range(5):
        for j in range(5):
            if i == j:
                assert found[i, j].isinf()
                continue
            distance = sum((incoming[i, k] - incoming[j, k]) ** 2 for k in range(4))
            outgoing_square = sum(outgoing[o, j] ** 2 for o in range(3)) / 3
            torch.testing.assert_close(found[i, j], distance * outgoing_square)


def test_two_neurons_by_hand():
    """Distance 4; removing the first costs 4 x 9, the second 4 x 1."""
    incoming = torch.tensor([[1.0, 0.0], [1.0, 2.0]])
    found = merge_saliency(incoming, torch.tensor([[3.0, 1.0]]))
    assert found[1, 0] == 36
    assert found[0, 1] == 4


@pytest.mark.parametrize("activation", [nn.ReLU(), nn.Tanh(), nn.Softplus()])
def test_a_neuron_that_is_there_twice_goes_without_a_trace(activation):
    first, second = pair()
    first.weight.data[4], first.bias.data[4] = first.weight.data[1], first.bias.data[1]
    merged = merge_neurons(first, second, 1)
    x = torch.randn(20, 4)
    before, after = (b(activation(a(x))) for a, b in ((first, second), merged[:2]))
    torch.testing.assert_close(after, before)
    assert merged.saliencies.item() == 0


def test_the_bias_counts_as_a_weight():
    first, second = pair(neurons=3)
    first.weight.data[:] = 1.0
    first.bias.data[:] = torch.tensor([0.0, 5.0, 5.5])
    nn.init.ones_(second.weight)
    assert merge_neurons(first, second, 1).saliencies.item() == pytest.approx(0.25)


def test_the_outputs_move_by_no_more_than_the_saliency_allows():
    for _ in range(20):
        first, second = pair()
        merged = merge_neurons(first, second, 1)
        x = torch.randn(30, 4)
        before, after = (b(a(x).relu()) for a, b in ((first, second), merged[:2]))
        moved = (after - before).square().mean(dim=1).sqrt()
        size = (x.square().sum(dim=1) + 1).sqrt()
        assert (moved <= merged.saliencies.sqrt() * size + 1e-5).all()


def test_it_merges_the_cheapest_pair_again_and_again():
    first, second = pair(neurons=8)
    incoming = torch.cat([first.weight, first.bias[:, None]], dim=1).detach()
    outgoing, left, seen = second.weight.detach().clone(), list(range(8)), []
    for _ in range(5):
        trials = [
            (merge_saliency(incoming[[i, j]], outgoing[:, [i, j]])[0, 1].item(), i, j)
            for i in left
            for j in left
            if i != j
        ]
        saliency, into, goes = min(trials)
        outgoing[:, into] += outgoing[:, goes]
        left.remove(goes)
        seen.append(saliency)
    merged = merge_neurons(first, second, 5)
    torch.testing.assert_close(merged.saliencies, torch.tensor(seen))
    torch.testing.assert_close(merged.first.weight.data, first.weight.data[left])
    torch.testing.assert_close(merged.first.bias.data, first.bias.data[left])
    torch.testing.assert_close(merged.second.weight.data, outgoing[:, left])


def test_the_new_layers_are_smaller_and_the_old_ones_as_they_were():
    first, second = pair(bias=False)
    before = first.weight.clone(), second.weight.clone()
    merged = merge_neurons(first, second, 2)
    assert (merged.first.out_features, merged.second.in_features) == (4, 4)
    assert merged.first.bias is None
    assert merged.second(merged.first(torch.zeros(2, 4))).shape == (2, 3)
    assert torch.equal(merged.second.bias, second.bias)
    assert merged.second.bias is not second.bias
    assert torch.equal(first.weight, before[0])
    assert torch.equal(second.weight, before[1])
    assert merged.first.weight.requires_grad


def test_no_data_are_asked_for():
    assert list(inspect.signature(merge_neurons).parameters) == [
        "first",
        "second",
        "count",
    ]


def test_a_multiple_of_a_neuron_is_not_found_though_relu_would_allow_it():
    first, second = pair(neurons=2)
    first.weight.data[1], first.bias.data[1] = 2 * first.weight[0], 2 * first.bias[0]
    assert merge_neurons(first, second, 1).saliencies.item() > 0
    x = torch.randn(9, 4)
    scale = second.weight[:, :1] + 2 * second.weight[:, 1:]
    exact = first(x).relu()[:, :1] @ scale.T + second.bias
    torch.testing.assert_close(second(first(x).relu()), exact)


def spoiled():
    first, second = pair()
    first.weight.data[0, 0] = torch.nan
    return first, second


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: merge_neurons(*pair(), 6), "count must be below 6, got 6"),
        (lambda: merge_neurons(*pair(), 0), "count must be at least 1, got 0"),
        (
            lambda: merge_neurons(nn.Linear(2, 3), nn.Linear(4, 1), 1),
            "incoming must be",
        ),
        (lambda: merge_neurons(*spoiled(), 1), "a weight is nan or infinite"),
        (lambda: merge_saliency(torch.zeros(2), torch.zeros(1, 2)), "incoming must be"),
    ],
)
def test_what_cannot_be_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
