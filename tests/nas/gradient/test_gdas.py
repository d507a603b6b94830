"""GDAS: one operation an edge runs, and the gradient is that of the soft sample."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from effdl.data.digits import Split
from effdl.nas.cell_net import small_cell_net
from effdl.nas.cell_space import OPERATIONS, Cell
from effdl.nas.gradient.architecture import Architecture
from effdl.nas.gradient.gdas import GDAS
from effdl.nas.gradient.gumbel import gumbel_noise, gumbel_softmax
from effdl.nas.gradient.mixed import MixedOperation
from effdl.nas.gradient.mixed_net import MixedCell, small_mixed_net
from effdl.nas.gradient.search import search
from effdl.nas.shared_cell import SharedCell, choose_path_
from effdl.seed import seeded

OPERATIONS_WITHOUT_NONE = OPERATIONS[1:]


def executed(net):
    """Return a list that grows by (edge, name) whenever an operation runs."""
    ran = []
    edges = [m for m in net.modules() if isinstance(m, MixedOperation)]
    for edge, mixed in enumerate(edges):
        for name, module in mixed.candidates.items():
            at = (edge, name)
            module.register_forward_hook(lambda *_, at=at: ran.append(at))
    return ran


def toy_split(n=40):
    return Split(torch.randn(n, 1, 12, 12), torch.arange(n) % 10)


def test_a_draw_is_the_cell_with_the_drawn_operations():
    """The shared cell of chapter 3.1 runs one path of the same weights."""
    mixed, shared = MixedCell(4), SharedCell(4)
    for edge, choices in zip(mixed.edges, shared.edges, strict=True):
        for name, module in choices.items():
            module.load_state_dict(edge.candidates[name].state_dict())
    weights = GDAS.relax(Architecture([OPERATIONS] * 6), 0.5)
    cell = Cell(tuple(OPERATIONS[k] for k in weights.argmax(dim=1)))
    choose_path_(shared, cell)
    x = torch.randn(3, 4, 6, 6)
    torch.testing.assert_close(mixed(x, weights), shared(x))


def test_one_operation_runs_on_each_edge_forwards_and_backwards():
    net = small_mixed_net()
    ran = executed(net)
    architecture = Architecture([OPERATIONS] * 6)
    weights = GDAS.relax(architecture, 0.0)
    F.cross_entropy(net(torch.randn(8, 1, 12, 12), weights), torch.arange(8)).backward()
    drawn = [OPERATIONS[k] for k in weights.argmax(dim=1)]
    assert ran == list(enumerate(2 * drawn))  # two stages with a cell each
    for edge, mixed in enumerate(m for m in net.modules() if hasattr(m, "candidates")):
        for name, module in mixed.candidates.items():
            if name != drawn[edge % 6]:
                assert all(p.grad is None for p in module.parameters())


def test_all_cells_take_the_same_draw_and_the_next_batch_another():
    architecture = Architecture([OPERATIONS] * 6)
    draws = {tuple(GDAS.relax(architecture, 0.0).argmax(dim=1)) for _ in range(20)}
    assert len(draws) == 20


def test_the_architecture_learns_from_the_drawn_operation_alone():
    """By hand: dL/da_k = <v, o_k*(x)> y_k* (delta - y_k) / tau, tau 5.05 half way."""
    mixed = MixedOperation({"a": nn.Tanh(), "b": nn.ReLU(), "c": nn.Identity()})
    architecture = Architecture([tuple("abc")], spread=1.0)
    x, v = torch.randn(6), torch.randn(6)
    with seeded(1):
        weights = GDAS.relax(architecture, 0.5)
    with seeded(1):
        noise = gumbel_noise(architecture.logits)
    y = gumbel_softmax(architecture.logits.detach(), noise, 5.05)[0]
    out = mixed(x, weights[0])
    (out * v).sum().backward()
    star = int(weights.argmax())
    slope = v @ out.detach()
    expected = slope * y[star] * (torch.eye(3)[star] - y) / 5.05
    torch.testing.assert_close(architecture.logits.grad[0], expected)


def test_it_is_the_hard_sample_of_pytorch_where_the_others_return_zero():
    """Their weights have a gradient there: of <v, 0>."""
    architecture = Architecture([tuple("abc")], spread=1.0)
    mixed = MixedOperation({"a": nn.Tanh(), "b": nn.ReLU(), "c": nn.Identity()})
    x, v = torch.randn(6), torch.randn(6)
    with seeded(1):
        weights = GDAS.relax(architecture, 0.0)
    with seeded(1):
        theirs = F.gumbel_softmax(architecture.logits, tau=10.0, hard=True)
    star = int(weights.argmax())
    out = mixed(x, weights[0])
    (ours,) = torch.autograd.grad((out * v).sum(), architecture.logits)
    sent = torch.zeros(3)
    sent[star] = v @ out.detach()
    (expected,) = torch.autograd.grad((theirs[0] * sent).sum(), architecture.logits)
    torch.testing.assert_close(ours, expected)


@pytest.mark.parametrize(("progress", "tau"), [(0.0, 10.0), (0.5, 5.05), (1.0, 0.1)])
def test_the_temperature_falls_from_ten_to_a_tenth(progress, tau):
    assert GDAS.relax.temperature(progress) == pytest.approx(tau)


def test_a_search_moves_logits_and_weights_and_ends_near_the_last_temperature():
    net = small_mixed_net()
    architecture = Architecture([OPERATIONS] * 6)
    before = architecture.logits.detach().clone()
    batches = toy_split().batches(20)
    done = search(net, architecture, batches, batches, epochs=2, method=GDAS)
    assert not torch.equal(architecture.logits, before)
    assert set(done[-1].weights.flatten().tolist()) == {0.0, 1.0}


def test_the_drawn_cell_costs_what_its_own_network_does():
    """Elements that a forward pass of a draw makes are those of one discrete net."""
    architecture = Architecture([OPERATIONS_WITHOUT_NONE] * 6)
    weights = GDAS.relax(architecture, 0.0)
    drawn = [OPERATIONS_WITHOUT_NONE[k] for k in weights.argmax(dim=1)]
    net = small_mixed_net(OPERATIONS_WITHOUT_NONE)
    x = torch.zeros(2, 1, 12, 12)
    own = small_cell_net(Cell(tuple(drawn)))
    ours = sum(convolutions(net, lambda: net(x, weights)))
    assert ours == sum(convolutions(own, lambda: own(x)))


def convolutions(net, forward):
    """Return the elements of every convolution's output, in order."""
    sizes = []
    handles = [
        m.register_forward_hook(lambda _m, _x, y: sizes.append(y.numel()))
        for m in net.modules()
        if isinstance(m, nn.Conv2d)
    ]
    forward()
    for handle in handles:
        handle.remove()
    return sizes
