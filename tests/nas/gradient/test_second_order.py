"""The unrolled gradient: against autograd through the step, and the paper's toy."""

from copy import deepcopy
from dataclasses import dataclass, replace

import pytest
import torch
from torch import nn
from torch.optim import SGD, Adam

from effdl.data.digits import small_digits
from effdl.nas.cell_space import OPERATIONS
from effdl.nas.gradient.architecture import Architecture
from effdl.nas.gradient.method import Method
from effdl.nas.gradient.mixed import MixedOperation
from effdl.nas.gradient.mixed_net import small_mixed_net
from effdl.nas.gradient.relaxations import sigmoid_weights, softmax_weights
from effdl.nas.gradient.search import search
from effdl.nas.gradient.second_order import (
    exact_second_order_gradient,
    mixed_derivative,
    second_order_gradient,
    second_order_step,
)
from effdl.nas.gradient.steps import (
    Searching,
    first_order_step,
    loss_alone,
    weight_step,
)
from effdl.seed import seeded


class Net(nn.Module):
    """Two edges of smooth operations, in a row."""

    def __init__(self):
        super().__init__()
        self.edges = nn.ModuleList(
            MixedOperation({"keep": nn.Identity(), "mix": nn.Linear(4, 4)})
            for _ in range(2)
        )
        self.norm = nn.BatchNorm1d(4)
        self.head = nn.Linear(4, 3)

    def forward(self, x, weights, runs=None):
        """Return three logits."""
        for edge, row in zip(self.edges, weights, strict=True):
            x = edge(x, row).tanh()
        return self.head(self.norm(x))


def begin(net, found, *, rate=0.2, **changes):
    """Return a search; exact inner steps unless changed."""
    sgd = SGD(net.parameters(), rate, momentum=0.9, weight_decay=0.01)
    adam = Adam(found.parameters(), 0.1, (0.5, 0.999), weight_decay=1e-3)
    parts = {"relax": softmax_weights, "objective": loss_alone, **changes}
    return Searching(net, found, parts["relax"], parts["objective"], sgd, adam)


def batch(count=12):
    return torch.randn(count, 4).double(), torch.arange(count) % 3


@pytest.fixture
def searching():
    net, found = Net().double(), Architecture([("keep", "mix")] * 2, spread=1).double()
    searching = begin(net, found)
    weight_step(searching, batch(), None)  # there is momentum
    return searching


def likes_the_first(loss, weights, searching):
    """An objective of loss, weights and logits."""
    return (
        2 * loss + weights[:, 0].sum() + 0.1 * (searching.architecture.logits**2).sum()
    )


@pytest.mark.parametrize("relax", [softmax_weights, sigmoid_weights])
@pytest.mark.parametrize("objective", [loss_alone, likes_the_first])
def test_the_difference_is_the_exact_gradient(searching, relax, objective):
    """Autograd through the step, momentum and decay included, in float64."""
    searching = replace(searching, relax=relax, objective=objective)
    pair = batch(), batch()
    [exact] = exact_second_order_gradient(searching, *pair)
    [found] = second_order_gradient(searching, *pair, radius=1e-4)
    torch.testing.assert_close(found, exact, rtol=1e-6, atol=1e-9)
    [first] = second_order_gradient(searching, *pair, rate=0)
    assert (first - exact).norm() > 0.01 * exact.norm()


def test_the_error_is_of_second_order_in_the_radius(searching):
    """Half of the radius: a quarter of the error."""
    pair = batch(), batch()
    [exact] = exact_second_order_gradient(searching, *pair)

    def error(radius):
        [found] = second_order_gradient(searching, *pair, radius=radius)
        return float((found - exact).norm())

    for radius in (0.1, 0.05):
        assert error(radius) / error(radius / 2) == pytest.approx(4, rel=0.05)


def test_the_exact_gradient_is_that_of_the_loss_after_a_real_step(searching):
    """Move every logit, take the step of w with SGD itself, and compare losses."""
    train, validation = batch(), batch()
    searching.clip = 1e9
    [exact] = exact_second_order_gradient(searching, train, validation)

    def loss_after(move):
        trial = deepcopy(searching)
        with torch.no_grad():
            trial.architecture.logits.add_(move)
        weight_step(trial, train, None)
        with torch.no_grad():
            return trial.loss(validation, trial.weights())

    moves = 1e-5 * torch.eye(4).double().view(4, 2, 2)
    slopes = [(loss_after(move) - loss_after(-move)) / 2e-5 for move in moves]
    torch.testing.assert_close(
        torch.stack(slopes).view(2, 2), exact, rtol=1e-5, atol=1e-8
    )


def test_the_exact_gradient_takes_a_rate(searching):
    pair = batch(), batch()
    [found] = second_order_gradient(searching, *pair, rate=0.7, radius=1e-4)
    [exact] = exact_second_order_gradient(searching, *pair, rate=0.7)
    torch.testing.assert_close(found, exact, rtol=1e-6, atol=1e-9)


def test_without_a_step_ahead_it_is_the_first_order_to_the_bit(searching):
    """And both move everything alike: xi is the learning rate, here 0."""
    searching.weight_optimizer.param_groups[0]["lr"] = 0.0
    other, pair = deepcopy(searching), (batch(), batch())
    losses = first_order_step(searching, *pair), second_order_step(other, *pair)
    assert losses[0] == losses[1]
    assert torch.equal(searching.architecture.logits, other.architecture.logits)
    pairs = zip(
        searching.supernet.parameters(), other.supernet.parameters(), strict=True
    )
    assert all(torch.equal(one, two) for one, two in pairs)


def test_the_step_moves_alpha_along_the_gradient_and_then_w(searching):
    other, pair = deepcopy(searching), (batch(), batch())
    loss = second_order_step(searching, *pair)
    other.move_architecture_(second_order_gradient(other, *pair))
    assert loss == weight_step(other, *pair)
    assert torch.equal(searching.architecture.logits, other.architecture.logits)
    assert torch.equal(searching.supernet.head.weight, other.supernet.head.weight)


def test_the_step_takes_the_difference_within_its_radius(searching):
    searching.architecture_optimizer = SGD(searching.architecture.parameters(), 1.0)
    other, pair = deepcopy(searching), (batch(), batch())
    second_order_step(searching, *pair, radius=1.0)
    other.move_architecture_(second_order_gradient(other, *pair, radius=1.0))
    assert torch.equal(searching.architecture.logits, other.architecture.logits)


def test_the_gradient_changes_nothing(searching):
    before = deepcopy(searching.supernet.state_dict())
    second_order_gradient(searching, batch(), batch())
    for name, value in searching.supernet.state_dict().items():
        assert torch.equal(value, before[name])
    parameters = (*searching.supernet.parameters(), searching.architecture.logits)
    assert all(p.grad is None for p in parameters)


def test_one_draw_serves_for_the_whole_gradient(searching):
    draws = []

    def relax(architecture, _progress):
        draws.append(1)
        noise = torch.rand_like(architecture.logits)
        return (architecture.masked_logits() + noise).softmax(dim=1)

    drawn, pair = replace(searching, relax=relax), (batch(), batch())
    with seeded(5):
        [found] = second_order_gradient(drawn, *pair, radius=1e-4)
    assert len(draws) == 1
    with seeded(5):
        [exact] = exact_second_order_gradient(drawn, *pair)
    torch.testing.assert_close(found, exact, rtol=1e-6, atol=1e-9)


def test_a_dropped_candidate_has_no_gradient_and_the_rest_is_exact(searching):
    searching.architecture.keep_(0, ["mix"])
    pair = batch(), batch()
    [found] = second_order_gradient(searching, *pair, radius=1e-4)
    [exact] = exact_second_order_gradient(searching, *pair)
    assert found[0].tolist() == [0.0, 0.0]
    torch.testing.assert_close(found, exact, rtol=1e-6, atol=1e-9)


def test_a_central_difference_is_exact_for_a_quadratic():
    """s(w) = (w_1 w_2, w_2^2) along (3, 4) at (1, 2): (2 * 3 + 1 * 4, 2 * 2 * 4)."""

    def slope(at):
        return torch.stack((at["one"] * at["two"], at["two"] ** 2))

    point = {"one": torch.tensor(1.0).double(), "two": torch.tensor(2.0).double()}
    along = {"one": torch.tensor(3.0).double(), "two": torch.tensor(4.0).double()}
    for radius in (10.0, 0.01):
        found = mixed_derivative(slope, point, along, radius=radius)
        torch.testing.assert_close(found, torch.tensor([10.0, 16.0]).double())


def test_the_two_points_are_a_radius_away_on_either_side():
    """Along (3, 4), of length 5, by 0.01: (0.006, 0.008)."""
    seen = []

    def slope(at):
        seen.append([at["one"].item(), at["two"].item()])
        return at["one"]

    zero = torch.tensor(0.0).double()
    along = {"one": torch.tensor(3.0).double(), "two": torch.tensor(4.0).double()}
    mixed_derivative(slope, {"one": zero, "two": zero}, along)
    assert seen[0] == pytest.approx([0.006, 0.008])
    assert seen[1] == pytest.approx([-0.006, -0.008])


def test_a_jump_between_the_points_counts_the_more_the_closer_they_are():
    """As the slope of a ReLU at 0.005 before its edge: flat, and yet 1 / 0.02 = 50."""

    def slope(at):
        return (at["w"] > 0).double()

    point, along = {"w": torch.tensor(-0.005)}, {"w": torch.tensor(1.0)}
    found = [
        mixed_derivative(slope, point, along, radius=radius).item()
        for radius in (0.1, 0.01, 0.001)
    ]
    assert found == pytest.approx([5.0, 50.0, 0.0])


def test_along_nothing_the_derivative_is_zero():
    point = {"w": torch.ones(2)}
    found = mixed_derivative(lambda at: at["w"] * 3, point, {"w": torch.zeros(2)})
    assert found.tolist() == [0.0, 0.0]


class Number(nn.Module):
    """The w of the paper's toy."""

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.tensor(-2.0).double())

    def forward(self, x, weights):
        """Return w."""
        return self.w + 0 * x


@dataclass
class ToySearching(Searching):
    """Losses of w and alpha instead of cross-entropies; the batch says which."""

    def loss(self, batch, weights):
        """Return one of the toy's two losses."""
        w, alpha = self.supernet(torch.tensor(0.0), weights), weights[0, 0]
        if batch == "train":
            return w**2 - 2 * alpha * w + alpha**2
        return alpha * w - 2 * alpha + 1


@pytest.mark.parametrize(
    ("step", "end"), [(first_order_step, 2), (second_order_step, 1)]
)
def test_on_the_toy_of_the_paper_only_second_order_finds_the_solution(step, end):
    """From alpha = 2, w = -2 with xi = 1/2, where w' = alpha."""
    net, found = Number(), Architecture([("alpha",)]).double()
    nn.init.constant_(found.logits, 2.0)
    sgd, slow = SGD(net.parameters(), 0.5), SGD(found.parameters(), 0.1)
    searching = ToySearching(
        net, found, lambda a, _: a.logits, loss_alone, sgd, slow, clip=1e9
    )
    for radius in (3.0, 0.01):  # bilinear in w and alpha: no error at any
        [slope] = second_order_gradient(searching, "train", "judge", radius=radius)
        assert slope.item() == pytest.approx(2 * (2 - 1))
    for _ in range(150):
        step(searching, "train", "judge")
    assert found.logits.item() == pytest.approx(end)
    assert net.w.item() == pytest.approx(end)


def test_it_searches_the_small_network():
    digits = small_digits(n_train=64, n_validation=64)
    net, found = small_mixed_net(), Architecture([OPERATIONS] * 6)
    before = found.logits.detach().clone()
    method = Method(step=second_order_step)
    parts = [part.batches(32) for part in digits[:2]]
    [epoch] = search(net, found, *parts, epochs=1, method=method)
    assert epoch.loss > 0
    assert (found.logits != before).all()
