"""Every notebook is fresh, complete, short enough, and in the book's form.

Each check is tried on a notebook that breaks it.
"""

import copy

import nbformat
import pytest

import notebook_checks as checks
import run_notebooks
from common import (
    INSTALL_CELL,
    INSTALL_CELL_ONNX,
    ROOT,
    book_notebooks,
    repository_address,
)

BOOK = book_notebooks()
IMAGE = {"image/svg+xml": "<svg/>", "text/plain": "<Figure>"}


@pytest.mark.parametrize("path", BOOK, ids=lambda p: str(p.relative_to(ROOT)))
def test_the_notebook_has_no_fault(path):
    assert checks.faults_of_file(path) == []


def test_the_book_has_notebooks():
    assert BOOK


def test_the_whole_book_runs_in_its_budget():
    """On average at most 30 s of CPU; all of them cold in 15 minutes on 2 cores."""
    records = [nbformat.read(p, as_version=4).metadata["effdl"] for p in BOOK]
    cpu = [record["cpu_seconds"] for record in records]
    assert sum(cpu) / len(cpu) <= 30
    elapsed = sum(record["seconds"] for record in records) / 2  # two side by side
    assert elapsed <= 15 * 60


def test_a_notebook_that_needs_the_extra_must_install_it(good):
    good.cells[2].source = "from effdl.quant.onnx_files import OnnxNet"
    assert any("install cell" in f for f in checks.faults_of_form(good))
    good.cells[1].source = INSTALL_CELL_ONNX.format(address=repository_address())
    assert checks.faults_of_form(good) == []
    good.cells[2].source = "from effdl.compress.speed import runtimes"
    assert checks.faults_of_form(good) == []
    good.cells[2].source = "import math"
    assert any("install cell" in f for f in checks.faults_of_form(good))


@pytest.fixture
def good():
    """A notebook without a fault."""
    markdown, code = nbformat.v4.new_markdown_cell, nbformat.v4.new_code_cell
    install = code(INSTALL_CELL.format(address=repository_address()))
    install.metadata["tags"] = ["install"]
    picture = code("plot()")
    output = nbformat.v4.new_output("display_data", IMAGE)
    picture.outputs = [output]
    picture.metadata["mystnb"] = {"image": {"alt": "a line that rises"}}
    cells = [
        markdown("# Title"),
        install,
        code("import math"),
        markdown("Look."),
        picture,
        code("assert math.pi > 3"),
    ]
    notebook = nbformat.v4.new_notebook(cells=cells)
    for count, cell in enumerate(checks.code_cells(notebook), start=1):
        cell.execution_count = count
    notebook.metadata["effdl"] = {
        "hash": checks.input_hash(notebook),
        "seconds": 2.0,
        "cpu_seconds": 1.0,
        "peak_memory_mb": 300,
    }
    return notebook


def faults(notebook):
    return [
        *checks.faults_of_record(notebook),
        *checks.faults_of_form(notebook),
        *checks.faults_of_pictures(notebook),
    ]


def test_the_good_example_has_no_fault(good):
    assert faults(good) == []


def test_a_changed_cell_makes_the_notebook_stale(good):
    good.cells[2].source = "import cmath as math"
    assert "stale" in faults(good)[0]


def test_a_changed_install_cell_does_not(good):
    before = checks.input_hash(good)
    good.cells[1].source += "\n"
    assert checks.input_hash(good) == before


def test_changed_code_of_the_library_makes_the_notebook_stale(good, monkeypatch):
    good.cells[2].source = "from effdl.seed import seeded"
    before = checks.input_hash(good)
    monkeypatch.setattr(checks, "code_hash", lambda source: "another")
    assert checks.input_hash(good) != before


def test_a_changed_data_file_makes_the_notebook_stale(good, monkeypatch, tmp_path):
    good.cells[2].source = 'from effdl.data.files import data_path\ndata_path("a.csv")'
    table = tmp_path / "a.csv"
    monkeypatch.setattr(checks, "data_path", lambda name: table)
    table.write_text("1")
    before = checks.input_hash(good)
    table.write_text("2")
    assert checks.input_hash(good) != before


def test_cells_out_of_order_are_found(good):
    good.cells[4].execution_count = 7
    assert "in order" in faults(good)[0]


def test_cells_that_were_never_run_are_found(good):
    good.cells[4].execution_count = None
    assert "in order" in faults(good)[0]


def test_a_stored_error_is_found(good):
    error = nbformat.v4.new_output("error", ename="E", evalue="e", traceback=[])
    good.cells[2].outputs = [error]
    assert faults(good) == ["an output is an error"]


def test_a_stored_warning_is_found(good):
    good.cells[2].outputs = [nbformat.v4.new_output("stream", name="stderr", text="!")]
    assert "stderr" in faults(good)[0]


@pytest.mark.parametrize(
    ("key", "value"), [("cpu_seconds", 61), ("peak_memory_mb", 1600)]
)
def test_a_notebook_over_budget_is_found(good, key, value):
    good.metadata.effdl[key] = value
    assert "more than" in faults(good)[0]


def test_a_picture_without_alt_text_is_found(good):
    del good.cells[4].metadata["mystnb"]
    assert faults(good) == ["code cell 3 shows a picture without alt text"]


@pytest.mark.parametrize("tag", ["<svg></svg>", '<img src="data:,">'])
def test_a_picture_within_html_without_alt_text_is_found(good, tag):
    good.cells[4].outputs[0].data = {"text/html": f"<div>{tag}</div>"}
    assert faults(good) == []
    del good.cells[4].metadata["mystnb"]
    assert faults(good) == ["code cell 3 shows a picture without alt text"]


def test_a_table_needs_no_alt_text(good):
    good.cells[4].outputs[0].data = {"text/html": "<table></table>"}
    del good.cells[4].metadata["mystnb"]
    assert faults(good) == []


def test_alt_text_of_html_is_lifted_to_where_it_is_checked(good):
    output = good.cells[4].outputs[0]
    output.data = {"text/html": "<svg></svg>"}
    output.metadata = {"text/html": {"alt": "a choice of lines"}}
    run_notebooks.lift_alt_text(good.cells[4])
    assert good.cells[4].metadata["mystnb"]["image"]["alt"] == "a choice of lines"
    assert faults(good) == []


def test_two_pictures_in_a_cell_are_found(good):
    good.cells[4].outputs = good.cells[4].outputs * 2
    assert "2 pictures" in faults(good)[0]


def test_missing_title_install_cell_and_assertion_are_found(good):
    good.cells[0].source = "Title"
    good.cells[1].source = "%pip install effdl"
    good.cells[5].source = "math.pi"
    text = " ".join(checks.faults_of_form(good))
    assert "title" in text
    assert "install cell" in text
    assert "asserts nothing" in text


def test_three_code_cells_in_a_row_are_found(good):
    good.cells.insert(4, copy.deepcopy(good.cells[5]))
    assert "three code cells in a row" in checks.faults_of_form(good)


def test_long_cells_and_long_notebooks_are_found(good):
    good.cells[5].source = "assert 1\n" * 260
    text = " ".join(checks.faults_of_form(good))
    assert "260 lines, more than 25" in text
    assert "more than 250" in text


def test_a_large_file_is_found(good, tmp_path):
    good.cells[4].outputs[0].data["image/svg+xml"] = "x" * 500_000
    path = tmp_path / "large.ipynb"
    nbformat.write(good, path)
    assert "more than 400" in checks.faults_of_file(path)[0]


def test_running_stores_outputs_record_and_alt_text(good, tmp_path):
    """A fresh kernel, the cells in order, and the alt text where the book reads it."""
    good.cells[4].source = (
        "from IPython.display import publish_display_data\n"
        "publish_display_data({'image/svg+xml': '<svg/>', 'text/plain': 'x'},"
        " metadata={'image/svg+xml': {'alt': 'a new text'}})"
    )
    path = tmp_path / "run.ipynb"
    nbformat.write(good, path)
    run_notebooks.run_one(path)
    stored = nbformat.read(path, as_version=4)
    assert faults(stored) == []
    image = stored.cells[4].metadata["mystnb"]["image"]
    assert image == {"alt": "a new text", "classes": "dark-light"}
    assert stored.metadata.effdl.peak_memory_mb > 20
    assert not run_notebooks.is_stale(path)
    first = path.read_text()
    run_notebooks.run_one(path)
    again = nbformat.read(path, as_version=4)
    assert again.cells == nbformat.reads(first, as_version=4).cells


def test_code_that_changes_during_the_run_makes_the_notebook_stale(
    good, tmp_path, monkeypatch
):
    path = tmp_path / "run.ipynb"
    nbformat.write(good, path)
    used = {"cpu_seconds": 1, "peak_memory_mb": 1, "device": "", "python": ""}
    used["torch"] = ""
    code = ["before"]
    monkeypatch.setattr(checks, "code_hash", lambda source: code[0])
    monkeypatch.setattr(
        run_notebooks, "execute", lambda *_: code.__setitem__(0, "after") or used
    )
    run_notebooks.run_one(path)
    assert run_notebooks.is_stale(path)


def test_a_failing_notebook_is_left_as_it_was(good, tmp_path):
    good.cells[4].source = "1 / 0"
    path = tmp_path / "fails.ipynb"
    nbformat.write(good, path)
    before = path.read_bytes()
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        run_notebooks.run_one(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
