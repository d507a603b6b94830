"""A page for each student: points, what each check said, and the notebook as it ran.

Everything on it that a student wrote is untrusted: it is escaped or cleaned, and the
page forbids itself any script and any request. The text of hidden tests is not shown.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bleach
import mistune
import nbformat
from jinja2 import Environment, FileSystemLoader
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

from common import write_atomically
from grader.cells import (
    Notebook,
    grade_id,
    is_check,
    is_written,
    meta,
    points_of,
    title,
)
from grader.collect import file_name
from grader.execute import COLOURS, readable
from grader.one import Result
from grader.tables import Marks, points, read_marks

HERE = Path(__file__).parent
TAGS = {*bleach.ALLOWED_TAGS, "p", "h1", "h2", "h3", "h4", "pre", "table", "thead",
        "tbody", "tr", "th", "td", "br", "hr", "img", "del", "span", "div"}  # fmt: skip
MARKDOWN = mistune.create_markdown(escape=True, plugins=["table", "math"])
LONGEST = 4000  # characters of an output


def write_pages(folder: Path, source: Notebook, results: list[Result]) -> None:
    """Write feedback/<student>.html for every result."""
    pages = Environment(loader=FileSystemLoader(HERE), autoescape=True)
    template = pages.get_template("feedback.html")
    marks = read_marks(folder)
    style = HtmlFormatter(style="a11y-high-contrast-light").get_style_defs(".highlight")
    for result in results:
        name = file_name(result.student)
        path = folder / "graded" / f"{name}.ipynb"
        notebook = nbformat.read(path, as_version=4) if path.is_file() else None
        page = template.render(
            title=title(source),
            result=result,
            tasks=tasks_of(result, source, marks),
            cells=[shown(c) for c in notebook.cells] if notebook else [],
            style=style,
        )
        write_atomically(folder / "feedback" / f"{name}.html", page)


def tasks_of(result: Result, source: Notebook, marks: Marks) -> list[dict[str, Any]]:
    """Return one row for each task: points, and what was said."""
    rows = []
    for written in (False, True):
        for task, most in points_of(source, written=written).items():
            comment = marks.get((result.student, task), {}).get("comment", "")
            said = result.remarks.get(task, []) + [comment] * bool(comment)
            given = points(result, task, marks)
            rows.append({"task": task, "most": most, "given": given, "said": said})
    return rows


def shown(cell: Any) -> dict[str, Any]:
    """Return how a cell appears: text, code with outputs, or the verdict of a check."""
    if is_check(cell):
        record = cell.metadata.get("effdl", {})
        passed = record.get("passed", False) and not record.get("withheld")
        return {
            "kind": "check",
            "name": grade_id(cell),
            "passed": passed,
            "points": meta(cell)["points"],
            "said": "" if passed else message(cell),
        }
    if cell.cell_type == "markdown":
        text = bleach.clean(MARKDOWN(cell.source), tags=TAGS, attributes={})
        return {"kind": "written" if is_written(cell) else "text", "html": text}
    code = highlight(cell.source, PythonLexer(), HtmlFormatter())
    return {"kind": "code", "html": code, "outputs": [output(o) for o in cell.outputs]}


def message(cell: Any) -> str:
    """Return what a failed check said, with its smallest example, without a trace."""
    errors = [o for o in cell.outputs if o.output_type == "error"]
    if not errors:
        withheld = cell.metadata.get("effdl", {}).get("withheld")
        return "points are withheld, see above" if withheld else "was not finished"
    known = errors[-1].ename in ("AnswerError", "AssertionError")
    kind = "" if known else f"{errors[-1].ename}: "
    return kind + readable(errors[-1].evalue)[:LONGEST]


def output(item: Any) -> dict[str, str]:
    """Return an output as text, or as a picture."""
    if item.output_type == "error":
        return {"text": f"{item.ename}: {readable(item.evalue)}"[:LONGEST]}
    if item.output_type == "stream":
        return {"text": COLOURS.sub("", item.text)[:LONGEST]}
    picture = item.data.get("image/png", "")
    if isinstance(picture, str) and picture:
        return {"png": "".join(c for c in picture if c.isalnum() or c in "+/=")}
    return {"text": str(item.data.get("text/plain", ""))[:LONGEST]}
