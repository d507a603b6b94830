"""LSQ: the gradient of the step by hand, term by term, and against torch's own op."""

import pytest
import torch

from effdl.quant.lsq import first_step, lsq


def pulls(x, step, lowest, highest, g):
    """Return the gradients by the equations of the paper, value by value."""
    dx, ds = torch.zeros_like(x), 0.0
    for i, value in enumerate(x.tolist()):
        u = value / step
        if lowest < u < highest:
            dx[i] = g[i]
            ds += g[i].item() * (round(u) - u)
        else:
            ds += g[i].item() * (lowest if u <= lowest else highest)
    return dx, ds


def test_value_and_both_gradients_are_those_of_the_paper():
    x = 3 * torch.randn(100, dtype=torch.double)
    g = torch.randn(100, dtype=torch.double)
    x.requires_grad_()
    step = torch.tensor(0.7, dtype=torch.double, requires_grad=True)
    y = lsq(x, step, -4, 3)
    assert torch.equal(y, (x / step).clamp(-4, 3).round() * step)
    (y * g).sum().backward()
    dx, ds = pulls(x.detach(), 0.7, -4, 3, g)
    torch.testing.assert_close(x.grad, dx)
    assert step.grad.item() == pytest.approx(ds)


def test_by_hand():
    """With u = -3, -0.4, 1.3, 9 from -2 to 1: -2 + 0.4 + 1 + 1 = 0.4."""
    x = torch.tensor([-3.0, -0.4, 1.3, 9.0], requires_grad=True)
    step = torch.tensor(1.0, requires_grad=True)
    y = lsq(x, step, -2, 1)
    assert y.tolist() == [-2, 0, 1, 1]
    y.sum().backward()
    assert step.grad.item() == pytest.approx(0.4)
    assert x.grad.tolist() == [0, 1, 0, 0]


@pytest.mark.parametrize(("lowest", "highest"), [(-8, 7), (0, 15), (-2, 1)])
def test_gradients_are_those_of_torchs_learnable_fake_quantization(lowest, highest):
    learnable = getattr(torch, "_fake_quantize_learnable_per_tensor_affine", None)
    if learnable is None:
        pytest.skip("this torch has no such operator")
    step = torch.tensor([0.5])  # a power of two: dividing is multiplying
    x, g = 3 * torch.randn(1000), torch.randn(1000)
    u = x / step
    beyond = (u > highest) & (u <= highest + 0.5) | (u < lowest) & (u >= lowest - 0.5)
    x = x[~beyond]  # these torch takes for inside; see the next test
    g = g[~beyond]
    factor = (len(x) * highest) ** -0.5
    ours, theirs = ((x.clone().requires_grad_(), step.clone()) for _ in range(2))
    for pair in (ours, theirs):
        pair[1].requires_grad_()
    y = lsq(*ours, lowest, highest, factor=factor)
    z = learnable(*theirs, torch.zeros(1), lowest, highest, factor)
    torch.testing.assert_close(y, z)
    (y * g).sum().backward()
    (z * g).sum().backward()
    torch.testing.assert_close(ours[0].grad, theirs[0].grad)
    torch.testing.assert_close(ours[1].grad, theirs[1].grad, rtol=1e-4, atol=1e-5)


def test_half_a_step_beyond_the_last_level_it_is_clamped_and_in_torch_it_is_not():
    learnable = getattr(torch, "_fake_quantize_learnable_per_tensor_affine", None)
    if learnable is None:
        pytest.skip("this torch has no such operator")
    found = []
    for function in (
        lambda x, s: lsq(x, s, -8, 7),
        lambda x, s: learnable(x, s, torch.zeros(1), -8, 7, 1.0),
    ):
        x = torch.tensor([7.25], requires_grad=True)
        step = torch.ones(1, requires_grad=True)
        function(x, step).sum().backward()
        found.append((x.grad.item(), step.grad.item()))
    assert found == [(0, 7), (1, -0.25)]


def test_a_finite_difference_sees_the_integer_and_not_the_straight_through_term():
    """At u = 1.3 the difference quotient is 1, the gradient 1 - 1.3."""
    x, step = torch.tensor([1.3], dtype=torch.double), 1.0
    sides = [
        lsq(x, torch.tensor(s, dtype=torch.double), -4, 3) for s in (step, step + 1e-6)
    ]
    assert ((sides[1] - sides[0]) / 1e-6).item() == pytest.approx(1, abs=1e-6)
    moving = torch.tensor(step, dtype=torch.double, requires_grad=True)
    lsq(x, moving, -4, 3).sum().backward()
    assert moving.grad.item() == pytest.approx(-0.3)


def test_one_step_a_channel_is_one_call_a_channel():
    x, g = torch.randn(3, 5), torch.randn(3, 5)
    steps = torch.tensor([[0.2], [0.5], [1.0]], requires_grad=True)
    (lsq(x, steps, -4, 3, factor=0.1) * g).sum().backward()
    for row in range(3):
        step = steps[row].detach().clone().requires_grad_()
        (lsq(x[row], step, -4, 3, factor=0.1) * g[row]).sum().backward()
        torch.testing.assert_close(steps.grad[row], step.grad)


def test_on_the_grid_nothing_changes_and_the_step_is_not_pulled():
    step = torch.tensor(0.25, requires_grad=True)
    x = torch.tensor([-0.75, 0.0, 0.5])
    y = lsq(x, step, -4, 3)
    assert torch.equal(y, x)
    y.sum().backward()
    assert step.grad.item() == 0


def test_a_step_that_learns_finds_the_spacing_of_the_data():
    x = 0.3 * torch.randint(-4, 4, (400,)) + 0.01 * torch.randn(400)
    step = torch.tensor(0.36, requires_grad=True)
    sgd = torch.optim.SGD([step], 0.1)
    for _ in range(100):
        sgd.zero_grad()
        (lsq(x, step, -4, 3) - x).square().mean().backward()
        sgd.step()
    assert step.item() == pytest.approx(0.3, abs=0.01)


def test_the_first_step_by_hand():
    """Twice the mean 3 over the root of 9 is 2; channels 1 and 5: 2/3 and 10/3."""
    x = torch.tensor([[1.0, -1.0], [5.0, -5.0]])
    assert first_step(x, 9).item() == 2
    torch.testing.assert_close(first_step(x, 9, axis=0), torch.tensor([2 / 3, 10 / 3]))
    torch.testing.assert_close(first_step(x, 9, axis=-1), torch.tensor([2.0, 2.0]))
    assert first_step(torch.zeros(3), 1).item() == 1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: lsq(torch.ones(1), torch.tensor(0.0), 0, 1), "step must be above 0"),
        (lambda: lsq(torch.ones(1), torch.tensor(torch.nan), 0, 1), "got nan"),
        (lambda: first_step(torch.tensor([torch.inf]), 1), "1 infinite of 1"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
