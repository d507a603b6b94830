"""The defaults of a method are those of DARTS."""

import torch

from effdl.nas.gradient.architecture import Architecture
from effdl.nas.gradient.method import DARTS, Method, go_on, never_stop
from effdl.nas.gradient.relaxations import softmax_weights
from effdl.nas.gradient.steps import first_order_step


def test_darts_is_softmax_and_first_order_with_nothing_else():
    assert Method() == DARTS
    assert DARTS.relax is softmax_weights
    assert DARTS.step is first_order_step
    loss = torch.tensor(2.0)
    assert DARTS.objective(loss, torch.ones(1, 1), None) is loss


def test_its_hooks_do_nothing_and_never_stop():
    found = Architecture([("skip", "conv")])
    before = found.logits.detach().clone()
    assert DARTS.after_step is go_on
    assert DARTS.after_epoch is never_stop
    assert go_on(None) is None
    assert never_stop(None, []) is False
    assert torch.equal(found.logits, before)
