"""The supernets: one-hot weights are the discrete network, the rest a weighted sum."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from effdl.measure.macs import torch_flops
from effdl.nas.cell_net import CellBlock, small_cell_net
from effdl.nas.cell_space import EXAMPLE, OPERATIONS, Cell, sample_cell
from effdl.nas.gradient.mixed import MixedOperation
from effdl.nas.gradient.mixed_net import (
    MixedCell,
    MixedNet,
    prepare_for_search_,
    small_mixed_net,
)

CELLS = [
    Cell(("nor_conv_3x3", "skip_connect", "nor_conv_1x1") * 2),
    Cell(("nor_conv_1x1", "none", "avg_pool_3x3", "nor_conv_3x3", "none", "none")),
    Cell.parse(EXAMPLE),
    *(sample_cell(np.random.default_rng(seed)) for seed in range(3)),
]


def one_hot(cell, names=OPERATIONS):
    weights = torch.zeros(6, len(names))
    for edge, name in enumerate(cell.operations):
        weights[edge, names.index(name)] = 1.0
    return weights


def own_state(mixed, cell):
    """Return what the state of the cell's own module is in the mixed one's."""
    state = {}
    for name, value in mixed.state_dict().items():
        parts = name.split(".")
        if "candidates" not in parts:
            state[name] = value
        else:
            at = parts.index("edges")
            edge, operation = int(parts[at + 1]), parts[at + 3]
            if cell.operations[edge] == operation:
                state[".".join(parts[: at + 2] + parts[at + 4 :])] = value
    return state


@pytest.mark.parametrize("cell", CELLS, ids=str)
def test_with_the_weights_of_one_cell_a_mixed_cell_is_that_cell_exactly(cell):
    mixed, own = MixedCell(4), CellBlock(cell, 4)
    missing, unexpected = own.load_state_dict(own_state(mixed, cell), strict=False)
    assert not unexpected
    assert all(".norm." in name for name in missing)
    x = torch.randn(3, 4, 6, 6)
    assert torch.equal(mixed(x, one_hot(cell)), own(x))


@pytest.mark.parametrize("cell", CELLS, ids=str)
def test_with_the_weights_of_one_cell_the_net_is_that_cells_network(cell):
    """In training mode, with copied weights: exactly, and at its cost."""
    mixed, own = small_mixed_net(), small_cell_net(cell)
    for module in mixed.modules():
        if isinstance(module, nn.BatchNorm2d) and module.affine:
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias)
    state = {
        name.replace("layers.", "features.", 1): value
        for name, value in own_state(mixed, cell).items()
    }
    missing, unexpected = own.load_state_dict(state, strict=False)
    assert not unexpected
    assert all("running" in n or "tracked" in n or ".norm." in n for n in missing)
    x = torch.randn(8, 1, 12, 12)
    own.train()
    assert torch.equal(mixed(x, one_hot(cell)), own(x))
    assert torch.equal(mixed.eval()(x, one_hot(cell)), own(x))
    one = torch.randn(2, 1, 12, 12)
    assert torch_flops(mixed, (one, one_hot(cell))) >= torch_flops(own, one)


def test_uniform_weights_by_hand():
    """Without weights of their own: skip, pool and none on an image of ones.

    Every edge sends 2/3 of what it reads (skip and pool keep ones, none sends 0). So
    node 1 holds 2/3, node 2 holds 2/3 (1 + 2/3) = 10/9, and the output holds
    2/3 (1 + 2/3 + 10/9) = 2/3 * 25/9 = 50/27.
    """
    cell = MixedCell(2, ("none", "skip_connect", "avg_pool_3x3"))
    y = cell(torch.ones(1, 2, 4, 4), torch.full((6, 3), 1 / 3))
    torch.testing.assert_close(y, torch.full((1, 2, 4, 4), 50 / 27))


def test_a_mixture_is_the_sum_over_sources_of_sums_over_candidates():
    """The definition, written out; no node is read before it is complete."""
    cell, x = MixedCell(3), torch.randn(4, 3, 5, 5)
    weights = torch.randn(6, 5).softmax(dim=1)
    number = {(0, 1): 0, (0, 2): 1, (1, 2): 2, (0, 3): 3, (1, 3): 4, (2, 3): 5}

    def sent(source, target, held):
        edge = cell.edges[number[source, target]].candidates
        each = zip(weights[number[source, target]], OPERATIONS, strict=True)
        return sum(w * edge[name](held) for w, name in each if name != "none")

    nodes = [x]
    for target in (1, 2, 3):
        nodes.append(sum(sent(s, target, nodes[s]) for s in range(target)))
    torch.testing.assert_close(cell(x, weights), nodes[3])


def test_none_on_every_edge_sends_zeros():
    x = torch.randn(2, 3, 4, 4)
    y = MixedCell(3)(x, one_hot(Cell(("none",) * 6)))
    assert torch.equal(y, torch.zeros_like(x))


def test_a_weight_on_none_takes_it_from_the_others():
    x = torch.randn(2, 3, 4, 4)
    cell = MixedCell(3, ("none", "skip_connect"))
    half = cell(x, torch.full((6, 2), 0.5))
    torch.testing.assert_close(half, x * 0.5 * (1 + 0.5 + 0.5 * 1.5))


def test_what_runs_can_be_named_and_gives_a_gradient_to_a_weight_of_zero():
    net, x = small_mixed_net(), torch.randn(4, 1, 12, 12)
    weights = one_hot(CELLS[0]).requires_grad_()
    chosen = weights.argmax(dim=1).tolist()
    also = [[k, (k + 1) % 5] for k in chosen]
    y = net(x, weights, also)
    torch.testing.assert_close(y, net(x, weights))
    net(x, weights, also).square().sum().backward()
    for edge, (first, second) in enumerate(also):
        reached = weights.grad[edge].nonzero().flatten().tolist()
        wanted = {k for k in (first, second) if OPERATIONS[k] != "none"}
        assert set(reached) == wanted


def test_a_candidate_without_weight_does_not_run():
    """A cell of skips costs what the stem, the reduction and the classifier cost."""
    net, x = small_mixed_net(), torch.randn(1, 1, 12, 12).expand(2, -1, -1, -1)
    skips = one_hot(Cell(("skip_connect",) * 6))
    convs = one_hot(Cell(("nor_conv_3x3",) * 6))
    added = 6 * 9 * (8 * 8 * 36 + 16 * 16 * 9) * 2  # two images
    assert (torch_flops(net, (x, convs)) - torch_flops(net, (x, skips))) / 2 == added


def test_cells_of_all_stages_share_the_weights_of_the_mixtures():
    net = small_mixed_net(widths=(4, 6, 8), cells=2, in_channels=3)
    cells = [layer for layer in net.layers if isinstance(layer, MixedCell)]
    assert len(cells) == 6
    channels = [c.edges[0].candidates["nor_conv_1x1"].conv.in_channels for c in cells]
    assert channels == [4, 4, 6, 6, 8, 8]
    assert len(net.layers) == 1 + 6 + 2
    assert net(torch.zeros(2, 3, 12, 12), torch.full((6, 5), 0.2)).shape == (2, 10)


def test_edges_are_made_by_the_callers_function():
    made = []

    class Edge(MixedOperation):
        def __init__(self, candidates):
            made.append(tuple(candidates))
            super().__init__(candidates)

    names = ("skip_connect", "nor_conv_1x1")
    net = small_mixed_net(names, make_edge=Edge)
    assert made == [names] * 12
    assert net(torch.zeros(2, 1, 12, 12), torch.full((6, 2), 0.5)).shape == (2, 10)


def test_batch_norms_use_the_batch_and_have_no_scale_inside_edges():
    net = small_mixed_net()
    norms = {n: m for n, m in net.named_modules() if isinstance(m, nn.BatchNorm2d)}
    assert len(norms) == 1 + 1 + 1 + 2 * 6 * 2
    for name, norm in norms.items():
        assert norm.running_mean is None
        assert norm.running_var is None
        inside = "edges" in name
        assert (norm.weight is None) == inside
        assert (norm.bias is None) == inside
    x, weights = torch.randn(5, 1, 12, 12), torch.full((6, 5), 0.2)
    first = net(x, weights)
    assert torch.equal(first, net.eval()(x, weights))


def test_prepare_for_search_reaches_only_what_is_mixed():
    norm = nn.BatchNorm2d
    net = nn.Sequential(nn.ModuleList([norm(2)]), norm(2))
    prepare_for_search_(net, nn.ModuleList)
    assert net[0][0].weight is None
    assert net[1].weight is not None
    assert not net[0][0].affine
    assert net[1].running_var is None
    assert "num_batches_tracked" not in net.state_dict()


def test_convolutions_start_normally_scaled_by_the_outputs():
    net = small_mixed_net(widths=(8, 64))
    conv = net.layers[-1].edges[0].candidates["nor_conv_3x3"].conv
    reduction = net.layers[2].conv
    for found in (conv, reduction):
        deviation = found.weight.std().item()
        assert deviation == pytest.approx((2 / (9 * 64)) ** 0.5, rel=0.05)


def test_every_weight_learns_in_a_mixture():
    net = small_mixed_net()
    x, y = torch.randn(20, 1, 12, 12), torch.arange(20) % 10
    weights = torch.full((6, 5), 0.2, requires_grad=True)
    F.cross_entropy(net(x, weights), y).backward()
    assert all(p.grad is not None and p.grad.any() for p in net.parameters())
    none = OPERATIONS.index("none")
    assert weights.grad[:, [k for k in range(5) if k != none]].all()


def test_what_cannot_be_is_named():
    with pytest.raises(ValueError, match="names is empty"):
        MixedCell(4, ())
    with pytest.raises(ValueError, match="names is empty"):
        small_mixed_net(())
    with pytest.raises(ValueError, match="channels must be at least 1, got 0"):
        MixedCell(0)
    with pytest.raises(ValueError, match="cells must be at least 1, got 0"):
        small_mixed_net(cells=0)
    with pytest.raises(ValueError, match="classes must be at least 1, got 0"):
        MixedNet([], mixed=MixedCell, channels=4, classes=0)
    with pytest.raises(ValueError, match="x must be"):
        small_mixed_net()(torch.zeros(12, 12), torch.ones(6, 5))
    with pytest.raises(ValueError, match="no candidate of"):
        small_mixed_net()(torch.zeros(2, 1, 12, 12), torch.zeros(6, 5))
    with pytest.raises(ValueError, match=r"weights must be \(5,\)"):
        small_mixed_net()(torch.zeros(2, 1, 12, 12), torch.ones(6, 4))
    with pytest.raises(ValueError, match="no module for"):
        MixedCell(4, ("conv_9x9",))
