"""One step of a search: what moves, by which gradient, and what is left behind."""

from copy import deepcopy
from dataclasses import dataclass, replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.optim import SGD, Adam

from effdl.nas.gradient.architecture import Architecture
from effdl.nas.gradient.bilevel_toys import toy_end_together, toy_training
from effdl.nas.gradient.mixed import MixedOperation
from effdl.nas.gradient.relaxations import softmax_weights
from effdl.nas.gradient.steps import (
    Searching,
    first_order_step,
    loss_alone,
    one_level_step,
    weight_step,
)

STEPS = [first_order_step, one_level_step, weight_step]


class Net(nn.Module):
    """One edge, which keeps x or maps it, and a head."""

    def __init__(self):
        super().__init__()
        self.edge = MixedOperation({"keep": nn.Identity(), "mix": nn.Linear(3, 3)})
        self.head = nn.Linear(3, 2)

    def forward(self, x, weights, runs=None):
        """Return two logits."""
        return self.head(self.edge(x, weights[0]).tanh())


@pytest.fixture
def searching():
    net, found = Net(), Architecture([("keep", "mix")], spread=1)
    sgd, adam = SGD(net.parameters(), 0.5), SGD(found.parameters(), 2.0)
    return Searching(net, found, softmax_weights, loss_alone, sgd, adam, clip=1e9)


def batch(count=8):
    return torch.randn(count, 3), torch.arange(count) % 2


def parts(searching):
    """Return a copy of all numbers of w and of alpha."""
    w = [p.detach().clone() for p in searching.supernet.parameters()]
    return w, searching.architecture.logits.detach().clone()


def slopes_by_hand(searching, part, objective=loss_alone):
    """Return the gradients by w and by alpha, of one loss."""
    x, y = part
    net, logits = searching.supernet, searching.architecture.logits
    weights = logits.exp() / logits.exp().sum(dim=1, keepdim=True)
    loss = objective(F.cross_entropy(net(x, weights), y), weights, searching)
    *w, alpha = torch.autograd.grad(loss, (*net.parameters(), logits))
    return w, alpha


def test_first_order_by_hand(searching):
    """Alpha by the validation batch at the old w; then w by the training batch."""
    train, validation = batch(), batch()
    w, alpha = parts(searching)
    _, slope = slopes_by_hand(searching, validation)
    first_order_step(searching, train, validation)
    new_w, new_alpha = parts(searching)
    torch.testing.assert_close(new_alpha, alpha - 2 * slope)

    before = deepcopy(searching)
    for parameter, value in zip(before.supernet.parameters(), w, strict=True):
        parameter.data = value
    slopes, _ = slopes_by_hand(before, train)  # at the new alpha
    for new, old, slope in zip(new_w, w, slopes, strict=True):
        torch.testing.assert_close(new, old - 0.5 * slope)


def test_one_level_by_hand(searching):
    """Both by the training batch, at the old alpha and the old w."""
    train, validation = batch(), batch()
    w, alpha = parts(searching)
    slopes, slope = slopes_by_hand(searching, train)
    one_level_step(searching, train, validation)
    new_w, new_alpha = parts(searching)
    torch.testing.assert_close(new_alpha, alpha - 2 * slope)
    for new, old, of_w in zip(new_w, w, slopes, strict=True):
        torch.testing.assert_close(new, old - 0.5 * of_w)


@pytest.mark.parametrize("step", STEPS)
def test_a_step_returns_the_training_loss_before_w_moved(searching, step):
    train, copy = batch(), deepcopy(searching)
    loss = step(searching, train, batch())
    if step is first_order_step:
        copy.architecture.load_state_dict(searching.architecture.state_dict())
    assert loss == pytest.approx(copy.loss(train, copy.weights()).item())


@pytest.mark.parametrize("step", STEPS)
def test_no_gradients_are_left_behind(searching, step):
    step(searching, batch(), batch())
    assert all(p.grad is None for p in searching.supernet.parameters())
    assert searching.architecture.logits.grad is None


def test_the_step_of_w_leaves_alpha_alone(searching):
    searching.weight_optimizer.step()
    w, alpha = parts(searching)
    weight_step(searching, batch(), None)
    assert torch.equal(searching.architecture.logits, alpha)
    pairs = zip(searching.supernet.parameters(), w, strict=True)
    assert all((new != old).any() for new, old in pairs)


def test_the_step_of_alpha_leaves_w_alone(searching):
    """With a learning rate of 0 for w, only alpha can have moved."""
    searching.weight_optimizer.param_groups[0]["lr"] = 0.0
    w, alpha = parts(searching)
    first_order_step(searching, batch(), batch())
    pairs = zip(searching.supernet.parameters(), w, strict=True)
    assert all(torch.equal(new, old) for new, old in pairs)
    assert (searching.architecture.logits != alpha).all()


def test_alpha_costs_no_gradients_of_w_and_the_reverse(searching):
    """In first order, each pass goes to one of the two only."""
    seen = []
    searching.supernet.head.weight.register_hook(lambda _: seen.append("w"))
    searching.architecture.logits.register_hook(lambda _: seen.append("alpha"))
    first_order_step(searching, batch(), batch())
    assert seen == ["alpha", "w"]


@pytest.mark.parametrize(
    ("step", "passes"), [(first_order_step, 2), (one_level_step, 1), (weight_step, 1)]
)
def test_passes_backwards_and_forwards(searching, step, passes, monkeypatch):
    """One level needs one of each where two levels need two."""
    back, ahead = [], []
    for name in ("backward", "grad"):
        real = getattr(torch.autograd, name)

        def counted(*arguments, real=real, **options):
            back.append(1)
            return real(*arguments, **options)

        monkeypatch.setattr(torch.autograd, name, counted)
    searching.supernet.register_forward_hook(lambda *_: ahead.append(1))
    step(searching, batch(), batch())
    assert (len(back), len(ahead)) == (passes, passes)


def test_one_level_never_sees_the_validation_batch(searching):
    assert one_level_step(searching, batch(), None) > 0


@pytest.mark.parametrize("step", [first_order_step, one_level_step])
def test_the_objective_is_what_alpha_minimises(searching, step):
    """It is given the weights and the search; here it wants candidate 0 less."""

    def objective(loss, weights, inside):
        assert inside is searching
        return 3 * loss + weights[0, 0]

    judged = replace(searching, objective=objective)
    searching = judged
    train, validation = batch(), batch()
    part = train if step is one_level_step else validation
    _, alpha = parts(searching)
    _, slope = slopes_by_hand(searching, part, objective)
    step(searching, train, validation)
    torch.testing.assert_close(
        searching.architecture.logits.detach(), alpha - 2 * slope
    )


@pytest.mark.parametrize("step", STEPS)
def test_the_gradient_of_w_is_clipped_and_that_of_alpha_is_not(searching, step):
    searching.clip = 1e-3
    w, alpha = parts(searching)
    step(searching, batch(), batch())
    new_w, new_alpha = parts(searching)
    moved = sum(((a - b) ** 2).sum() for a, b in zip(w, new_w, strict=True)).sqrt()
    assert moved.item() == pytest.approx(0.5 * 1e-3, rel=1e-2)
    if step is not weight_step:
        assert (new_alpha - alpha).norm() > 2e-3


def test_progress_reaches_the_relaxation(searching):
    asked = []

    def relax(architecture, progress):
        asked.append(progress)
        return softmax_weights(architecture)

    searching = replace(searching, relax=relax, progress=0.25)
    first_order_step(searching, batch(), batch())
    assert asked == [0.25, 0.25]


@dataclass
class ToySearching(Searching):
    """The paper's toy in the place of a network."""

    def loss(self, batch, weights):
        """Return the toy's training loss."""
        return toy_training(self.supernet.weight.view(1), weights.view(1))


def test_one_level_on_the_toy_ends_where_start_and_rates_say():
    """Not at the solution (1, 1), but at (0, 0) from w = -2, alpha = 2."""
    net, found = nn.Linear(1, 1, bias=False), Architecture([("alpha",)])
    nn.init.constant_(net.weight, -2.0)
    nn.init.constant_(found.logits, 2.0)
    sgd, other = SGD(net.parameters(), 0.1), SGD(found.parameters(), 0.1)
    searching = ToySearching(
        net, found, lambda a, _: a.logits, loss_alone, sgd, other, clip=1e9
    )
    for _ in range(60):
        one_level_step(searching, None, None)
    end = toy_end_together((-2, 2), (0.1, 0.1))
    assert (net.weight.item(), found.logits.item()) == pytest.approx(
        (end, end), abs=1e-5
    )


def test_the_plain_objective_is_the_loss_itself():
    loss = torch.tensor(2.0)
    assert loss_alone(loss, torch.ones(1, 1), None) is loss


def test_alpha_moves_by_its_own_optimiser(searching):
    """Adam's first step has the length of the learning rate, whatever the slope."""
    found = searching.architecture
    searching.architecture_optimizer = Adam(found.parameters(), 0.01)
    _, alpha = parts(searching)
    first_order_step(searching, batch(), batch())
    moved = (found.logits.detach() - alpha).abs()
    torch.testing.assert_close(moved, torch.full_like(moved, 0.01), rtol=1e-3, atol=0)


@pytest.mark.parametrize("step", STEPS)
def test_a_loss_that_is_no_number_is_an_error_and_moves_nothing(searching, step):
    nn.init.constant_(searching.supernet.head.bias, float("inf"))
    _, alpha = parts(searching)
    with pytest.raises(FloatingPointError, match=r"loss is nan; try a smaller"):
        step(searching, batch(), batch())
    assert torch.equal(searching.architecture.logits, alpha)


def test_logits_that_are_no_numbers_are_an_error(searching):
    nn.init.constant_(searching.architecture.logits, float("nan"))
    with pytest.raises(ValueError, match="logits of edge 0 are"):
        first_order_step(searching, batch(), batch())
