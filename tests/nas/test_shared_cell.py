"""The supernet: each of its paths is the network of that cell, and no more."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.optim import SGD

from effdl.measure.count import parameter_count
from effdl.nas.cell_net import small_cell_net
from effdl.nas.cell_space import EXAMPLE, OPERATIONS, Cell, sample_cell
from effdl.nas.shared_cell import SKIPS, SharedCell, choose_path_, small_supernet

CELLS = [
    Cell(("nor_conv_3x3", "skip_connect", "nor_conv_1x1") * 2),
    Cell(("nor_conv_1x1", "none", "avg_pool_3x3", "nor_conv_3x3", "none", "none")),
    Cell.parse(EXAMPLE),
    Cell(("none", "none", "none", "nor_conv_1x1", "nor_conv_3x3", "nor_conv_1x1")),
    *(sample_cell(np.random.default_rng(seed)) for seed in range(2)),
]


def own_name(name, cell):
    """Return what a weight of the supernet is called in the cell's own network.

    None if the cell does not have it.
    """
    parts = name.split(".")
    if "edges" not in parts:
        return name
    at = parts.index("edges")
    edge, operation = int(parts[at + 1]), parts[at + 2]
    if cell.operations[edge] != operation:
        return None
    return ".".join(parts[: at + 2] + parts[at + 3 :])


@pytest.mark.parametrize("cell", CELLS, ids=str)
def test_a_path_is_the_network_of_its_cell_with_the_same_weights(cell):
    supernet, net = small_supernet(), small_cell_net(cell)
    for module in supernet.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias)
    weights = {
        own: value
        for name, value in supernet.state_dict().items()
        if (own := own_name(name, cell)) is not None
    }
    missing, unexpected = net.load_state_dict(weights, strict=False)
    assert not unexpected
    assert all("running" in name or "tracked" in name for name in missing)

    choose_path_(supernet, cell)
    x = torch.randn(16, 1, 12, 12)
    torch.testing.assert_close(supernet(x), net.train()(x))
    torch.testing.assert_close(supernet.eval()(x), net(x))  # batch statistics always


@pytest.mark.parametrize("cell", CELLS, ids=str)
def test_one_step_changes_the_weights_on_the_path_only(cell):
    """Decay and momentum do not reach the others either."""
    supernet = small_supernet()
    choose_path_(supernet, Cell(("nor_conv_3x3",) * 6))
    sgd = SGD(supernet.parameters(), 0.1, momentum=0.9, weight_decay=0.1)
    x, y = torch.randn(20, 1, 12, 12), torch.arange(20) % 10
    F.cross_entropy(supernet(x), y).backward()
    sgd.step()  # now the momentum of some is not 0

    choose_path_(supernet, cell)
    before = {name: p.clone() for name, p in supernet.named_parameters()}
    sgd.zero_grad()
    F.cross_entropy(supernet(x), y).backward()
    sgd.step()
    live = {f"edges.{edge}." for edge in small_cell_net(cell).features[1].live}
    for name, p in supernet.named_parameters():
        on_path = own_name(name, cell) is not None
        reached = "edges" not in name or any(edge in name for edge in live)
        assert torch.equal(p, before[name]) != (on_path and reached)


def test_four_paths_of_skips_add_up_by_hand():
    """Input to output directly, by node 1, by node 2, and by both: 4 x."""
    shared, x = SharedCell(3), torch.randn(2, 3, 4, 4)
    assert shared.cell == SKIPS
    torch.testing.assert_close(shared(x), 4 * x)


def test_a_disconnected_cell_returns_zeros():
    shared = SharedCell(3)
    choose_path_(shared, Cell(("none",) * 6))
    x = torch.randn(2, 3, 4, 4)
    assert torch.equal(shared(x), torch.zeros_like(x))


def test_all_cells_together_have_six_convolutions_of_each_kind():
    """A convolution of side k adds C (k^2 C + 2); stages of 8 and 16 channels."""
    skips = parameter_count(small_cell_net(SKIPS))
    added = sum(6 * c * (k * k * c + 2) for c in (8, 16) for k in (1, 3))
    assert parameter_count(small_supernet()) == skips + added


def test_weights_start_like_those_of_the_small_network():
    """Normal, of variance 2 / fan out: 9 weights for each of 64 outputs."""
    _, _, reduction, cell = small_supernet(widths=(8, 64)).features
    convs = [choices["nor_conv_3x3"].conv for choices in cell.edges]
    for conv in (reduction.conv, *convs):
        deviation = conv.weight.std().item()
        assert deviation == pytest.approx((2 / (9 * 64)) ** 0.5, rel=0.05)


def test_widths_and_channels_are_the_callers():
    net = small_supernet(widths=(4, 6, 8), in_channels=3)
    assert net(torch.zeros(2, 3, 12, 12)).shape == (2, 10)
    assert [c.edges[0]["nor_conv_1x1"].conv.in_channels for c in shared_cells(net)] == [
        *(4, 6, 8)
    ]


def shared_cells(net):
    """Return the shared cells of a supernet, in order."""
    return [module for module in net.modules() if isinstance(module, SharedCell)]


def test_a_path_is_chosen_in_every_stage():
    net = small_supernet()
    choose_path_(net, CELLS[0])
    assert [shared.cell for shared in shared_cells(net)] == [CELLS[0]] * 2


def test_every_operation_learns_on_some_path():
    net = small_supernet()
    x, y = torch.randn(20, 1, 12, 12), torch.arange(20) % 10
    for name in OPERATIONS[1:]:
        choose_path_(net, Cell((name,) * 6))
        F.cross_entropy(net(x), y).backward()
    assert all(p.grad is not None and p.grad.any() for p in net.parameters())


def test_what_cannot_be_is_named():
    with pytest.raises(ValueError, match="supernet has no SharedCell"):
        choose_path_(small_cell_net(SKIPS), SKIPS)
    with pytest.raises(ValueError, match="channels must be at least 1, got 0"):
        SharedCell(0)
