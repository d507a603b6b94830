"""ProxylessNAS: gates of two paths, weights of one, and everything else untouched."""

import dataclasses
import itertools

import pytest
import torch
from torch import nn
from torch.optim import SGD, Adam

from effdl.data.digits import Split
from effdl.nas.cell_space import OPERATIONS
from effdl.nas.gradient.architecture import Architecture
from effdl.nas.gradient.mixed import MixedOperation
from effdl.nas.gradient.mixed_chain import chain_architecture, small_mixed_chain
from effdl.nas.gradient.mixed_net import small_mixed_net
from effdl.nas.gradient.proxyless import (
    PROXYLESS,
    gate_gradient,
    pair_probabilities,
    proxyless_step,
    reinforce_objective,
    sampled_pair,
    sampled_path,
    settle_,
)
from effdl.nas.gradient.search import search
from effdl.nas.gradient.snas import loss_and_cost
from effdl.nas.gradient.steps import Searching, loss_alone
from effdl.nas.hardware.expected_cost import CostTable

NAMES = ("a", "b", "c", "d")


def architecture_with(*rows):
    architecture = Architecture([NAMES] * len(rows)).double()
    architecture.logits.data = torch.tensor(rows, dtype=torch.float64)
    return architecture


class Linear(nn.Module):
    """A supernet whose logits are the sum of what the paths say: it counts runs."""

    def __init__(self, edges=2):
        super().__init__()
        self.edges = nn.ModuleList(
            MixedOperation({n: nn.Linear(3, 3) for n in NAMES}) for _ in range(edges)
        )
        self.ran = []
        self.double()
        for e, edge in enumerate(self.edges):
            for k, module in enumerate(edge.candidates.values()):
                at = (e, k)
                module.register_forward_hook(lambda *_, at=at: self.ran.append(at))

    def forward(self, x, weights, runs=None):
        """Return the logits."""
        return sum(
            edge(x, row, None if runs is None else runs[e])
            for e, (edge, row) in enumerate(zip(self.edges, weights, strict=True))
        )


def state(architecture, objective=loss_alone, make_optimizer=None):
    supernet = Linear(len(architecture.candidates))
    make = make_optimizer or (lambda p: SGD(p, 1.0))
    return Searching(
        supernet,
        architecture,
        sampled_path,
        objective,
        SGD(supernet.parameters(), 0.1),
        make(architecture.parameters()),
    )


def batch(n=8):
    return torch.randn(n, 3, dtype=torch.float64), torch.arange(n) % 3


def test_the_gate_gradient_is_the_double_sum_of_the_paper():
    of_gates, p = torch.randn(3, 4), torch.randn(3, 4).softmax(dim=1)
    found = gate_gradient(of_gates, p)
    for e, i in itertools.product(range(3), range(4)):
        literal = sum(
            of_gates[e, j] * p[e, j] * (float(i == j) - p[e, i]) for j in range(4)
        )
        assert found[e, i].item() == pytest.approx(literal.item(), abs=1e-6)
    torch.testing.assert_close(found.sum(dim=1), torch.zeros(3))


def test_a_gate_gradient_by_hand():
    """Slopes 1 and 3, p = 1/4 and 3/4, mean 5/2: (-3/8, 3/8)."""
    found = gate_gradient(torch.tensor([[1.0, 3.0]]), torch.tensor([[0.25, 0.75]]))
    assert found.tolist() == [[-0.375, 0.375]]


def test_for_a_loss_that_is_linear_in_the_output_the_formula_is_exact():
    """E_g[L] = sum p_k <v, o_k>: its gradient is that of the gates, all paths run."""
    mixed = MixedOperation({n: nn.Linear(3, 3) for n in NAMES})
    x, v = torch.randn(3), torch.randn(3)
    logits = torch.randn(4, requires_grad=True)
    p = logits.softmax(dim=0)
    each = torch.stack([v @ module(x) for module in mixed.candidates.values()])
    (exact,) = torch.autograd.grad((p * each.detach()).sum(), logits)
    for k in range(4):  # whichever is drawn
        gates = torch.eye(4)[k].requires_grad_()
        loss = (mixed(x, gates, range(4)) * v).sum()
        (of_gates,) = torch.autograd.grad(loss, gates)
        found = gate_gradient(of_gates[None], p.detach()[None])[0]
        torch.testing.assert_close(found, exact)


def test_paths_and_pairs_are_drawn_as_the_softmax_says():
    """A path: p. A pair {i, j}: p_i p_j / (1 - p_i) + p_j p_i / (1 - p_j)."""
    row = [0.5, -0.5, 1.0, 0.0]
    architecture = architecture_with(*[row] * 20_000)
    p = torch.tensor(row).softmax(dim=0).tolist()
    share = sampled_path(architecture).mean(dim=0)
    assert share.tolist() == pytest.approx(p, abs=0.015)
    pair = sampled_pair(architecture)
    assert (pair.sum(dim=1) == 2).all()
    for i, j in itertools.combinations(range(4), 2):
        expected = p[i] * p[j] * (1 / (1 - p[i]) + 1 / (1 - p[j]))
        found = (pair[:, i] & pair[:, j]).double().mean().item()
        assert found == pytest.approx(expected, abs=0.015)


def test_inactive_candidates_are_in_no_path_and_no_pair():
    architecture = architecture_with([0.0] * 4, [0.0] * 4)
    architecture.keep_(0, ["b"])
    architecture.keep_(1, ["a", "d"])
    for _ in range(10):
        assert sampled_pair(architecture).tolist() == [
            [False, True, False, False],
            [True, False, False, True],
        ]
        assert sampled_path(architecture)[0].tolist() == [0.0, 1.0, 0.0, 0.0]


def test_the_pair_shares_one_as_the_whole_softmax_would():
    architecture = architecture_with([0.5, -0.5, 1.0, 0.0])
    pair = torch.tensor([[True, False, True, False]])
    p = architecture().softmax(dim=1)[0]
    q = pair_probabilities(architecture, pair)[0]
    assert q[[1, 3]].tolist() == [0.0, 0.0]
    torch.testing.assert_close(q[0] / q[2], p[0] / p[2])
    assert q.sum().item() == pytest.approx(1.0)


def test_settling_by_hand():
    """Logits ln 1 and ln 3 of the pair became ln 4 and ln 4: ln 2 each; 9 is undone."""
    before = torch.tensor([[1.0, 3.0, 5.0, 1.0]], dtype=torch.float64).log()
    architecture = architecture_with(torch.tensor([4.0, 4.0, 9.0, 1.0]).log().tolist())
    settle_(architecture, before, torch.tensor([[True, True, False, False]]))
    found = architecture.logits.exp()[0].tolist()
    assert found == pytest.approx([2.0, 2.0, 5.0, 1.0])


@pytest.mark.parametrize(
    "optimizer",
    [
        lambda p: SGD(p, 1.0),
        lambda p: Adam(p, 0.3, (0.5, 0.999), weight_decay=0.1),
    ],
)
def test_only_the_two_drawn_probabilities_move_and_their_sum_does_not(optimizer):
    """To 1e-12, several steps in a row: decay and momentum do not reach the others."""
    architecture = architecture_with([0.5, -0.5, 1.0, 0.0], [0.0, 1.0, 2.0, -1.0])
    searching = state(architecture, make_optimizer=optimizer)
    for _ in range(6):
        before = architecture().softmax(dim=1).detach()
        searching.supernet.ran.clear()
        proxyless_step(searching, batch(), batch())
        change = (architecture().softmax(dim=1).detach() - before).abs()
        for edge in range(2):
            two = {k for e, k in searching.supernet.ran[:4] if e == edge}
            others = [k for k in range(4) if k not in two]
            assert change[edge, others].max() < 1e-12
            assert change[edge, list(two)].min() > 0
        torch.testing.assert_close(change.sum(dim=1), 2 * change.max(dim=1).values)


def test_two_paths_run_for_the_gates_and_then_one_for_the_weights():
    searching = state(architecture_with([0.5, -0.5, 1.0, 0.0], [0.0] * 4))
    proxyless_step(searching, batch(), batch())
    ran = searching.supernet.ran
    assert [edge for edge, _ in ran] == [0, 0, 1, 1, 0, 1]
    assert len(set(ran[:4])) == 4


def test_the_step_is_the_paper_s_formula_on_the_drawn_pair():
    """Plain gradient descent at rate 1: alpha less q (G - sum q G), then shifted."""
    architecture = architecture_with([0.5, -0.5, 1.0, 0.0])
    searching = state(architecture)
    validation = batch()
    before = architecture.logits.detach().clone()
    weights = {n: p.detach().clone() for n, p in searching.supernet.named_parameters()}
    proxyless_step(searching, batch(), validation)
    two = sorted(k for _, k in searching.supernet.ran[:2])
    after = architecture.logits.detach()
    candidates = []
    searching.supernet.load_state_dict(weights)
    for active in two:  # which of the two was drawn is not told
        gates = torch.eye(4, dtype=torch.float64)[active][None].requires_grad_()
        loss = searching.loss(validation, gates, [two])
        (of_gates,) = torch.autograd.grad(loss, gates)
        q = before[0, two].softmax(dim=0)
        moved = before[0, two] - gate_gradient(of_gates[:, two], q[None])[0]
        moved -= moved.logsumexp(dim=0) - before[0, two].logsumexp(dim=0)
        candidates.append(moved)
    assert any(torch.allclose(after[0, two], moved) for moved in candidates)


def test_the_weights_move_on_one_path_only():
    searching = state(architecture_with([0.0] * 4))
    before = {n: p.detach().clone() for n, p in searching.supernet.named_parameters()}
    proxyless_step(searching, batch(), batch())
    _, last = searching.supernet.ran[-1]
    for name, p in searching.supernet.named_parameters():
        changed = not torch.equal(p, before[name])
        assert changed == name.startswith(f"edges.0.candidates.{NAMES[last]}.")


def test_the_drawn_one_of_a_pair_follows_the_pair_s_softmax():
    """The loss tells which was drawn: only its bias is large. q = 1/4 and 3/4."""
    drawn = []
    architecture = architecture_with([0.0, torch.tensor(3.0).log().item(), -9.0, -9.0])
    searching = state(architecture, objective=lambda loss, w, s: 0 * w.sum())
    own_loss = searching.loss

    def loss(of_batch, weights, runs=None):
        if runs is not None:
            drawn.append(int(weights.argmax()))
        return own_loss(of_batch, weights, runs)

    searching.loss = loss
    for _ in range(300):
        proxyless_step(searching, batch(3), batch(3))
    pairs = [k for k in drawn if k < 2]
    assert sum(pairs) / len(pairs) == pytest.approx(0.75, abs=0.08)


def test_cost_enters_as_the_mean_over_the_pair():
    """Without a loss: alpha less q_i (c_i - mean), shifted. The cheaper one rises."""
    costs = torch.tensor([[1.0, 2.0, 3.0, 4.0]], dtype=torch.float64)
    both = loss_and_cost(CostTable(0.0, costs), 1.0)
    architecture = architecture_with([0.5, -0.5, 1.0, 0.0])
    searching = state(architecture, objective=lambda loss, w, s: both(0 * loss, w, s))
    before = architecture.logits.detach().clone()
    proxyless_step(searching, batch(), batch())
    two = sorted(k for _, k in searching.supernet.ran[:2])
    q = before[0, two].softmax(dim=0)
    c = costs[0, two]
    moved = before[0, two] - q * (c - q @ c)
    moved -= moved.logsumexp(dim=0) - before[0, two].logsumexp(dim=0)
    torch.testing.assert_close(architecture.logits.detach()[0, two], moved)
    assert moved[0] - moved[1] > before[0, two[0]] - before[0, two[1]]


def test_reinforce_over_all_networks_is_the_gradient_of_the_mean_reward():
    """Each network weighted by its probability; a baseline changes nothing."""
    architecture = architecture_with([0.5, -0.5, 1.0, 0.0], [0.0, 1.0, 2.0, -1.0])
    choices = torch.tensor(list(itertools.product(range(4), repeat=2)))
    rewards = torch.randn(16, dtype=torch.float64)
    p = architecture().softmax(dim=1)
    of_each = p[0, choices[:, 0]] * p[1, choices[:, 1]]
    (exact,) = torch.autograd.grad(of_each @ rewards, architecture.logits)
    share = of_each.detach()
    for baseline in (0.0, 0.7):
        total = sum(
            share[m]
            * reinforce_objective(
                architecture, choices[m : m + 1], rewards[m : m + 1], baseline
            )
            for m in range(16)
        )
        (found,) = torch.autograd.grad(-total, architecture.logits)
        torch.testing.assert_close(found, exact)


def test_reinforce_averages_over_the_networks_drawn():
    architecture = architecture_with([0.5, -0.5, 1.0, 0.0])
    once = reinforce_objective(architecture, torch.tensor([[1]]), torch.tensor([2.0]))
    thrice = reinforce_objective(
        architecture, torch.tensor([[1]] * 3), torch.tensor([2.0] * 3)
    )
    torch.testing.assert_close(once, thrice)
    log_p = architecture().log_softmax(dim=1)[0, 1]
    torch.testing.assert_close(once, -2 * log_p)


def test_reinforce_makes_the_better_network_likelier():
    architecture = architecture_with([0.0] * 4)
    optimizer = SGD(architecture.parameters(), 0.5)
    for _ in range(60):
        choices = torch.stack([
            sampled_path(architecture)[0].argmax() for _ in range(8)
        ])
        rewards = (choices == 2).double()
        reinforce_objective(architecture, choices[:, None], rewards, 0.25).backward()
        optimizer.step()
        optimizer.zero_grad()
    assert architecture().softmax(dim=1)[0, 2] > 0.6


@pytest.mark.parametrize("kind", ["cell", "chain"])
def test_it_searches_a_cell_and_a_chain(kind):
    if kind == "cell":
        net, architecture = small_mixed_net(), Architecture([OPERATIONS] * 6)
    else:
        net = small_mixed_chain()
        architecture = chain_architecture(net.space)
    before = architecture.logits.detach().clone()
    x, y = torch.randn(40, 1, 12, 12), torch.arange(40) % 10
    batches = Split(x, y).batches(20)
    method = dataclasses.replace(PROXYLESS)
    done = search(net, architecture, batches, batches, epochs=1, method=method)
    assert not torch.equal(architecture.logits, before)
    assert set(done[-1].weights.flatten().tolist()) == {0.0, 1.0}
