"""A student's page of feedback, in a browser: light, dark and on a phone."""

import browser_checks as checks
import nbformat
import pytest

from grader.collect import file_name
from grader.feedback import write_pages
from grader.one import Result
from grader.release import as_text
from tiny_assignment import source

pytestmark = [pytest.mark.site, pytest.mark.browser]
WIDE = r"""
| kind | begins with | is |
|---|---|---|
| `"new weights"` | $\operatorname{sign}(\theta_0)\,\lvert\theta'_0\rvert$ | tuned |
"""


@pytest.fixture
def feedback(tmp_path):
    """The folder of a page on which everything is wide that may be."""
    given = source()
    given.cells.append(nbformat.v4.new_markdown_cell(WIDE))
    given.cells.append(nbformat.v4.new_code_cell("x = " + "1" * 300))
    (tmp_path / "graded").mkdir()
    (tmp_path / "feedback").mkdir()
    (tmp_path / "graded" / f"{file_name('ann')}.ipynb").write_text(as_text(given))
    result = Result("ann", points={"task-1": 3.0, "task-2": 0.0}, flags=["f" * 200])
    result.remarks = {"task-2": ["no" * 200]}
    write_pages(tmp_path, source(), [result])
    return tmp_path / "feedback"


@pytest.mark.parametrize("mode", checks.MODES)
def test_it_fits_and_can_be_read(browser, feedback, mode):
    with (
        checks.serve(feedback) as address,
        checks.opened(browser, address + "ann.html", mode) as (page, _),
    ):
        assert page.evaluate(checks.WIDE) == []
        assert checks.axe_faults(page, mode) == []
