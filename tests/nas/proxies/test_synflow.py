"""SynFlow against paths counted one by one, and against what must be conserved."""

import itertools
import math

import pytest
import torch
from torch import nn

from effdl.nas.cell_net import small_cell_net
from effdl.nas.cell_space import Cell
from effdl.nas.proxies.synflow import synaptic_flow, synflow_score
from proxy_nets import (
    assert_leaves_no_trace,
    assert_same,
    at_edge,
    dead_edge_net,
    disconnected_net,
    small_net,
    state,
)


def chain(*widths: int) -> nn.Sequential:
    """Return linear layers without biases, with ReLU between."""
    layers = []
    for before, after in itertools.pairwise(widths):
        layers += [nn.Linear(before, after, bias=False), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def test_flow_of_a_weight_is_the_sum_over_its_paths():
    """The definition: all paths from an input to an output, one product of |w| each."""
    model = chain(3, 4, 2)
    first, last = (model[i].weight.detach().double().abs().tolist() for i in (0, 2))
    flow = {
        "0.weight": [[0.0] * 3 for _ in range(4)],
        "2.weight": [[0.0] * 4, [0.0] * 4],
    }
    for i, j, k in itertools.product(range(3), range(4), range(2)):
        product = first[j][i] * last[k][j]
        flow["0.weight"][j][i] += product
        flow["2.weight"][k][j] += product
    found = synaptic_flow(model, (3,))
    assert {name: s.dtype for name, s in found.items()} == {
        "0.weight": torch.float64,
        "2.weight": torch.float64,
    }
    for name, expected in flow.items():
        torch.testing.assert_close(found[name], torch.tensor(expected).double())
    total = sum(math.fsum(map(math.fsum, rows)) for rows in flow.values())
    assert synflow_score(model, (3,)) == pytest.approx(math.log(total))


def test_value_by_hand():
    """Weights -2 and 3, one input: R = 6, and both weights carry all of it."""
    model = chain(1, 1, 1)
    nn.init.constant_(model[0].weight, -2.0)
    nn.init.constant_(model[2].weight, 3.0)
    assert [s.item() for s in synaptic_flow(model, (1,)).values()] == [6.0, 6.0]
    assert synflow_score(model, (1,)) == math.log(12)


def test_every_layer_of_a_chain_carries_the_whole_flow():
    """So the score is the logarithm of layers times R."""
    model = chain(3, 5, 4, 6, 2)
    flow = torch.ones(3).double()
    for layer in model[::2]:
        flow = layer.weight.detach().double().abs() @ flow
    whole = flow.sum().item()  # R
    for layer in synaptic_flow(model, (3,)).values():
        assert layer.sum().item() == pytest.approx(whole)
    assert synflow_score(model, (3,)) == pytest.approx(math.log(4 * whole))


def test_convolutions_that_cut_a_cell_carry_the_whole_flow_together():
    """Node 0 to 1, 2 and 3 is a cut, and so are the edges into node 3."""
    net = small_cell_net(Cell(("nor_conv_3x3",) * 6))
    flow = synaptic_flow(net, (1, 12, 12))
    whole = flow["features.0.0.weight"].sum()
    for cut in ((0, 1, 3), (3, 4, 5), (1, 2, 3, 4)):
        together = sum(at_edge(flow, edge).sum() for edge in cut)
        torch.testing.assert_close(together, whole)
    torch.testing.assert_close(flow["classifier.weight"].sum(), whole)


def test_a_bias_takes_part_with_its_size_but_has_no_score():
    """With y = 5 (2 x + |-3|) and x = 1 the first weight carries 10 of 25."""
    model = nn.Sequential(nn.Linear(1, 1), nn.Linear(1, 1, bias=False))
    nn.init.constant_(model[0].weight, 2.0)
    nn.init.constant_(model[0].bias, -3.0)
    nn.init.constant_(model[1].weight, 5.0)
    flow = synaptic_flow(model, (1,))
    assert {n: s.item() for n, s in flow.items()} == {"0.weight": 10, "1.weight": 25}


def test_batch_norm_is_left_out_and_dropout_off():
    plain = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Conv2d(4, 1, 1))
    norm = nn.BatchNorm2d(4)
    nn.init.constant_(norm.weight, -7.0)
    nn.init.constant_(norm.running_var, 100.0)
    inner = nn.Sequential(norm, nn.Dropout(0.9))
    full = nn.Sequential(plain[0], inner, plain[1], plain[2]).train()
    assert synflow_score(full, (2, 5, 5)) == synflow_score(plain, (2, 5, 5))


def test_one_pixel_in_training_mode_is_enough():
    """Batch norm itself would refuse a single value."""
    model = nn.Sequential(nn.Conv2d(2, 4, 1), nn.BatchNorm2d(4)).train()
    assert math.isfinite(synflow_score(model, (2, 1, 1)))


def test_signs_do_not_matter_and_sizes_add_up():
    model = chain(3, 5, 2)
    score = synflow_score(model, (3,))
    with torch.no_grad():
        model[0].weight *= -10
    assert synflow_score(model, (3,)) == pytest.approx(score + math.log(10))


def test_a_sum_beyond_float32_is_no_problem():
    model = chain(2, 2, 2)
    with torch.no_grad():
        model[0].weight.fill_(1e30)
        model[2].weight.fill_(1e30)
    expected = math.log(2 * 8) + 60 * math.log(10)
    assert synflow_score(model, (2,)) == pytest.approx(expected)


def test_model_comes_back_unchanged():
    assert_leaves_no_trace(lambda model: synflow_score(model, (2, 4, 4)))


def test_gradients_switched_off_and_frozen_weights_change_nothing():
    model = small_net()
    score = synflow_score(model, (2, 4, 4))
    with torch.no_grad():
        assert synflow_score(model, (2, 4, 4)) == score
    assert synflow_score(model.requires_grad_(requires_grad=False), (2, 4, 4)) == score


def test_only_connections_count_and_a_shared_weight_once():
    assert list(synaptic_flow(small_net(), (2, 4, 4))) == ["0.weight", "4.weight"]
    shared = nn.Linear(3, 3, bias=False)
    assert list(synaptic_flow(nn.Sequential(shared, shared), (3,))) == ["0.weight"]


def test_a_convolution_that_leads_nowhere_counts_0():
    flow = synaptic_flow(dead_edge_net(), (1, 12, 12))
    assert not at_edge(flow, 0).any()
    assert at_edge(flow, 3).all()


def test_where_nothing_flows_the_logarithm_is_minus_infinity():
    assert synflow_score(disconnected_net(), (1, 12, 12)) == -math.inf


@pytest.mark.parametrize(
    ("model", "shape", "message"),
    [
        (nn.Flatten(), (2,), "Flatten has no linear or convolutional layer"),
        (nn.BatchNorm1d(2), (2,), "no linear or convolutional layer"),
        (small_net(), (2, 0, 4), r"input_shape\[1\] must be at least 1, got 0"),
        (small_net(), (2, 4.0, 4), r"input_shape\[1\] must be a whole number, got 4.0"),
    ],
)
def test_bad_arguments_are_explained(model, shape, message):
    with pytest.raises(ValueError, match=message):
        synflow_score(model, shape)


def test_a_flow_beyond_float64_is_refused_and_leaves_no_trace():
    model = chain(*[2] * 12)
    with torch.no_grad():
        for layer in model[::2]:
            layer.weight.fill_(1e38)
    before = state(model)
    with pytest.raises(ValueError, match="the flow is inf, beyond float64"):
        synflow_score(model, (2,))
    assert_same(state(model), before)
