"""Checks of an assignment that say which mistake they see.

    check(answer, right, cases, looks_like={remark: wrong, ...})
    check_value(value, right, looks_like={remark: wrong_value, ...})
    require(condition, remark)

A check runs the answer on every case. Where it differs from the right function, the
check looks for the known mistake that agrees with the answer on *all* cases, names it,
and shows the smallest case on which the two part ways. Every failure is an
``AnswerError``, whose first line is the remark that a student reads.

Cases are drawn from several seeds, so that a stored answer fails. Arguments are copied
for each call, and random numbers begin at the same state in each, so that answers which
draw can be compared. What is right is computed before the answer first runs. Whole
numbers must be equal; others have a tolerance (see ``effdl.agreement``).

When not to trust it: two mistakes at once look like none that is known. And an answer
runs in the same process as its check: whoever wants to can read the check (the grader
detects some ways, see the page "Teach with this book").
"""

import copy
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from effdl.agreement import readable, same
from effdl.seed import seeded


class AnswerError(AssertionError):
    """A check that failed. Its first line is the remark for the student."""


def check(
    answer: Callable[..., object],
    right: Callable[..., object],
    cases: Sequence[tuple[object, ...]],
    *,
    looks_like: Mapping[str, Callable[..., object]],
    rtol: float | None = None,
    atol: float = 1e-5,
) -> None:
    """Compare an answer with the right function, and name the mistake.

    Args:
        answer: What the student wrote.
        right: Takes the same arguments, and is never shown.
        cases: Positional arguments, one tuple a call, from the smallest to the largest.
        looks_like: What a wrong answer would return, under the remark that names the
            mistake. One that raises on a case is not recognised.
        rtol: Relative tolerance of every number; left out, that of ``same``.
        atol: Absolute tolerance of every number.

    Raises:
        AnswerError: If the answer raises, changes an argument other than a module, or
            gives another value.
        ValueError: If there is no case, or one is not a tuple.

    Example:
        >>> double = {"doubled, not squared": lambda x: 2 * x}
        >>> check(lambda x: x * x, lambda x: x**2, [(2,), (3,)], looks_like=double)
        >>> check(lambda x: x + x, lambda x: x**2, [(2,), (3,)], looks_like=double)
        Traceback (most recent call last):
        effdl.assignment.AnswerError: looks like: doubled, not squared
          with  3
          got   6
          right 9
    """
    cases = [*cases]  # a generator would be used up by the right function
    if not cases or not all(isinstance(case, tuple) for case in cases):
        raise ValueError("cases must be one or more tuples; write [(x,), (y,)]")
    wanted = [_run(right, copy.deepcopy(case)) for case in cases]
    name = getattr(answer, "__name__", "<lambda>").replace("<lambda>", "the answer")
    got = [_called(answer, case, name) for case in cases]
    wrong = [i for i, g in enumerate(got) if not same(g, wanted[i], rtol, atol)]
    if not wrong:
        return
    first = wrong[0]
    remark = f"{name} returns something else than it should"
    if got[first] is None:
        remark += ": nothing; is a return missing?"
    for mistake, function in looks_like.items():
        tried = (_outcome(function, case) for case in cases)
        if all(same(g, t, rtol, atol) for g, t in zip(got, tried, strict=True)):
            remark = f"looks like: {mistake}"
            break
    shown = ", ".join(map(readable, cases[first])) or "no argument"
    raise AnswerError(_message(remark, shown, got[first], wanted[first]))


def check_value(
    value: object,
    right: object,
    *,
    looks_like: Mapping[str, object],
    rtol: float | None = None,
    atol: float = 1e-5,
    name: str = "the value",
) -> None:
    """Compare a value with the right one, and name the mistake that gives this value.

    Args:
        value: What the student found.
        right: What is right: numbers, tensors, text, or lists and dicts of them.
        looks_like: The value that each known mistake gives, under its remark.
        rtol: Relative tolerance of every number; left out, that of ``same``.
        atol: Absolute tolerance of every number.
        name: What the student calls the value.

    Raises:
        AnswerError: If the value is another one.

    Example:
        >>> check_value(36, 36, looks_like={"the bias was counted": 40})
        >>> check_value(40, 36, looks_like={"the bias was counted": 40}, name="weights")
        Traceback (most recent call last):
        effdl.assignment.AnswerError: looks like: the bias was counted
          with  weights
          got   40
          right 36
    """
    if same(value, right, rtol, atol):
        return
    if value is None:
        raise AnswerError(f"not answered yet: {name} is None")
    known = (m for m, wrong in looks_like.items() if same(value, wrong, rtol, atol))
    mistake = next(known, None)
    remark = f"looks like: {mistake}" if mistake else f"{name} is not right"
    raise AnswerError(_message(remark, name, value, right))


def require(condition: bool, remark: str) -> None:
    """Fail with the remark unless the condition is true.

    An answer may bring an equality of its own: compare it by ``check_value``.

    Raises:
        AnswerError: If it is false, or neither true nor false.

    Example:
        >>> require(1 < 2, "one is less than two")
    """
    if not same(condition, 1):
        odd = f" (neither true nor false: {readable(condition)})"
        raise AnswerError(remark if same(condition, 0) else remark + odd)


def _message(remark: str, case: str, got: object, wanted: object) -> str:
    lines = f"with  {case}", f"got   {readable(got)}", f"right {readable(wanted)}"
    return "\n  ".join((remark, *lines))


def _run(function: Callable[..., object], given: tuple[object, ...]) -> object:
    """Return what a function gives, with the same draws and gradients on each time."""
    with seeded(0), torch.enable_grad():
        return function(*given)


def _called(
    answer: Callable[..., object], case: tuple[object, ...], name: str
) -> object:
    """Return what the answer gives.

    Raises:
        AnswerError: If it is not there, fails, or changes its argument.
    """
    given = copy.deepcopy(case)
    try:
        out = _run(answer, given)
    except BaseException as error:  # an answer that calls exit() as well
        if type(error) is NotImplementedError and not error.args:
            raise AnswerError("not answered yet") from None
        what = f"{type(error).__name__}: {error}".splitlines()[0][:200]
        shown = ", ".join(map(readable, case))
        raise AnswerError(f"{name} raised {what}\n  with  {shown}") from error
    if any(_changed(*pair) for pair in zip(case, given, strict=True)):
        raise AnswerError(f"{name} changes its argument in place; work on a copy")
    return out


def _outcome(function: Callable[..., object], case: tuple[object, ...]) -> object:
    """Return what a function gives, or the class of what it raises."""
    try:
        return _run(function, copy.deepcopy(case))
    except Exception as error:
        return type(error)


def _changed(before: object, after: object) -> bool:
    """Return whether a value, or one inside, changed; modules are allowed to."""
    if isinstance(before, dict) and isinstance(after, dict):
        before, after = [*before.items()], [*after.items()]
    if isinstance(before, list | tuple) and isinstance(after, list | tuple):
        pairs = zip(before, after, strict=False)
        return len(before) != len(after) or any(_changed(*pair) for pair in pairs)
    kinds = (Tensor, np.ndarray, str, int, float)
    return isinstance(before, kinds) and not same(before, after, 0, 0)
