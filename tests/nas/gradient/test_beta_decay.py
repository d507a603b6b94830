"""The decay of the weights: its value, its gradient, and what it does to a search."""

import math

import pytest
import torch

from effdl.data.digits import small_digits
from effdl.nas.cell_space import OPERATIONS
from effdl.nas.gradient.architecture import Architecture
from effdl.nas.gradient.beta_decay import (
    beta_decay,
    beta_decay_objective,
    rising_rate,
)
from effdl.nas.gradient.method import Method
from effdl.nas.gradient.mixed_net import small_mixed_net
from effdl.nas.gradient.relaxations import softmax_weights
from effdl.nas.gradient.search import Rates, search
from effdl.nas.gradient.steps import Searching


def searching_at(architecture, progress):
    """Return a search of an architecture without a supernet."""
    parts = (None, architecture, softmax_weights, None, None, None)
    return Searching(*parts, progress=progress)


def test_the_decay_is_the_mean_log_of_the_sum_of_exponentials():
    found = Architecture([("a", "b", "c")] * 4, spread=2.0)
    rows = [[math.exp(a) for a in row] for row in found.logits.tolist()]
    expected = sum(math.log(sum(row)) for row in rows) / 4
    assert beta_decay(found).item() == pytest.approx(expected, rel=1e-5)


def test_two_edges_by_hand():
    """The logs of 2 and of 1, as the second edge has one candidate: half of log 2."""
    found = Architecture([("a", "b"), ("a",)], spread=0)
    assert beta_decay(found).item() == pytest.approx(math.log(2) / 2)


def test_its_gradient_is_the_softmax_over_the_number_of_edges():
    found = Architecture([OPERATIONS] * 6, spread=1.0).double()
    found.keep_(2, ("none", "nor_conv_3x3"))
    beta_decay(found).backward()
    torch.testing.assert_close(found.logits.grad, softmax_weights(found) / 6)


def test_a_number_added_to_all_logits_is_added_to_the_decay():
    """A softmax does not see it; the decay does."""
    found = Architecture([("a", "b", "c")] * 2, spread=1.0)
    before = beta_decay(found).item()
    with torch.no_grad():
        found.logits += 3
    assert beta_decay(found).item() == pytest.approx(before + 3, rel=1e-5)


def test_the_objective_adds_the_decay_at_a_rate_that_rises_to_50():
    assert [rising_rate(p) for p in (0.0, 0.5, 1.0)] == [0.0, 25.0, 50.0]
    found = Architecture([("a", "b")] * 2, spread=1.0)
    loss, decay = torch.tensor(2.0), beta_decay(found).item()
    objective = beta_decay_objective()
    for progress in (0.0, 0.3):
        value = objective(loss, None, searching_at(found, progress)).item()
        assert value == pytest.approx(2 + 50 * progress * decay, rel=1e-5)
    constant = beta_decay_objective(lambda _progress: 2.0)
    value = constant(loss, None, searching_at(found, 0.9)).item()
    assert value == pytest.approx(2 + 2 * decay, rel=1e-5)


def test_descent_on_a_quadratic_ends_with_more_equal_weights_the_stronger_the_decay():
    """The loss wants the logits (2, 0, -1); plain gradient descent."""
    wanted = torch.tensor([[2.0, 0.0, -1.0]])
    variances = []
    for strength in (0.0, 1.0, 5.0):
        found = Architecture([("a", "b", "c")], spread=0)
        objective = beta_decay_objective(lambda _progress, s=strength: s)
        for _ in range(300):
            loss = (found.logits - wanted).square().sum() / 2
            found.zero_grad()
            objective(loss, None, searching_at(found, 0.0)).backward()
            with torch.no_grad():
                found.logits -= 0.1 * found.logits.grad
        variances.append(softmax_weights(found).var().item())
    assert variances[0] > variances[1] > variances[2]


def test_in_a_search_the_weights_stay_more_equal():
    part = small_digits(n_train=60).train
    spreads = []
    for objective in (Method().objective, beta_decay_objective()):
        torch.manual_seed(0)
        found, net = Architecture([OPERATIONS] * 6), small_mixed_net()
        batches = [part.batches(20, seed=0)] * 2
        method, rates = Method(objective=objective), Rates(architecture=0.05)
        search(net, found, *batches, epochs=6, method=method, rates=rates)
        spreads.append(softmax_weights(found).std(dim=1).mean().item())
    assert spreads[1] < spreads[0]


def test_a_logit_that_is_no_number_is_named():
    found = Architecture([("a", "b")])
    with torch.no_grad():
        found.logits[0, 1] = torch.nan
    with pytest.raises(ValueError, match="logits of edge 0"):
        beta_decay(found)
