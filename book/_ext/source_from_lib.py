"""Let Sphinx find the library's source without importing it.

To learn whether a page of source code is older than its module, viewcode imports
every module in every build, and torch and scikit-learn with them: five seconds in
which nothing happens. The library's import address is its file address, so the file
can be named without that.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.pycode import ModuleAnalyzer

Finder = Callable[[str], tuple[str | None, str | None]]


def first_in(lib: Path, otherwise: Finder) -> Finder:
    """Return Sphinx's search for a module's file, with ``lib`` tried before it."""

    def get_module_source(modname: str) -> tuple[str | None, str | None]:
        place = lib.joinpath(*modname.split("."))
        for file in (place.with_suffix(".py"), place / "__init__.py"):
            if file.is_file():
                return str(file), None
        return otherwise(modname)

    return get_module_source


def look_in_lib(app: Sphinx) -> None:
    """Replace the search for this build."""
    lib = Path(app.srcdir, "lib")
    finder = first_in(lib, ModuleAnalyzer.get_module_source)
    ModuleAnalyzer.get_module_source = staticmethod(finder)  # type: ignore[method-assign]


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the search with Sphinx."""
    app.connect("builder-inited", look_in_lib)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
