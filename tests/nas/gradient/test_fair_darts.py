"""Gates: each on its own, pushed to 0 or 1, and what is kept of them."""

import pytest
import torch

from effdl.data.digits import small_digits
from effdl.nas.cell_space import OPERATIONS
from effdl.nas.gradient.architecture import Architecture
from effdl.nas.gradient.fair_darts import (
    gated_cell,
    open_gates,
    zero_one_loss,
    zero_one_objective,
)
from effdl.nas.gradient.method import Method
from effdl.nas.gradient.mixed_net import small_mixed_net
from effdl.nas.gradient.relaxations import sigmoid_weights, softmax_weights
from effdl.nas.gradient.search import Rates, search
from effdl.nas.gradient.steps import Searching


def with_logits(candidates, logits):
    """Return an architecture with given logits."""
    found = Architecture(candidates)
    with torch.no_grad():
        found.logits.copy_(torch.as_tensor(logits))
    return found


def searching_with(architecture):
    """Return a search of an architecture without a supernet."""
    return Searching(None, architecture, sigmoid_weights, None, None, None)


def test_the_zero_one_loss_is_minus_the_mean_square_of_the_distance_from_a_half():
    gates = torch.rand(4, 3)
    values = [-((g - 0.5) ** 2) for g in gates.flatten().tolist()]
    assert zero_one_loss(gates).item() == pytest.approx(sum(values) / 12, rel=1e-5)


def test_it_is_0_at_a_half_and_minus_a_quarter_at_0_and_1():
    assert zero_one_loss(torch.full((2, 3), 0.5)) == 0
    assert zero_one_loss(torch.tensor([0.0, 1.0, 1.0])) == -0.25


def test_a_logit_moves_its_own_gate_alone_where_a_softmax_moves_all():
    """The Jacobian of the gates is diagonal; rows of the softmax's sum to 0."""
    names = [("a", "b", "c")]

    def jacobian(relax):
        def weights(logits):
            found = Architecture(names)
            del found.logits
            found.logits = logits
            return relax(found)[0]

        at = torch.randn(1, 3)
        return torch.autograd.functional.jacobian(weights, at)[:, 0]

    gates = jacobian(sigmoid_weights)
    assert torch.equal(gates, torch.diag(gates.diagonal()))
    assert gates.diagonal().all()
    shared = jacobian(softmax_weights)
    torch.testing.assert_close(shared.sum(dim=1), torch.zeros(3))
    assert (shared[~torch.eye(3, dtype=torch.bool)] < 0).all()


def test_the_objective_adds_ten_times_the_loss_of_the_active_gates():
    found = with_logits([("a", "b"), ("a",)], [[0.0, 2.0], [-1.0, 9.0]])
    gates = sigmoid_weights(found)
    loss = torch.tensor(3.0)
    counted = torch.tensor([0.0, 2.0, -1.0]).sigmoid()  # the padding does not count
    expected = 3.0 - 10 * ((counted - 0.5) ** 2).mean().item()
    value = zero_one_objective()(loss, gates, searching_with(found))
    assert value.item() == pytest.approx(expected)
    half = zero_one_objective(5)(loss, gates, searching_with(found))
    assert half.item() == pytest.approx((3 + expected) / 2)
    assert zero_one_objective(0)(loss, gates, searching_with(found)) is loss


def test_the_zero_one_loss_sends_a_gate_to_the_side_that_it_is_on():
    found = with_logits([("a", "b", "c")], [[-0.1, 0.0, 0.1]])
    objective = zero_one_objective()
    for _ in range(50):
        value = objective(torch.tensor(0.0), found().sigmoid(), searching_with(found))
        found.zero_grad()
        value.backward()
        with torch.no_grad():
            found.logits -= found.logits.grad
    low, middle, high = found().sigmoid()[0].tolist()
    assert low < 0.05
    assert middle == 0.5
    assert high > 0.95


def test_a_node_keeps_the_edges_with_the_strongest_open_gates():
    """Logit 2 is a gate of .88, 1.7 one of .846: just below .85."""
    found = with_logits(
        [("skip", "conv")] * 5,
        [[2.0, 1.9], [0.0, 3.0], [2.5, 2.4], [1.7, 0.0], [2.0, 0.0]],
    )
    targets = [2, 2, 2, 3, 3]
    assert open_gates(found, targets) == (None, "conv", "skip", None, "skip")
    assert open_gates(found, targets, most=3)[0] == "skip"
    assert open_gates(found, targets, threshold=0.84)[3] == "skip"
    alone = open_gates(found, targets, most=1)
    assert alone == (None, "conv", None, None, "skip")


def test_a_node_may_keep_fewer_edges_than_it_could_and_even_none():
    found = with_logits([("skip",)] * 3, [[5.0], [0.0], [-1.0]])
    assert open_gates(found, [1, 1, 2]) == ("skip", None, None)


def test_none_is_not_kept_however_open_its_gate_is():
    found = with_logits([("none", "conv"), ("none",)], [[9.0, 2.0], [9.0, 0.0]])
    assert open_gates(found, [1, 1]) == ("conv", None)
    assert open_gates(found, [1, 1], never=()) == ("none", "none")


def test_an_edge_of_the_four_node_cell_without_an_open_gate_is_none():
    found = with_logits(
        [("skip_connect", "nor_conv_3x3")] * 6,
        [[3.0, 0.0], [0.0, 0.0], [0.0, 4.0], [3.0, 0.0], [0.0, 5.0], [0.0, 4.0]],
    )
    names = ("skip_connect", "none", "nor_conv_3x3", "skip_connect")
    assert gated_cell(found).operations == (*names, "nor_conv_3x3", "nor_conv_3x3")
    assert gated_cell(found, most=2).operations[3:] == ("none", *["nor_conv_3x3"] * 2)
    assert gated_cell(found, threshold=0.99).count("none") == 5


def test_a_search_leaves_gates_nearer_to_0_or_1_with_the_zero_one_loss():
    part = small_digits(n_train=60).train
    distances = []
    for strength in (0.0, 100.0):
        found, net = Architecture([OPERATIONS] * 6, spread=0.1), small_mixed_net()
        method = Method(relax=sigmoid_weights, objective=zero_one_objective(strength))
        rates = Rates(architecture=0.05)
        batches = [part.batches(20)] * 2
        search(net, found, *batches, epochs=4, method=method, rates=rates)
        distances.append((found().sigmoid() - 0.5).abs().mean().item())
    assert distances[1] > distances[0]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: zero_one_objective(-1), "strength must be 0 or larger, got -1"),
        (lambda: zero_one_objective(float("nan")), "strength must be"),
        (
            lambda: open_gates(Architecture([("a",)]), [1], threshold=1.0),
            "threshold must be between 0 and 1, got 1.0",
        ),
        (
            lambda: open_gates(Architecture([("a",)]), [1, 2]),
            "targets must have 1 numbers",
        ),
        (
            lambda: open_gates(Architecture([("a",)]), [1], most=0),
            "most must be at least 1, got 0",
        ),
        (lambda: gated_cell(Architecture([("none",)])), "targets must have 1 numbers"),
    ],
)
def test_what_cannot_be_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
