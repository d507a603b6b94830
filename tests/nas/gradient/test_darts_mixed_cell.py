"""The cell that searches: equation 7, with the sum that its print leaves out."""

import pytest
import torch
from torch import nn
from torch.func import functional_call

from effdl.nas.darts_cell import DartsBlock, node_values
from effdl.nas.darts_operations import FactorizedReduce
from effdl.nas.darts_space import DARTS_V2, INPUTS, OPERATIONS, DartsCell
from effdl.nas.gradient.darts_mixed_cell import EDGES, DartsMixedCell, graph_edges
from effdl.nas.gradient.mixed import MixedOperation

KINDS = [{"reduction": False}, {"reduction": True}]
SKIPS = DartsCell.from_pairs([("skip_connect", 0), ("skip_connect", 1)] * 4)


class Times(nn.Module):
    """A candidate whose output depends on its own weight."""

    def __init__(self, factor):
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(factor, dtype=torch.float64))

    def forward(self, x):
        """Return a curved function of x."""
        return torch.tanh(self.factor * x)


def edge_of_three():
    factors = {"less": 0.5, "minus": -1.0, "twice": 2.0}
    return MixedOperation({name: Times(factor) for name, factor in factors.items()})


def literal(edge, x, alpha):
    """Equation 7 of one edge, written out with exponentials."""
    exponentials = [a.exp() for a in alpha]
    return sum(
        e / sum(exponentials) * o(x)
        for e, o in zip(exponentials, edge.candidates.values(), strict=True)
    )


def literal_cell(cell, before_last, last, weights):
    """Every node by two loops, over the states before it and the candidates."""
    states, edge = [cell.first(before_last), cell.second(last)], 0
    for node in range(4):
        total = 0
        for source in range(2 + node):
            modules = cell.edges[edge].candidates.values()
            for weight, module in zip(weights[edge], modules, strict=True):
                total = total + weight * module(states[source])
            edge += 1
        states.append(total)
    return torch.cat(states[2:], 1)


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_cell_is_two_sums_written_out(kind):
    cell = DartsMixedCell((4, 8), 4, **kind)
    inputs = torch.randn(3, 4, 6, 6), torch.randn(3, 8, 6, 6)
    weights = torch.randn(14, 8).softmax(1)
    expected = literal_cell(cell, *inputs, weights)
    torch.testing.assert_close(cell(*inputs, weights), expected)


def test_the_printed_equation_7_gives_two_values_where_the_sum_gives_one():
    """With two predecessors it depends on which of them one calls x_i."""
    x = torch.randn(2, 5, dtype=torch.float64)
    edges, alphas = [edge_of_three(), edge_of_three()], torch.randn(2, 3).double()
    printed = [literal(*parts) for parts in zip(edges, x, alphas, strict=True)]
    assert (printed[0] - printed[1]).abs().max() > 0.1

    weights = alphas.softmax(1)
    sends = [lambda v, e=e: edges[e](v, weights[e]) for e in range(2)]
    [*_, node] = node_values(list(x), [[(0, sends[0]), (1, sends[1])]])
    torch.testing.assert_close(node, printed[0] + printed[1])


def test_a_mixture_is_continuous_in_input_logits_and_weights():
    """Finite differences agree with the gradients of all three, in float64."""
    edge = edge_of_three()
    names = [name for name, _ in edge.named_parameters()]

    def mixed(x, alpha, *values):
        own = dict(zip(names, values, strict=True))
        return functional_call(edge, own, (x, alpha.softmax(0)))

    x = torch.randn(4, dtype=torch.float64, requires_grad=True)
    alpha = torch.randn(3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(mixed, (x, alpha, *edge.parameters()))


def test_edges_are_listed_target_by_target():
    """2 + 3 + 4 + 5 of them; no edge skips a source."""
    assert len(EDGES) == 14
    assert EDGES[:2] == ((0, 2), (1, 2))
    assert EDGES[-5:] == tuple((source, 5) for source in range(5))
    assert graph_edges(1) == ((0, 2), (1, 2))
    assert list(EDGES) == sorted(EDGES, key=lambda edge: (edge[1], edge[0]))


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_one_hot_weights_are_the_discrete_cell_to_the_last_bit(kind):
    found = DartsCell.from_pairs([
        ("sep_conv_3x3", 1),
        ("skip_connect", 0),
        ("dil_conv_5x5", 2),
        ("sep_conv_5x5", 0),
        ("dil_conv_3x3", 3),
        ("skip_connect", 1),
        ("sep_conv_3x3", 4),
        ("sep_conv_5x5", 2),
    ])
    cell, block = (
        DartsMixedCell((4, 8), 4, **kind),
        DartsBlock(found, (4, 8), 4, **kind),
    )
    block.first.load_state_dict(cell.first.state_dict())
    block.second.load_state_dict(cell.second.state_dict())
    weights = torch.zeros(14, 8)
    for edge, (source, target) in enumerate(EDGES):
        name = found.graph().get((source, target), "none")
        weights[edge, OPERATIONS.index(name)] = 1
        if name != "none":
            module = cell.edges[edge].candidates[name]
            block.edges[f"{source}-{target}"].load_state_dict(module.state_dict())
    inputs = torch.randn(3, 4, 6, 6), torch.randn(3, 8, 6, 6)
    assert torch.equal(cell(*inputs, weights), block(*inputs))


def test_a_norm_follows_each_pooling_and_nothing_else_changes():
    cell = DartsMixedCell((4, 4), 4)
    for edge in cell.edges:
        norms = [
            sum(isinstance(m, nn.BatchNorm2d) for m in candidate.modules())
            for candidate in edge.candidates.values()
        ]
        assert norms == [0, 1, 1, 0, 2, 2, 1, 1]
    pool = cell.edges[0].candidates["avg_pool_3x3"]
    x = torch.randn(3, 4, 6, 6)
    expected = nn.AvgPool2d(3, 1, 1, count_include_pad=False)(x)
    expected = (expected - expected.mean((0, 2, 3), keepdim=True)) / expected.std(
        (0, 2, 3), keepdim=True, correction=0
    )
    torch.testing.assert_close(pool(x), expected, rtol=1e-3, atol=1e-4)


def test_only_edges_from_the_inputs_of_a_reduction_cell_have_a_stride():
    cell = DartsMixedCell((4, 4), 4, reduction=True)
    strides = [
        isinstance(edge.candidates["skip_connect"], FactorizedReduce)
        for edge in cell.edges
    ]
    assert strides == [source < INPUTS for source, _ in EDGES]
    normal = DartsMixedCell((4, 4), 4)
    assert all(type(e.candidates["skip_connect"]) is nn.Identity for e in normal.edges)


def test_the_cell_before_last_is_halved_after_a_reduction():
    cell = DartsMixedCell((4, 8), 4, after_reduction=True, names=("skip_connect",))
    out = cell(torch.randn(2, 4, 8, 8), torch.randn(2, 8, 4, 4), torch.ones(14, 1))
    assert out.shape == (2, 16, 4, 4)


def test_an_edge_runs_what_it_is_told_to_run():
    """A hook on one candidate: not run with the weight 0, unless it is named."""
    cell, calls = DartsMixedCell((4, 4), 4), []
    module = cell.edges[13].candidates["sep_conv_5x5"]
    module.register_forward_hook(lambda *_: calls.append(1))
    weights = torch.zeros(14, 8)
    weights[:, OPERATIONS.index("skip_connect")] = 1
    inputs = [torch.randn(2, 4, 4, 4)] * 2
    plain = cell(*inputs, weights)
    assert not calls
    runs = [[3]] * 13 + [[3, 5]]
    torch.testing.assert_close(cell(*inputs, weights, runs), plain)
    assert calls == [1]


def test_edges_are_made_by_the_callers_function():
    seen = []

    def make_edge(candidates):
        seen.append(candidates["sep_conv_3x3"][1].in_channels)
        return MixedOperation(candidates)

    DartsMixedCell((4, 4), 8, make_edge=make_edge, parts=4, names=OPERATIONS)
    assert seen == [2] * 14


def test_what_cannot_be_is_named():
    with pytest.raises(ValueError, match="names must be at least 1, got 0"):
        DartsMixedCell((4, 4), 4, names=())
    with pytest.raises(ValueError, match="parts=4 must divide channels, got 6"):
        DartsMixedCell((4, 4), 6, parts=4)
    with pytest.raises(ValueError, match="unknown operation 'conv'"):
        DartsMixedCell((4, 4), 4, names=("conv",))
    with pytest.raises(ValueError, match="nodes must be at least 1, got 0"):
        graph_edges(0)


def test_darts_v2_fits_the_graph():
    for cell in DARTS_V2:
        assert set(cell.graph()) <= set(EDGES)
    assert SKIPS.states == EDGES[-1][1] + 1
