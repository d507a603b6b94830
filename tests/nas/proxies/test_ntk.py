"""The kernel against backward passes, closed forms, torch.func, and at its limits."""

import copy
from math import inf

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, jacrev, vmap

from effdl.nas.cell_net import small_cell_net
from effdl.nas.cell_space import Cell
from effdl.nas.proxies.ntk import (
    condition_number,
    ntk_condition_number,
    ntk_matrix,
)


class Function(nn.Module):
    """A module that does what a function does."""

    def __init__(self, function) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        return self.function(x)


DETACHED = nn.Sequential(nn.Linear(3, 2), Function(Tensor.detach))


def net_with_norm() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(2, 4, 3),
        nn.BatchNorm2d(4),
        nn.ReLU(inplace=True),
        nn.Flatten(),
        nn.Linear(4 * 9, 3),
    )


def plain_net() -> nn.Sequential:
    return nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 3))


@pytest.mark.parametrize("training", [True, False])
def test_kernel_is_the_product_of_gradients_taken_one_after_the_other(training):
    """The definition: a forward of the whole batch, then .backward() of one row."""
    model, x = net_with_norm().train(training), torch.randn(6, 2, 5, 5)
    rows = []
    for n in range(len(x)):
        fresh = copy.deepcopy(model)
        fresh(x)[n].sum().backward()
        weights = [fresh[0].weight, fresh[1].weight, fresh[4].weight]
        rows.append(torch.cat([w.grad.flatten() for w in weights]))
    gradients = torch.stack(rows).double()
    torch.testing.assert_close(ntk_matrix(model, x), gradients @ gradients.T)


def test_kernel_agrees_with_torch_func_where_inputs_do_not_meet():
    model, x = plain_net(), torch.randn(7, 5)
    weights = {k: p.detach() for k, p in model.named_parameters() if "weight" in k}

    def total(weights: dict[str, Tensor], image: Tensor) -> Tensor:
        return functional_call(model, weights, (image[None],)).sum()

    jacobians = vmap(jacrev(total), in_dims=(None, 0))(weights, x)
    rows = torch.cat([j.flatten(1) for j in jacobians.values()], dim=1).double()
    torch.testing.assert_close(ntk_matrix(model, x), rows @ rows.T)


def test_batch_norm_in_training_couples_the_inputs():
    """Adding inputs changes the kernel of the others, but not in evaluation."""
    model, x = net_with_norm(), torch.randn(6, 2, 5, 5)
    assert not torch.allclose(ntk_matrix(model, x)[:3, :3], ntk_matrix(model, x[:3]))
    model.eval()
    torch.testing.assert_close(ntk_matrix(model, x)[:3, :3], ntk_matrix(model, x[:3]))


@pytest.mark.parametrize("outputs", [1, 4])
@pytest.mark.parametrize("bias", [True, False])
def test_kernel_of_a_linear_model_has_a_closed_form(outputs, bias):
    """d(sum_k w_k . x) / d w_k = x for each k: Theta = K X X^T, biases left out."""
    x = torch.randn(5, 6)
    expected = outputs * (x.double() @ x.double().T)
    kernel = ntk_matrix(nn.Linear(6, outputs, bias=bias), x)
    torch.testing.assert_close(kernel, expected, rtol=1e-5, atol=1e-5)
    assert kernel.dtype == torch.float64


def test_kernel_by_hand():
    """Two layers of one unit, y = v w x with v = 3, w = 2: dw = 3 x, dv = 2 x."""
    model = nn.Sequential(nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False))
    nn.init.constant_(model[0].weight, 2.0)
    nn.init.constant_(model[1].weight, 3.0)
    kernel = ntk_matrix(model, torch.tensor([[1.0], [2.0]]))
    assert kernel.tolist() == [[13.0, 26.0], [26.0, 52.0]]


def test_kernel_is_symmetric_and_positive():
    net = small_cell_net(Cell(("nor_conv_3x3",) * 6), widths=(2, 4))
    kernel = ntk_matrix(net, torch.randn(8, 1, 12, 12))
    assert torch.equal(kernel, kernel.T)
    eigenvalues = torch.linalg.eigvalsh(kernel)
    assert eigenvalues[0] > 0
    assert (
        ntk_condition_number(net, torch.randn(8, 1, 12, 12)) > 1
    )  # 1 is for orthogonal gradients


def test_condition_number_is_the_ratio_of_eigenvalues():
    """Eigenvalues 1 and 3 of [[2, 1], [1, 2]]."""
    assert condition_number(torch.tensor([[2.0, 1.0], [1.0, 2.0]])) == pytest.approx(3)
    x = torch.randn(4, 6)
    singular = torch.linalg.svdvals(x.double())
    expected = (singular[0] / singular[-1]).square().item()
    assert ntk_condition_number(nn.Linear(6, 2), x) == pytest.approx(expected, rel=1e-4)


def test_orthonormal_gradients_give_one():
    assert ntk_condition_number(nn.Linear(5, 1), torch.eye(5)) == pytest.approx(1)


@pytest.mark.parametrize("training", [True, False])
def test_an_input_that_comes_twice_gives_infinity(training):
    model, x = net_with_norm().train(training), torch.randn(5, 2, 5, 5)
    assert ntk_condition_number(model, x) < 1e6
    assert ntk_condition_number(model, torch.cat((x, x[2:3]))) == inf


@pytest.mark.parametrize(
    ("smallest", "expected"), [(1e-9, 1e9), (1e-11, inf), (0.0, inf), (-1e-16, inf)]
)
def test_what_rounding_leaves_of_a_zero_counts_as_zero(smallest, expected):
    kernel = torch.diag(torch.tensor([1.0, smallest], dtype=torch.float64))
    assert condition_number(kernel) == pytest.approx(expected)


def test_no_gradient_at_all_is_no_good_conditioning():
    assert condition_number(torch.zeros(3, 3)) == inf


def test_scaling_the_outputs_leaves_the_condition_number():
    """By a power of 2, so that no gradient is rounded."""
    model, x = plain_net(), torch.randn(4, 5)
    scaled = Function(lambda x: 8 * model(x))
    scaled.model = model
    torch.testing.assert_close(ntk_matrix(scaled, x), 64 * ntk_matrix(model, x))
    expected = ntk_condition_number(model, x)
    assert ntk_condition_number(scaled, x) == pytest.approx(expected)


def test_outputs_of_any_shape_are_summed_up():
    maps = nn.Conv2d(1, 3, 1, bias=False)
    x = torch.randn(4, 1, 2, 2)
    flat = x.sum(dim=(1, 2, 3)).double()
    torch.testing.assert_close(ntk_matrix(maps, x), 3 * flat[:, None] * flat)


def test_weights_that_take_no_part_and_weights_that_take_two():
    """A tied layer counts as one parameter, an unused one as zeros."""
    shared = nn.Linear(3, 3, bias=False)
    model = nn.Sequential(shared, shared)
    x = torch.randn(4, 3)
    expected = ntk_matrix(model, x)
    model.unused = nn.Linear(2, 2)
    model.forward = lambda x: shared(shared(x))
    torch.testing.assert_close(ntk_matrix(model, x), expected)
    rows = jacrev(lambda w: (x @ w.T @ w.T).sum(dim=1))(shared.weight.detach())
    rows = rows.flatten(1).double()
    torch.testing.assert_close(expected, rows @ rows.T)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("frozen", [True, False])
def test_model_and_inputs_come_back_unchanged(training, frozen):
    model = nn.Sequential(nn.ReLU(inplace=True), *net_with_norm())
    model.train(training).requires_grad_(not frozen)
    before, x = copy.deepcopy(model.state_dict()), torch.randn(4, 2, 5, 5)
    copied = x.clone()
    with torch.no_grad():
        ntk_condition_number(model, x)
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)
    assert torch.equal(x, copied)
    assert model.training is training
    assert all(p.grad is None for p in model.parameters())
    assert all(p.requires_grad is not frozen for p in model.parameters())


def test_an_error_inside_the_model_leaves_no_trace():
    model = nn.Sequential(nn.BatchNorm1d(3), nn.Linear(4, 2))
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        ntk_matrix(model, torch.randn(9, 3))
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("model", "x", "message"),
    [
        (nn.Linear(3, 2), torch.ones(0, 3), r"inputs is an empty batch, shape \(0, 3"),
        (nn.ReLU(), torch.ones(2, 3), "ReLU has no parameter called weight"),
        (DETACHED, torch.ones(2, 3), "depends on its weights"),
        (
            nn.Sequential(nn.Linear(3, 2), nn.Flatten(0)),
            torch.ones(2, 3),
            r"one row of logits per input \(2\) .* got shape \(4,\)",
        ),
        (nn.Linear(1, 1), torch.full((2, 1), inf), "gradient that is not finite"),
    ],
)
def test_bad_arguments_are_named(model, x, message):
    with pytest.raises(ValueError, match=message):
        ntk_matrix(model, x)
