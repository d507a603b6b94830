"""The cell with all operations: against single cells, the mean written out, errors."""

from math import sqrt

import pytest
import torch
from torch import nn

from effdl.nas.cell_net import CellBlock, small_cell_net
from effdl.nas.cell_space import EDGES, Cell
from effdl.nas.super_cell import SEARCHED, SuperCell, restrict_, super_cell_net

ALL = (SEARCHED,) * 6


def mixed(*edges: str) -> tuple[tuple[str, ...], ...]:
    """Read edges such as "skip_connect avg_pool_3x3"."""
    return tuple(tuple(edge.split()) for edge in edges)


@pytest.mark.parametrize(
    "active",
    [
        ALL,
        mixed(
            "skip_connect avg_pool_3x3",
            "nor_conv_3x3",
            "nor_conv_1x1 nor_conv_3x3 skip_connect",
            "avg_pool_3x3",
            "skip_connect",
            "nor_conv_1x1 avg_pool_3x3",
        ),
    ],
)
def test_every_node_holds_the_sum_of_means(active):
    cell, x = SuperCell(3), torch.randn(4, 3, 5, 5)
    restrict_(cell, active)
    nodes = [x, 0, 0, 0]
    for edge, (source, target) in enumerate(EDGES):
        for name in active[edge]:
            sent = cell.edges[f"{edge} {name}"](nodes[source])
            nodes[target] = nodes[target] + sent / len(active[edge])
    torch.testing.assert_close(cell(x), nodes[3])


@pytest.mark.parametrize("seed", range(3))
def test_one_operation_an_edge_is_the_cell_itself(seed):
    torch.manual_seed(seed)
    names = tuple(SEARCHED[i] for i in torch.randint(4, (6,)).tolist())
    block, cell, x = CellBlock(Cell(names), 3), SuperCell(3), torch.randn(2, 3, 6, 6)
    restrict_(cell, tuple((name,) for name in names))
    for edge, name in enumerate(names):
        block.edges[str(edge)].load_state_dict(
            cell.edges[f"{edge} {name}"].state_dict()
        )
    torch.testing.assert_close(cell(x), block(x))


def test_what_is_not_active_does_not_run():
    cell, ran = SuperCell(2), set()
    for name, module in cell.edges.items():
        module.register_forward_hook(lambda *_, name=name: ran.add(name))
    restrict_(cell, (("skip_connect", "nor_conv_1x1"),) * 6)
    cell(torch.randn(2, 2, 4, 4))
    assert ran == {f"{e} {n}" for e in range(6) for n in SEARCHED[:2]}


def test_all_four_operations_are_there_at_first():
    assert SEARCHED == ("skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
    assert SuperCell(2).active == ALL


def test_restricting_reaches_every_cell_and_leaves_the_weights():
    net = super_cell_net((2, 4))
    before = {name: p.clone() for name, p in net.named_parameters()}
    active = mixed(*["skip_connect nor_conv_3x3"] * 6)
    restrict_(net, active)
    cells = [m for m in net.modules() if isinstance(m, SuperCell)]
    assert [cell.active for cell in cells] == [active, active]
    assert all(torch.equal(p, before[name]) for name, p in net.named_parameters())


def test_the_network_is_the_small_network_but_for_its_cells():
    ours, theirs = super_cell_net((4, 8)), small_cell_net(Cell.numbered(0))

    def outline(net: nn.Module) -> list[str]:
        net.features[1], net.features[3] = nn.Identity(), nn.Identity()
        return [repr(m) for m in net.modules()]

    assert outline(ours) == outline(small_cell_net(Cell.numbered(0), widths=(4, 8)))
    assert outline(ours) != outline(theirs)
    assert super_cell_net((2,), in_channels=3)(torch.randn(2, 3, 8, 8)).shape == (2, 10)


@pytest.mark.parametrize(
    ("given", "convs", "line"),
    [
        ({}, sqrt(2 / (64 * 9)), sqrt(2 / 10)),
        ({"fan": "fan_out"}, sqrt(2 / (64 * 9)), sqrt(2 / 10)),
        ({"fan": "fan_in"}, sqrt(2 / (32 * 9)), sqrt(2 / 64)),
    ],
)
def test_weights_are_normal_with_the_deviation_of_the_fan(given, convs, line):
    net = super_cell_net((32, 64), **given)
    (reduction,) = [m for m in net.features[2].modules() if isinstance(m, nn.Conv2d)]
    classifier = net.classifier
    assert reduction.weight.std().item() == pytest.approx(convs, rel=0.05)
    assert classifier.weight.std().item() == pytest.approx(line, rel=0.15)
    assert not classifier.bias.any()


def test_every_weight_learns():
    net = super_cell_net((2, 4))
    net(torch.randn(4, 1, 12, 12)).square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in net.parameters())


@pytest.mark.parametrize(
    ("active", "message"),
    [
        (ALL[1:], "active must have 6 edges, got 5"),
        ((*ALL[1:], ()), r"active\[5\] must name at least one of .*, got \[\]"),
        ((("none",), *ALL[1:]), r"active\[0\] must name .*, got \['none'\]"),
    ],
)
def test_bad_restrictions_are_named_and_change_nothing(active, message):
    cell = SuperCell(2)
    with pytest.raises(ValueError, match=message):
        restrict_(cell, active)
    assert cell.active == ALL


def test_a_cell_needs_channels():
    with pytest.raises(ValueError, match="channels must be at least 1, got 0"):
        SuperCell(0)
