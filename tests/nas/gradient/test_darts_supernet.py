"""The supernet of DARTS: with the weights of a genotype it is that network."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from effdl.data.digits import Split
from effdl.measure.count import parameter_count
from effdl.nas.darts_net import DartsNet, small_darts_net
from effdl.nas.darts_sampling import sample_genotype
from effdl.nas.darts_space import DARTS_V2, OPERATIONS, DartsCell, Genotype
from effdl.nas.gradient.darts_mixed_cell import EDGES, DartsMixedCell
from effdl.nas.gradient.darts_supernet import (
    DartsSupernet,
    darts_architecture,
    small_darts_supernet,
)
from effdl.nas.gradient.found_cell import inherited_accuracy
from effdl.nas.gradient.genotype import edge_choices
from effdl.nas.gradient.search import Rates, search
from on_paper import on_paper

NO_POOLS = Genotype(
    normal=DartsCell.from_pairs([
        ("sep_conv_3x3", 0),
        ("skip_connect", 1),
        ("dil_conv_5x5", 2),
        ("sep_conv_5x5", 0),
        ("dil_conv_3x3", 3),
        ("skip_connect", 1),
        ("sep_conv_3x3", 4),
        ("sep_conv_5x5", 2),
    ]),
    reduce=DartsCell.from_pairs([
        ("dil_conv_3x3", 0),
        ("skip_connect", 1),
        ("sep_conv_5x5", 2),
        ("sep_conv_3x3", 1),
        ("dil_conv_5x5", 3),
        ("skip_connect", 2),
        ("skip_connect", 0),
        ("dil_conv_3x3", 1),
    ]),
)
X = torch.linspace(-2, 2, 6 * 144).sin().reshape(6, 1, 12, 12)


def inherit_(net, supernet, *, norms_after_pools=False):
    """Copy a supernet's weights into the network of a genotype."""
    net.stem.load_state_dict(supernet.stem.state_dict(), strict=False)
    net.classifier.load_state_dict(supernet.classifier.state_dict())
    for block, cell in zip(net.cells, supernet.cells, strict=True):
        block.first.load_state_dict(cell.first.state_dict(), strict=False)
        block.second.load_state_dict(cell.second.state_dict(), strict=False)
        for (source, target), name in block.cell.graph().items():
            module = cell.edges[EDGES.index((source, target))].candidates[name]
            key = f"{source}-{target}"
            if "pool" not in name:
                block.edges[key].load_state_dict(module.state_dict(), strict=False)
            elif norms_after_pools:
                norm = nn.BatchNorm2d(module[1].num_features)
                block.edges[key] = nn.Sequential(block.edges[key], norm)
    return net.train()


def one_hot(genotype):
    return darts_architecture().one_hot(edge_choices(genotype))


@pytest.mark.parametrize("cells", [3, 4])
def test_with_a_genotype_without_pools_it_is_that_network_exactly(cells):
    supernet = small_darts_supernet(cells=cells)
    net = DartsNet(NO_POOLS, width=4, cells=cells, in_channels=1)
    inherit_(net, supernet)
    assert torch.equal(supernet(X, one_hot(NO_POOLS)), net(X))


@pytest.mark.parametrize(
    "genotype",
    [DARTS_V2, *(sample_genotype(np.random.default_rng(seed)) for seed in range(3))],
    ids=["DARTS_V2", "0", "1", "2"],
)
def test_with_any_genotype_it_is_that_network_with_norms_after_its_pools(genotype):
    supernet = small_darts_supernet()
    net = inherit_(small_darts_net(genotype), supernet, norms_after_pools=True)
    expected = net(X)
    torch.testing.assert_close(
        supernet(X, one_hot(genotype)), expected, atol=1e-6, rtol=1e-6
    )
    supernet.eval()  # the statistics are always those of the batch
    torch.testing.assert_close(supernet(X, one_hot(genotype)), expected)


def test_without_these_norms_a_genotype_with_pools_is_another_network():
    supernet = small_darts_supernet()
    net = inherit_(small_darts_net(DARTS_V2), supernet)
    assert not torch.allclose(supernet(X, one_hot(DARTS_V2)), net(X), atol=1e-2)


def test_saturated_logits_are_the_discrete_network():
    """So nothing is lost by discretisation; with logits near 0 much is."""
    supernet, search_ = small_darts_supernet(), darts_architecture()
    net = inherit_(small_darts_net(NO_POOLS), supernet)
    gaps = []
    for t in (0.0, 5.0, 40.0):
        search_.logits.data = t * search_.one_hot(edge_choices(NO_POOLS))
        gaps.append((supernet(X, search_().softmax(1)) - net(X)).abs().max().item())
    assert gaps[0] > gaps[1] > gaps[2]
    assert gaps[2] < 1e-5


def convolutions_run(net, *inputs):
    """Return the shapes of the weights of all convolutions that run, sorted."""
    shapes = []
    hooks = [
        module.register_forward_hook(
            lambda module, *_: shapes.append((*module.weight.shape, module.stride[0]))
        )
        for module in net.modules()
        if isinstance(module, nn.Conv2d)
    ]
    net(*inputs)
    for hook in hooks:
        hook.remove()
    return sorted(shapes)


def test_a_genotype_costs_what_its_network_costs():
    """The same convolutions run, of which a mixture runs many more."""
    net, supernet = small_darts_net(NO_POOLS), small_darts_supernet()
    one = convolutions_run(supernet, X, one_hot(NO_POOLS))
    assert one == convolutions_run(net, X)
    assert len(convolutions_run(supernet, X, torch.full((28, 8), 1 / 8))) > 5 * len(one)


def test_normal_and_reduction_cells_have_rows_of_their_own():
    """Skips of 14 rows in normal cells only, seen by what each cell is called with."""
    supernet, seen = small_darts_supernet(cells=5), []
    for cell in supernet.cells:
        cell.register_forward_pre_hook(
            lambda cell, args: seen.append((cell.reduction, args[2], args[3]))
        )
    weights = torch.rand(28, 8)
    runs = [[3]] * 14 + [[4]] * 14
    supernet(X, weights, runs)
    assert [kind for kind, *_ in seen] == [False, True, False, True, False]
    for kind, rows, chosen in seen:
        assert torch.equal(rows, weights[14:] if kind else weights[:14])
        assert chosen == ([[4]] * 14 if kind else [[3]] * 14)


def test_the_search_network_of_the_authors_has_1_9_million_weights():
    """16 channels, 8 cells: 1,930,618, as tests of NASLib have it, and by hand.

    Per edge and C channels: two separable convolutions 2 (k^2 C + C^2), two dilated
    ones k^2 C + C^2, and C^2 if a skip has stride 2.
    """

    def edges_of(c, strided):
        sep = sum(2 * (k * k * c + c * c) for k in (3, 5))
        dil = sum(k * k * c + c * c for k in (3, 5))
        return 14 * (sep + dil) + strided * c * c

    total, before, c = 48 * 27 + 2 * 48, (48, 48), 16
    for n in range(8):
        c *= 2 if n in (2, 5) else 1
        total += sum(before) * c + edges_of(c, 8 if n in (2, 5) else 0)
        before = (before[1], 4 * c)
    total += 10 * before[1] + 10
    assert parameter_count(on_paper(DartsSupernet)) == total == 1_930_618


def test_only_norms_outside_the_cells_have_a_scale():
    supernet = small_darts_supernet()
    norms = {
        name: module
        for name, module in supernet.named_modules()
        if isinstance(module, nn.BatchNorm2d)
    }
    assert [name for name, norm in norms.items() if norm.affine] == ["stem.1"]
    assert all(norm.running_mean is None for norm in norms.values())


def test_depth_width_and_candidates_are_the_callers():
    names = ("skip_connect", "sep_conv_3x3")
    supernet = small_darts_supernet(names, width=6, cells=7)
    assert [cell.reduction for cell in supernet.cells] == [
        *(False, False, True, False, True, False, False)
    ]
    assert isinstance(supernet.cells[0], DartsMixedCell)
    assert supernet.cells[-1].second.conv.out_channels == 24
    assert list(supernet.cells[0].edges[0].candidates) == list(names)
    assert supernet(X, torch.full((28, 2), 0.5)).shape == (6, 10)
    architecture = darts_architecture(names, spread=0)
    assert architecture.candidates == (names,) * 28
    assert not architecture.logits.any()


def test_every_parameter_learns_and_every_logit():
    supernet, architecture = small_darts_supernet(), darts_architecture()
    F.cross_entropy(supernet(X, architecture().softmax(1)), torch.arange(6)).backward()
    assert all(p.grad is not None and p.grad.any() for p in supernet.parameters())
    assert architecture.logits.grad.all()


def test_a_search_runs_on_it_and_its_weights_can_be_scored():
    split = Split(X, torch.arange(6) % 2)
    supernet, architecture = small_darts_supernet(width=2), darts_architecture()
    [epoch] = search(
        supernet,
        architecture,
        split.batches(6),
        split.batches(6),
        epochs=1,
        rates=Rates(architecture=0.1),
    )
    assert epoch.weights.shape == (28, len(OPERATIONS))
    assert 0 <= inherited_accuracy(supernet, epoch.weights, split) <= 1


def test_what_cannot_be_is_named():
    with pytest.raises(ValueError, match="cells must be 3 or more, got 2; two ar"):
        small_darts_supernet(cells=2)
    with pytest.raises(ValueError, match="width must be at least 1, got 0"):
        small_darts_supernet(width=0)
    with pytest.raises(ValueError, match=r"names must name .* got \(\); leave it out"):
        small_darts_supernet(())
    with pytest.raises(ValueError, match=r"at least one operation, got \[\]; leave it"):
        DartsSupernet(names=[])
    with pytest.raises(ValueError, match=r"x must be \(N, C, H, W\)"):
        small_darts_supernet()(torch.zeros(1, 12, 12), torch.ones(28, 8))
