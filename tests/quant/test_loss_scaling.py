"""Mixed-precision training: what float16 loses, and what keeps it."""

import copy
import random

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.optim import SGD

from effdl.blocks import plain_mlp
from effdl.quant.loss_scaling import LossScaler, MasterWeights, flushed_to_zero
from effdl.train import fit


def small_net():
    return plain_mlp((16, 8, 3))


def batch():
    return torch.randn(20, 1, 4, 4), torch.randint(3, (20,))


def gradients(net, x, y, scaler):
    net.zero_grad()
    scaler.scaled(F.cross_entropy(net(x.half()).float(), y)).backward()
    return [p.grad.float() / scaler.scale for p in net.parameters()]


def test_the_loss_is_as_it_was_and_its_gradient_s_times_as_large():
    w = torch.tensor(3.0, requires_grad=True)
    loss = LossScaler(256.0).scaled(w.square())
    assert loss.item() == 9
    loss.backward()
    assert w.grad.item() == 256 * 6


def test_the_scale_changes_as_that_of_torchs_scaler():
    made = getattr(torch.amp, "GradScaler", None)
    if made is None:
        pytest.skip("this torch has no torch.amp.GradScaler")
    theirs = made("cpu", init_scale=2.0**10, growth_interval=3)
    ours = LossScaler(2.0**10, interval=3)
    weight = nn.Parameter(torch.ones(1))
    sgd, draw = SGD([weight], 1e-3), random.Random(0)
    for _ in range(60):
        finite = draw.random() < 0.85
        sgd.zero_grad()
        theirs.scale((weight * (1.0 if finite else torch.inf)).sum()).backward()
        theirs.step(sgd)
        theirs.update()
        ours.update(finite=finite)
        assert ours.scale == theirs.get_scale()


def test_the_scale_by_hand():
    """Interval 2: up after two finite steps, and a bad one starts the count again."""
    scaler, seen = LossScaler(8.0, growth=4.0, backoff=0.25, interval=2), []
    for finite in (True, True, True, False, True, True):
        scaler.update(finite=finite)
        seen.append(scaler.scale)
    assert seen == [8, 32, 32, 8, 8, 32]


def test_a_power_of_two_changes_no_digit_of_a_gradient():
    """As long as nothing is below the smallest normal number, or infinite."""
    w = torch.randn(200)
    wide = [(s * w).half().float() / s for s in (1.0, 64.0, 1024.0)]
    normal = w.abs() > 2.0**-14
    assert all(torch.equal(wide[0][normal], other[normal]) for other in wide[1:])


def test_a_networks_gradients_do_not_depend_on_a_moderate_scale():
    net, (x, y) = small_net().half(), batch()
    low, high = (gradients(net, x, y, LossScaler(s)) for s in (2.0**8, 2.0**10))
    for a, b in zip(low, high, strict=True):
        # values that were subnormal at the lower scale have lost some digits
        torch.testing.assert_close(a, b, rtol=1e-6, atol=2.0**-24)


def test_what_underflows_comes_back_by_scaling():
    tiny = torch.tensor([2.0**-25])
    assert tiny.half().item() == 0
    assert (tiny * 1024).half().item() == 2.0**-15
    assert flushed_to_zero(tiny) == 1
    assert flushed_to_zero(tiny, 1024) == 0
    assert flushed_to_zero(torch.tensor([0.0, 2.0**-30, 1.0])) == 0.5


def test_a_loss_so_small_that_all_gradients_vanish_trains_with_scaling_only():
    def first_gradient(scaler):
        torch.manual_seed(0)
        net, (x, y) = small_net().half(), batch()
        net.zero_grad()
        logits = net(x.half()).float()
        scaler.scaled(2.0**-22 * F.cross_entropy(logits, y)).backward()
        return net[1].weight.grad

    assert first_gradient(LossScaler(1.0)).count_nonzero() == 0
    assert first_gradient(LossScaler(2.0**20)).count_nonzero() > 50


def test_an_update_too_small_for_a_half_adds_up_in_the_master_weight():
    """Half a step below 1 is 2^-12: from there on, 1 - 2^-12 rounds back to 1."""
    half = nn.Parameter(torch.ones(1).half())
    plain = nn.Parameter(torch.ones(1).half())
    sgd, mixed = SGD([plain], 1.0), MasterWeights([half], lambda ps: SGD(ps, 1.0))
    for _ in range(8):
        for weight, optimizer in ((plain, sgd), (half, mixed)):
            weight.grad = torch.full((1,), 2.0**-12).half()
            optimizer.step()
    assert plain.item() == 1
    assert half.item() == mixed.masters[0].item() == 1 - 2.0**-9


def test_a_step_is_that_of_the_inner_optimizer_on_unscaled_gradients():
    net, (x, y), scaler = small_net().half(), batch(), LossScaler(128.0)
    single = [p.detach().float().requires_grad_() for p in net.parameters()]
    expected = SGD(single, 0.1, 0.9)
    ours = MasterWeights(net.parameters(), lambda ps: SGD(ps, 0.1, 0.9), scaler)
    for _ in range(3):
        for master, g in zip(single, gradients(net, x, y, scaler), strict=True):
            master.grad = g
        expected.step()
        ours.step()
        for a, b, half in zip(single, ours.masters, net.parameters(), strict=True):
            assert torch.equal(a, b)
            assert torch.equal(half, b.half())


def test_gradients_are_divided_in_single_precision():
    """2^-10 / 2^20 is 0 in half precision; times the rate 2^15 it is 2^-15."""
    weight = nn.Parameter(torch.ones(1).half())
    scaler = LossScaler(2.0**20)
    ours = MasterWeights([weight], lambda ps: SGD(ps, 2.0**15), scaler)
    weight.grad = torch.full((1,), 2.0**-10).half()
    ours.step()
    assert ours.masters[0].item() == 1 - 2.0**-15


def test_a_step_that_is_not_finite_is_left_out_and_the_scale_falls():
    weight = nn.Parameter(torch.ones(2).half())
    scaler = LossScaler(16.0)
    ours = MasterWeights([weight], lambda ps: SGD(ps, 1.0), scaler)
    weight.grad = torch.tensor([1.0, torch.inf]).half()
    ours.step()
    assert (weight.tolist(), scaler.scale, ours.skipped) == ([1, 1], 8, 1)
    weight.grad = torch.tensor([8.0, 0.0]).half()
    ours.step()
    assert (weight.tolist(), scaler.scale, ours.skipped) == ([0, 1], 8, 1)


def test_training_follows_single_precision_and_bfloat16_needs_no_scale():
    x = torch.randn(200, 1, 4, 4)
    y = x.flatten(1)[:, :3].argmax(1)
    batches = [(x[i : i + 50], y[i : i + 50]) for i in range(0, 200, 50)]
    single = small_net()
    half, autocast = copy.deepcopy(single).half(), copy.deepcopy(single)
    scaler = LossScaler(2.0**12)

    def loss_of_half(a, b):
        return scaler.scaled(F.cross_entropy(half(a.half()).float(), b))

    def loss_of_autocast(a, b):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = autocast(a)
        return F.cross_entropy(logits.float(), b)

    mixed = MasterWeights(half.parameters(), lambda ps: SGD(ps, 0.5), scaler)
    ends = [
        fit(net, loss, batches, optimizer, epochs=10)[-1]
        for net, loss, optimizer in (
            (
                single,
                lambda a, b: F.cross_entropy(single(a), b),
                SGD(single.parameters(), 0.5),
            ),
            (half, loss_of_half, mixed),
            (autocast, loss_of_autocast, SGD(autocast.parameters(), 0.5)),
        )
    ]
    assert ends[0] < 0.5
    assert ends[1:] == pytest.approx([ends[0]] * 2, abs=0.03)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: LossScaler(0.0), "scale must be above 0"),
        (lambda: LossScaler(growth=1.0), "growth above 1"),
        (lambda: LossScaler(backoff=1.0), "backoff between 0 and 1"),
        (lambda: LossScaler(interval=0), "interval must be at least 1, got 0"),
        (lambda: flushed_to_zero(torch.zeros(3)), "gradient is 0 everywhere"),
        (
            lambda: MasterWeights(
                [nn.Parameter(torch.ones(1))], lambda ps: SGD(ps, 1.0)
            ).step(lambda: 0.0),
            "closure must be None",
        ),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
