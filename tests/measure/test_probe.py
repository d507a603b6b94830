"""The probe leaves a model as it was and explains inputs it cannot use."""

import copy
from collections import namedtuple

import pytest
import torch
from torch import nn

from effdl.measure.probe import (
    as_inputs,
    clones,
    evaluating,
    tensor_leaves,
    tensors_in,
    undisturbed,
)

Pair = namedtuple("Pair", ["a", "b"])


def net():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5))


def test_a_single_tensor_becomes_a_tuple():
    x = torch.zeros(1, 2)
    assert as_inputs(x) == (x,)
    assert as_inputs([x, x]) == (x, x)


def test_copies_share_neither_memory_nor_history():
    x = torch.ones(2, requires_grad=True) * 1
    (copy_of_x,) = clones((x,))
    assert not copy_of_x.requires_grad
    copy_of_x.zero_()
    assert x.sum() == 2


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (torch.zeros(0, 3, 8, 8), r"empty batch, shape \(0, 3, 8, 8\)"),
        ((torch.zeros(1), torch.zeros(1, 0)), r"empty batch, shape \(1, 0\)"),
        (3.5, "must be a tensor or a tuple of tensors, got 3.5"),
        ((), r"must be a tensor or a tuple of tensors, got \(\)"),
        ((torch.zeros(1), [1, 2]), "got a list; torch.as_tensor makes one"),
        ("abc", "must be a tensor or a tuple of tensors, got 'abc'"),
    ],
)
def test_bad_inputs_are_explained(inputs, message):
    with pytest.raises(ValueError, match=message):
        as_inputs(inputs)


def test_tensors_are_found_in_containers_in_order():
    a, b, c = torch.zeros(1), torch.zeros(2), torch.zeros(3)
    found = tensors_in({"x": a, "y": [Pair(b, None), 3.0, "name"], "z": (c,)})
    assert [len(t) for t in found] == [1, 2, 3]


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        (3.0, "must return tensors, got a float"),
        (None, "must return tensors, got a NoneType"),
        ([], "must return tensors, got a list"),
        ((torch.zeros(1), object()), "must return tensors, got a object; wrap it"),
    ],
)
def test_outputs_without_tensors_are_explained(outputs, message):
    with pytest.raises(ValueError, match=message):
        tensors_in(outputs)


def test_leaves_that_are_no_tensors_are_passed_over():
    a, b = torch.zeros(1), torch.zeros(2)
    assert [len(t) for t in tensor_leaves([a, None, {"b": (object(), b)}])] == [1, 2]
    assert tensor_leaves("none") == []


def test_evaluating_lasts_for_the_block_even_after_an_error():
    model = net().train()
    model[1].eval()
    with pytest.raises(RuntimeError, match="boom"), evaluating(model):
        assert not any(module.training for module in model.modules())
        raise RuntimeError("boom")
    assert [m.training for m in model.modules()] == [True, True, False, True]


@pytest.mark.parametrize("training", [True, False])
def test_every_module_runs_in_the_mode_asked_for(training):
    model = net().train(not training)
    with undisturbed(model, training=training):
        assert all(module.training is training for module in model.modules())


@pytest.mark.parametrize("training", [True, False])
def test_modes_flags_and_buffers_come_back(training):
    model = net().train()
    model[1].eval()  # frozen statistics in a training model
    model[0].weight.requires_grad_(requires_grad=False)
    before = copy.deepcopy(model.state_dict())
    with undisturbed(model, training=training):
        model(torch.randn(2, 3, 8, 8))
        model[1].running_mean.add_(1.0)
        model[1].running_var = torch.full((4,), 7.0)
    assert [m.training for m in model.modules()] == [True, True, False, True]
    assert [p.requires_grad for p in model.parameters()] == [False, True, True, True]
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)


def test_everything_comes_back_after_an_error():
    model = net().train()
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(RuntimeError, match="boom"), undisturbed(model):
        model[1].running_mean.add_(1.0)
        raise RuntimeError("boom")
    assert model.training
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)


def test_the_random_state_comes_back():
    model = net()
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    with undisturbed(model, training=True):
        torch.rand(100)
    assert torch.rand(1) == expected


def test_parameters_require_gradients_in_inference_only():
    model = net().requires_grad_(requires_grad=False)
    with undisturbed(model):
        assert all(p.requires_grad for p in model.parameters())
    with undisturbed(model, training=True):
        assert not any(p.requires_grad for p in model.parameters())


def test_gradients_are_recorded_where_they_are_switched_off():
    with torch.no_grad(), undisturbed(net()):
        assert torch.is_grad_enabled()


def test_integer_parameters_are_left_alone():
    model = nn.Module()
    model.table = nn.Parameter(torch.arange(3), requires_grad=False)
    with undisturbed(model):
        assert not model.table.requires_grad
