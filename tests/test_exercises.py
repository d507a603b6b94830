"""Every exercise has a folded solution, and the code of every solution runs."""

import ast
import re
from pathlib import Path

import nbformat
import pytest
import torch
from markdown_it import MarkdownIt
from mdit_py_plugins.colon_fence import colon_fence_plugin

ROOT = Path(__file__).parent.parent
SOURCES = [
    *sorted(ROOT.glob("book/**/*.md")),
    *(
        path
        for path in sorted(ROOT.glob("notebooks/**/*.ipynb"))
        if ".ipynb_checkpoints" not in path.parts
    ),
]
PYTHON = re.compile(r"python3?|\{code(-block)?\} python3?|\{code-cell\}.*")


def markdown_of(path):
    if path.suffix == ".md":
        return path.read_text(encoding="utf-8")
    cells = nbformat.read(path, as_version=4).cells
    return "\n\n".join(c.source for c in cells if c.cell_type == "markdown")


def fences(text):
    """Yield (info, content) of every fence of a text, nested ones included."""
    for token in MarkdownIt().use(colon_fence_plugin).parse(text):
        if token.type in ("fence", "colon_fence"):
            yield token.info.strip(), token.content
            if token.info.startswith("{"):
                yield from fences(token.content)


def blocks(text, name):
    """Yield (argument, options, content) of every directive of that name."""
    for info, content in fences(text):
        if info.startswith(f"{{{name}}}"):
            options = dict(re.findall(r"^:([a-z-]+): *(.*)$", content, re.MULTILINE))
            yield info.removeprefix(f"{{{name}}}").strip(), options, content


def code_of(content):
    return [code for info, code in fences(content) if PYTHON.fullmatch(info)]


def structure_problems(text):
    """List exercises without a label or a solution, and solutions of nothing."""
    labels = {options.get("label") for _, options, _ in blocks(text, "exercise")}
    solved = []
    if None in labels:
        yield "an exercise has no :label:"
    for label, options, content in blocks(text, "solution"):
        solved.append(label)
        if "dropdown" not in options.get("class", "").split():
            yield f"the solution of {label} is not folded: add :class: dropdown"
        if label not in labels:
            yield f"the solution of {label!r} belongs to no exercise of this page"
        for code in code_of(content):
            yield from (f"{label}: {problem}" for problem in code_problems(code))
    for label in sorted(labels - set(solved) - {None}):
        yield f"the exercise {label} has no solution"


def code_problems(code):
    """List what keeps a solution's code from proving anything."""
    try:
        tree = ast.parse(code)
    except SyntaxError as error:
        yield f"is not Python: {error.msg}, line {error.lineno}"
        return
    if not any(proves(node) for node in ast.walk(tree)):
        yield "asserts nothing"


def proves(node):
    """Whether this is an assert of something, or a call such as assert_close(...)."""
    if isinstance(node, ast.Call):
        function = node.func
        name = getattr(function, "attr", getattr(function, "id", ""))
        return name.startswith("assert_")
    claim = getattr(node, "test", None) if isinstance(node, ast.Assert) else None
    return claim is not None and not isinstance(claim, ast.Constant | ast.Tuple)


def run(code, name):
    """Run code in a fresh namespace; leave the random state as it was."""
    with torch.random.fork_rng(devices=[]):
        exec(compile(code, name, "exec"), {"__name__": "__main__"})


SOLUTIONS = [
    pytest.param(code, id=f"{path.stem}:{label}:{number}")
    for path in SOURCES
    for label, _, content in blocks(markdown_of(path), "solution")
    for number, code in enumerate(code_of(content), start=1)
]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_every_exercise_has_a_folded_solution_that_asserts(path):
    assert list(structure_problems(markdown_of(path))) == []


@pytest.mark.parametrize("code", SOLUTIONS)
def test_solution_runs(code, request):
    run(code, request.node.callspec.id)


PAGE = """
:::{exercise} How many?
:label: ex-a

Count.
:::

::::{solution} ex-a
:class: dropdown

```python
import torch

assert torch.zeros(2, 3).numel() == 6
```
::::
"""


def test_code_of_a_solution_is_found_in_both_kinds_of_fence():
    page = PAGE.replace("::::{solution}", "````{solution}").replace("::::\n", "````\n")
    for text in (PAGE, page):
        ((label, _, content),) = blocks(text, "solution")
        assert label == "ex-a"
        assert len(code_of(content)) == 1


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (":class: dropdown\n", "", "not folded"),
        (":label: ex-a\n", "", "no :label:"),
        ("{solution} ex-a", "{solution} ex-b", "'ex-b' belongs to no exercise"),
        ("{solution} ex-a", "{solution} ex-b", "exercise ex-a has no solution"),
        ("assert torch", "print(torch", "is not Python"),
        ("assert torch.zeros(2, 3).numel() == 6", "torch.zeros(2)", "asserts nothing"),
        ("torch.zeros(2, 3).numel() == 6", "True", "asserts nothing"),
        ("torch.zeros(2, 3).numel() == 6", "(False, 'six')", "asserts nothing"),
    ],
)
def test_planted_fault_is_found(old, new, message):
    assert list(structure_problems(PAGE)) == []
    assert old in PAGE
    assert message in " ".join(structure_problems(PAGE.replace(old, new)))


def test_assert_close_counts_as_an_assertion():
    page = PAGE.replace("assert torch.zeros(2, 3).numel() == 6", "a.assert_close(b, c)")
    assert list(structure_problems(page)) == []


def test_wrong_solution_fails():
    with pytest.raises(AssertionError):
        run("assert 1 + 1 == 3", "planted")


def test_solution_cannot_lean_on_another_one():
    run("x = 1", "first")
    with pytest.raises(NameError):
        run("assert x == 1", "second")


def test_solution_leaves_the_random_state_alone():
    before = torch.random.get_rng_state()
    run("import torch; torch.manual_seed(1); torch.rand(3)", "planted")
    assert torch.equal(before, torch.random.get_rng_state())
