"""The library's own source code as data: find it, parse it, strip it of its prose."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parent

# Lines of a notebook that IPython understands and Python does not: %pip, !ls.
MAGIC = re.compile(r"^([ \t]*)[%!]{1,2}[A-Za-z].*$", re.MULTILINE)


def bare_code(source: str) -> str:
    """Return source without docstrings, comments, blank lines and trailing space.

    Args:
        source: Python, lines of IPython allowed.

    Example:
        >>> bare_code('x = 1  # one')
        'x = 1'
    """
    return "\n".join(line for line in bare_lines(source) if line)


def bare_lines(source: str) -> list[str]:
    """Return the lines of source, those of docstrings and comments empty.

    Args:
        source: Python, lines of IPython allowed.

    Example:
        >>> bare_lines("'A module.'; x = 1  # one".replace("; ", chr(10)))
        ['', 'x = 1']
    """
    python, lines = _without_magic(source), source.splitlines()
    for token in tokenize.generate_tokens(io.StringIO(python).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column]
    for node in ast.walk(ast.parse(python)):
        for text in _docstring(node):
            for row in range(text.lineno - 1, text.end_lineno or text.lineno):
                lines[row] = ""
    return [line.rstrip() for line in lines]


def parse(source: str) -> ast.Module:
    """Return the syntax tree of source, lines of IPython passed over.

    Args:
        source: A script, or the code cells of a notebook joined by newlines.

    Example:
        >>> len(parse("%pip install effdl").body)
        1
    """
    return ast.parse(_without_magic(source))


def module_source(name: str) -> str:
    """Return the source of an effdl module.

    Args:
        name: Dotted, such as ``effdl.train``.

    Raises:
        ValueError: If there is no such module.

    Example:
        >>> "def fit(" in module_source("effdl.train")
        True
    """
    path = module_file(name)
    if path is None:
        raise ValueError(f"there is no module {name!r} in {PACKAGE}; was it renamed?")
    return path.read_text(encoding="utf-8")


def module_file(name: str) -> Path | None:
    """Return the file of an effdl module, or None if there is none.

    Args:
        name: Dotted, such as ``effdl.train`` or ``effdl.data``.

    Example:
        >>> module_file("effdl.data").name
        '__init__.py'
    """
    first, *rest = name.split(".")
    if first != "effdl":
        return None
    stem = PACKAGE.joinpath(*rest)
    files = (stem / "__init__.py", stem.with_name(f"{stem.name}.py"))
    return next((path for path in files if path.is_file()), None)


def _without_magic(source: str) -> str:
    """Return source with every line of IPython replaced by ``pass``."""
    return MAGIC.sub(r"\1pass", source)


def _docstring(node: ast.AST) -> Iterator[ast.Expr]:
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    if isinstance(node, kinds) and ast.get_docstring(node, clean=False) is not None:
        first = node.body[0]
        if isinstance(first, ast.Expr):
            yield first
