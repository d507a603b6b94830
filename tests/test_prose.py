"""The prose: no number that nothing keeps true, no trace of the author's machine."""

import re
from pathlib import Path

import nbformat
import pytest
import yaml
from markdown_it import MarkdownIt
from mdit_py_plugins.colon_fence import colon_fence_plugin

from common import tracked_files

ROOT = Path(__file__).parent.parent
PAGES = sorted(ROOT.glob("book/**/*.md"))
NOTEBOOKS = sorted(
    path
    for path in ROOT.glob("notebooks/**/*.ipynb")
    if ".ipynb_checkpoints" not in path.parts
)

VERDICTS = {"agrees", "convention", "wrong", "depends"}
GENERATED = re.compile(
    r"\{\{.*?\}\}"  # a substitution: its value comes from data/results
    r"|\$[^$]*\$|\{math\}`[^`]*`"  # formulas
    r"|\{[a-z:]+\}`[^`]*`|\]\([^)]*\)|https?://\S+"  # citations, references, links
)
IN_A_NAME = re.compile(r"[A-Za-z][\w.-]*|\b\d+x\d+\b")  # ResNet-50, float32, 3x3


def directives(text, name):
    """Yield (argument, content) of every directive of a name, nested ones included."""
    for token in MarkdownIt().use(colon_fence_plugin).parse(text):
        if token.type in ("fence", "colon_fence") and token.info.startswith("{"):
            if token.info.startswith(f"{{{name}}}"):
                yield token.info.removeprefix(f"{{{name}}}").strip(), token.content
            yield from directives(token.content, name)


def check_problems(text):
    """List what is wrong with the survey-check boxes of a text."""
    for verdict, content in directives(text, "survey-check"):
        name = re.search(r"^:name: *(\S+)$", content, re.MULTILINE)
        label = name[1] if name else content[:40]
        if not name:
            yield f"{label}: no :name:"
        if verdict not in VERDICTS:
            yield f"{label}: verdict {verdict!r} is none of {sorted(VERDICTS)}"
        parts = re.split(r"^We find$", content, flags=re.MULTILINE)
        if len(parts) != 2 or not re.search(r"^The survey says$", parts[0], re.M):
            yield f"{label}: needs 'The survey says', then 'We find'"
            continue
        for number in typed_numbers(parts[1]):
            yield f"{label}: {number} is typed; use a substitution"


def typed_numbers(text):
    """Return the digits that are neither generated nor part of a name or formula."""
    return re.findall(r"\d[\d.,]*", IN_A_NAME.sub(" ", GENERATED.sub(" ", text)))


def description_problems(text):
    """List what is wrong with the description that a page gives search engines."""
    front = re.match(r"---\n(.*?)\n---\n", text, re.DOTALL)
    matter = yaml.safe_load(front[1]) if front else {}
    meta = (matter.get("myst") or {}).get("html_meta") or {}
    description = meta.get("description") or ""
    if not 40 <= len(description) <= 300:
        yield f"description of {len(description)} characters; 40 to 300 are wanted"


def trace_patterns():
    """Return what must not stand in a file; joined here, so that this one is clean."""
    parts = [
        r"registry\.npm" + r"js\.org",
        r"files\.python" + r"hosted\.org",
        r"pypi\." + r"org",
        r"(?<![\w.])/wo" + r"rk/[\w.]",
        r"(?<![\w.])/ro" + r"ot/[\w.]",
        r"(?<![\w.])/ho" + r"me/\w+/",
        r"(?<![\w.])/Us" + r"ers/\w+/",
        r"/opt/" + r"(pypi|wheels)",
        r"/tmp/ipy" + r"kernel_\d",
        r"//(10|192\.168|172\.(1[6-9]|2\d|3[01]))\.\d+\.\d+",
        r"find-" + r"links|index-" + r"url *[=:] *file",
    ]
    return re.compile("|".join(parts))


TRACE = trace_patterns()


def traces(text):
    """Return the machine paths and registry hosts in a text."""
    return [match[0] for match in TRACE.finditer(text)]


def published_files():
    """Return the files that git tracks or would track, and that people write."""
    return [path for path in tracked_files() if "_extra" not in path.parts]


def markdown_of(path):
    if path.suffix == ".md":
        return path.read_text(encoding="utf-8")
    cells = nbformat.read(path, as_version=4).cells
    return "\n\n".join(c.source for c in cells if c.cell_type == "markdown")


@pytest.mark.parametrize("path", PAGES + NOTEBOOKS, ids=lambda path: path.stem)
def test_what_we_found_is_computed_and_has_a_verdict(path):
    assert list(check_problems(markdown_of(path))) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_page_describes_itself(page):
    assert list(description_problems(page.read_text(encoding="utf-8"))) == []


def test_no_file_names_a_registry_or_this_machine():
    found = {
        str(path.relative_to(ROOT)): traces(text)
        for path in published_files()
        if traces(text := path.read_text(encoding="utf-8", errors="ignore"))
    }
    assert found == {}


BOX = """
:::{survey-check} wrong
:name: err-x

The survey says
: ResNet-50 takes 87 MB.

We find
: ResNet-50 takes {{ mb }} MB, {math}`4 n` bytes for {math}`n` weights of float32,
  in 3x3 kernels too; see {cite:p}`he2016deep` and {ref}`section <s-1-2>`.
:::
"""


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("{{ mb }}", "97.7", "97.7 is typed"),
        ("{math}`4 n`", "4 n", "4 is typed"),
        ("{{ mb }} MB", "`102` MB", "102 is typed"),
        (" wrong", " false", "verdict 'false'"),
        (" wrong", "", "verdict ''"),
        ("We find", "We think", "needs 'The survey says'"),
        ("The survey says", "They say", "needs 'The survey says'"),
        (":name: err-x\n", "", "no :name:"),
    ],
)
def test_planted_fault_in_a_box_is_found(old, new, message):
    assert list(check_problems(BOX)) == []
    assert old in BOX
    assert message in " ".join(check_problems(BOX.replace(old, new)))


def test_box_inside_another_directive_is_checked_too():
    inside = "::::{note}\n" + BOX.replace("{{ mb }}", "97") + "::::\n"
    assert len(list(check_problems(inside))) == 1


def test_page_without_a_description_is_found():
    good = '---\nmyst:\n  html_meta: {description: "' + "x" * 50 + '"}\n---\n# A\n'
    assert list(description_problems(good)) == []
    for bad in ("# A\n", "---\nmyst: {}\n---\n# A\n", good.replace("x" * 20, "")):
        assert list(description_problems(bad))


@pytest.mark.parametrize(
    "parts",
    [
        ("see /wo", "rk/main/x"),
        ("File /ro", "ot/.cache/x"),
        ("in /ho", "me/ann/book"),
        ("/tmp/ipy", "kernel_123/4.py"),
        ("https://registry.", "npmjs.org/mathjax"),
        ("https://pypi.", "org/project/torch"),
        ("--index-", "url=file:///x"),
        ("http://10.", "0.0.7/simple"),
    ],
)
def test_planted_trace_of_a_machine_is_found(parts):
    assert traces("".join(parts))


@pytest.mark.parametrize(
    "text",
    [
        "at work/main or tests/root/x",
        "http://127.0.0.1:8000/",
        "https://download.pytorch.org/whl/cpu",
        "homework/a/b",
    ],
)
def test_innocent_text_has_no_trace(text):
    assert traces(text) == []
