"""Run a notebook in a student's kernel, and decide which checks it passes.

The kernel belongs to the student, so nothing that it says is believed without reason: a
check counts as passed if the kernel lives, answers "ok", has printed the number that
was drawn for this very check after it, and has replaced nothing that checks rely on.
"""

from __future__ import annotations

import ast
import re
import secrets
from typing import Any

from grader import guard
from grader.cells import Cell, Notebook, grade_id, is_answer, is_check, meta, task_of
from grader.talk import START_SECONDS, Talk

SCORES = "application/vnd.effdl.scores+json"
COLOURS = re.compile(r"\x1b\[[0-9;]*m")
CELL_FILE = re.compile(r"\(\d+\.py, (line \d+)\)")  # as IPython names a cell
# A check sees the student's names, but no name of a student hides a builtin from it.
CHECK = """\
import builtins as _b
_b.exec(_b.compile({source!r}, "<{name}>", "exec"), {{
    **{{k: v for k, v in _b.globals().items() if not _b.hasattr(_b, k)}},
    "__name__": "__main__"}})
_b.print({nonce!r})
"""


class Grading:
    """One submission in its kernel, and what is known about it so far.

    Attributes:
        points: Of every task that was checked.
        remarks: What was said about each task, first lines only.
        flags: What a teacher has to look at; no check after it gives points.
        scores: What the last passed check with scores reported.
    """

    def __init__(self, talk: Talk) -> None:
        self.talk = talk
        self.points: dict[str, float] = {}
        self.remarks: dict[str, list[str]] = {}
        self.flags: list[str] = []
        self.scores: dict[str, Any] | None = None
        self.before: dict[str, object] = {}
        self.variant = ""

    def run(self, notebook: Notebook) -> None:
        """Run all cells in order; outputs are stored in the notebook."""
        self.prepare(notebook)
        for cell in notebook.cells:
            if is_check(cell):
                self.check(cell)
            elif cell.cell_type == "code":
                status, cell.outputs = self.talk.run(cell.source)
                if is_answer(cell) and status != "ok":
                    self.say(cell, first_line(cell.outputs, status))

    def prepare(self, notebook: Notebook) -> None:
        """Import what the checks import, and note what it is, before anything runs.

        Raises:
            RuntimeError: If the kernel does not answer.
        """
        trees = [ast.parse(c.source) for c in notebook.cells if is_check(c)]
        nodes = [node for tree in trees for node in ast.walk(tree)]
        imports = [n for n in nodes if isinstance(n, ast.Import | ast.ImportFrom)]
        block = "\n".join(ast.unparse(n) for n in imports)
        self.talk.run(f"exec({block!r}, {{}})", history=False, seconds=START_SECONDS)
        state = self.talk.state()
        if state is None:  # nothing could be compared with it later
            raise RuntimeError(
                "the kernel did not tell its state before the first cell"
            )
        self.before = state
        drawn = [c.source for c in notebook.cells if grade_id(c) == "variant"]
        self.variant = "\n".join(["from effdl.variant import choose", *drawn, ""])

    def check(self, cell: Cell) -> None:
        """Run one check; give its points or say why not."""
        task, nonce = task_of(cell), secrets.token_hex(12)
        self.points.setdefault(task, 0)
        self.look(f"before {grade_id(cell)}")
        source = self.variant + cell.source  # a student may have drawn anew
        code = CHECK.format(source=source, name=grade_id(cell), nonce=nonce)
        status, outputs = self.talk.run(code, history=False)
        passed = status == "ok" and any(nonce in o.get("text", "") for o in outputs)
        self.look(f"in {grade_id(cell)}")
        if status == "ok" and not passed:
            self.flags.append(f"{grade_id(cell)} ended before its last line")
        for output in outputs:
            if "text" in output:
                output.text = output.text.replace(f"{nonce}\n", "")
        cell.outputs = [o for o in outputs if o.get("text") != ""]
        cell.metadata["effdl"] = {"passed": passed, "withheld": bool(self.flags)}
        if passed and not self.flags:
            self.points[task] += meta(cell)["points"]
            if SCORES in cell.source:  # or an answer could display scores of its own
                self.scores = scores_in(outputs) or self.scores
        elif not passed:
            self.say(cell, first_line(outputs, status))

    def look(self, when: str) -> None:
        """Flag what was replaced since the beginning."""
        if self.talk.kernel.ended:
            return
        changed = guard.replaced(self.before, self.talk.state())
        if changed and not self.talk.kernel.ended:
            names = ", ".join(changed[:4])
            self.flags.append(f"replaced {when}: {names}")
            self.before = {}  # said once

    def say(self, cell: Cell, remark: str) -> None:
        """Note a remark about the task of a cell, once."""
        said = self.remarks.setdefault(task_of(cell), [])
        if not any(s == remark or s.startswith(f"{remark}:") for s in said):
            said[:] = [s for s in said if not remark.startswith(f"{s}:")] + [remark]


def scores_in(outputs: list[Any]) -> dict[str, Any] | None:
    """Return the scores that a check reported last."""
    found = [o["data"][SCORES] for o in outputs if SCORES in o.get("data", {})]
    return found[-1] if found and isinstance(found[-1], dict) else None


def readable(text: str) -> str:
    """Return the text of an error without colours and names of files nobody has."""
    return CELL_FILE.sub(r"(\1)", COLOURS.sub("", text))


def first_line(outputs: list[Any], status: str) -> str:
    """Return what a student has to know, in one line."""
    errors = [o for o in outputs if o.output_type == "error"]
    if not errors or status not in ("ok", "error"):
        return status
    kind, text = errors[-1].ename, readable(errors[-1].evalue)
    line = (text.splitlines() or [""])[0][:300]
    if kind == "AnswerError":
        return line
    return "not answered yet" if kind == "NotImplementedError" else f"{kind}: {line}"
