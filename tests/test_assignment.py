"""Checks of assignments: what passes, which remark a wrong answer gets, and cheats."""

import asyncio
import copy
import random

import numpy as np
import pytest
import torch

from effdl.assignment import AnswerError, check, check_value, require
from effdl.seed import seeded


def soft(x, t):
    return torch.softmax(x / t, -1)


WRONG = {
    "t multiplies": lambda x, t: torch.softmax(x * t, -1),
    "t is ignored": lambda x, t: torch.softmax(x, -1),
    "sums over the batch": lambda x, t: torch.softmax(x / t, 0),
}


def cases():
    with seeded(3):
        return [(torch.randn(n, 3), t) for n, t in ((1, 1.0), (2, 1.0), (2, 4.0))]


def remark_of(answer, right=soft, given=None, looks_like=WRONG, **tolerances):
    """Return the message of a check that fails, None where it passes."""
    try:
        check(answer, right, given or cases(), looks_like=looks_like, **tolerances)
    except AnswerError as error:
        return str(error)
    return None


def test_the_right_answer_passes_however_it_is_written():
    def answer(x, t):
        e = [[2.718281828 ** (v / t) for v in row] for row in x.tolist()]
        return torch.tensor([[v / sum(row) for v in row] for row in e])

    assert remark_of(answer) is None


@pytest.mark.parametrize("remark", WRONG)
def test_every_known_mistake_gets_its_remark(remark):
    """Some agree with the right function, or each other, on all cases but one."""
    assert remark_of(WRONG[remark]).startswith(f"looks like: {remark}\n")


def test_a_message_by_hand():
    """The first case is answered rightly, the second is the smallest that is not."""
    message = remark_of(
        lambda x: x + 2,
        lambda x: x * 2,
        [(2,), (3,), (4,)],
        {"two is added": lambda x: x + 2},
    )
    assert message == "looks like: two is added\n  with  3\n  got   5\n  right 6"


def test_an_unknown_mistake_is_called_by_the_name_of_the_function():
    def soften(x, t):
        return x * 0

    assert remark_of(soften).startswith(
        "soften returns something else than it should\n"
    )
    assert remark_of(lambda x, t: x * 0).startswith("the answer returns something else")


def test_a_mistake_must_agree_on_all_cases():
    only_two = {"two is added": lambda x: x + 2, "six": lambda _x: 6}
    message = remark_of(lambda x: 5, lambda x: x * 2, [(3,), (4,)], only_two)
    assert message.startswith("the answer returns something else")


def test_a_mistake_that_raises_on_a_case_is_passed_over():
    mistakes = {"raises": lambda x: 1 / (x - 3), "two is added": lambda x: x + 2}
    message = remark_of(lambda x: x + 2, lambda x: x * 2, [(3,), (4,)], mistakes)
    assert message.startswith("looks like: two is added")


def test_a_stored_answer_fails():
    given = cases()
    stored = soft(*given[0])
    assert "returns something else" in remark_of(lambda x, t: stored, given=given)


def test_a_missing_return_is_told():
    assert "nothing; is a return missing?" in remark_of(lambda x, t: None)


def test_the_stub_is_not_answered_yet():
    def stub(x, t):
        raise NotImplementedError()

    assert remark_of(stub) == "not answered yet"


def test_an_answer_that_raises_is_told_with_the_case():
    def answer(x, t):
        return soft(x, t) / t[0]

    assert remark_of(answer).startswith("answer raised TypeError: 'float' object")
    assert "\n  with  tensor (1, 3): [[" in remark_of(answer)


def test_what_torch_does_not_implement_is_no_stub():
    remark = remark_of(lambda x, t: torch.nn.Module()(x))
    assert remark.startswith("the answer raised NotImplementedError: Module [Module]")


@pytest.mark.parametrize(
    "error",
    [SystemExit(0), KeyboardInterrupt(), GeneratorExit(), asyncio.CancelledError()],
    ids=lambda error: type(error).__name__,
)
def test_an_answer_cannot_end_the_check(error):
    def answer(x, t):
        raise error

    assert remark_of(answer).startswith(f"answer raised {type(error).__name__}: ")


@pytest.mark.parametrize(
    "answer", [None, 3, torch.ones(2)], ids=["None", "3", "tensor"]
)
def test_what_is_no_function_is_told(answer):
    assert "raised TypeError" in remark_of(answer)


CHANGES = {
    "tensor": (torch.ones(2), lambda x: x.mul_(2)),
    "tensor, hardly": (torch.ones(2), lambda x: x.add_(1e-6)),
    "array": (np.ones(2), lambda x: x.fill(2)),
    "parameter": (torch.nn.Parameter(torch.ones(2)), lambda x: x.data.mul_(2)),
    "list": ([3, 2], lambda x: x.sort()),
    "list grows": ([3, 2], lambda x: x.append(1)),
    "inside": ([{"a": torch.ones(2)}], lambda x: x[0]["a"].add_(1)),
    "dict": ({"a": 1}, lambda x: x.update(a=2)),
    "dict loses": ({"a": 1}, lambda x: x.pop("a")),
    "tuple": ((torch.ones(2),), lambda x: x[0].add_(1)),
}


@pytest.mark.parametrize("kind", CHANGES)
def test_an_answer_may_not_change_its_argument(kind):
    argument, change = CHANGES[kind]

    def answer(x):
        change(x)
        return 1

    before = copy.deepcopy(argument)
    remark = remark_of(answer, lambda x: 1, [(argument,)], {})
    assert remark == "answer changes its argument in place; work on a copy"
    assert repr(argument) == repr(before)


def test_a_module_may_be_changed_and_is_another_in_every_call():
    def halve(net):
        net.weight.data /= 2
        return net.weight

    net = torch.nn.Linear(2, 2)
    assert remark_of(halve, lambda n: n.weight / 2, [(net,), (net,)], {}) is None


def test_the_right_and_the_wrong_functions_may_change_theirs():
    given = [(torch.ones(2),), (torch.zeros(2),)]
    mistakes = {"more": lambda x: x.add_(2), "sum": lambda x: x.add_(1)}
    assert remark_of(lambda x: x * 3, lambda x: x.mul_(3), given, mistakes) is None
    message = remark_of(lambda x: x + 1, lambda x: x.mul_(3), given, mistakes)
    assert message.startswith("looks like: sum\n  with  tensor (2,): [1, 1]\n")


def test_a_view_of_an_argument_is_as_good_as_a_copy():
    x = torch.arange(6.0).reshape(2, 3)
    assert remark_of(lambda x: x.T, lambda x: x.T.clone(), [(x,)], {}) is None


def test_answers_draw_the_same_numbers_as_the_right_function():
    def draw(n):
        return [random.random(), np.random.rand(), torch.rand(n)]  # noqa: NPY002

    assert remark_of(lambda n: draw(n), draw, [(2,), (2,), (3,)], {}) is None


def test_seeds_and_gradients_that_an_answer_sets_are_restored():
    def answer(x):
        torch.manual_seed(1)
        random.seed(1)
        torch.set_grad_enabled(False)
        return 2 * x

    def right(x):
        x = x.clone().requires_grad_()
        return torch.autograd.grad((x**2).sum(), x)[0]

    with seeded(5):
        expected = torch.rand(2), random.random()
    with seeded(5):
        given = [(torch.ones(2),), (torch.zeros(2),)]
        assert remark_of(answer, right, given, {}) is None
        assert torch.is_grad_enabled()
        assert (torch.rand(2).tolist(), random.random()) == (
            expected[0].tolist(), expected[1],
        )  # fmt: skip


def test_what_is_right_is_computed_before_the_answer_can_do_anything():
    rule = {"factor": 2}

    def answer(x):
        rule["factor"] = 3
        return 3 * x

    assert remark_of(answer, lambda x: rule["factor"] * x, [(1,)], {}) is not None


def test_an_answer_that_equals_everything_fails():
    equal = type("Equal", (), {"__eq__": lambda s, o: True, "__hash__": None})
    assert "got   <Equal>" in remark_of(lambda x, t: equal())
    assert "got   <generator>" in remark_of(lambda x, t: (v for v in soft(x, t)))


def test_tolerances_reach_the_comparison():
    def near(x):
        return x + 0.01

    assert remark_of(near, lambda x: x, [(1.0,)], {}) is not None
    assert remark_of(near, lambda x: x, [(1.0,)], {}, rtol=0.02) is None
    assert remark_of(near, lambda x: x, [(1.0,)], {}, atol=0.02) is None
    message = remark_of(
        near, lambda x: x, [(2.0,)], {"half": lambda x: 2.015}, rtol=4e-3
    )
    assert message.startswith("looks like: half")


def test_cases_may_come_from_a_generator_once():
    given = ((n,) for n in (1, 2))
    assert remark_of(lambda n: 2, lambda n: n, given, {}).endswith("right 1")


def test_an_error_of_the_right_function_is_not_the_students():
    with pytest.raises(ZeroDivisionError):
        check(lambda x: x, lambda x: 1 / 0, [(1,)], looks_like={})


def test_no_argument_is_called_so():
    assert "\n  with  no argument\n" in remark_of(lambda: 1, lambda: 2, [()], {})


@pytest.mark.parametrize(
    ("value", "right", "looks_like", "message"),
    [
        (40, 36, {"bias": 40}, "looks like: bias\n  with  v\n  got   40\n  right 36"),
        (41, 36, {"bias": 40}, "v is not right\n  with  v\n  got   41\n  right 36"),
        (None, 36, {}, "not answered yet: v is None"),
        (0.5, 0.25, {"no square": torch.tensor(0.5)}, "looks like: no square"),
        ([1, 2], [2, 1], {"order": (1, 2)}, "looks like: order"),
    ],
)
def test_a_wrong_value_gets_its_remark(value, right, looks_like, message):
    with pytest.raises(AnswerError) as caught:
        check_value(value, right, looks_like=looks_like, name="v")
    assert str(caught.value).startswith(message)


def test_a_right_value_passes_within_the_tolerance():
    check_value(None, None, looks_like={})
    check_value([torch.ones(2), 0.30001], [np.ones(2), 0.3], looks_like={})
    check_value(0.31, 0.3, looks_like={"wrong": 0.31}, rtol=0.1)
    check_value(0.31, 0.3, looks_like={"wrong": 0.31}, atol=0.1)
    with pytest.raises(AnswerError, match="looks like: wrong"):
        check_value(0.4, 0.3, looks_like={"wrong": 0.41}, rtol=0.05)


@pytest.mark.parametrize("true", [True, 1 < 2, np.bool_(1), torch.tensor(data=True)])
def test_a_true_condition_passes(true):
    require(true, "it is true")


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        (False, "the remark"),
        (np.float32(1) > 2, "the remark"),
        (torch.ones(1).sum() > 2, "the remark"),
        (torch.ones(2) > 0, "the remark (neither true nor false: tensor (2,): [True"),
        ([1], "the remark (neither true nor false: [1])"),
        (None, "the remark (neither true nor false: None)"),
        (float("nan"), "the remark (neither true nor false: nan)"),
    ],
)
def test_everything_else_fails_with_the_remark(condition, message):
    with pytest.raises(AnswerError) as caught:
        require(condition, "the remark")
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("none", [[], [torch.ones(2, 2)], [(1,), 2], ["ab"]])
def test_errors_say_what_cases_are(none):
    with pytest.raises(ValueError, match="one or more tuples; write"):
        check(soft, soft, none, looks_like={})
