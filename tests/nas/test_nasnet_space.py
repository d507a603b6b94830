"""Cells of NASNet: their blocks, loose ends and number; the published network."""

import inspect
from collections import Counter

import numpy as np
import pytest
import torch

from effdl.measure.count import parameter_count
from effdl.nas.darts_space import OPERATIONS as DARTS_OPERATIONS
from effdl.nas.nasnet_space import (
    COMBINATIONS,
    OPERATIONS,
    Block,
    NasnetCell,
    enumerate_nasnet_cells,
    sample_nasnet_cell,
)
from effdl.nas.space_size import nasnet_cells

SAME = ("identity", "identity")
NASNET_A = NasnetCell(  # the published normal cell; state 0 is the earlier output
    (
        Block((1, 0), ("sep_conv_5x5", "sep_conv_3x3")),
        Block((0, 0), ("sep_conv_5x5", "sep_conv_3x3")),
        Block((1, 0), ("avg_pool_3x3", "identity")),
        Block((0, 0), ("avg_pool_3x3", "avg_pool_3x3")),
        Block((1, 1), ("sep_conv_3x3", "identity")),
    )
)


def test_loose_ends_are_the_states_that_no_block_reads():
    """By hand: 2 and 3 are read, 0 is not, the last never is."""
    cell = NasnetCell((Block((1, 1), SAME), Block((2, 1), SAME), Block((3, 3), SAME)))
    assert cell.loose_ends() == (0, 4)
    assert NASNET_A.loose_ends() == (2, 3, 4, 5, 6)


@pytest.mark.parametrize("blocks", [1, 2])
def test_as_many_cells_are_listed_as_the_closed_form_says(blocks):
    """With two operations: 32, and 32 * 72."""
    cells = list(enumerate_nasnet_cells(blocks, ["identity", "conv_3x3"]))
    assert len(cells) == len(set(cells)) == nasnet_cells(blocks=blocks, operations=2)


def test_all_decisions_of_one_block_are_listed():
    cells = list(enumerate_nasnet_cells(1, OPERATIONS))
    assert len(cells) == nasnet_cells(blocks=1) == 4 * 169 * 2
    (blocks,) = zip(*(cell.blocks for cell in cells), strict=True)
    assert {b.sources for b in blocks} == {(0, 0), (0, 1), (1, 0), (1, 1)}
    assert len({b.operations for b in blocks}) == 169
    assert {b.combination for b in blocks} == {"add", "concat"}


def test_there_are_13_operations_and_2_combinations():
    assert len(set(OPERATIONS)) == 13
    assert COMBINATIONS == ("add", "concat")
    assert "none" not in OPERATIONS
    assert len(set(DARTS_OPERATIONS)) == 8  # as many has the later space


def test_drawn_cells_use_all_decisions_equally():
    """1,300 draws of two blocks: of the second block's 9 pairs each 144 times."""
    random = np.random.default_rng(0)
    drawn = [sample_nasnet_cell(random, blocks=2).blocks[1] for _ in range(1_300)]
    sources = Counter(block.sources for block in drawn)
    names = Counter(name for block in drawn for name in block.operations)
    assert len(sources) == 9
    assert all(abs(times - 144) < 4 * 12 for times in sources.values())
    assert set(names) == set(OPERATIONS)
    assert all(abs(times - 200) < 4 * 14 for times in names.values())
    added = sum(block.combination == "add" for block in drawn)
    assert abs(added - 650) < 4 * 18


def test_the_halves_of_a_block_are_drawn_by_themselves():
    random = np.random.default_rng(0)
    drawn = [sample_nasnet_cell(random, blocks=1).blocks[0] for _ in range(300)]
    assert 5 < sum(b.operations[0] == b.operations[1] for b in drawn) < 60
    assert 100 < sum(b.sources[0] == b.sources[1] for b in drawn) < 200


def test_a_drawn_cell_has_five_blocks():
    """Five decisions each: 50 for a normal and a reduction cell."""
    cell = sample_nasnet_cell(np.random.default_rng(0))
    assert len(cell.blocks) == 5
    decisions = [(*b.sources, *b.operations, b.combination) for b in cell.blocks]
    assert 2 * sum(map(len, decisions)) == 50


def test_the_published_cell_reads_two_inputs_and_has_one_output():
    """As in DARTS, which came later: the survey's erratum. timm's NASNet-A."""
    nasnet = pytest.importorskip("timm.models.nasnet")
    parameters = list(inspect.signature(nasnet.NormalCell.forward).parameters)
    assert parameters == ["self", "x", "x_prev"]
    cell = nasnet.NormalCell(6, 2, 4, 2)
    y = cell(torch.zeros(1, 4, 8, 8), torch.zeros(1, 6, 8, 8))
    assert y.shape == (1, 6 * 2, 8, 8)  # the five loose ends, and the earlier input
    read = {source for block in NASNET_A.blocks for source in block.sources}
    assert {0, 1} <= read


def test_the_published_network_has_88_8_million_parameters():
    timm = pytest.importorskip("timm")
    with torch.device("meta"):
        net = timm.create_model("nasnetalarge")
    assert parameter_count(net) == 88_753_150


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Block((0, 1), ("conv", "identity")), "unknown operation 'conv'; choo"),
        (lambda: Block((0, 1), SAME, "mean"), "unknown combination 'mean'; choose fr"),
        (lambda: NasnetCell(()), "blocks must be at least 1, got 0"),
        (
            lambda: NasnetCell((Block((0, 2), SAME),)),
            "state 2 can read states 0 to 1, got 2",
        ),
        (
            lambda: NasnetCell((Block((0, 1), SAME), Block((-1, 1), SAME))),
            "state 3 can read states 0 to 2, got -1",
        ),
        (lambda: list(enumerate_nasnet_cells(0, SAME)), "blocks must be at least 1"),
        (
            lambda: sample_nasnet_cell(np.random.default_rng(0), blocks=0),
            "blocks must be at least 1, got 0",
        ),
    ],
)
def test_bad_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
