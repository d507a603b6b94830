"""Input gradients against finite differences and loops, and the model left alone."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from effdl.nas.cell_net import small_cell_net
from effdl.nas.cell_space import Cell
from effdl.nas.proxies.jacobian import correlation, input_gradients

CELL = Cell.parse(
    "|nor_conv_3x3~0|+|skip_connect~0|nor_conv_1x1~1|"
    "+|avg_pool_3x3~0|none~1|nor_conv_3x3~2|"
)


def test_it_is_the_slope_of_all_logits_together():
    """Finite differences in every pixel, the batch normalised anew for each."""
    net = small_cell_net(CELL, widths=(2, 3)).double()
    x = torch.randn(2, 1, 4, 4, dtype=torch.float64)
    actual, logits = input_gradients(net, x)
    moved = copy.deepcopy(net).train()
    torch.testing.assert_close(logits, moved(x))

    expected, step = torch.zeros(2, 16, dtype=torch.float64), 1e-6
    with torch.no_grad():
        for image in range(2):
            for pixel in range(16):
                ahead, behind = x.clone(), x.clone()
                ahead[image].view(-1)[pixel] += step
                behind[image].view(-1)[pixel] -= step
                slope = (moved(ahead).sum() - moved(behind).sum()) / (2 * step)
                expected[image, pixel] = slope
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-6)


def test_without_batch_norm_it_is_the_gradient_of_each_image_alone():
    net = nn.Sequential(nn.Flatten(), nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 3))
    x = torch.randn(5, 3, 4)
    expected = []
    for image in x:
        alone = image[None].clone().requires_grad_()
        net(alone).sum().backward()
        expected.append(alone.grad.flatten())
    actual, _ = input_gradients(net, x)
    torch.testing.assert_close(actual, torch.stack(expected).double())


def test_with_batch_norm_an_image_answers_for_the_others_too():
    """The gradient of its own logits alone is another one."""
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2))
    x = torch.randn(6, 3).requires_grad_()
    (own,) = torch.autograd.grad(net(x)[0].sum(), x)
    together, _ = input_gradients(net, x)
    assert (together[0] - own[0]).abs().max() > 0.01 * own[0].abs().max()


def test_a_value_by_hand():
    """Logits w_1 x and w_2 x: the sum has the slope w_1 + w_2 = (4, 6)."""
    net = nn.Linear(2, 2)
    net.weight.data = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    gradients, logits = input_gradients(net, torch.randn(3, 2))
    assert gradients.tolist() == [[4, 6]] * 3
    assert gradients.dtype == torch.float64
    assert logits.shape == (3, 2)


def test_correlation_is_that_of_numpy():
    rows = torch.randn(5, 7, dtype=torch.float64) * torch.tensor([[1e-9], *[[3.0]] * 4])
    expected = np.corrcoef(rows.numpy())
    torch.testing.assert_close(correlation(rows), torch.from_numpy(expected))
    assert correlation(rows).diagonal().eq(1).all()
    assert correlation(rows[:1]).tolist() == [[1]]


def test_images_in_another_order_change_nothing_else():
    net, x = small_cell_net(CELL).double(), torch.randn(6, 1, 12, 12).double()
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    gradients, _ = input_gradients(net, x)
    shuffled, _ = input_gradients(net, x[order])
    torch.testing.assert_close(shuffled, gradients[order])


def test_weights_before_a_batch_norm_have_no_scale():
    net, x = small_cell_net(CELL).double(), torch.randn(6, 1, 12, 12).double()
    for norm in net.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.eps = 1e-30
    before, _ = input_gradients(net, x)
    for conv in net.modules():
        if isinstance(conv, nn.Conv2d):
            conv.weight.data *= 3
    after, _ = input_gradients(net, x)
    torch.testing.assert_close(after, before)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("frozen", [True, False])
@pytest.mark.parametrize("fails", [True, False])
def test_the_model_comes_back_as_it_was(training, frozen, fails):
    net = small_cell_net(CELL).train(training).requires_grad_(not frozen)
    net.last.eval()
    model = nn.Sequential(net, nn.Dropout(), nn.Flatten(0) if fails else nn.Identity())
    before = copy.deepcopy(model.state_dict())
    modes = [m.training for m in model.modules()]
    x = torch.randn(4, 1, 12, 12)
    same, state = x.clone(), torch.get_rng_state()
    with torch.no_grad():
        if fails:
            with pytest.raises(ValueError, match="must return logits"):
                input_gradients(model, x)
        else:
            assert input_gradients(model, x)[0].any()
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)
    assert [m.training for m in model.modules()] == modes
    assert all(p.grad is None for p in model.parameters())
    assert all(p.requires_grad is not frozen for p in model.parameters())
    assert torch.equal(x, same)
    assert x.grad is None
    assert not x.requires_grad
    assert torch.equal(torch.get_rng_state(), state)
    assert not any(m._forward_hooks or m._backward_hooks for m in model.modules())


def test_it_runs_on_batch_statistics_whatever_the_mode():
    net, x = small_cell_net(CELL), torch.randn(4, 1, 12, 12)
    training, _ = input_gradients(net.train(), x)
    evaluating, _ = input_gradients(net.eval(), x)
    torch.testing.assert_close(evaluating, training)


def test_a_model_that_begins_in_place_spoils_nothing():
    x = torch.randn(3, 4)
    same = x.clone()
    net = nn.Sequential(nn.ReLU(inplace=True), nn.Linear(4, 2))
    gradients, _ = input_gradients(net, x)
    assert torch.equal(x, same)
    assert torch.equal(gradients != 0, x > 0)


class Cut(nn.Module):
    """Returns something that its input does not enter."""

    def forward(self, x):
        """Return (N, 2)."""
        return torch.zeros(len(x), 2)


@pytest.mark.parametrize(
    ("model", "inputs", "message"),
    [
        (nn.Linear(2, 1), torch.zeros(0, 2), r"empty batch, shape \(0, 2\)"),
        (nn.Linear(2, 1), torch.zeros(3, 2).int(), "floating-point numbers, got"),
        (nn.Flatten(0), torch.zeros(3, 2), r"logits \(3, K\) for 3 images, got \(6,\)"),
        (nn.Identity(), torch.zeros(3, 2, 2), r"got \(3, 2, 2\)"),
        (nn.Flatten(0, 1), torch.zeros(3, 2, 2), r"got \(6, 2\)"),
        (nn.LSTM(2, 1), torch.zeros(3, 2), "LSTM must return logits.*tuple"),
        (Cut(), torch.zeros(3, 2), "the logits of Cut do not depend on inputs"),
    ],
)
def test_bad_arguments_are_named(model, inputs, message):
    with pytest.raises(ValueError, match=message):
        input_gradients(model, inputs)


@pytest.mark.parametrize("bad", [0.0, 0.1, 1e9 / 3, torch.nan, torch.inf])
def test_a_row_without_a_correlation_is_named(bad):
    rows = torch.randn(3, 1000, dtype=torch.float64)
    rows[1] = bad
    with pytest.raises(ValueError, match="row 1 is the same in all 1000 places"):
        correlation(rows)
