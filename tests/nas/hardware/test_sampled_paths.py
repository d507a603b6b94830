"""Paths: how often each is drawn, and which weights a step moves."""

import pytest
import torch
from torch import nn
from torch.optim import SGD, Adam

from effdl.nas.gradient.architecture import Architecture
from effdl.nas.gradient.mixed_net import small_mixed_net
from effdl.nas.gradient.relaxations import softmax_weights
from effdl.nas.gradient.steps import Searching, first_order_step, loss_alone
from effdl.nas.hardware.sampled_paths import (
    path_by_softmax,
    step_on_paths,
    uniform_path,
)
from effdl.seed import seeded

NAMES = ("skip_connect", "nor_conv_1x1", "nor_conv_3x3")
DRAWS = 3000


def one_edge(*logits):
    """Return an architecture of one edge with given logits."""
    found = Architecture([tuple("abcdef"[: len(logits)])], spread=0)
    with torch.no_grad():
        found.logits[0] = torch.tensor(logits)
    return found


def frequencies(draw):
    """Return how often each candidate of one edge is drawn."""
    return torch.cat([draw() for _ in range(DRAWS)]).mean(dim=0)


def test_softmax_paths_come_as_often_as_the_softmax_says():
    found = one_edge(0.0, 1.0, -1.0)
    shares = found.logits[0].detach().softmax(dim=0)
    drawn = frequencies(lambda: path_by_softmax(found))
    assert (drawn - shares).abs().max() < 4 * 0.5 / DRAWS**0.5


def test_the_argmax_of_gumbel_samples_is_drawn_as_often_at_any_temperature():
    """With torch's own: what a program does that samples and takes the largest."""
    found = one_edge(0.0, 1.0, -1.0)
    shares = frequencies(lambda: path_by_softmax(found))
    for tau in (0.1, 5.0):
        rows = found.logits.detach().expand(DRAWS, 3)
        soft = torch.nn.functional.gumbel_softmax(rows, tau)
        largest = torch.eye(3)[soft.argmax(dim=1)].mean(dim=0)
        assert (largest - shares).abs().max() < 6 * 0.5 / DRAWS**0.5


def test_uniform_paths_do_not_mind_the_logits():
    found = one_edge(0.0, 9.0, -9.0)
    drawn = frequencies(lambda: uniform_path(found))
    assert (drawn - 1 / 3).abs().max() < 4 * 0.5 / DRAWS**0.5


def test_a_second_path_shares_no_candidate_with_the_first():
    found = Architecture([("a", "b", "c")] * 6)
    for _ in range(20):
        first = path_by_softmax(found)
        second = uniform_path(found, without=first)
        assert not (first * second).any()
        assert second.sum(dim=1).tolist() == [1.0] * 6


def test_an_edge_with_nothing_else_takes_it_again():
    found = Architecture([("a",), ("a", "b")])
    first = path_by_softmax(found)
    second = uniform_path(found, without=first)
    assert second[0].tolist() == [1.0, 0.0]
    assert second[1].tolist() == [*first[1].flip(0)]


@pytest.mark.parametrize("draw", [path_by_softmax, uniform_path])
def test_inactive_candidates_are_never_drawn(draw):
    found = Architecture([("a", "b", "c"), ("a",)])
    found.keep_(0, ["a", "c"])
    drawn = torch.stack([draw(found) for _ in range(50)]).sum(dim=0)
    assert drawn[0, 1] == 0
    assert drawn[1].tolist() == [50, 0, 0]
    assert (drawn[0, [0, 2]] > 0).all()


def test_paths_have_no_gradient():
    found = Architecture([("a", "b")])
    assert not path_by_softmax(found).requires_grad
    assert not uniform_path(found).requires_grad


def a_search(supernet=None):
    """Return a search of the small network, at its start."""
    net = supernet or small_mixed_net(NAMES)
    found = Architecture([NAMES] * 6)
    return Searching(
        net,
        found,
        softmax_weights,
        loss_alone,
        SGD(net.parameters(), 0.1),
        Adam(found.parameters(), 0.01),
        clip=1e9,
    )


def a_batch(n=12):
    """Return random images and classes."""
    return torch.randn(n, 1, 12, 12), torch.arange(n) % 10


def test_the_architecture_moves_as_in_darts():
    """Paths concern w only."""
    batches = a_batch(), a_batch()
    ends = []
    for step in (first_order_step, step_on_paths(lambda a: [uniform_path(a)])):
        with seeded(3):
            searching = a_search()
        step(searching, *batches)
        ends.append(searching.architecture.logits.detach().clone())
    assert torch.equal(*ends)


def test_the_architecture_heeds_the_objective():
    """One that says nothing of the loss: the first candidate's logits must fall."""
    searching = a_search()
    searching.objective = lambda _loss, weights, _searching: weights[:, 0].sum()
    before = searching.architecture.logits.detach().clone()
    step_on_paths(lambda a: [uniform_path(a)])(searching, a_batch(), a_batch())
    moved = searching.architecture.logits.detach() - before
    assert (moved[:, 0] < 0).all()
    assert (moved[:, 1:] > 0).all()


def test_the_weights_move_by_the_sum_of_the_paths_losses():
    with seeded(3):
        searching = a_search()
    with seeded(3):
        by_hand = a_search()
    paths = [searching.architecture.one_hot([name] * 6) for name in NAMES[1:]]
    train, validation = a_batch(), a_batch()
    mean = step_on_paths(lambda _: paths)(searching, train, validation)
    losses = [by_hand.loss(train, path) for path in paths]
    (losses[0] + losses[1]).backward()
    by_hand.weight_optimizer.step()
    for one, other in zip(
        searching.supernet.parameters(), by_hand.supernet.parameters(), strict=True
    ):
        torch.testing.assert_close(one, other)
    assert mean == pytest.approx((losses[0] + losses[1]).item() / 2)


def test_what_is_on_no_path_stays():
    searching = a_search()
    path = searching.architecture.one_hot(["nor_conv_1x1"] * 6)
    before = {n: p.clone() for n, p in searching.supernet.named_parameters()}
    step_on_paths(lambda _: [path])(searching, a_batch(), a_batch())
    for name, p in searching.supernet.named_parameters():
        assert torch.equal(p, before[name]) == ("nor_conv_3x3" in name)


def test_each_draw_sees_the_architecture_of_its_step():
    seen = []

    def draw(architecture):
        seen.append(architecture.logits.detach().clone())
        return [uniform_path(architecture)]

    searching = a_search()
    start = searching.architecture.logits.detach().clone()
    step_on_paths(draw)(searching, a_batch(), a_batch())
    [then] = seen
    assert not torch.equal(then, start)  # alpha has moved before w
    assert torch.equal(then, searching.architecture.logits)


def test_a_loss_that_is_not_finite_stops_the_search():
    net = small_mixed_net(NAMES)
    nn.init.constant_(net.classifier.bias, float("nan"))
    step = step_on_paths(lambda a: [uniform_path(a)])
    with pytest.raises(FloatingPointError, match="loss is nan"):
        step(a_search(net), a_batch(), a_batch())
