"""TF-NAS: sinks that are chains at their corners, and two paths that differ."""

import itertools

import pytest
import torch
from torch import nn

from effdl.data.digits import small_digits
from effdl.nas.gradient.architecture import Architecture
from effdl.nas.gradient.method import Method
from effdl.nas.gradient.mixed_net import small_mixed_net
from effdl.nas.gradient.search import search
from effdl.nas.hardware.tf_nas import (
    SinkStage,
    bi_sampling_step,
    sink_cost,
    two_paths,
)

X = torch.randn(2, 3, 5, 5)


def blocks(count=3):
    """Return convolutions with a ReLU, from 3 channels to 3."""
    return [
        nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.ReLU()) for _ in range(count)
    ]


@pytest.mark.parametrize("least", [0, 1])
def test_a_sink_is_the_weighted_sum_over_depths(least):
    chain = blocks()
    weights = torch.rand(4 - least)
    expected, y = torch.zeros_like(X), X
    for depth in range(4):
        if depth >= least:
            expected = expected + weights[depth - least] * y
        if depth < 3:
            y = chain[depth](y)
    torch.testing.assert_close(SinkStage(chain, least=least)(X, weights), expected)


@pytest.mark.parametrize(("least", "depth"), [(0, 0), (0, 2), (1, 1), (1, 2), (1, 3)])
def test_one_hot_weights_give_a_plain_chain_of_that_depth(least, depth):
    chain = blocks()
    stage = SinkStage(chain, least=least)
    weights = torch.eye(4 - least)[depth - least]
    y = nn.Sequential(*chain[:depth])(X)
    assert torch.equal(stage(X, weights), y)


def test_what_is_deeper_than_every_weight_does_not_run():
    ran = []
    chain = blocks()
    for number, block in enumerate(chain, start=1):
        block.register_forward_hook(lambda *_, number=number: ran.append(number))
    SinkStage(chain)(X, torch.tensor([0.5, 0.5, 0.0]))
    assert ran == [1, 2]


def test_by_hand():
    """Blocks double: 1, 2, 4 times 1/4, 1/2, 1/4 is 9/4."""

    class Twice(nn.Module):
        def forward(self, x):
            return 2 * x

    stage = SinkStage([Twice(), Twice()], least=0)
    found = stage(torch.ones(1), torch.tensor([0.25, 0.5, 0.25]))
    assert found.item() == 9 / 4


def test_the_cost_of_a_sink_is_the_mean_over_depths():
    """Depths cost 2, 5 and 9; with depth 0 first, 0."""
    costs = [2.0, 3.0, 4.0]
    weights = torch.tensor([0.5, 0.25, 0.25])
    assert sink_cost(weights, costs).item() == 1 + 5 / 4 + 9 / 4
    assert sink_cost(torch.tensor([0.5, 0.5, 0, 0]), costs, least=0).item() == 1
    for depth, total in enumerate((2.0, 5.0, 9.0)):
        assert sink_cost(torch.eye(3)[depth], costs).item() == total


def test_a_sink_of_four_layers_names_each_of_five_networks_once():
    """Four layers of skip or one operation would have 16 choices for these five."""
    stage = SinkStage(blocks(4), least=0)
    sinks = [stage(X, row) for row in torch.eye(5)]
    assert not any(torch.equal(a, b) for a, b in itertools.combinations(sinks, 2))
    with pytest.raises(ValueError, match=r"weights must be \(5,\)"):
        stage(X, torch.ones(16))


def test_the_gradient_reaches_depth_and_every_block():
    stage = SinkStage(blocks())
    beta = torch.zeros(3, requires_grad=True)
    stage(X, beta.softmax(dim=0)).square().mean().backward()
    assert beta.grad.abs().min() > 0
    assert all(p.grad.abs().sum() > 0 for p in stage.parameters())


def test_two_paths_differ_on_every_edge_with_a_choice():
    found = Architecture([("a", "b", "c"), ("a",)])
    for _ in range(20):
        first, second = two_paths(found)
        assert not (first[0] * second[0]).any()
        assert torch.equal(first[1], second[1])


def test_the_first_path_follows_the_logits_and_the_second_does_not():
    found = Architecture([("a", "b", "c")])
    with torch.no_grad():
        found.logits[0] = torch.tensor([20.0, 4.0, 0.0])
    pairs = [two_paths(found) for _ in range(400)]
    first, second = (torch.cat(paths).mean(dim=0) for paths in zip(*pairs, strict=True))
    assert first.tolist() == [1, 0, 0]
    assert second[1].item() == pytest.approx(0.5, abs=0.1)


def test_a_search_with_two_paths_learns():
    names = ("nor_conv_1x1", "nor_conv_3x3")
    digits = small_digits(n_train=300, n_validation=100)
    net, found = small_mixed_net(names), Architecture([names] * 6)
    start = found.logits.detach().clone()
    parts = [split.batches(25, seed=0) for split in digits[:2]]
    method = Method(step=bi_sampling_step)
    epochs = search(net, found, *parts, epochs=6, method=method)
    assert epochs[-1].loss < epochs[0].loss - 0.05
    assert not torch.equal(found.logits, start)


def test_errors_name_the_argument():
    with pytest.raises(ValueError, match="blocks is empty"):
        SinkStage([])
    with pytest.raises(ValueError, match="least must be 0 or 1, got 2"):
        SinkStage(blocks(), least=2)
    for wrong in (torch.ones(2), torch.zeros(3)):
        with pytest.raises(ValueError, match=r"weights must be \(3,\), not all 0, got"):
            SinkStage(blocks())(X, wrong)
