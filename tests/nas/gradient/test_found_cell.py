"""From logits to one of the benchmark's cells, and what inherited weights are worth."""

import numpy as np
import pytest
import torch
from torch import nn

from effdl.data.digits import Split
from effdl.nas.cell_space import OPERATIONS, Cell, sample_cell
from effdl.nas.gradient.architecture import Architecture
from effdl.nas.gradient.found_cell import found_cell, inherited_accuracy
from effdl.nas.gradient.mixed_net import small_mixed_net
from effdl.nas.shared_cell import choose_path_, small_supernet

CELLS = [sample_cell(np.random.default_rng(seed)) for seed in range(8)]


class Table(nn.Module):
    """Logits that are one of two tables, chosen by the weights."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def forward(self, x, weights, _runs=None):
        """Return (N, 3): class x if the weights are [[1]], else class 0."""
        self.calls.append((self.training, torch.is_grad_enabled(), len(x), weights))
        numbers = x.flatten().long() if weights.item() == 1 else 0 * x.flatten().long()
        return torch.eye(3)[numbers]


def numbered():
    """Seven inputs whose class is their number, but for the last."""
    targets = torch.tensor([0, 1, 2, 0, 1, 2, 0])
    inputs = torch.tensor([0.0, 1, 2, 0, 1, 2, 2]).view(7, 1, 1, 1)
    return Split(inputs, targets)


@pytest.mark.parametrize("cell", [c for c in CELLS if c.count("none") == 0], ids=str)
def test_logits_that_encode_a_cell_give_it_back(cell):
    architecture = Architecture([OPERATIONS] * 6)
    architecture.logits.data = 5 * architecture.one_hot(cell.operations)
    assert found_cell(architecture) == cell


def test_the_strongest_of_each_edge_by_hand():
    """On edge e the logit of operation (e mod 5) is 1: none gives way to the second."""
    architecture = Architecture([OPERATIONS] * 6)
    architecture.logits.data = torch.zeros(6, 5)
    for edge in range(6):
        architecture.logits.data[edge, edge % 5] = 1.0
    architecture.logits.data[0, 4] = architecture.logits.data[5, 2] = 0.5
    expected = [OPERATIONS[k] for k in (4, 1, 2, 3, 4, 2)]
    assert found_cell(architecture) == Cell(tuple(expected))


def test_none_stays_only_where_nothing_else_is_left():
    architecture = Architecture([OPERATIONS] * 6)
    architecture.keep_(3, ["none"])
    assert found_cell(architecture).operations[3] == "none"
    assert found_cell(architecture).count("none") == 1


def test_candidates_may_be_a_part_of_the_space_in_another_order():
    architecture = Architecture([("nor_conv_3x3", "skip_connect")] * 6, spread=0)
    architecture.logits.data[2, 1] = 1.0
    assert found_cell(architecture).operations == (
        *("nor_conv_3x3", "nor_conv_3x3", "skip_connect"),
        *("nor_conv_3x3",) * 3,
    )


def test_accuracy_is_the_share_of_hits_over_all_batches():
    """6 of 7; with other weights the three inputs of class 0."""
    table = Table()
    one = torch.ones(1, 1)
    for size in (1, 2, 3, 500):
        found = inherited_accuracy(table, one, numbered(), batch_size=size)
        assert found == pytest.approx(6 / 7)
    assert inherited_accuracy(table, 0 * one, numbered()) == pytest.approx(3 / 7)
    assert [n for _, _, n, _ in table.calls[-2:]] == [7, 7]


def test_it_scores_in_eval_mode_without_gradients_and_leaves_the_mode():
    table = Table().train()
    weights = torch.ones(1, 1, requires_grad=True)
    inherited_accuracy(table, weights, numbered(), batch_size=4)
    assert [call[:3] for call in table.calls] == [(False, False, 4), (False, False, 3)]
    assert all(not call[3].requires_grad for call in table.calls)
    assert table.training
    inherited_accuracy(table.eval(), weights, numbered())
    assert not table.training


def test_one_hot_weights_score_as_the_path_of_the_shared_network():
    """Against the other supernet of this book, with the same weights."""
    names = ("skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
    net, shared = small_mixed_net(names), small_supernet()
    for ours, theirs in zip(net.layers, shared.features, strict=True):
        state = {
            key.replace("candidates.", ""): value
            for key, value in ours.state_dict().items()
        }
        theirs.load_state_dict(state, strict=False)  # but scales of 1, shifts of 0
    shared.classifier.load_state_dict(net.classifier.state_dict())
    split = Split(torch.randn(60, 1, 12, 12), torch.arange(60) % 10)
    cell = Cell(("nor_conv_3x3", "skip_connect", "avg_pool_3x3") * 2)
    choose_path_(shared, cell)
    expected = (shared(split.inputs).argmax(1) == split.targets).float().mean().item()
    weights = Architecture([names] * 6).one_hot(cell.operations)
    found = inherited_accuracy(net, weights, split)
    assert found == pytest.approx(expected)


def test_another_number_of_edges_is_named():
    for edges in (5, 7, 28):
        with pytest.raises(
            ValueError, match=f"architecture must have 6 edges, .* got {edges}"
        ):
            found_cell(Architecture([OPERATIONS] * edges))
