"""What a finished network answers, and that it stays as it is."""

import pytest
import torch
from torch import nn

from effdl.blocks import plain_net
from effdl.data.digits import Split
from effdl.distill.teacher import answers, numbered


def test_answers_are_the_networks_own_whatever_the_batch() -> None:
    teacher, x = plain_net(2).eval(), torch.randn(7, 1, 16, 16)
    for size in (1, 3, 7, 500):
        torch.testing.assert_close(answers(teacher, x, batch_size=size), teacher(x))


def test_no_more_inputs_are_asked_about_at_once_than_told() -> None:
    seen: list[int] = []
    teacher = nn.Identity().eval()
    teacher.register_forward_hook(lambda _m, inputs, _o: seen.append(len(inputs[0])))
    answers(teacher, torch.zeros(7, 2), batch_size=3)
    assert seen == [3, 3, 1]


def test_answers_take_no_gradient_and_leave_nothing_behind() -> None:
    teacher = plain_net(2).eval()
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    got = answers(teacher, torch.randn(4, 1, 16, 16))
    assert not got.requires_grad
    assert all(p.grad is None and p.requires_grad for p in teacher.parameters())
    assert all(torch.equal(before[n], v) for n, v in teacher.state_dict().items())
    assert not any(layer.training for layer in teacher.modules())


def test_numbers_look_up_the_targets_in_any_order() -> None:
    split = Split(torch.randn(10, 3), torch.randint(5, (10,)))
    for inputs, which in numbered(split).batches(4, seed=3):
        assert torch.equal(split.inputs[which], inputs)
    assert torch.equal(numbered(split).targets, torch.arange(10))


def test_bad_input_is_named() -> None:
    with pytest.raises(ValueError, match="training mode"):
        answers(nn.Linear(2, 2), torch.zeros(1, 2))
    with pytest.raises(ValueError, match="inputs must be at least 1, got 0"):
        answers(nn.Identity().eval(), torch.zeros(0, 2))
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        answers(nn.Identity().eval(), torch.zeros(1, 2), batch_size=0)
