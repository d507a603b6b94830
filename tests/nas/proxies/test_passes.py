"""Passes counted: of loops written out, of proxies, and with copies of the model."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from effdl.nas.proxies.linear_regions import linear_region_count
from effdl.nas.proxies.ntk import ntk_matrix
from effdl.nas.proxies.passes import Passes, count_passes


def net() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(2, 3)
    )


@pytest.mark.parametrize("forwards", [1, 3])
def test_passes_are_those_of_the_loop(forwards):
    model, x = net(), torch.randn(4, 1, 3, 3)

    def run() -> None:
        for _ in range(forwards):
            model(x).sum().backward()
        with torch.no_grad():
            model(x[:2])

    assert count_passes(model, run) == Passes(
        forward=forwards + 1, backward=forwards, inputs=4 * forwards + 2
    )


def test_a_gradient_of_a_gradient_is_a_second_backward_pass():
    """As in GraSP: the first gradient keeps its graph, the second goes through it."""
    model, x = net(), torch.randn(4, 1, 3, 3)
    weights = [model[0].weight, model[3].weight]

    def run() -> None:
        loss = F.cross_entropy(model(x), torch.tensor([0, 1, 2, 0]))
        first = torch.autograd.grad(loss, weights, create_graph=True)
        sum(g.square().sum() for g in first).backward()

    assert count_passes(model, run) == Passes(forward=1, backward=2, inputs=4)


@pytest.mark.parametrize("n", [2, 7])
def test_the_kernel_takes_a_backward_pass_per_input(n):
    model = net()
    passes = count_passes(model, lambda: ntk_matrix(model, torch.randn(n, 1, 3, 3)))
    assert passes == Passes(forward=1, backward=n, inputs=n)


def test_the_region_count_takes_no_backward_pass():
    model, x = net(), torch.randn(3000, 1, 3, 3)
    passes = count_passes(model, lambda: linear_region_count(model, x))
    assert passes == Passes(forward=3, backward=0, inputs=3000)


def test_runs_of_a_copy_count():
    model, x = net(), torch.randn(4, 1, 3, 3)
    passes = count_passes(model, lambda: copy.deepcopy(model)(x).sum().backward())
    assert passes == Passes(forward=1, backward=1, inputs=4)


def test_a_gradient_of_the_inputs_alone_counts():
    model = net().requires_grad_(requires_grad=False)
    x = torch.randn(4, 1, 3, 3, requires_grad=True)
    passes = count_passes(model, lambda: torch.autograd.grad(model(x).sum(), x))
    assert passes == Passes(forward=1, backward=1, inputs=4)


def test_a_pass_back_that_ends_at_a_cut_counts():
    """As in the Fisher proxy: the first layer's output is where gradients are taken."""
    model, x = net().requires_grad_(requires_grad=False), torch.randn(4, 1, 3, 3)

    def run() -> None:
        cut = model[0].register_forward_hook(lambda *a: a[-1].detach().requires_grad_())
        model(x).sum().backward()
        cut.remove()

    model[1] = nn.ReLU()
    assert count_passes(model, run) == Passes(forward=1, backward=1, inputs=4)


def test_a_forward_pass_that_leaves_out_the_end_counts():
    model, x = net(), torch.randn(4, 1, 3, 3)
    passes = count_passes(model, lambda: model[:2](x))
    assert passes == Passes(forward=1, backward=0, inputs=4)


def test_the_model_comes_back_without_hooks_even_after_an_error():
    model = net()
    count_passes(model, lambda: None)
    with pytest.raises(ZeroDivisionError):
        count_passes(model, lambda: 1 / 0)
    assert not any(module._forward_hooks for module in model.modules())


def test_nothing_run_is_nothing_counted():
    assert count_passes(net(), lambda: None) == Passes(0, 0, 0)


def test_a_model_without_layers_is_named():
    with pytest.raises(ValueError, match="ReLU has no linear or convolutional layer"):
        count_passes(nn.ReLU(), lambda: None)
