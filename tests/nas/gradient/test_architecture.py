"""Architecture parameters: what starts equal, what is left, and what is strongest."""

import math

import pytest
import torch

from effdl.nas.gradient.architecture import Architecture

NAMES = ("none", "skip", "conv")


def with_logits(*rows, candidates=None):
    architecture = Architecture(candidates or [NAMES] * len(rows))
    architecture.logits.data = torch.tensor(rows)
    return architecture


def test_it_starts_nearly_equal_with_the_deviation_that_was_asked_for():
    logits = Architecture([NAMES] * 4000, spread=1e-3).logits
    assert logits.shape == (4000, 3)
    assert logits.std().item() == pytest.approx(1e-3, rel=0.05)
    assert logits.mean().abs().item() < 1e-4
    assert Architecture([NAMES] * 4000).logits.std().item() == pytest.approx(
        1e-3, rel=0.05
    )
    uniform = Architecture([NAMES] * 14)().softmax(1).detach()
    assert (uniform - 1 / 3).abs().max() < 2e-3


def test_without_spread_all_are_equal():
    assert not Architecture([NAMES], spread=0).logits.any()


def test_edges_may_have_different_candidates():
    """The shorter is filled up with what is never active."""
    found = Architecture([("skip",), NAMES, ("conv", "skip")])
    assert found.candidates == (("skip",), NAMES, ("conv", "skip"))
    assert found.active.tolist() == [
        [True, False, False],
        [True, True, True],
        [True, True, False],
    ]
    assert found.left(0) == ("skip",)
    weights = found().softmax(1)
    assert weights[0].tolist() == [1.0, 0.0, 0.0]
    assert weights[2, 2] == 0


def test_inactive_logits_are_minus_infinity_and_do_not_learn():
    found = with_logits([0.5, 1.0, 2.0], [3.0, 4.0, 5.0])
    found.keep_(0, ("none", "conv"))
    assert found.masked_logits().tolist() == [[0.5, -math.inf, 2.0], [3.0, 4.0, 5.0]]
    assert torch.equal(found(), found.masked_logits())
    found().softmax(1)[:, 0].sum().backward()
    assert found.logits.grad[0, 1] == 0
    assert found.logits.grad[0, [0, 2]].all()
    assert found.logits.grad[1].all()


def test_what_is_kept_is_left_in_the_order_of_the_candidates():
    found = with_logits([0.0, 1.0, 2.0], [0.0, 1.0, 2.0])
    found.keep_(1, ["conv", "none"])
    assert found.left(1) == ("none", "conv")
    assert found.left(0) == NAMES
    found.keep_(1, ["conv"])
    assert found.left(1) == ("conv",)
    assert found.logits.tolist() == [[0.0, 1.0, 2.0]] * 2  # as they were


def test_the_strongest_is_never_none_unless_nothing_else_is_left():
    found = with_logits([9.0, 1.0, 2.0], [9.0, 2.0, 1.0], [9.0, 1.0, 2.0])
    assert found.strongest() == ("conv", "skip", "conv")
    assert found.strongest(never=()) == ("none",) * 3
    assert found.strongest(never=("none", "conv")) == ("skip",) * 3
    found.keep_(0, ["none"])
    found.keep_(2, ["none", "skip"])
    assert found.strongest() == ("none", "skip", "skip")


def test_dropped_candidates_leave_the_logits_of_others_where_they_are():
    found = with_logits([9.0, 2.0, 1.0])
    found.keep_(0, ["skip", "conv"])
    assert found.strongest() == ("skip",)


def test_the_strongest_of_equals_is_the_first():
    assert with_logits([0.0, 1.0, 1.0]).strongest() == ("skip",)


def test_names_and_not_columns_are_chosen():
    """Edges whose lists have another order."""
    found = with_logits(
        [1.0, 2.0, 0.0],
        [1.0, 2.0, 5.0],
        candidates=[("conv", "none", "skip"), ("skip", "conv")],
    )
    assert found.strongest() == ("conv", "conv")  # the third column of edge 1 is empty


def test_one_hot_is_undone_by_strongest():
    found = Architecture([NAMES, ("conv", "skip")])
    weights = found.one_hot(("skip", "skip"))
    assert weights.tolist() == [[0.0, 1.0, 0.0], [0.0, 1.0, 0.0]]
    assert not weights.requires_grad
    found.logits.data = weights
    assert found.strongest() == ("skip", "skip")


def test_what_is_left_travels_with_the_state():
    found, other = with_logits([1.0, 2.0, 3.0]), Architecture([NAMES])
    found.keep_(0, ("skip",))
    other.load_state_dict(found.state_dict())
    assert other.left(0) == ("skip",)
    assert [name for name, _ in found.named_parameters()] == ["logits"]


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_logits_that_are_not_finite_are_named(bad):
    found = with_logits([0.0, 1.0, 2.0], [0.0, bad, 2.0])
    with pytest.raises(
        ValueError, match=r"logits of edge 1 are \[0.0, .*finite: try a"
    ):
        found.masked_logits()
    with pytest.raises(ValueError, match="logits of edge 1"):
        found.strongest()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Architecture([]), "candidates is empty; give the names for each edge"),
        (
            lambda: Architecture([NAMES, ()]),
            r"candidates\[1\] must name different operations, at least one, got \[\]",
        ),
        (lambda: Architecture([("a", "a")]), r"candidates\[0\] .* got \['a', 'a'\]"),
        (
            lambda: Architecture([NAMES], spread=-1),
            "spread must be 0 or larger, got -1",
        ),
        (
            lambda: Architecture([NAMES], spread=math.nan),
            "spread must be 0 or larger, got nan",
        ),
        (
            lambda: Architecture([NAMES]).keep_(0, ()),
            r"names must be one or more of \[",
        ),
        (
            lambda: Architecture([NAMES]).keep_(0, ["pool"]),
            r"which are active on edge 0, got \['pool'\]",
        ),
        (
            lambda: Architecture([NAMES] * 2).one_hot(["skip"]),
            "chosen must name 2 candidates, one per edge, got 1",
        ),
        (
            lambda: Architecture([NAMES]).one_hot(["pool"]),
            r"chosen\[0\] must be one of \['none', 'skip', 'conv'\], got 'pool'",
        ),
    ],
)
def test_what_cannot_be_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_what_was_dropped_cannot_be_kept():
    found = Architecture([NAMES])
    found.keep_(0, ("skip", "conv"))
    with pytest.raises(ValueError, match=r"one or more of \['skip', 'conv'\]"):
        found.keep_(0, ("none", "skip"))
    assert found.left(0) == ("skip", "conv")
