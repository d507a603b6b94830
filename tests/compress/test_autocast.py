"""Autocast: the type of every operation, and the one set of weights that there is."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from effdl.blocks import plain_net
from effdl.compress.autocast import Operation, operations, output_types

LOW, FULL = torch.bfloat16, torch.float32


def executed(net, x, t, *, enabled=True):
    """Return the operations of the forward and of the backward pass."""
    losses = []

    def forward():
        with torch.autocast("cpu", dtype=LOW, enabled=enabled):
            losses.append(F.cross_entropy(net(x), t))

    return operations(forward), operations(lambda: losses[0].backward())


@pytest.fixture
def run():
    net = plain_net(2)
    return net, *executed(net, torch.randn(4, 1, 16, 16), torch.arange(4))


def test_products_run_in_16_bits_and_the_loss_in_32(run):
    _, forward, _ = run
    types = {op.name: op.inputs for op in forward}
    assert set(types["convolution"]) == set(types["addmm"]) == {LOW}
    assert set(types["_log_softmax"]) == {FULL}
    assert types["nll_loss_forward"][0] == FULL
    assert types["native_batch_norm"] == (LOW, FULL, FULL, FULL, FULL)


def test_every_weight_of_a_product_is_copied_once_and_batch_norms_never(run):
    _, forward, _ = run
    down = [op for op in forward if op.is_cast and op.outputs == (LOW,)]
    up = [op for op in forward if op.is_cast and op.outputs == (FULL,)]
    # five kernels, weight and bias of the linear layer, the images; then the logits
    assert len(down) == 5 + 2 + 1
    assert len(up) == 1


def test_weights_and_their_gradients_are_float32(run):
    net, _, backward = run
    assert {p.dtype for p in net.parameters()} == {FULL}
    assert {p.grad.dtype for p in net.parameters()} == {FULL}
    up = [op for op in backward if op.is_cast and op.outputs == (FULL,)]
    assert len(up) == 5 + 2  # one for each of the copies but that of the images
    convolved = [op for op in backward if op.name == "convolution_backward"]
    assert len(convolved) == 5
    assert all(set(op.outputs) == {LOW} for op in convolved)


def test_after_a_step_the_optimiser_has_float32_only(run):
    net, _, _ = run
    sgd = torch.optim.SGD(net.parameters(), 0.1, 0.9)
    sgd.step()
    kept = [s["momentum_buffer"] for s in sgd.state.values()]
    assert {t.dtype for t in (*kept, *net.state_dict().values())} == {FULL, torch.int64}


def test_without_autocast_nothing_is_cast():
    net = plain_net(2)
    forward, backward = executed(
        net, torch.randn(4, 1, 16, 16), torch.arange(4), enabled=False
    )
    assert not any(op.is_cast for op in forward + backward)
    assert {t for op in forward + backward for t in op.inputs} <= {FULL, torch.int64}


def test_by_hand():
    """A linear layer: two casts, and a product of what they made."""
    layer, x = nn.Linear(2, 3, bias=False), torch.ones(1, 2)

    def call():
        with torch.autocast("cpu", dtype=LOW):
            layer(x)

    casts, rest = operations(call)[:2], operations(call)[2:]
    assert casts == 2 * [Operation("_to_copy", (FULL,), (LOW,))]
    assert rest[-1] == Operation("mm", (LOW, LOW), (LOW,))


def test_watching_changes_no_result():
    net, x = plain_net(2).eval(), torch.randn(2, 1, 16, 16)
    seen = []
    operations(lambda: seen.append(net(x)))
    assert torch.equal(seen[0], net(x))


def test_a_copy_in_the_same_type_is_no_cast():
    assert not Operation("_to_copy", (LOW,), (LOW,)).is_cast
    assert not Operation("relu", (LOW,), (FULL,)).is_cast
    assert Operation("_to_copy", (LOW,), (FULL,)).is_cast


def test_layers_are_listed_with_what_they_put_out():
    net = nn.Sequential(
        nn.LayerNorm(4), nn.Linear(4, 3), nn.Sequential(nn.ReLU(), nn.Softmax(dim=1))
    )
    found = output_types(net, torch.randn(2, 4))
    assert found == {"0": FULL, "1": LOW, "2.0": LOW, "2.1": LOW}
    assert list(found) == ["0", "1", "2.0", "2.1"]
    half = output_types(net, torch.randn(2, 4), torch.float16)
    assert half["1"] == torch.float16


def test_listing_leaves_the_network_as_it_is():
    net = plain_net(2)
    before = copy.deepcopy(net.state_dict())
    x = torch.randn(2, 1, 16, 16)
    kept = x.clone()
    output_types(net, x)
    assert torch.equal(x, kept)
    assert net.training
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    assert not any(m._forward_hooks for m in net.modules())


def test_hooks_are_gone_after_an_error_too():
    net = plain_net(2)
    with pytest.raises(RuntimeError):
        output_types(net, torch.randn(2, 3, 16, 16))
    assert not any(m._forward_hooks for m in net.modules())


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="inputs is an empty batch"):
        output_types(nn.Linear(2, 2), torch.zeros(0, 2))
