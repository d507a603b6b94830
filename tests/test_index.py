"""The index of the survey holds what it promises: every target exists and is used.

Each row of data/survey/index.csv names a label of a page, a notebook, a symbol of the
library and a test. Here each is looked up; a planted row breaks every rule once.
"""

import ast
import csv
import re

import nbformat
import pytest

from common import ROOT

INDEX = ROOT / "data" / "survey" / "index.csv"
COLUMNS = [
    *("id", "section", "topic", "name", "kind", "target", "page", "notebook"),
    *("symbol", "test", "survey_value", "our_value", "verdict"),
]
NEEDS = {
    "implement": ("page", "notebook", "symbol", "test"),
    "demonstrate": ("page",),
    "measure": ("page", "notebook"),
    "tabulate": ("page",),
    "explain": ("page",),
}
VERDICTS = {"", "agrees", "convention", "wrong", "depends"}
ROWS = list(csv.DictReader(INDEX.read_text(encoding="utf8").splitlines()))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["id"])
def test_every_target_of_the_row_holds(row):
    assert faults(row) == []


def test_the_columns_and_the_ids_are_as_agreed():
    assert list(ROWS[0]) == COLUMNS
    ids = [row["id"] for row in ROWS]
    assert len(ids) == len(set(ids))
    assert all(row["name"] and row["section"] and row["topic"] for row in ROWS)


GOOD = {
    "id": "conv-ghost",
    "target": "implement",
    "page": "book/02-manual-networks/2-1-convolutional-networks.md#conv-ghost",
    "notebook": "notebooks/02-manual-networks/ghost-convolution.ipynb",
    "symbol": "effdl.conv.ghost.GhostConv2d",
    "test": "tests/conv/test_ghost.py::test_agrees_with_timm",
    "survey_value": "",
    "our_value": "",
    "verdict": "",
}


def test_the_good_example_has_no_fault():
    assert faults(GOOD) == []


@pytest.mark.parametrize(
    ("field", "value", "fault"),
    [
        ("page", "", "no page"),
        ("page", "book/none.md#x", "no such page"),
        ("page", GOOD["page"] + "-typo", "no such label"),
        ("notebook", "notebooks/none.ipynb", "no such notebook"),
        (
            "notebook",
            "notebooks/01-introduction/computational-gap.ipynb",
            "imports effdl.conv.ghost.GhostConv2d",
        ),
        ("symbol", "effdl.conv.ghost.Nothing", "no such symbol"),
        ("symbol", "effdl.nothing.Ghost", "no such symbol"),
        ("test", "tests/conv/test_ghost.py::test_nothing", "no such test"),
        ("test", "tests/conv/test_partial.py::test_agrees_with_timm", "test refers to"),
        ("verdict", "maybe", "verdict"),
        ("our_value", "1", "without a verdict"),
    ],
)
def test_a_broken_promise_is_found(field, value, fault):
    found = faults(GOOD | {field: value})
    assert any(fault in text for text in found), found


def faults(row):
    """Return every promise of the row that does not hold."""
    found = [f"no {field}" for field in NEEDS[row["target"]] if not row[field]]
    if row["target"] == "demonstrate" and not (row["notebook"] or row["symbol"]):
        found.append("no notebook or symbol")
    found += [f for ref in row["page"].split() for f in page_faults(ref)]
    notebooks, tests = row["notebook"].split(), row["test"].split()
    found += [f"no such notebook: {n}" for n in notebooks if not (ROOT / n).is_file()]
    found += [f"no such test: {t}" for t in tests if function_of_test(t) is None]
    for symbol in row["symbol"].split():
        found += symbol_faults(symbol, notebooks, tests)
    if row["verdict"] not in VERDICTS:
        found.append(f"verdict {row['verdict']!r} is none of {sorted(VERDICTS)}")
    if (row["survey_value"] or row["our_value"]) and not row["verdict"]:
        found.append("a value without a verdict")
    return found


def page_faults(ref):
    path, _, label = ref.partition("#")
    if not (ROOT / path).is_file():
        return [f"no such page: {path}"]
    text = (ROOT / path).read_text(encoding="utf8")
    name = re.escape(label)
    places = rf"^\({name}\)=|^:(?:name|label): +{name} *$"
    return (
        []
        if label and re.search(places, text, re.MULTILINE)
        else [f"no such label: {ref}"]
    )


def symbol_faults(symbol, notebooks, tests):
    """Check that the symbol exists, that a notebook imports it, that a test uses it."""
    module, _, name = symbol.rpartition(".")
    if name not in definitions(module):
        return [f"no such symbol: {symbol}"]
    found = []
    existing = [n for n in notebooks if (ROOT / n).is_file()]
    if existing and not any(imports(code_of(n), module, name) for n in existing):
        found.append(f"no notebook imports {symbol}")
    sources = [s for s in map(file_of_test, tests) if s is not None]
    if sources and not any(imports(source, module, name) for source in sources):
        found.append(f"no test refers to {symbol}")
    return found


def definitions(module):
    path = (ROOT / "lib").joinpath(*module.split(".")).with_suffix(".py")
    if not path.is_file():
        return set()
    body = ast.parse(path.read_text(encoding="utf8")).body
    kinds = (ast.FunctionDef, ast.ClassDef)
    assigned = [t for n in body if isinstance(n, ast.Assign) for t in n.targets]
    return {node.name for node in body if isinstance(node, kinds)} | {
        target.id for target in assigned if isinstance(target, ast.Name)
    }


def code_of(notebook):
    cells = nbformat.read(ROOT / notebook, as_version=4).cells
    code = [c.source for c in cells if c.cell_type == "code"]
    return re.sub(r"^( *)[%!].*$", r"\1pass", "\n".join(code), flags=re.MULTILINE)


def imports(source, module, name):
    """Return whether the source imports the name from the module and uses it."""
    tree = ast.parse(source)
    taken = any(
        isinstance(node, ast.ImportFrom)
        and node.module == module
        and name in {alias.name for alias in node.names}
        for node in ast.walk(tree)
    )
    used = any(isinstance(n, ast.Name) and n.id == name for n in ast.walk(tree))
    return taken and used


def file_of_test(ref):
    path = ROOT / ref.partition("::")[0]
    return path.read_text(encoding="utf8") if path.is_file() else None


def function_of_test(ref):
    source, name = file_of_test(ref), ref.partition("::")[2]
    if source is None:
        return None
    body = ast.parse(source).body
    return next((n for n in body if getattr(n, "name", None) == name), None)


def verdicts_on_pages():
    """Return the verdict of every survey-check box, by its name."""
    box = re.compile(r"^:::+\{survey-check\} (\w+)\n:name: (\S+)$", re.MULTILINE)
    pages = (path.read_text(encoding="utf8") for path in ROOT.glob("book/**/*.md"))
    return {name: verdict for page in pages for verdict, name in box.findall(page)}


def test_a_box_and_its_row_give_the_same_verdict():
    boxes, rows = verdicts_on_pages(), {row["id"]: row["verdict"] for row in ROWS}
    assert boxes
    assert {name: rows.get(name) for name in boxes} == boxes
