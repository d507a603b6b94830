"""Stripping prose from code, and finding the library's files."""

import ast
import itertools
from pathlib import Path

import pytest

import effdl
from effdl.source import bare_code, bare_lines, module_file, module_source, parse

ALL = sorted(Path(effdl.__file__).parent.rglob("*.py"))

SOURCE = '''
"""A module."""

import os  # a comment

TEXT = "# not a comment"


class A:
    """A class.

    With a long story.
    """

    def f(self):
        """A method."""
        x = """not a docstring"""  # but a string

        return x
'''

BARE = '''import os
TEXT = "# not a comment"
class A:
    def f(self):
        x = """not a docstring"""
        return x'''


def test_prose_goes_and_code_stays():
    assert bare_code(SOURCE) == BARE


def test_lines_keep_their_numbers():
    lines = bare_lines(SOURCE)
    assert len(lines) == len(SOURCE.splitlines())
    assert lines[3] == "import os"


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.name)
def test_bare_code_computes_what_the_code_computes(path):
    """Python's own view: the syntax trees agree once docstrings are out of both."""
    source = path.read_text()
    tree = ast.parse(source)
    for node in ast.walk(tree):
        kinds = (ast.Module, ast.ClassDef, ast.FunctionDef)
        if isinstance(node, kinds) and ast.get_docstring(node, clean=False):
            node.body = node.body[1:]
            if not node.body and not isinstance(node, ast.Module):
                node.body = [ast.Pass()]
    assert ast.dump(tree) == ast.dump(_lenient(bare_code(source)))


def _lenient(bare: str) -> ast.Module:
    """Parse bare code, in which a body that was a docstring only is missing."""
    lines = bare.splitlines()
    filled = []
    for this, following in itertools.pairwise([*lines, ""]):
        filled.append(this)
        indent = len(this) - len(this.lstrip())
        deeper = len(following) - len(following.lstrip()) > indent
        opens = this.lstrip().startswith(("def ", "class ", ") -> ")) and this.endswith(
            ":"
        )
        if opens and not deeper:
            filled.append(" " * (indent + 4) + "pass")
    return ast.parse("\n".join(filled))


def test_lines_of_ipython_are_passed_over():
    source = "if True:\n    %pip install -q effdl\n!ls\n%%time\nx = 7\n"
    assert len(parse(source).body) == 4
    assert "%pip install -q effdl" in bare_code(source)


def test_a_percent_sign_that_begins_a_line_of_python_is_an_operator():
    assert ast.dump(parse("x = (\n    7\n    % 4\n)")) == ast.dump(parse("x = (7 % 4)"))


def test_modules_and_packages_have_files():
    root = Path(effdl.__file__).parent
    assert module_file("effdl.data.digits") == root / "data" / "digits.py"
    assert module_file("effdl.data") == root / "data" / "__init__.py"
    assert module_file("effdl") == root / "__init__.py"
    assert module_file("torch") is None
    assert module_file("effdl.data.digits.Split") is None
    assert module_source("effdl.seed") == (root / "seed.py").read_text()


def test_an_unknown_module_is_named():
    with pytest.raises(ValueError, match=r"no module 'effdl.gone'"):
        module_source("effdl.gone")
