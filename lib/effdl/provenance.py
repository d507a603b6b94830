"""Which modules and which data some source depends on, found by reading it.

A stored result (the outputs of a notebook, a row of a results table) is worth what
the code and the data were worth that made it. Found here are

    modules   every effdl module that the source imports, and those they import
    data      every file named by a literal, data_path("results/width.csv")

and :func:`effdl.reach.code_hash` says what of that code a result depends on. Not seen
are modules or files whose name is computed. An effdl module that has no file is a
ValueError in every function.
"""

import ast
from collections.abc import Iterator

from effdl.source import module_file, module_source, parse


def imported_modules(source: str) -> set[str]:
    """Return the effdl modules that Python source imports, directly or through others.

    Args:
        source: A script, or the code cells of a notebook joined by newlines. Lines of
            IPython (``%pip``, ``!ls``) are passed over.

    Returns:
        Dotted names, packages included: importing ``effdl.data.files`` runs
        ``effdl/data/__init__.py`` too.

    Example:
        >>> sorted(imported_modules("from effdl.checks import check_odd"))
        ['effdl', 'effdl.checks']
    """
    found: set[str] = set()
    waiting = _imports(parse(source))
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting |= _imports(parse(module_source(name)))
    return found


def data_files(source: str) -> set[str]:
    """Return the names in ``data_path("...")`` calls of source and of its modules.

    A name that stands at the top level for a text counts as the text.

    Args:
        source: As for :func:`imported_modules`.

    Example:
        >>> data_files('table = read_csv(data_path("results/width.csv"))')
        {'results/width.csv'}
    """
    texts = [source] + [module_source(name) for name in imported_modules(source)]
    return {name for text in texts for name in _data_literals(parse(text))}


def _imports(tree: ast.Module) -> set[str]:
    """Return the effdl modules named by import statements, with their packages."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module)
            # "from effdl.conv import ghost" imports a module, not a name in one.
            inside = (f"{node.module}.{alias.name}" for alias in node.names)
            names.update(name for name in inside if module_file(name))
    parts = (name.split(".") for name in names)
    return {
        ".".join(part[: length + 1])
        for part in parts
        if part[0] == "effdl"
        for length in range(len(part))
    }


def _data_literals(tree: ast.Module) -> Iterator[str]:
    constants = dict(_constants(tree))
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and node.args:
            called = node.func.id if isinstance(node.func, ast.Name) else None
            if isinstance(node.func, ast.Attribute):
                called = node.func.attr
            argument = node.args[0]
            if isinstance(argument, ast.Name):
                argument = constants.get(argument.id, argument)
            if called == "data_path" and isinstance(argument, ast.Constant):
                yield str(argument.value)


def _constants(tree: ast.Module) -> Iterator[tuple[str, ast.expr]]:
    """Yield the names that are assigned at the top level, each with its value."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            yield node.targets[0].id, node.value
