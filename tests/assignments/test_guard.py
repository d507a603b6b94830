"""What the grader believes, and what it notices, without a wall."""

from typing import Any

import nbformat
import pytest

import tiny_assignment as tiny
from grader import guard
from grader.cells import grade_id
from grader.execute import Grading, readable
from grader.one import reading_words
from grader.sandbox import works
from grader.talk import Said, Talk

walled = pytest.mark.skipif(not works(), reason="bubblewrap does not work here")


class Kernel:
    """One that lives."""

    ended = ""


class Fake:
    """A kernel that says "ok" to everything and prints nothing."""

    kernel = Kernel()

    def __init__(self, state: dict[str, object] | None) -> None:
        self.told = state

    def run(self, code: str, **options: object) -> Said:
        """Return what no honest check ends with."""
        return Said("ok", [])

    def state(self) -> dict[str, object] | None:
        """Return always the same."""
        return self.told


def test_a_check_that_never_came_to_its_end_gives_nothing() -> None:
    grading = Grading(Fake({"len": 1}))
    grading.run(tiny.source())
    assert grading.points == {"task-1": 0, "task-2": 0}
    assert grading.flags[0] == "task-1-check ended before its last line"


def test_without_a_first_look_nothing_is_graded() -> None:
    with pytest.raises(RuntimeError, match="did not tell its state"):
        Grading(Fake(None)).run(tiny.source())


def test_what_was_replaced_is_named() -> None:
    assert guard.replaced({"a": 1, "b": 2}, {"a": 1, "b": 3, "c": 4}) == ["b"]
    assert guard.replaced({"a": 1}, {}) == ["a"]
    assert guard.replaced({}, None) == ["the state of the process cannot be read"]


@pytest.mark.parametrize("answer", ["", "'zz'", "'5b5d'", "'7b'"])
def test_a_state_that_is_none_is_not_read(answer: str) -> None:
    assert guard.parsed(answer) is None


def test_a_state_is_read() -> None:
    assert guard.parsed(repr(b'{"a": 1}'.hex())) == {"a": 1}


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("sys._getframe(1)", "_getframe"),
        ("frame.f_locals", "f_locals"),
        ("eval(In[-1])", "In["),
        ("%history -n", "%history"),
        ("f.__closure__", "__closure__"),
        ("gc.get_objects()", "get_objects"),
        ("import ctypes", "ctypes"),
    ],
)
def test_words_that_read_checks_are_found(text: str, word: str) -> None:
    assert guard.reading(text) == [word]


def test_ordinary_words_are_not_found() -> None:
    assert guard.reading("history = []\nIn = nn.Linear(2, 2)\nMain[0]") == []


def test_only_the_students_own_cells_are_searched() -> None:
    given, own = (nbformat.v4.new_code_cell("sys.settrace(None)") for _ in range(2))
    given.metadata.nbgrader = {"locked": True, "solution": False, "grade_id": "given"}
    assert reading_words(nbformat.v4.new_notebook(cells=[given])) == []
    flags = reading_words(nbformat.v4.new_notebook(cells=[given, own]))
    assert flags == ["mentions settrace: can read the checks"]


def test_only_the_answer_to_this_message_counts() -> None:
    def found(message: str) -> dict[str, Any]:
        parent = {"msg_id": message}
        content = {"execution_state": "idle"}
        return {"parent_header": parent, "msg_type": "status", "content": content}

    said = [found("another"), found("mine")]

    class Client:
        def get_iopub_msg(self, timeout: float) -> dict[str, Any]:
            return said.pop(0)

    talk = Talk(Kernel(), Client())
    assert [talk.receive("mine"), talk.receive("mine")] == [None, "idle"]


def test_what_is_said_about_a_task_is_said_once_and_names_no_file() -> None:
    grading, cell = Grading(Fake({})), tiny.source().cells[4]
    for remark in ("no", "no", "no: b is missing", "no", "other"):
        grading.say(cell, remark)
    assert grading.remarks == {"task-1": ["no: b is missing", "other"]}
    assert readable("expected ':' (3560.py, line 1)") == "expected ':' (line 1)"


@walled
@pytest.mark.parametrize(
    ("deed", "noticed"),
    [
        (
            "getattr(get_ipython(), 'set_custom' + '_exc')((OSError,), print)",
            "the exception handler of IPython",
        ),
        (
            "get_ipython().events.register('pre_run_cell', lambda *a: None)",
            "a hook of IPython",
        ),
        ("import math\nmath.sqrt = abs", "math.sqrt"),
    ],
)
def test_without_a_suspicious_word_it_is_noticed_as_well(
    deed: str, noticed: str, tmp_path: Any
) -> None:
    answer = f"{deed}\nreturn sum(values) / len(values)"
    result, _ = tiny.grade(tiny.with_answers(task_2=answer), tmp_path)
    assert result.points == {"task-1": 3, "task-2": 0}
    assert result.flags == [f"replaced in task-2-check: {noticed}"]


@walled
def test_a_name_of_the_student_hides_no_builtin_from_a_check(tmp_path: Any) -> None:
    notebook = tiny.with_answers(task_2="return sum(values)")
    cell = next(c for c in notebook.cells if grade_id(c) == "task-2")
    cell.source += "\n\nlen = lambda values: 1"
    result, _ = tiny.grade(notebook, tmp_path)
    assert result.points == {"task-1": 3, "task-2": 0}
    assert result.remarks["task-2"][0].startswith("looks like: the sum, not the mean")
