"""The auxiliary skip: beta at first, plain DARTS at the end, never chosen."""

import pytest
import torch
from torch import nn

from effdl.data.digits import Split, small_digits
from effdl.nas.cell_space import OPERATIONS
from effdl.nas.darts_operations import FactorizedReduce, Zero
from effdl.nas.gradient.architecture import Architecture
from effdl.nas.gradient.auxiliary_skip import (
    AUXILIARY,
    auxiliary_architecture,
    auxiliary_edge,
    linear_decay,
    with_auxiliary_skip,
)
from effdl.nas.gradient.found_cell import found_cell
from effdl.nas.gradient.method import DARTS, Method
from effdl.nas.gradient.mixed import MixedOperation
from effdl.nas.gradient.mixed_net import small_mixed_net
from effdl.nas.gradient.relaxations import sigmoid_weights, softmax_weights
from effdl.nas.gradient.search import search
from effdl.seed import seeded

NAMES = [OPERATIONS] * 6


def with_the_logits_of(plain):
    """Return an architecture with an auxiliary skip and the logits of another."""
    found = auxiliary_architecture(plain.candidates)
    with torch.no_grad():
        found.logits[:, : plain.logits.shape[1]] = plain.logits
    return found


def test_the_mixture_is_beta_times_the_skip_more_than_that_of_darts():
    """The equation, on edges whose candidates are known functions."""
    modules = {"skip_connect": nn.Identity(), "relu": nn.ReLU(), "tanh": nn.Tanh()}
    found = auxiliary_architecture([tuple(modules)] * 2, spread=1.0)
    weights = with_auxiliary_skip()(found, 0.3)
    x = torch.randn(5)
    for row in weights:
        first, second, third = row[:3]
        mixture = first * x + second * x.clamp(min=0) + third * x.tanh()
        torch.testing.assert_close(auxiliary_edge(modules)(x, row), mixture + 0.7 * x)


@pytest.mark.parametrize("beta", [0.0, 0.25, 1.0])
def test_none_and_skip_with_equal_logits_send_beta_plus_a_half_of_x(beta):
    edge = auxiliary_edge({"none": Zero(), "skip_connect": nn.Identity()})
    found = auxiliary_architecture([("none", "skip_connect")], spread=0)
    [row] = with_auxiliary_skip()(found, 1 - beta)
    x = torch.randn(2, 3, 4, 4)
    torch.testing.assert_close(edge(x, row), (beta + 0.5) * x)


def test_at_beta_0_the_supernet_is_that_of_darts_bit_for_bit():
    with seeded(1):
        plain, ours = Architecture(NAMES, spread=1.0), small_mixed_net()
    helped = small_mixed_net(make_edge=auxiliary_edge)
    helped.load_state_dict(ours.state_dict())
    x = torch.randn(4, 1, 12, 12)
    weights = with_auxiliary_skip()(with_the_logits_of(plain), 1.0)
    assert torch.equal(weights[:, :-1], softmax_weights(plain))
    assert torch.equal(helped(x, weights), ours(x, softmax_weights(plain)))
    weights = with_auxiliary_skip()(with_the_logits_of(plain), 0.5)
    assert not torch.allclose(helped(x, weights), ours(x, softmax_weights(plain)))


def test_a_search_with_beta_0_throughout_is_darts_bit_for_bit():
    part = small_digits(n_train=60).train
    batches = [part.batches(20), Split(part.inputs[:40], part.targets[:40]).batches(20)]
    with seeded(2):
        plain, ours = Architecture(NAMES, spread=0.1), small_mixed_net()
    helped, found = small_mixed_net(make_edge=auxiliary_edge), with_the_logits_of(plain)
    helped.load_state_dict(ours.state_dict())
    relax = with_auxiliary_skip(beta=lambda _progress: 0.0)
    ends = [
        search(net, architecture, *batches, epochs=1, method=method)[-1]
        for net, architecture, method in (
            (ours, plain, DARTS),
            (helped, found, Method(relax=relax)),
        )
    ]
    assert torch.equal(ends[0].logits, ends[1].logits[:, :-1])
    assert ends[0].loss == ends[1].loss


def test_beta_falls_in_a_line_over_the_search():
    assert [linear_decay(p) for p in (0.0, 0.5, 1.0)] == [1.0, 0.5, 0.0]
    seen = []
    relax = with_auxiliary_skip()

    def watched(architecture, progress):
        weights = relax(architecture, progress)
        seen.append(weights[0, -1].item())
        return weights

    part = small_digits(n_train=40).train
    net = small_mixed_net(make_edge=auxiliary_edge)
    found = auxiliary_architecture(NAMES)
    batches = [part.batches(20)] * 2
    search(net, found, *batches, epochs=2, method=Method(relax=watched))
    assert sorted(set(seen), reverse=True) == [1.0, 0.75, 0.5, 0.25]


def test_the_auxiliary_skip_is_neither_in_the_softmax_nor_in_the_cell():
    found = auxiliary_architecture(NAMES, spread=0)
    with torch.no_grad():
        found.logits[:, -1] = 100.0
        found.logits[:, OPERATIONS.index("nor_conv_3x3")] = 1.0
    weights = with_auxiliary_skip()(found, 0.0)
    torch.testing.assert_close(weights[:, :-1].sum(dim=1), torch.ones(6))
    assert found_cell(found).count("nor_conv_3x3") == 6
    assert all(AUXILIARY not in found.left(edge) for edge in range(6))


def test_any_relaxation_and_any_decay_can_be_helped():
    found = auxiliary_architecture(NAMES, spread=1.0)
    weights = with_auxiliary_skip(sigmoid_weights, beta=lambda p: 3 * p)(found, 0.5)
    torch.testing.assert_close(weights[:, :-1], found.logits[:, :-1].sigmoid())
    assert weights[:, -1].tolist() == [1.5] * 6


def test_edges_may_have_different_numbers_of_candidates():
    """The auxiliary skip comes after an edge's own candidates, not at the end."""
    found = auxiliary_architecture([("skip_connect",), ("skip_connect", "relu")])
    weights = with_auxiliary_skip()(found, 0.0)
    assert weights[0].tolist() == [1.0, 1.0, 0.0]


def test_a_skip_with_weights_is_copied_and_not_shared():
    edge = auxiliary_edge({"skip_connect": FactorizedReduce(4, 4)})
    first, second = edge.candidates.values()
    assert isinstance(edge, MixedOperation)
    ours, theirs = (list(module.parameters()) for module in (first, second))
    assert [p.shape for p in ours] == [p.shape for p in theirs]
    assert not set(map(id, ours)) & set(map(id, theirs))


def test_logits_learn_and_the_one_of_the_auxiliary_skip_does_not():
    found = auxiliary_architecture(NAMES)
    net = small_mixed_net(make_edge=auxiliary_edge)
    x = torch.randn(4, 1, 12, 12)
    net(x, with_auxiliary_skip()(found, 0.2)).square().sum().backward()
    assert found.logits.grad[:, :-1].all()
    assert not found.logits.grad[:, -1].any()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: auxiliary_edge({"relu": nn.ReLU()}), "must hold skip_connect"),
        (
            lambda: with_auxiliary_skip()(Architecture(NAMES), 0.0),
            "edge 0 of the architecture has no auxiliary_skip",
        ),
        (lambda: auxiliary_architecture([]), "candidates is empty"),
    ],
)
def test_what_cannot_be_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
