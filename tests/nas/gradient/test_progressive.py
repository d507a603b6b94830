"""P-DARTS: the stages of the paper, what narrows, and at most two skips."""

import pytest
import torch

from effdl.data.digits import Split
from effdl.nas.darts_space import OPERATIONS
from effdl.nas.gradient.architecture import Architecture
from effdl.nas.gradient.darts_supernet import DartsSupernet, darts_architecture
from effdl.nas.gradient.genotype import found_genotype, strongest_genotype
from effdl.nas.gradient.progressive import (
    STAGES,
    Stage,
    narrow_,
    progressive_search,
    restrict_skips,
)
from effdl.nas.gradient.relaxations import softmax_weights
from effdl.nas.gradient.search import Rates
from effdl.nas.gradient.skip_dropout import edge_with_dropout

SKIP = OPERATIONS.index("skip_connect")


def build(cells):
    return DartsSupernet(
        width=2, cells=cells, in_channels=1, make_edge=edge_with_dropout
    )


def tiny():
    return Split(torch.randn(8, 1, 8, 8), torch.arange(8) % 2).batches(8)


def skips(cell):
    return list(cell.graph().values()).count("skip_connect")


def test_cells_times_candidates_stays_nearly_constant():
    """5 * 8 = 40, 11 * 5 = 55, 17 * 3 = 51; the last stage at 8 would be 136."""
    products = [stage.cells * stage.candidates for stage in STAGES]
    assert products == [40, 55, 51]
    assert max(products) < 1.4 * min(products)
    assert [stage.dropout for stage in STAGES] == [0.0, 0.4, 0.7]


@pytest.mark.parametrize(("cells", "left"), [(5, 8), (11, 5)])
def test_the_cells_of_a_stage_run_what_is_left_and_no_more(cells, left):
    """So many candidates on each of 14 edges of each cell."""
    net, architecture, calls = build(cells), darts_architecture(), []
    narrow_(architecture, left)
    for cell in net.cells:
        for edge in cell.edges:
            for name, candidate in edge.candidates.items():
                candidate.register_forward_hook(lambda *_, n=name: calls.append(n))
    net(torch.randn(2, 1, 8, 8), softmax_weights(architecture))
    chosen = [architecture.left(edge) for edge in range(28)]
    with_none = sum(  # none is active, but is not computed
        "none" in chosen[14 * cell.reduction + edge]
        for cell in net.cells
        for edge in range(14)
    )
    assert len(calls) + with_none == 14 * cells * left


def test_the_highest_logits_stay():
    """Against sorting, on all 28 edges, twice; none is treated as all others."""
    architecture = darts_architecture()
    torch.nn.init.normal_(architecture.logits)
    for left in (5, 3):
        narrow_(architecture, left)
        expected = architecture.logits.topk(left).indices.sort().values
        for edge in range(28):
            names = tuple(OPERATIONS[k] for k in expected[edge].tolist())
            assert architecture.left(edge) == names
    assert any("none" in architecture.left(edge) for edge in range(28))
    narrow_(architecture, 4)  # fewer are left: nothing changes
    assert (architecture.active.sum(1) == 3).all()


def test_candidates_that_were_dropped_do_not_come_back():
    architecture = Architecture([("none", "skip", "conv")])
    architecture.logits.data = torch.tensor([[0.1, 0.9, 0.2]])
    architecture.keep_(0, ("none", "conv"))
    narrow_(architecture, 1)
    assert architecture.left(0) == ("conv",)


def skips_everywhere():
    """Weights in which skips win on all edges, the later the stronger."""
    weights = torch.full((28, 8), 0.05)
    weights[:, 4] = 0.06
    weights[:, SKIP] = torch.linspace(0.3, 0.6, 28)
    return weights


@pytest.mark.parametrize("most", [0, 1, 2, 5])
def test_at_most_so_many_skips_stay_in_the_normal_cell(most):
    found = restrict_skips(skips_everywhere(), most)
    assert skips(found.normal) == most
    assert found.reduce == strongest_genotype(skips_everywhere()).reduce
    assert skips(found.reduce) == 8


def test_the_weakest_skips_go_and_the_cell_is_derived_again():
    """The strongest skips end in the last node; an edge without one may be replaced.

    Node 5 reads states 3 and 4, whose skips are the strongest. They stay.
    """
    found = restrict_skips(skips_everywhere())
    last = found.normal.nodes[-1]
    assert last == ((3, "skip_connect"), (4, "skip_connect"))
    assert skips(found.normal) == 2
    assert set(found.normal.graph().values()) == {"skip_connect", "sep_conv_3x3"}


def test_striking_a_skip_can_bring_in_another_edge():
    """Node 3: skips from 0 and 1, and a convolution from 2 that is next."""
    weights = torch.full((28, 8), 0.01)
    weights[:, 5] = 0.2
    weights[2, SKIP], weights[3, SKIP], weights[4, 4] = 0.3, 0.5, 0.25
    found = restrict_skips(weights, 1)
    assert found.normal.nodes[1] == ((1, "skip_connect"), (2, "sep_conv_3x3"))
    assert (weights[2, SKIP], weights[3, SKIP]) == (0.3, 0.5)  # not changed in place


def test_few_skips_are_left_alone():
    weights = softmax_weights(darts_architecture(spread=1.0))
    assert restrict_skips(weights, 8) == strongest_genotype(weights)


def test_stages_take_over_what_is_left_and_begin_anew():
    """Two short stages with all that a stage sets: depth, candidates, dropout."""
    built, rates = [], []

    def watched(cells):
        net = build(cells)
        built.append(net)
        net.cells[0].edges[5].candidates["skip_connect"].register_forward_pre_hook(
            lambda module, _: rates.append(module.p)
        )
        return net

    stages = [Stage(3, 8), Stage(4, 5, 0.4)]
    first, second = progressive_search(
        watched,
        tiny(),
        tiny(),
        epochs=2,
        stages=stages,
        warm_up=1,
        rates=Rates(architecture=0.1),
    )
    assert [len(net.cells) for net in built] == [3, 4]
    assert first.architecture.active.all()
    assert len(first.epochs) == len(second.epochs) == 2
    kept = first.architecture.logits.topk(5).indices.sort().values
    active = second.architecture.active.nonzero()[:, 1].view(28, 5)
    assert torch.equal(active, kept)
    moved = first.epochs[1].logits - first.epochs[0].logits
    assert (moved.abs() > 0.05).all()  # in the second epoch
    left = second.architecture.active
    assert second.epochs[0].logits[left].abs().max() < 0.01  # new in the first
    falling = [rate for rate in rates if rate]
    assert set(rates[: len(rates) - len(falling)]) == {0.0}
    assert sorted(set(falling)) == pytest.approx([0.2, 0.4])
    assert falling[0] == pytest.approx(0.2)
    found = restrict_skips(second.epochs[-1].weights)
    assert skips(found.normal) <= 2
    assert found_genotype(second.architecture).reduce == found.reduce


def test_what_cannot_be_is_named():
    calls = []
    parts = (lambda cells: calls.append(cells), tiny(), tiny())
    for stages in ([Stage(3, 5)], [Stage(3, 8), Stage(3, 3), Stage(3, 5)], []):
        with pytest.raises(ValueError, match="stages must begin with 8 candidates"):
            progressive_search(*parts, epochs=1, stages=stages)
    with pytest.raises(ValueError, match="warm_up must be from 0 to below 2, got 2"):
        progressive_search(*parts, epochs=2, warm_up=2)
    with pytest.raises(ValueError, match="most must be 0 or larger, got -1"):
        restrict_skips(torch.ones(28, 8), -1)
    with pytest.raises(ValueError, match="left must be at least 1, got 0"):
        narrow_(darts_architecture(), 0)
    only = torch.zeros(28, 8)
    only[:, SKIP] = 1
    with pytest.raises(ValueError, match="fewer than 2 edges"):
        restrict_skips(only)
    assert not calls
