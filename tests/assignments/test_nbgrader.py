"""nbgrader's own commands work on a course folder of ours, unchanged."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbgrader.api import Gradebook

import tiny_assignment as tiny
from grader.cells import COURSE, is_answer
from grader.release import as_text, student_version

# nbgrader calls alembic by its name
PATH = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("nbgrader") / "course"
    shutil.copytree(tiny.TINY, folder)
    shutil.copy(COURSE / "nbgrader_config.py", folder)
    return folder


def nbgrader(course: Path, *arguments: str) -> None:
    env = {**os.environ, "HOME": str(course), "JUPYTER_PREFER_ENV_PATH": "1"}
    env["PATH"] = PATH
    command = [sys.executable, "-m", "nbgrader", *arguments]
    run = subprocess.run(
        command, cwd=course, env=env, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr[-2000:]


def test_release_autograde_and_feedback(
    course: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", PATH)
    nbgrader(course, "generate_assignment", "tiny")
    released = course / "release" / "tiny" / "tiny.ipynb"
    theirs = nbformat.read(released, as_version=4)
    ours = student_version(tiny.source(), "tiny")
    assert [c.source.rstrip() for c in theirs.cells] == [c.source for c in ours.cells]
    handed = course / "submitted" / "ann" / "tiny" / "tiny.ipynb"
    handed.parent.mkdir(parents=True)
    notebook = tiny.with_answers(task_1="return x * drawn.power")
    assert all(is_answer(c) or "SOLUTION" not in c.source for c in notebook.cells)
    handed.write_text(as_text(notebook))
    nbgrader(course, "autograde", "tiny")
    nbgrader(course, "generate_feedback", "tiny")
    assert (course / "feedback" / "ann" / "tiny" / "tiny.html").is_file()
    with Gradebook(f"sqlite:///{course}/gradebook.db") as book:
        grades = book.find_submission_notebook("tiny", "tiny", "ann").grades
        scores = {grade.name: (grade.auto_score, grade.max_score) for grade in grades}
    assert scores == {
        "task-1-check": (0, 3),
        "task-2-check": (2, 2),
        "task-3": (None, 1),
    }
