"""Partial channels: what is mixed, what goes by, what it saves, and edge shares."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.autograd.graph import saved_tensors_hooks

from effdl.conv.channel_shuffle import channel_shuffle, shuffle_order
from effdl.data.digits import Split
from effdl.nas.cell_space import EDGES, OPERATIONS
from effdl.nas.darts_operations import Zero, darts_operation
from effdl.nas.darts_space import OPERATIONS as DARTS_OPERATIONS
from effdl.nas.gradient.architecture import Architecture
from effdl.nas.gradient.darts_mixed_cell import EDGES as DARTS_EDGES
from effdl.nas.gradient.darts_mixed_cell import DartsMixedCell
from effdl.nas.gradient.darts_supernet import small_darts_supernet
from effdl.nas.gradient.genotype import found_genotype
from effdl.nas.gradient.method import Method
from effdl.nas.gradient.mixed import MixedOperation
from effdl.nas.gradient.mixed_net import MixedCell, small_mixed_net
from effdl.nas.gradient.partial_channels import (
    EdgeArchitecture,
    PartialChannels,
    edge_normalised_weights,
    small_partial_net,
)
from effdl.nas.gradient.relaxations import softmax_weights
from effdl.nas.gradient.search import Rates, search

TARGETS = [target for _, target in EDGES]
DARTS_TARGETS = [target + 10 * kind for kind in range(2) for _, target in DARTS_EDGES]


def darts_candidates(channels, stride=1):
    return {name: darts_operation(name, channels, stride) for name in DARTS_OPERATIONS}


def saved_elements(function, *ignored):
    """Return how many numbers autograd keeps for the backward pass, memory once.

    Args:
        function: Runs the forward pass.
        *ignored: Tensors that are there anyway: parameters and inputs.
    """
    there = {tensor.untyped_storage().data_ptr() for tensor in ignored}
    kept, alive = {}, []

    def pack(tensor):
        alive.append(tensor)
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in there:
            kept[storage.data_ptr()] = storage.nbytes() // tensor.element_size()
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        alive.append(function())
    return sum(kept.values())


def edge_of(targets, names=OPERATIONS):
    return EdgeArchitecture([names] * len(targets), targets)


@pytest.mark.parametrize("stride", [1, 2])
def test_an_edge_is_the_equation_written_out(stride):
    """First quarter mixed, the rest as it is or pooled, then every fourth channel."""
    edge = PartialChannels(darts_candidates(2, stride), parts=4)
    x, weights = torch.randn(3, 8, 6, 6), torch.rand(8)
    modules = edge.mixture.candidates.values()
    mixed = sum(w * o(x[:, :2]) for w, o in zip(weights, modules, strict=True))
    past = x[:, 2:] * weights.sum()
    if stride == 2:
        past = past.unflatten(2, (3, 2)).unflatten(4, (3, 2)).amax((3, 5))
    both = torch.cat((mixed, past), 1)
    expected = torch.stack([both[:, i] for i in (0, 2, 4, 6, 1, 3, 5, 7)], 1)
    torch.testing.assert_close(edge(x, weights), expected)


def test_by_hand():
    """K = 2: the skip doubles channels 0 and 1; the weights sum to 1/2 for others."""
    edge = PartialChannels({"none": Zero(), "skip": nn.Identity()}, parts=2)
    x = torch.tensor([1.0, 2.0, 3.0, 4.0]).view(1, 4, 1, 1)
    y = edge(x, torch.tensor([-1.5, 2.0]))
    assert y.flatten().tolist() == [2.0, 1.5, 4.0, 2.0]


def test_one_part_is_the_mixture_of_darts():
    candidates = darts_candidates(4)
    x, weights = torch.randn(2, 4, 5, 5), torch.randn(8).softmax(0)
    full = MixedOperation(candidates)(x, weights)
    assert torch.equal(PartialChannels(candidates, parts=1)(x, weights), full)


def test_equal_betas_divide_every_node_by_the_number_of_its_inputs():
    """With K = 1, too: the weights, and the node of a cell of the DARTS graph."""
    for targets in (TARGETS, DARTS_TARGETS):
        architecture = edge_of(targets)
        architecture.betas.data.fill_(0.3)
        counts = torch.tensor([[targets.count(target)] for target in targets])
        expected = softmax_weights(architecture) / counts
        torch.testing.assert_close(edge_normalised_weights(architecture), expected)

    cell, plain = (
        MixedCell(4, make_edge=partial(PartialChannels, parts=1)),
        MixedCell(4),
    )
    x = torch.randn(3, 4, 5, 5)
    for one, other in zip(plain.edges, cell.edges, strict=True):
        one.candidates = other.mixture.candidates
    architecture = edge_of(TARGETS)
    architecture.betas.data.zero_()
    weights = softmax_weights(architecture)
    nodes = [x]
    for target in (1, 2, 3):
        sent = [
            plain.edges[e](nodes[source], weights[e])
            for e, (source, t) in enumerate(EDGES)
            if t == target
        ]
        nodes.append(sum(sent) / target)  # DARTS but for 1 / (number of inputs)
    torch.testing.assert_close(cell(x, edge_normalised_weights(architecture)), nodes[3])


@pytest.mark.parametrize("parts", [2, 4, 8])
def test_what_is_kept_for_the_backward_pass_falls_to_one_kth(parts):
    """What goes by is a view of the input, and that is there anyway.

    With stride 2 there is a little more: the maps after pooling, and whence they came.
    """
    channels = 32
    x = torch.randn(2, channels, 6, 6, requires_grad=True)
    weights = torch.full((8,), 1 / 8, requires_grad=True)

    def kept(edge):
        return saved_elements(lambda: edge(x, weights), x, weights, *edge.parameters())

    full = kept(MixedOperation(darts_candidates(channels)))
    edge = PartialChannels(darts_candidates(channels // parts), parts)
    assert kept(edge) / full == pytest.approx(1 / parts, rel=1e-3)

    full = kept(MixedOperation(darts_candidates(channels, 2)))
    edge = PartialChannels(darts_candidates(channels // parts, 2), parts)
    assert 1 / parts < kept(edge) / full < 1 / parts + 0.1


def test_a_whole_supernet_keeps_less():
    """On the four-node cell, with betas: stem and head stay, so above 1 / 4."""
    x, kept = torch.randn(4, 1, 12, 12), {}
    for name, net, relax in (
        ("full", small_mixed_net(), softmax_weights),
        ("partial", small_partial_net(), edge_normalised_weights),
    ):
        weights = relax(edge_of(TARGETS))
        kept[name] = saved_elements(lambda n=net, w=weights: n(x, w), *net.parameters())
    assert 1 / 4 < kept["partial"] / kept["full"] < 1 / 2


def test_the_shuffle_is_a_permutation_and_its_square_the_identity_for_2_and_4():
    for channels, groups in ((4, 2), (8, 4), (12, 3)):
        order = shuffle_order(channels, groups)
        assert sorted(order.tolist()) == list(range(channels))
    x = torch.randn(1, 4, 2, 2)
    assert torch.equal(channel_shuffle(channel_shuffle(x, 2), 2), x)
    assert not torch.equal(channel_shuffle(x, 2), x)


def test_the_next_edge_mixes_other_channels():
    """With C = 8 and K = 4 two edges of skips on the first quarter reach 0, 1, 2."""
    seen = set()
    x = torch.arange(8.0).view(1, 8, 1, 1)
    edge = PartialChannels({"skip": nn.Identity()}, parts=4)
    for _ in range(2):
        seen |= set(x[:, :2].flatten().tolist())
        x = edge(x, torch.ones(1))
    assert seen == {0.0, 1.0, 2.0}


def test_shares_sum_to_one_on_every_node_and_nothing_else_decides():
    """Softmax in the loops of the authors' code: by target, one slice after another."""
    architecture = edge_of(DARTS_TARGETS, DARTS_OPERATIONS)
    nn.init.normal_(architecture.betas)
    expected, start = [], 0
    for count in (2, 3, 4, 5, 2, 3, 4, 5):
        expected.append(architecture.betas[start : start + count].softmax(0))
        start += count
    torch.testing.assert_close(architecture.shares(), torch.cat(expected))
    weights = edge_normalised_weights(architecture)
    torch.testing.assert_close(weights.sum(1), architecture.shares())
    torch.testing.assert_close(
        weights / weights.sum(1, keepdim=True), softmax_weights(architecture)
    )


def test_large_betas_do_not_overflow():
    architecture = edge_of(TARGETS)
    architecture.betas.data = torch.tensor([-900.0, 900.0, 899.0, 0.0, 0.0, 0.0])
    expected = torch.tensor([1.0, *torch.tensor([1.0, 0.0]).softmax(0), *[1 / 3] * 3])
    torch.testing.assert_close(architecture.shares(), expected)


def test_the_share_of_an_edge_decides_which_edges_are_kept():
    """Score softmax(beta) softmax(alpha): equal alphas, betas for the last sources."""
    architecture = edge_of(DARTS_TARGETS, DARTS_OPERATIONS)
    architecture.logits.data.zero_()
    architecture.betas.data = torch.tensor(
        [float(source) for source, _ in DARTS_EDGES] * 2
    )
    found = found_genotype(architecture, edge_normalised_weights)
    kept = [[edge.source for edge in node] for node in found.normal.nodes]
    assert kept == [[0, 1], [1, 2], [2, 3], [3, 4]]
    assert found_genotype(architecture).normal != found.normal


def test_the_weight_of_none_does_not_hold_up_what_goes_by():
    """So one-hot weights are no discrete network."""
    edge = PartialChannels({"none": Zero(), "skip": nn.Identity()}, parts=4)
    x = torch.randn(1, 8, 2, 2)
    y = edge(x, torch.tensor([1.0, 0.0]))
    assert (y.abs().sum((2, 3)) > 0).sum() == 6


def test_odd_maps_are_rounded_up():
    edge = PartialChannels(darts_candidates(2, 2), parts=2)
    assert edge(torch.randn(1, 4, 5, 5), torch.full((8,), 0.1)).shape == (1, 4, 3, 3)


def test_a_named_candidate_runs_with_weight_0():
    edge, calls = PartialChannels(darts_candidates(2), parts=2), []
    edge.mixture.candidates["sep_conv_3x3"].register_forward_hook(
        lambda *_: calls.append(1)
    )
    weights = torch.eye(8)[3]
    edge(torch.randn(2, 4, 4, 4), weights)
    assert not calls
    edge(torch.randn(2, 4, 4, 4), weights, [3, 4])
    assert calls == [1]


def test_candidates_of_a_cell_have_a_share_of_the_channels():
    net = small_partial_net(parts=2, widths=(4, 8))
    cells = [layer for layer in net.layers if isinstance(layer, MixedCell)]
    convs = [c.edges[0].mixture.candidates["nor_conv_3x3"].conv for c in cells]
    assert [conv.in_channels for conv in convs] == [2, 4]
    assert all(edge.parts == 2 for edge in cells[1].edges)
    norm = cells[0].edges[5].mixture.candidates["nor_conv_3x3"].norm
    assert not norm.affine
    assert norm.running_mean is None


def test_betas_move_with_alphas_and_rest_in_the_warm_up():
    """One epoch in which both stand still, one in which both move; on both spaces."""
    split = Split(torch.randn(8, 1, 12, 12), torch.arange(8) % 2)
    darts_net = small_darts_supernet(make_edge=PartialChannels, parts=4)
    for net, architecture in (
        (small_partial_net(), edge_of(TARGETS)),
        (darts_net, edge_of(DARTS_TARGETS, DARTS_OPERATIONS)),
    ):
        first = [p.detach().clone() for p in architecture.parameters()]
        assert len(first) == 2
        options = {
            "method": Method(relax=edge_normalised_weights),
            "rates": Rates(architecture=0.1),
        }
        parts = split.batches(8), split.batches(8)
        search(net, architecture, *parts, epochs=1, warm_up=1, **options)
        for parameter, before in zip(architecture.parameters(), first, strict=True):
            assert torch.equal(parameter, before)
        search(net, architecture, *parts, epochs=1, **options)
        assert (architecture.logits != first[0]).all()
        moved = architecture.betas != first[1]
        assert moved[1:].all()  # of the four-node cell, edge 0 is alone at its node


def test_every_parameter_learns():
    net, architecture = small_partial_net(), edge_of(TARGETS)
    logits = net(torch.randn(16, 1, 12, 12), edge_normalised_weights(architecture))
    F.cross_entropy(logits, torch.arange(16) % 10).backward()
    assert all(p.grad is not None and p.grad.any() for p in net.parameters())
    assert architecture.logits.grad.all()
    grad = architecture.betas.grad
    assert grad[1:].all()
    assert grad[0].abs() < 1e-6  # the only edge into its node has share 1


def test_the_cell_of_darts_takes_partial_channels():
    cell = DartsMixedCell((4, 4), 8, reduction=True, make_edge=PartialChannels, parts=4)
    inputs = [torch.randn(2, 4, 6, 6)] * 2
    assert cell(*inputs, torch.full((14, 8), 1 / 8)).shape == (2, 32, 3, 3)


def test_what_cannot_be_is_named():
    with pytest.raises(ValueError, match="parts must be at least 1, got 0"):
        PartialChannels(darts_candidates(2), parts=0)
    edge = PartialChannels(darts_candidates(2), parts=4)
    with pytest.raises(ValueError, match="parts=4 must divide channels, got 6"):
        edge(torch.randn(1, 6, 4, 4), torch.ones(8))
    with pytest.raises(ValueError, match="parts=4 must divide width_6, got 6"):
        small_partial_net(widths=(8, 6))
    with pytest.raises(
        ValueError, match="targets must be 2 nodes, one per edge, got 3"
    ):
        EdgeArchitecture([OPERATIONS] * 2, [1, 2, 3])
    with pytest.raises(ValueError, match="must be an EdgeArchitecture, which has"):
        edge_normalised_weights(Architecture([OPERATIONS]))
