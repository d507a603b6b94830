"""Hostile submissions are held, or flagged and get nothing; the next one is graded."""

import re
from pathlib import Path

import pytest

import tiny_assignment as tiny
from grader.cells import is_check
from grader.feedback import shown
from grader.sandbox import works

pytestmark = pytest.mark.skipif(not works(), reason="bubblewrap does not work here")

HELD = {  # task 2 does this; task 1 keeps its points
    "never returns": ("while True: pass", "it ran longer than 4 s"),
    "refuses the interrupt": (
        "while True:\n    try:\n        while True: pass\n"
        "    except BaseException: pass",
        "it ran longer than 4 s",
    ),
    "eats memory": ("return bytearray(b'1') * 10**10", "MemoryError"),
    "eats memory slowly": (
        "kept = []\nwhile True: kept.append(b'1' * 10**8 + bytes(len(kept)))",
        "",
    ),
    "fills the disk": (
        "open('big', 'wb').write(b'0' * 10**8)",
        "OSError|it wrote more",
    ),
    "opens a socket": (
        "import socket\nsocket.create_connection(('127.0.0.1', 22), timeout=2)",
        "Error",
    ),
    "ends its process": ("import os\nos._exit(0)", "its process ended"),
    "kills its process": (
        "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)",
        "its process ended",
    ),
    "leaves by the door": ("raise SystemExit", "SystemExit"),
    "forks": (
        "import os\nwhile True: os.fork()",
        "it started more|it used more|it ran longer",
    ),
    "prints for ever": (
        "while True: print('x' * 10000)",
        "it printed more|it ran longer|it used more",
    ),
}
FLAGGED = {
    "replaces torch.testing": (
        "import torch\ntorch.testing.assert_close = lambda *a, **k: None",
        "torch.testing.assert_close",
    ),
    "replaces a builtin": ("import builtins\nbuiltins.abs = len", "builtins.abs"),
    "replaces a builtin in use": (
        "import builtins\nbuiltins.len = lambda x: 1",
        "the state of the process cannot be read",
    ),
    "replaces a builtin for a zero": (
        "import builtins\nbuiltins.sum = lambda *a: 0.0",
        "builtins.sum",
    ),
    "replaces the check": (
        "import effdl.assignment as a\na.check = lambda *b, **k: None",
        "effdl.assignment.check",
    ),
    "replaces what the check calls": (
        "import effdl.agreement as a\na.same.__code__ = (lambda *b: True).__code__",
        "effdl.agreement.same",
    ),
    "reads the frames of the check": (
        "import sys\nreturn sys._getframe(1).f_locals['function'](values)",
        "mentions _getframe, f_locals",
    ),
    "reads the history": ("return eval(In[-1])", "mentions In["),
    "swallows errors": (
        "get_ipython().set_custom_exc((Exception,), lambda *a, **k: None)",
        "mentions set_custom_exc",
    ),
}


@pytest.mark.parametrize("deed", HELD)
def test_it_is_held_and_the_other_task_keeps_its_points(
    deed: str, tmp_path: Path
) -> None:
    code, remark = HELD[deed]
    result, _ = tiny.grade(tiny.with_answers(task_2=code), tmp_path)
    assert result.points == {"task-1": 3, "task-2": 0}
    assert re.search(remark, "; ".join(result.remarks["task-2"]))


@pytest.mark.parametrize("deed", FLAGGED)
def test_it_is_flagged_and_gets_nothing_from_there_on(
    deed: str, tmp_path: Path
) -> None:
    code, noticed = FLAGGED[deed]
    result, _ = tiny.grade(tiny.with_answers(task_2=f"{code}\nreturn 0.0"), tmp_path)
    assert result.points["task-2"] == 0
    assert noticed in "; ".join(result.flags)


def test_files_outside_are_neither_seen_nor_harmed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_OF_THE_TEACHER", "1")
    mark = Path(tmp_path, "precious")
    mark.write_text("1")
    code = f"""
    import os, shutil
    shutil.rmtree({str(tmp_path)!r}, ignore_errors=True)
    shutil.rmtree("/usr/share", ignore_errors=True)
    seen = [os.path.exists(p) for p in ({str(mark)!r}, {str(tiny.TINY)!r})]
    raise ValueError(seen, sorted(k for k in os.environ if "SECRET" in k))
    """
    result, _ = tiny.grade(tiny.with_answers(task_2=code), tmp_path)
    assert "([False, False], [])" in "".join(result.remarks["task-2"])
    assert mark.read_text() == "1"
    assert Path("/usr/share").is_dir()


def test_a_lie_about_the_end_of_a_check_is_no_pass(tmp_path: Path) -> None:
    code = """
    import os, threading, time
    threading.Thread(target=lambda: (time.sleep(1), os._exit(0))).start()
    return values[0]
    """
    result, _ = tiny.grade(tiny.with_answers(task_2=code), tmp_path)
    assert result.points["task-2"] == 0


def test_a_teacher_who_has_looked_can_accept_a_flagged_text(tmp_path: Path) -> None:
    notebook = tiny.with_answers(
        task_2="word = 'settrace'\nreturn sum(values) / len(values)"
    )
    result, seen = tiny.grade(notebook, tmp_path)
    assert result.points == {"task-1": 0, "task-2": 0}
    said = [shown(cell)["said"] for cell in seen.cells if is_check(cell)]
    assert said == ["points are withheld, see above"] * 2
    result, _ = tiny.grade(notebook, tmp_path, accepted=True)
    assert result.points == {"task-1": 3, "task-2": 2}


def test_a_variant_of_the_students_own_does_not_count(tmp_path: Path) -> None:
    code = """
    global drawn
    drawn.power = 1
    return x
    """
    result, _ = tiny.grade(tiny.with_answers(task_1=code), tmp_path)
    assert result.points["task-1"] == 0


def test_scores_that_an_answer_displays_do_not_count(tmp_path: Path) -> None:
    code = """
    from IPython.display import display
    display({"application/vnd.effdl.scores+json": {"accuracy": 1.0}}, raw=True)
    return sum(values) / len(values)
    """
    result, _ = tiny.grade(tiny.with_answers(task_2=code), tmp_path)
    assert result.points["task-2"] == 2
    assert result.scores is None
