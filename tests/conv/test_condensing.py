"""The schedule of the stages by hand, and networks before and after deployment."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from effdl.conv.condensing import (
    condense_fully_,
    condense_on_schedule,
    condensing_steps,
    deploy,
    lasso_penalty,
)
from effdl.conv.feature_reactivation import ReactivationConv2d
from effdl.conv.learned_group import LearnedGroupConv2d, group_lasso
from effdl.train import fit


def net_of(*factors):
    """Return a network with a learned layer for each factor, some of them nested."""
    layers = [
        nn.Sequential(LearnedGroupConv2d(12, 12, groups=2, condensation=c), nn.ReLU())
        for c in factors
    ]
    return nn.Sequential(nn.Conv2d(1, 12, 3), *layers, nn.BatchNorm2d(12))


@pytest.mark.parametrize(("steps", "c"), [(600, 4), (100, 8), (13, 3), (14, 8)])
def test_stages_are_the_first_steps_at_or_after_their_moment(steps, c):
    """As in the authors' code: a stage at the first progress that reaches its own."""
    expected = []
    for stage in range(1, c):
        step = 0
        while step / steps * 2 * (c - 1) < stage - 1e-9:
            step += 1
        expected.append(step)
    assert condensing_steps(steps, c) == tuple(expected)


def test_stages_by_hand():
    """120 epochs, C = 4: every 20th until the 60th; C = 2: one stage, in the middle."""
    assert condensing_steps(120, 4) == (20, 40, 60)
    assert condensing_steps(120, 2) == (60,)
    assert condensing_steps(120, 1) == ()
    assert condensing_steps(7, 2) == (4,)
    assert condensing_steps(6, 4) == (1, 2, 3)


@pytest.mark.parametrize("c", [2, 3, 4, 8])
def test_the_last_stage_is_in_the_middle_and_no_two_coincide(c):
    for steps in range(2 * (c - 1), 60):
        stages = condensing_steps(steps, c)
        assert stages[-1] == (steps + 1) // 2
        assert len(set(stages)) == c - 1


def test_layers_condense_each_on_its_own_schedule():
    net = net_of(4, 2, 1)
    layers = [m for m in net.modules() if isinstance(m, LearnedGroupConv2d)]
    after_step = condense_on_schedule(net, steps=12)
    left = []
    for _ in range(12):
        after_step()
        left.append(tuple(layer.stages_left for layer in layers))
    early = [(3, 1, 0), (2, 1, 0), (2, 1, 0), (1, 1, 0), (1, 1, 0)]
    assert left == early + [(0, 0, 0)] * 7


def test_the_loop_of_the_library_condenses_a_network_while_it_trains():
    net = net_of(4)
    batches = [(torch.randn(4, 1, 4, 4), torch.randn(4, 12, 2, 2)) for _ in range(3)]
    sgd = torch.optim.SGD(net.parameters(), lr=0.1)
    seen = []

    def loss_of(x, y):
        seen.append(net[1][0].stages_left)
        return F.mse_loss(net(x), y) + 1e-5 * lasso_penalty(net)

    after_step = condense_on_schedule(net, steps=4 * len(batches))
    fit(net, loss_of, batches, sgd, epochs=4, after_step=after_step)
    assert seen == [3, 3, 2, 2, 1, 1, 0, 0, 0, 0, 0, 0]


def test_two_schedules_count_for_themselves():
    first, second = net_of(2), net_of(2)
    one, other = condense_on_schedule(first, 4), condense_on_schedule(second, 4)
    one()
    one()
    other()
    assert (first[1][0].stages_left, second[1][0].stages_left) == (0, 1)


def test_all_stages_at_once_leave_what_all_stages_one_by_one_leave():
    net, one_by_one = net_of(4, 3), net_of(4, 3)
    one_by_one.load_state_dict(net.state_dict())
    net[1][0].condense_()  # begun already
    condense_fully_(net)
    for block, stages in ((one_by_one[1], 3), (one_by_one[2], 2)):
        for _ in range(stages):
            block[0].condense_()
    for mine, other in zip(net.buffers(), one_by_one.buffers(), strict=True):
        assert torch.equal(mine, other)


@pytest.mark.parametrize("stages", [0, 1, 3])
def test_the_deployed_network_gives_the_same(stages):
    net = net_of(4, 4).eval()
    for _ in range(stages):
        for block in net[1:3]:
            block[0].condense_()
    x = torch.randn(2, 1, 6, 6)
    small = deploy(net)
    torch.testing.assert_close(small(x), net(x), rtol=1e-5, atol=1e-5)
    assert not any(isinstance(m, LearnedGroupConv2d) for m in small.modules())


def test_a_layer_alone_and_a_reactivation_are_deployed_too():
    alone = LearnedGroupConv2d(4, 4, groups=2, condensation=2)
    inverse = nn.Sequential(ReactivationConv2d(4, 4, groups=2, condensation=2))
    x = torch.randn(1, 4, 3, 3)
    for net in (alone, inverse):
        condense_fully_(net)
        small = deploy(net)
        torch.testing.assert_close(small(x), net(x))
        assert not any(isinstance(m, LearnedGroupConv2d) for m in small.modules())


@pytest.mark.parametrize("training", [True, False])
def test_deployment_changes_a_copy_and_keeps_the_mode(training):
    net = net_of(2).train(training)
    text, state = str(net), {k: v.clone() for k, v in net.state_dict().items()}
    small = deploy(net)
    assert all(m.training is training for m in small.modules())
    for parameter in small.parameters():
        parameter.data.zero_()
    assert str(net) == text
    assert all(torch.equal(v, state[k]) for k, v in net.state_dict().items())


def test_the_penalty_is_the_sum_over_layers_that_have_a_stage_to_come():
    net = net_of(4, 2)
    first, second = net[1][0], net[2][0]
    first.condense_()
    one = group_lasso((first.weight * first.mask)[:, :, 0, 0], 2)
    two = group_lasso(second.weight[:, :, 0, 0], 2)
    torch.testing.assert_close(lasso_penalty(net), one + two)
    second.condense_()
    torch.testing.assert_close(lasso_penalty(net), one)
    condense_fully_(net)
    assert lasso_penalty(net).item() == 0.0


def test_the_penalty_of_a_reactivation_groups_its_inputs():
    layer = ReactivationConv2d(2, 4, groups=2, condensation=2)
    expected = layer.weight.abs().sum()  # one input a group: each weight by itself
    torch.testing.assert_close(lasso_penalty(layer), expected)


def test_the_penalty_reaches_every_weight():
    net = net_of(2, 3)
    lasso_penalty(net).backward()
    assert all(net[k][0].weight.grad.all() for k in (1, 2))


@pytest.mark.parametrize(
    ("steps", "c", "message"),
    [
        (5, 4, "steps must be at least 6 for condensation=4, got 5"),
        (0, 4, "steps must be at least 1, got 0"),
        (5, 0, "condensation must be at least 1, got 0"),
    ],
)
def test_a_training_too_short_for_its_stages_is_refused(steps, c, message):
    with pytest.raises(ValueError, match=message):
        condensing_steps(steps, c)


@pytest.mark.parametrize(
    "call",
    [deploy, condense_fully_, lasso_penalty, lambda net: condense_on_schedule(net, 9)],
)
def test_a_network_that_cannot_condense_is_refused(call):
    with pytest.raises(ValueError, match="net has no LearnedGroupConv2d"):
        call(nn.Sequential(nn.Conv2d(1, 1, 1)))
