"""A cell of DARTS: equation 1 as loops, its limits, and what a reduction does."""

import numpy as np
import pytest
import torch
from torch import nn

from effdl.nas.darts_cell import DartsBlock, node_values
from effdl.nas.darts_operations import FactorizedReduce, darts_operation
from effdl.nas.darts_sampling import sample_darts_cell
from effdl.nas.darts_space import DARTS_V2, DartsCell
from on_paper import randomised

SKIP = "skip_connect"


def all_predecessors(operation, nodes=4):
    return [[(i, operation) for i in range(k + 2)] for k in range(nodes)]


def test_equation_1_term_by_term():
    """x_j = sum of o_ij(x_i) with a matrix of its own for every edge."""
    matrices = torch.randn(6, 6, 3, 3, dtype=torch.float64)
    inputs = list(torch.randn(2, 3, dtype=torch.float64))
    x = [*inputs, *torch.zeros(4, 3, dtype=torch.float64)]
    for j in range(2, 6):
        for i in range(j):
            x[j] = x[j] + matrices[i, j] @ x[i]
    nodes = [
        [(i, lambda v, i=i, j=j: matrices[i, j] @ v) for i in range(j)]
        for j in range(2, 6)
    ]
    for mine, theirs in zip(node_values(inputs, nodes), x, strict=True):
        torch.testing.assert_close(mine, theirs)


def test_identities_double_from_node_to_node():
    """With x_0 = x_1 = x every node sums all before it: 2 x, 4 x, 8 x, 16 x."""
    x = torch.randn(2, 3, 4, 4)
    values = node_values([x, x], all_predecessors(nn.Identity()))
    for power, value in zip((2, 4, 8, 16), values[2:], strict=True):
        torch.testing.assert_close(value, power * x)


def test_with_none_everywhere_the_nodes_are_zero():
    x = torch.randn(2, 3, 4, 4)
    for value in node_values([x, x], all_predecessors(darts_operation("none", 3)))[2:]:
        assert torch.equal(value, torch.zeros_like(x))


def test_the_inputs_are_left_as_they_are():
    x, y = torch.ones(2), torch.ones(2)
    states = node_values([x, y], all_predecessors(nn.Identity()))
    assert states[0] is x
    assert states[1] is y
    assert x.tolist() == y.tolist() == [1, 1]


@pytest.mark.parametrize("reduction", [False, True])
@pytest.mark.parametrize("after_reduction", [False, True])
def test_a_block_is_its_equation(reduction, after_reduction):
    """Preprocess, sum the two kept edges of each node, concatenate four nodes."""
    cell = sample_darts_cell(np.random.default_rng(1))
    block = DartsBlock(
        cell, (3, 5), 2, reduction=reduction, after_reduction=after_reduction
    )
    randomised(block)
    size = 16 if after_reduction else 8
    s0, s1 = torch.randn(2, 3, size, size), torch.randn(2, 5, 8, 8)
    states = [block.first(s0), block.second(s1), None, None, None, None]
    for (i, j), name in cell.graph().items():
        module = block.edges[f"{i}-{j}"]
        stride = 2 if reduction and i < 2 else 1
        assert str(module) == str(darts_operation(name, 2, stride))
        y = module(states[i])
        states[j] = y if states[j] is None else states[j] + y
    torch.testing.assert_close(block(s0, s1), torch.cat(states[2:], dim=1))


@pytest.mark.parametrize("seed", range(4))
def test_a_normal_cell_keeps_the_size_and_a_reduction_halves_it(seed):
    """Both put out 4 C channels."""
    cell = sample_darts_cell(np.random.default_rng(seed))
    x = torch.randn(2, 6, 10, 10)
    assert DartsBlock(cell, (6, 6), 3)(x, x).shape == (2, 12, 10, 10)
    assert DartsBlock(cell, (6, 6), 3, reduction=True)(x, x).shape == (2, 12, 5, 5)


def strides(block):
    """Return the edges whose operation halves a map."""
    x = torch.zeros(1, 4, 8, 8)
    return {edge for edge, module in block.edges.items() if module(x).shape[-1] == 4}


def test_only_what_reads_an_input_has_a_stride():
    """As many operations as kept edges from states 0 and 1: five of DARTS_V2's eight.

    No convolution stands at the start: these are poolings.
    """
    block = DartsBlock(DARTS_V2.reduce, (4, 4), 4, reduction=True)
    from_inputs = {f"{i}-{j}" for i, j in DARTS_V2.reduce.graph() if i < 2}
    assert strides(block) == from_inputs
    assert len(from_inputs) == 5
    kinds = {type(block.edges[edge]) for edge in from_inputs}
    assert kinds == {nn.MaxPool2d}
    assert strides(DartsBlock(DARTS_V2.normal, (4, 4), 4)) == set()


def test_the_two_cells_have_different_structures():
    """Not one structure with another start: other edges, other operations."""
    normal, reduce = (cell.graph() for cell in DARTS_V2)
    assert set(normal) != set(reduce)
    shared = set(normal) & set(reduce)
    assert all(normal[e] != reduce[e] for e in shared)


def test_a_skip_of_a_reduction_is_factorised():
    cell = DartsCell.from_pairs([(SKIP, 0), (SKIP, 1), (SKIP, 0), (SKIP, 2)])
    block = DartsBlock(cell, (4, 4), 4, reduction=True)
    kinds = {edge: type(module) for edge, module in block.edges.items()}
    assert kinds == {
        "0-2": FactorizedReduce,
        "1-2": FactorizedReduce,
        "0-3": FactorizedReduce,
        "2-3": nn.Identity,
    }


def test_a_cell_reads_both_inputs():
    """DARTS's cell and NASNet's alike: the survey's erratum."""
    block = DartsBlock(DARTS_V2.normal, (2, 2), 2).eval()
    x, y = (torch.randn(1, 2, 6, 6, requires_grad=True) for _ in range(2))
    block(x, y).square().sum().backward()
    assert x.grad.any()
    assert y.grad.any()


def test_every_parameter_learns():
    block = DartsBlock(DARTS_V2.normal, (2, 3), 2, after_reduction=True)
    block(torch.randn(4, 2, 12, 12), torch.randn(4, 3, 6, 6)).square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in block.parameters())


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ([[]], r"state 2 must read some of the states before it, got \[\]"),
        ([[(2, torch.neg)]], r"state 2 must read some .* got \[2\]"),
        (
            [[(0, torch.neg)], [(-1, torch.neg)]],
            r"state 3 must read some .* got \[-1\]",
        ),
    ],
)
def test_a_node_without_predecessors_is_refused(nodes, message):
    with pytest.raises(ValueError, match=message):
        node_values([torch.zeros(1), torch.zeros(1)], nodes)
