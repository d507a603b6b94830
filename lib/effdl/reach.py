"""The code that a script or a notebook can reach, and no more.

A hash of whole modules would make every result of an old function look outdated when a
new one is put beside it. So the unit is the statement. Reached are, of every effdl
module that the source imports directly or through others:

    what importing runs     every statement but definitions, assignments and imports
    what names lead to      the top-level definition or assignment of a name that
                            reached code mentions, in its own module or imported

It errs on the side of too much: a name counts wherever it is mentioned, classes count
whole, and "import effdl.x" or "from effdl import x" reaches all of x. It does not see
names that are strings, nor decorators that register a function nobody mentions.
"""

import ast
import hashlib
from collections.abc import Iterator
from functools import cached_property

from effdl.provenance import imported_modules
from effdl.source import bare_code, bare_lines, module_file, module_source, parse

Target = tuple[str, str]  # a module and a name in it; the name "*" is all of it

DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


def code_hash(source: str) -> str:
    """Return 16 hexadecimal digits that change with the source and what it reaches.

    Args:
        source: A script, or the code cells of a notebook joined by newlines.

    Example:
        >>> code_hash("x = 1") == code_hash("x = 1  # one")
        True
    """
    parts = [bare_code(source)]
    parts += [f"{name}\n{code}" for name, code in sorted(reached_code(source).items())]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def reached_code(source: str) -> dict[str, str]:
    """Return the reached part of each effdl module that source imports, by its name.

    Args:
        source: A script, or the code cells of a notebook joined by newlines.

    Returns:
        Code without docstrings and comments. Import statements stand there as the names
        that are used of them.

    Example:
        >>> code = reached_code("from effdl.checks import check_odd")
        >>> "def check_odd" in code["effdl.checks"]
        True
        >>> "def check_positive" in code["effdl.checks"]
        False
    """
    modules = {name: _Module(module_source(name)) for name in imported_modules(source)}
    waiting = [(name, "") for name in modules]  # what importing runs
    for node in ast.walk(parse(source)):
        waiting += _import_targets(node)
    reached: set[Target] = set()
    while waiting:
        target = waiting.pop()
        if target not in reached and target[0] in modules:
            reached.add(target)
            waiting += modules[target[0]].leads_to(target)
    return {
        name: modules[name].text([what for where, what in reached if where == name])
        for name in modules
    }


class _Module:
    """One module, cut into its top-level statements."""

    def __init__(self, source: str) -> None:
        self.lines, self.tree = bare_lines(source), parse(source)

    @cached_property
    def statements(self) -> dict[str, list[ast.stmt]]:
        """Top-level statements by the name that they bind; "" for those that run."""
        table: dict[str, list[ast.stmt]] = {"": []}
        for statement in self.tree.body:
            for name in _bound(statement):
                table.setdefault(name, []).append(statement)
        return table

    @cached_property
    def imports(self) -> dict[str, Target]:
        """What the names of top-level import statements stand for."""
        return {
            alias.asname or alias.name.split(".")[0]: _origin(statement, alias)
            for statement in self.tree.body
            if isinstance(statement, ast.Import | ast.ImportFrom)
            for alias in statement.names
        }

    def named(self, name: str) -> list[ast.stmt]:
        if name == "*":
            return list(self.tree.body)
        return self.statements.get(name, [])

    def leads_to(self, target: Target) -> Iterator[Target]:
        """Yield the targets that reached code of this module mentions."""
        module, name = target
        if name in self.imports:  # a name that this module imported itself
            yield self.imports[name]
        for statement in self.named(name):
            for node in ast.walk(statement):
                yield from _import_targets(node)
                if isinstance(node, ast.Name):
                    yield module, node.id

    def text(self, names: list[str]) -> str:
        """Return the code of the named statements in the order of the file."""
        rows: set[int] = set()
        for name in names:
            for node in self.named(name):
                decorators = getattr(node, "decorator_list", [])
                first = min([node.lineno, *(d.lineno for d in decorators)])
                rows.update(range(first - 1, node.end_lineno or first))
        aliases = sorted(
            f"{name} is {'.'.join(self.imports[name])}"
            for name in names
            if name in self.imports
        )
        return "\n".join(
            aliases + [self.lines[r] for r in sorted(rows) if self.lines[r]]
        )


def _bound(statement: ast.stmt) -> list[str]:
    """Return the names that a statement binds, [""] if it does something else."""
    if isinstance(statement, ast.Import | ast.ImportFrom):
        return []
    if isinstance(statement, DEFINITIONS):
        return [statement.name]
    targets: list[ast.expr] = []
    if isinstance(statement, ast.Assign):
        targets = statement.targets
    elif isinstance(statement, ast.AnnAssign):
        targets = [statement.target]
    leaves = [leaf for target in targets for leaf in _leaves(target)]
    return leaves if leaves and all(leaves) else [""]


def _leaves(target: ast.expr) -> list[str]:
    """Return the names in an assignment's target, "" for what is not a name."""
    if isinstance(target, ast.Tuple | ast.List):
        return [leaf for element in target.elts for leaf in _leaves(element)]
    if isinstance(target, ast.Starred):
        return _leaves(target.value)
    return [target.id if isinstance(target, ast.Name) else ""]


def _import_targets(node: ast.AST) -> list[Target]:
    if isinstance(node, ast.Import | ast.ImportFrom):
        return [_origin(node, alias) for alias in node.names]
    return []


def _origin(statement: ast.Import | ast.ImportFrom, alias: ast.alias) -> Target:
    """Return where an imported name comes from."""
    if isinstance(statement, ast.Import):
        return alias.name, "*"
    module = statement.module or ""
    inner = f"{module}.{alias.name}"
    return (inner, "*") if module_file(inner) else (module, alias.name)
