"""jacov against numpy, against values by hand, and under repeated batches."""

import copy
import math

import numpy as np
import pytest
import torch
from torch import nn

from effdl.nas.cell_net import small_cell_net
from effdl.nas.cell_space import Cell
from effdl.nas.proxies.jacov import eigenvalue_score, jacov_score

K = 1e-5
CELL = Cell.parse(
    "|nor_conv_3x3~0|+|skip_connect~0|nor_conv_1x1~1|"
    "+|avg_pool_3x3~0|none~1|nor_conv_3x3~2|"
)


def definition(net: nn.Module, x: torch.Tensor) -> float:
    """Gradients, numpy.corrcoef, eigenvalues, a loop over them."""
    x = x.clone().requires_grad_()
    copy.deepcopy(net).train()(x).sum().backward()
    rows = x.grad.flatten(1).double().numpy()
    total = 0.0
    for v in np.linalg.eigvalsh(np.corrcoef(rows)):
        total += math.log(v + K) + 1 / (v + K)
    return -total


def test_score_is_the_definition_written_out():
    net, x = small_cell_net(CELL), torch.randn(12, 1, 12, 12)
    assert jacov_score(net, x) == pytest.approx(definition(net, x), rel=1e-6)


class Squares(nn.Module):
    """One logit, half the square of the input: the gradient is the input."""

    def forward(self, x):
        """Return (N, 1) for (N, d)."""
        return x.square().sum(dim=1, keepdim=True) / 2


def test_gradients_without_correlation_score_the_most():
    """Four orthogonal rows of a Hadamard matrix: all v = 1, S = -4 (log(1+k) + ...)."""
    x = torch.tensor([
        [1.0, 1, 1, 1, -1, -1, -1, -1],
        [1, 1, -1, -1, 1, 1, -1, -1],
        [1, -1, 1, -1, 1, -1, 1, -1],
        [1, -1, -1, 1, 1, -1, -1, 1],
    ])
    best = -4 * (math.log(1 + K) + 1 / (1 + K))
    assert jacov_score(Squares(), x) == pytest.approx(best, rel=1e-12)
    assert best == pytest.approx(-4, abs=1e-8)
    for _ in range(20):
        assert jacov_score(Squares(), torch.randn(4, 8)) < best


def test_two_images_by_hand():
    """Rows (1, 0, 0) and (0, 1, 0) correlate with -1/2: v = 1/2 and 3/2."""
    expected = -sum(math.log(v + K) + 1 / (v + K) for v in (0.5, 1.5))
    assert jacov_score(Squares(), torch.eye(3)[:2]) == pytest.approx(expected)


def test_a_linear_network_scores_the_least():
    """All gradients are equal: v = 8 once and 0 seven times."""
    least = -(math.log(8 + K) + 1 / (8 + K)) - 7 * (math.log(K) + 1 / K)
    x = torch.randn(8, 5)
    assert jacov_score(nn.Linear(5, 3), x) == pytest.approx(least)
    assert jacov_score(Squares(), x) > least


def test_a_repeated_batch_doubles_eigenvalues_and_adds_zeros():
    net, x = small_cell_net(CELL).double(), torch.randn(5, 1, 12, 12).double()
    images = x.clone().requires_grad_()
    net(images).sum().backward()
    v = np.linalg.eigvalsh(np.corrcoef(images.grad.flatten(1).numpy()))
    terms = np.log(2 * v + K) + 1 / (2 * v + K)
    expected = -terms.sum() - 5 * (math.log(K) + 1 / K)
    assert jacov_score(net, torch.cat((x, x))) == pytest.approx(expected, rel=1e-9)


def test_the_order_of_the_images_does_not_matter():
    net, x = small_cell_net(CELL).double(), torch.randn(6, 1, 12, 12).double()
    assert jacov_score(net, x.flip(0)) == pytest.approx(jacov_score(net, x), rel=1e-9)


def test_all_gradients_times_a_number_change_nothing():
    """Nor does a shift: both drop out of a correlation."""
    x = torch.randn(6, 9)
    assert jacov_score(Squares(), 3 * x + 1) == pytest.approx(
        jacov_score(Squares(), x), rel=1e-4
    )


def test_the_model_comes_back_as_it_was():
    net = small_cell_net(CELL).eval()
    before = copy.deepcopy(net.state_dict())
    jacov_score(net, torch.randn(4, 1, 12, 12))
    torch.testing.assert_close(net.state_dict(), before, rtol=0, atol=0)
    assert not any(m.training for m in net.modules())
    assert all(p.grad is None for p in net.parameters())


def test_an_eigenvalue_below_0_by_rounding_counts_as_0():
    rounded = torch.diag(torch.tensor([2.0, -2e-5]))
    exact = torch.diag(torch.tensor([2.0, 0.0]))
    assert eigenvalue_score(rounded) == eigenvalue_score(exact)


@pytest.mark.parametrize(
    ("model", "inputs", "message"),
    [
        (nn.Linear(2, 1), torch.zeros(0, 2), "empty batch"),
        (nn.Linear(1, 3), torch.zeros(2, 1), "row 0 is the same in all 1 places"),
        (small_cell_net(Cell(("none",) * 6)), torch.zeros(2, 1, 12, 12), "gradient 0"),
    ],
)
def test_what_has_no_score_is_named(model, inputs, message):
    with pytest.raises(ValueError, match=message):
        jacov_score(model, inputs)
