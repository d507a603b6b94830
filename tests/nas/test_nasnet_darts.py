"""Operators on nodes and on edges: there and back, and the same values."""

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from effdl.nas.darts_cell import DartsBlock
from effdl.nas.darts_sampling import sample_darts_cell
from effdl.nas.darts_space import CANDIDATES, DARTS_V2, DartsCell, Edge
from effdl.nas.nasnet_darts import (
    FROM_DARTS,
    block_values,
    blocks_from_darts,
    darts_from_blocks,
)
from effdl.nas.nasnet_space import (
    OPERATIONS,
    Block,
    NasnetCell,
    enumerate_nasnet_cells,
)
from on_paper import randomised

COMMON = tuple(FROM_DARTS)


def common_cell(random):
    """Return a cell of DARTS with the operations of both spaces only."""
    while True:
        cell = sample_darts_cell(random)
        if "dil_conv_5x5" not in cell.graph().values():
            return cell


def test_a_cell_by_hand():
    cell = DartsCell((
        (Edge(0, "skip_connect"), Edge(1, "sep_conv_5x5")),
        (Edge(1, "max_pool_3x3"), Edge(2, "dil_conv_3x3")),
    ))
    blocks = NasnetCell((
        Block((0, 1), ("identity", "sep_conv_5x5"), "add"),
        Block((1, 2), ("max_pool_3x3", "dil_conv_3x3"), "add"),
    ))
    assert blocks_from_darts(cell) == blocks
    assert darts_from_blocks(blocks) == cell
    assert blocks.loose_ends() == (3,)


def test_a_block_with_its_halves_exchanged_is_the_same_node():
    block = Block((1, 0), ("avg_pool_3x3", "identity"))
    expected = (Edge(0, "skip_connect"), Edge(1, "avg_pool_3x3"))
    assert darts_from_blocks(NasnetCell((block,))).nodes == (expected,)


def test_names_are_translated_one_to_one():
    assert set(FROM_DARTS) == set(CANDIDATES) - {"dil_conv_5x5"}
    assert len(set(FROM_DARTS.values())) == len(FROM_DARTS)
    assert set(FROM_DARTS.values()) <= set(OPERATIONS)


def test_a_thousand_cells_come_back_as_they_were():
    random = np.random.default_rng(0)
    for _ in range(1_000):
        cell = common_cell(random)
        assert darts_from_blocks(blocks_from_darts(cell)) == cell


def test_what_comes_back_from_blocks_is_a_sum_of_two_different_states():
    """One block, two operations: 8 of 32 descriptions are nodes, each of 4 twice.

    In the other 24 the block concatenates, or reads one state twice.
    """
    nodes = []
    for cell in enumerate_nasnet_cells(1, ["identity", "avg_pool_3x3"]):
        block = cell.blocks[0]
        if block.combination == "add" and len(set(block.sources)) == 2:
            nodes.append(darts_from_blocks(cell))
        else:
            with pytest.raises(ValueError, match="state 2 is no node of DARTS"):
                darts_from_blocks(cell)
    assert len(nodes) == 8
    assert len(set(nodes)) == 4


def test_values_of_a_block_are_its_definition():
    cell = NasnetCell((
        Block((0, 0), ("identity", "identity"), "add"),
        Block((1, 2), ("identity", "identity"), "concat"),
    ))
    x, y = torch.randn(2, 1, 3, 4, 4)
    operators = [(torch.sin, torch.cos), (torch.exp, torch.neg)]
    states = block_values(cell, (x, y), operators)
    assert states[0] is x
    assert states[1] is y
    torch.testing.assert_close(states[2], x.sin() + x.cos())
    torch.testing.assert_close(states[3], torch.cat((y.exp(), -states[2]), 1))


@pytest.mark.parametrize("seed", range(5))
def test_both_forms_compute_the_same_with_the_same_weights(seed):
    """Operators on nodes run in float64 with the modules of the edges."""
    cell = common_cell(np.random.default_rng(seed))
    block = randomised(DartsBlock(cell, (3, 3), 3).double())
    x, y = torch.randn(2, 2, 3, 6, 6, dtype=torch.float64)
    blocks = blocks_from_darts(cell)
    operators = [
        tuple(block.edges[f"{source}-{state}"] for source in b.sources)
        for state, b in enumerate(blocks.blocks, start=2)
    ]
    states = block_values(blocks, (block.first(x), block.second(y)), operators)
    on_edges = block(x, y)
    torch.testing.assert_close(torch.cat(states[2:], 1), on_edges, rtol=0, atol=1e-10)


def test_the_outputs_agree_only_if_all_nodes_are_loose():
    """DARTS concatenates all nodes, NASNet the loose ends; V2's state 2 is read."""
    assert blocks_from_darts(DARTS_V2.normal).loose_ends() == (3, 4, 5)
    flat = DartsCell.from_pairs([("skip_connect", 0), ("skip_connect", 1)] * 4)
    assert blocks_from_darts(flat).loose_ends() == (2, 3, 4, 5)


def test_every_common_operation_survives_on_every_edge():
    for first, second in itertools.product(COMMON, repeat=2):
        cell = DartsCell(((Edge(0, first), Edge(1, second)),))
        assert darts_from_blocks(blocks_from_darts(cell)) == cell


def test_what_only_one_space_has_is_named():
    cell = DartsCell(((Edge(0, "skip_connect"), Edge(1, "dil_conv_5x5")),))
    with pytest.raises(ValueError, match="NASNet has no 'dil_conv_5x5'; choose from"):
        blocks_from_darts(cell)
    block = Block((0, 1), ("conv_1x7_7x1", "identity"))
    with pytest.raises(ValueError, match=r"state 2 is no node of DARTS.*conv_1x7_7x1"):
        darts_from_blocks(NasnetCell((block,)))


def test_one_pair_of_operators_is_needed_for_every_block():
    cell = NasnetCell((Block((0, 1), ("identity", "identity")),))
    x = torch.zeros(1, 1, 2, 2)
    with pytest.raises(ValueError, match="zip"):
        block_values(cell, (x, x), [(F.relu, F.relu)] * 2)
