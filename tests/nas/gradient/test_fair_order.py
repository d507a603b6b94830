"""Fair order: after m steps every candidate has been trained m / K times."""

import pytest
import torch

from effdl.data.digits import Split
from effdl.nas.cell_space import OPERATIONS
from effdl.nas.gradient.architecture import Architecture
from effdl.nas.gradient.fair_order import FairOrder, fair_method
from effdl.nas.gradient.mixed import MixedOperation
from effdl.nas.gradient.mixed_net import small_mixed_net
from effdl.nas.gradient.proxyless import sampled_path
from effdl.nas.gradient.search import search

ARCHITECTURE = [("a", "b", "c"), ("a", "b"), ("a", "b", "c")]


def turns(order, architecture, steps):
    """Return the weights of some turns, (steps, edges, K)."""
    seen = []
    for _ in range(steps):
        seen.append(order(architecture).detach())
        order.advance()
    return torch.stack(seen)


def test_every_candidate_has_the_same_number_of_turns_after_every_cycle():
    architecture = Architecture(ARCHITECTURE)
    seen = turns(FairOrder([3, 2, 3]), architecture, 30)
    for edge, size in enumerate([3, 2, 3]):
        for cycle in seen[:, edge].split(size):
            assert cycle.sum(dim=0).tolist() == [1.0] * size + [0.0] * (3 - size)


def test_chance_is_not_fair():
    """Of 30 draws of 3, ten each has probability 0.03 on one edge, and less on six."""
    architecture = Architecture([("a", "b", "c")] * 6, spread=0)
    counts = torch.stack([sampled_path(architecture) for _ in range(30)]).sum(dim=0)
    assert counts.min() < 10 < counts.max()


def test_the_value_is_one_hot_and_the_gradient_that_of_the_softmax():
    architecture = Architecture(ARCHITECTURE, spread=1.0)
    weights, v = FairOrder([3, 2, 3])(architecture), torch.randn(3, 3)
    assert set(weights.flatten().tolist()) == {0.0, 1.0}
    assert weights.sum(dim=1).tolist() == [1.0] * 3
    (found,) = torch.autograd.grad((weights * v).sum(), architecture.logits)
    soft = architecture().softmax(dim=1)
    (expected,) = torch.autograd.grad((soft * v).sum(), architecture.logits)
    torch.testing.assert_close(found, expected)


def test_asking_is_not_advancing():
    order, architecture = FairOrder([3, 2, 3]), Architecture(ARCHITECTURE)
    first = order(architecture)
    assert torch.equal(first, order(architecture))
    order.advance()
    assert not torch.equal(first[1], order(architecture)[1])


def test_edges_have_orders_of_their_own_and_cycles_new_ones():
    """Else only K of the K^E paths would ever be trained."""
    architecture = Architecture([tuple("abcde")] * 6)
    seen = turns(FairOrder([5] * 6), architecture, 40).argmax(dim=2)
    assert len({tuple(path.tolist()) for path in seen}) == 40
    first, second = seen[:5], seen[5:10]
    assert not torch.equal(first, second)


def test_a_search_trains_every_operation_equally_often():
    """40 inputs in batches of 4: 10 steps an epoch, 2 for each of 5 operations."""
    net, architecture = small_mixed_net(), Architecture([OPERATIONS] * 6)
    counts = {}
    for edge, mixed in enumerate(m for m in net.modules() if type(m) is MixedOperation):
        for name, module in mixed.candidates.items():
            counts[edge, name] = 0

            def count(_module, _gradients, _outputs, at=(edge, name)):
                counts[at] += 1

            if name != "none":
                module.register_full_backward_hook(count)
    x, y = torch.randn(40, 1, 12, 12), torch.arange(40) % 10
    batches = Split(x, y).batches(4)
    before = architecture.logits.detach().clone()
    method = fair_method(architecture)
    search(net, architecture, batches, batches, epochs=2, method=method)
    trained = [n for (_, name), n in counts.items() if name != "none"]
    # An edge into a cell that nothing else reaches may get no gradient; none counts 4.
    assert max(trained) == 4
    assert not torch.equal(architecture.logits, before)


def test_a_new_method_has_an_order_of_its_own():
    architecture = Architecture(ARCHITECTURE)
    one, other = fair_method(architecture), fair_method(architecture)
    before = other.relax(architecture)
    one.after_step(None)
    assert torch.equal(other.relax(architecture), before)
    assert one.relax.sizes == (3, 2, 3)


@pytest.mark.parametrize("sizes", [[], [3, 0]])
def test_an_edge_without_candidates_is_refused(sizes):
    with pytest.raises(ValueError, match="sizes must be 1 or more for each edge, got"):
        FairOrder(sizes)
