"""Saved elements: counts by hand, and what they say about one, two and all paths."""

import pytest
import torch
from torch import nn

from effdl.nas.gradient.gumbel import straight_through
from effdl.nas.gradient.mixed import MixedOperation
from effdl.nas.gradient.saved import saved_elements
from effdl.nas.mbconv_space import MBConv

SIZES = (2, 4, 8)


class Net(nn.Module):
    """Three layers with a mixture of equal candidates each."""

    def __init__(self, candidates):
        super().__init__()
        self.layers = nn.ModuleList(
            MixedOperation({f"number {k}": MBConv(4, 4, 3) for k in range(candidates)})
            for _ in range(3)
        )

    def forward(self, x, weights, runs=None):
        """Return what the last layer sends."""
        for number, layer in enumerate(self.layers):
            x = layer(x, weights[number], None if runs is None else runs[number])
        return x


def test_a_linear_layer_keeps_its_input_and_a_tanh_its_output():
    net = nn.Sequential(nn.Linear(5, 3), nn.Tanh())
    assert saved_elements(lambda: net(torch.zeros(2, 5))) == 2 * 5 + 2 * 3


def test_what_is_kept_twice_counts_once_and_a_view_is_no_more_memory():
    """Both layers keep the same input; so does one that sees a part of it."""
    a, b = nn.Linear(5, 3), nn.Linear(5, 2)
    x = torch.zeros(2, 5)
    assert saved_elements(lambda: a(x).sum() + b(x).sum()) == 10
    assert saved_elements(lambda: a(x).sum() + b(x[:1]).sum()) == 10
    assert saved_elements(lambda: b(x[:1]).sum()) == 10  # it holds the whole of it


def test_without_a_gradient_nothing_is_kept():
    net = nn.Sequential(nn.Linear(5, 3), nn.Tanh())
    with torch.no_grad():
        assert saved_elements(lambda: net(torch.zeros(2, 5))) == 0


def test_what_was_freed_on_the_way_does_not_count():
    """The inside of a part whose output is cut off is gone when the pass is over."""
    net, x = nn.Sequential(nn.Linear(5, 3), nn.Tanh()), torch.zeros(2, 5)
    factor = torch.ones((), requires_grad=True)
    assert saved_elements(lambda: factor * net(x).detach()) == 6
    assert saved_elements(lambda: factor * net(x)) == 10 + 6


def test_parameters_do_not_count_and_types_of_any_size_are_counted_in_elements():
    net = nn.Linear(7, 9).double()
    assert saved_elements(lambda: net(torch.zeros(2, 7, dtype=torch.float64))) == 14


def test_the_model_and_its_gradients_stay_as_they_were():
    net = nn.Linear(5, 3)
    saved_elements(lambda: net(torch.zeros(2, 5)))
    assert net.weight.grad is None
    net(torch.ones(2, 5)).sum().backward()
    assert net.weight.grad is not None


def test_the_graph_still_works_after_counting():
    net, x = nn.Sequential(nn.Linear(5, 3), nn.Tanh()), torch.randn(2, 5)
    results = []

    def forward():
        results.append(net(x).square().sum())
        return results[0]

    saved_elements(forward)
    (found,) = torch.autograd.grad(results[0], net[0].weight)
    (expected,) = torch.autograd.grad(net(x).square().sum(), net[0].weight)
    torch.testing.assert_close(found, expected)


def counts(candidates):
    """Return what is kept by all paths, one path, one for its gate, and two."""
    net, x = Net(candidates), torch.zeros(8, 4, 10, 10)
    logits = torch.zeros(3, candidates, requires_grad=True)
    one = torch.eye(candidates)[[0, 0, 0]]

    def gated(runs):
        gates = straight_through(logits.softmax(dim=1), one)
        return saved_elements(lambda: net(x, gates, runs))

    return {
        "all": saved_elements(lambda: net(x, logits.softmax(dim=1))),
        "one": saved_elements(lambda: net(x, one)),
        "gate": gated(None),
        "two": gated([[0, 1]] * 3),
    }


def test_two_paths_keep_twice_what_one_does_however_many_candidates_there_are():
    """ProxylessNAS's two steps: one path for the weights, two for the gates."""
    found = {k: counts(k) for k in SIZES}
    for kind in ("one", "gate", "two"):  # the gates themselves are 3 x K
        assert abs(found[8][kind] - found[2][kind]) < 100
    assert found[8]["two"] / found[8]["one"] == pytest.approx(2, abs=0.1)
    net, x = Net(8), torch.zeros(8, 4, 10, 10)  # another pair is no more
    gates = torch.eye(8)[[2, 5, 7]].requires_grad_()
    pairs = [[2, 3], [5, 0], [7, 6]]
    other = saved_elements(lambda: net(x, gates, pairs))
    assert other == pytest.approx(found[8]["two"], abs=100)
    assert found[8]["gate"] < 1.4 * found[8]["one"]


def test_what_all_candidates_keep_grows_with_their_number():
    found = {k: counts(k) for k in SIZES}
    assert found[4]["all"] / found[2]["all"] == pytest.approx(2, abs=0.1)
    assert found[8]["all"] / found[2]["all"] == pytest.approx(4, abs=0.2)
    assert found[2]["all"] == pytest.approx(found[2]["two"], abs=100)


def test_a_second_path_that_is_cut_off_costs_its_output_only_and_changes_nothing():
    """As the authors of ProxylessNAS do: its weight is 0, so no gradient is lost."""
    net, x = Net(2), torch.randn(8, 4, 10, 10)
    logits = torch.zeros(3, 2, requires_grad=True)

    def gates():
        return straight_through(logits.softmax(dim=1), torch.eye(2)[[0, 0, 0]])

    def cut_off(weights):
        y = x
        for layer, row in zip(net.layers, weights, strict=True):
            drawn, other = layer.candidates.values()
            y = row[0] * drawn(y) + row[1] * other(y).detach()
        return y

    def two(weights):
        return net(x, weights, [[0, 1]] * 3)

    torch.testing.assert_close(cut_off(gates()), two(gates()))
    found, expected = (
        torch.autograd.grad(run(gates()).square().sum(), logits)[0]
        for run in (cut_off, two)
    )
    torch.testing.assert_close(found, expected)
    one_more_map = 3 * 8 * 4 * 10 * 10
    more = saved_elements(lambda: cut_off(gates())) - counts(2)["gate"]
    assert more == pytest.approx(one_more_map, abs=100)
