"""EPE-NAS against numpy and loops, against values by hand, and in both its forms."""

import copy
import math

import numpy as np
import pytest
import torch
from torch import nn

from effdl.nas.cell_net import small_cell_net
from effdl.nas.cell_space import Cell
from effdl.nas.proxies.epe import class_scores, epe_score, mean_contrast

K = 1e-5
CELL = Cell.parse(
    "|nor_conv_3x3~0|+|skip_connect~0|nor_conv_1x1~1|"
    "+|avg_pool_3x3~0|none~1|nor_conv_3x3~2|"
)


def definition(net: nn.Module, x: torch.Tensor, targets: list[int]) -> float:
    """Loops over classes and pairs, numpy.corrcoef for every class anew."""
    x = x.clone().requires_grad_()
    logits = copy.deepcopy(net).train()(x)
    logits.sum().backward()
    rows = x.grad.flatten(1).double().numpy()
    many = logits.shape[1] > 100
    s = {}
    for c in set(targets):
        alike = np.atleast_2d(np.corrcoef(rows[[t == c for t in targets]]))
        s[c] = sum(math.log(abs(value) + K) for value in alike.flat)
        if many:
            s[c] /= len(alike)
    if not many:
        return sum(abs(value) for value in s.values())
    return sum(abs(s[c] - s[d]) for c in s for d in s) / len(s)


class Classes(nn.Module):
    """As many logits as wanted, from a small network of cells."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.net = small_cell_net(CELL)
        self.net.classifier = nn.Linear(16, classes)

    def forward(self, x):
        """Return logits (N, classes)."""
        return self.net(x)


@pytest.mark.parametrize("classes", [10, 100, 101])
def test_score_is_the_definition_written_out(classes):
    """The second form begins above 100 logits; class 7 has one image."""
    net, x = Classes(classes), torch.randn(9, 1, 12, 12)
    targets = [3, 0, 3, 9, 9, 3, 0, 7, 9]
    expected = definition(net, x, targets)
    assert epe_score(net, x, torch.tensor(targets)) == pytest.approx(expected, rel=1e-6)


def test_one_image_of_each_class_scores_next_to_nothing():
    """Ten correlations of 1 with itself: 10 log(1 + k)."""
    score = epe_score(
        small_cell_net(CELL), torch.randn(10, 1, 12, 12), torch.arange(10)
    )
    assert score == pytest.approx(10 * math.log(1 + K), rel=1e-9)


def test_equal_images_score_next_to_nothing():
    """Two classes of three: 18 correlations of 1."""
    x = torch.randn(2, 1, 12, 12).repeat_interleave(3, dim=0)
    score = epe_score(small_cell_net(CELL), x, torch.tensor([0, 0, 0, 1, 1, 1]))
    assert score == pytest.approx(18 * math.log(1 + K), abs=1e-6)


class Squares(nn.Module):
    """One logit, half the square of the input: the gradient is the input."""

    def forward(self, x):
        """Return (N, 1) for (N, d)."""
        return x.square().sum(dim=1, keepdim=True) / 2


def test_uncorrelated_images_of_a_class_by_hand():
    """Two in class 4: 2 log k + 2 log(1 + k) = -23.03; one in class 5: log(1 + k).

    Absolute values are added: they do not cancel.
    """
    x = torch.tensor([[1.0, 1, -1, -1], [1, -1, 1, -1], [1, -1, -1, 1]])
    expected = -2 * math.log(K) - 2 * math.log(1 + K) + math.log(1 + K)
    score = epe_score(Squares(), x, torch.tensor([4, 4, 5]))
    assert score == pytest.approx(expected, abs=1e-9)


def test_opposite_gradients_count_as_equal_ones():
    x = torch.tensor([[1.0, 2, 3, 0], [-1, -2, -3, 0]])
    assert epe_score(Squares(), x, torch.tensor([0, 0])) == pytest.approx(
        4 * math.log(1 + K), abs=1e-9
    )


def test_contrast_by_hand():
    """|0 - 3| twice, over 2 scores; alone there is no contrast."""
    assert mean_contrast([0.0, 3.0]) == 3.0
    assert mean_contrast([5.0]) == 0.0


def test_class_scores_come_in_the_order_of_the_classes():
    alike = torch.tensor([[1.0, 0, 0.5], [0, 1, 0], [0.5, 0, 1]], dtype=torch.float64)
    zero, one = class_scores(alike, torch.tensor([1, 0, 1]))
    assert zero == pytest.approx(math.log(1 + K))
    assert one == pytest.approx(2 * math.log(1 + K) + 2 * math.log(0.5 + K))


def test_a_repeated_batch_scores_four_times_as_much():
    """Every pair of images is there four times."""
    net, x = small_cell_net(CELL).double(), torch.randn(6, 1, 12, 12).double()
    y = torch.tensor([0, 1, 0, 1, 0, 2])
    twice = epe_score(net, torch.cat((x, x)), torch.cat((y, y)))
    assert twice == pytest.approx(4 * epe_score(net, x, y), rel=1e-9)


def test_order_and_names_of_the_classes_do_not_matter():
    net, x = small_cell_net(CELL).double(), torch.randn(6, 1, 12, 12).double()
    y = torch.tensor([0, 1, 0, 1, 0, 2])
    score = epe_score(net, x, y)
    assert epe_score(net, x.flip(0), y.flip(0)) == pytest.approx(score, rel=1e-9)
    assert epe_score(net, x, 9 - y) == pytest.approx(score, rel=1e-9)
    assert epe_score(net, x, y.flip(0)) != pytest.approx(score, rel=1e-3)


def test_the_model_comes_back_as_it_was():
    net = small_cell_net(CELL).eval()
    before = copy.deepcopy(net.state_dict())
    epe_score(net, torch.randn(4, 1, 12, 12), torch.tensor([0, 1, 0, 1]))
    torch.testing.assert_close(net.state_dict(), before, rtol=0, atol=0)
    assert not any(m.training for m in net.modules())
    assert all(p.grad is None for p in net.parameters())


@pytest.mark.parametrize(
    "targets", [torch.zeros(3).long(), torch.zeros(4), torch.zeros(4, 1).long()]
)
def test_targets_that_do_not_fit_are_named(targets):
    message = "targets must be 4 whole numbers, one for every image, got torch"
    with pytest.raises(ValueError, match=message):
        epe_score(small_cell_net(CELL), torch.randn(4, 1, 12, 12), targets)


def test_a_network_without_gradient_is_named():
    net = small_cell_net(Cell(("none",) * 6))
    with pytest.raises(ValueError, match="is its gradient 0"):
        epe_score(net, torch.randn(2, 1, 12, 12), torch.tensor([0, 0]))
