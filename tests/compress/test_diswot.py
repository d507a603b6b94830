"""DisWOT: Gram matrices of inputs and of classes, at initialisation."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from effdl.blocks import plain_mlp, plain_net
from effdl.compress.diswot import Views, diswot_score, views
from effdl.nets.mobilenet_v2 import small_mobilenet_v2


@pytest.fixture
def batch():
    return torch.randn(12, 1, 16, 16), torch.arange(12) % 10


def unit_rows(matrix):
    return torch.stack([row / row.norm() for row in matrix])


def test_both_matrices_are_products_of_rows_written_out(batch):
    """The slope of cross-entropy is the mean of (q - one hot) times the features."""
    x, y = batch
    net = plain_net(2)
    seen = views(net, x, y, "4")
    maps = net[:5](x).detach()
    samples = torch.stack([torch.stack([(a * b).sum() for b in maps]) for a in maps])
    torch.testing.assert_close(seen.samples, unit_rows(samples))
    pooled = maps.mean(dim=(2, 3))
    q = net[7](pooled).softmax(dim=1).detach()
    slope = (q - F.one_hot(y, 10)).T @ pooled / 12
    torch.testing.assert_close(seen.classes, unit_rows(slope @ slope.T))


def test_the_score_by_hand():
    """Half the entries differ by 1 in the one, one in four by 2 in the other."""
    t = Views(torch.tensor([[1.0, 0], [0, 1]]), torch.tensor([[1.0, 0], [0, 1]]))
    s = Views(torch.tensor([[1.0, 0], [1, 0]]), torch.tensor([[1.0, 0], [0, -1]]))
    assert diswot_score(t, s) == -(0.5 + 1.0)


def listed(teacher, student):
    """Return the class term of the authors' listing: channels times channels."""
    t, s = (F.normalize(g[:, :, None] * g[:, None], dim=2) for g in (teacher, student))
    return float((s - t).square().sum()) / (s.shape[0] * s.shape[1])


def test_the_order_of_channels_does_not_matter_but_does_in_the_listing(batch):
    net, other = plain_net(2), plain_net(2)
    turned = copy.deepcopy(net)
    order = torch.tensor([7, 0, 1, 2, 3, 4, 5, 6])
    with torch.no_grad():
        turned[4][0].weight.copy_(net[4][0].weight[order])
        turned[7].weight.copy_(net[7].weight[:, order])
    torch.testing.assert_close(net(batch[0]), turned(batch[0]))
    one, two, teacher = (views(n, *batch, "4") for n in (net, turned, other))
    assert diswot_score(teacher, one) == pytest.approx(diswot_score(teacher, two))
    slope, target = torch.randn(10, 8), torch.randn(10, 8)
    assert abs(listed(target, slope) - listed(target, slope[:, order])) > 0.01


def test_a_network_agrees_with_itself_and_the_score_is_symmetrical(batch):
    one, two = (views(plain_net(w), *batch, "4") for w in (2, 4))
    assert diswot_score(one, one) == 0
    assert diswot_score(one, two) == diswot_score(two, one) < 0


def test_the_scale_of_the_features_does_not_matter(batch):
    net = nn.Sequential(nn.Flatten(), nn.Linear(256, 8), nn.ReLU(), nn.Linear(8, 10))
    net[3].weight.data.zero_()  # else the logits grow with the features
    net[1].bias.data.zero_()
    before = views(net, *batch, "2")
    net[1].weight.data.mul_(3)
    for one, other in zip(before, views(net, *batch, "2"), strict=True):
        torch.testing.assert_close(one, other)


def test_networks_of_other_kinds_can_be_compared(batch):
    seen = [
        views(plain_net(2), *batch, "4"),
        views(plain_mlp(), *batch, "4"),
        views(small_mobilenet_v2().eval(), *batch, "features"),
    ]
    for one in seen:
        assert one.samples.shape == (12, 12)
        assert one.classes.shape == (10, 10)
        rows = torch.cat([part.norm(dim=1) for part in one])
        torch.testing.assert_close(rows, torch.ones(22))
    assert diswot_score(seen[0], seen[1]) < 0


def test_the_network_comes_back_unchanged(batch):
    net = plain_net(2)
    before = copy.deepcopy(net.state_dict())
    seen = views(net, *batch, "4")
    for name, value in net.state_dict().items():
        assert torch.equal(value, before[name])
    assert all(p.grad is None for p in net.parameters())
    assert net.training
    assert not any(part.requires_grad for part in seen)
    with torch.no_grad():
        again = views(net, *batch, "4")
    assert torch.equal(again.classes, seen.classes)


def test_bad_input_is_refused(batch):
    x, y = batch
    with pytest.raises(ValueError, match="'9', which is no layer"):
        views(plain_net(2), x, y, "9")
    headless = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten())
    with pytest.raises(ValueError, match="'0', is a Conv2d; it must be linear"):
        views(headless, x, y, "0")
    eye = torch.eye(3)
    with pytest.raises(ValueError, match="different samples, 3 and 2"):
        diswot_score(Views(eye, eye), Views(torch.eye(2), eye))
    with pytest.raises(ValueError, match="different classes, 3 and 4"):
        diswot_score(Views(eye, eye), Views(eye, torch.eye(4)))
