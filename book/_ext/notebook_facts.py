"""Begin every notebook page with what the notebook costs and where to get it.

``make notebooks`` measures each notebook and keeps the result in its metadata, under
``effdl``. Here it becomes one paragraph under the title, with links to Colab, to the
notebook and to the same notebook as a script, which is written during the build.
"""

from __future__ import annotations

import re
from html import escape
from pathlib import Path
from typing import Any

import jupytext
import nbformat
from sphinx.application import Sphinx
from sphinx.util import logging

LOGGER = logging.getLogger(__name__)
MEASURED = ("seconds", "cpu_seconds", "peak_memory_mb", "device", "torch", "date")


def facts(measured: dict[str, Any], links: dict[str, str]) -> str:
    """Return the paragraph as HTML.

    Args:
        measured: The notebook's metadata under ``effdl``.
        links: Addresses of ``colab``, ``ipynb`` and ``py``.
    """
    cpu, wall = (_seconds(measured[key]) for key in ("cpu_seconds", "seconds"))
    memory = f"{float(measured['peak_memory_mb']):,.0f} MB"
    machine = escape(
        f"{measured['device']}, Python {measured.get('python', '')}, "
        f"PyTorch {measured['torch']}, {measured['date']}"
    )
    return (
        '<div class="notebook-facts">'
        f"<p>Measured: <strong>{cpu}</strong> of processor time, {wall} by the clock, "
        f"<strong>{memory}</strong> of memory at the peak. "
        f'<span class="machine">{machine}.</span></p>'
        '<ul aria-label="Get this notebook">'
        f'<li><a href="{escape(links["colab"])}">Run it in Colab</a></li>'
        f'<li><a href="{escape(links["ipynb"])}" download>Notebook (.ipynb)</a></li>'
        f'<li><a href="{escape(links["py"])}" download>Script (.py)</a></li>'
        "</ul></div>"
    )


def _seconds(value: float) -> str:
    value = float(value)
    return f"{value:.0f} s" if value >= 10 else f"{value:.1f} s"


def colab_address(repository: str, branch: str, notebook: str) -> str:
    """Return the address at which Colab opens a notebook of a GitHub repository."""
    owner_and_name = repository.removeprefix("https://github.com/").strip("/")
    base = "https://colab.research.google.com/github"
    return f"{base}/{owner_and_name}/blob/{branch}/{notebook}"


def add_facts(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: object
) -> None:
    """Put the paragraph below the title of a notebook page."""
    source = Path(app.env.doc2path(page)) if doctree is not None else Path()
    if source.suffix != ".ipynb" or "body" not in context:
        return
    notebook = nbformat.read(source, as_version=4)
    measured = notebook.metadata.get("effdl", {})
    missing = [key for key in MEASURED if key not in measured]
    if missing:
        LOGGER.warning(
            "the notebook has no measured %s; run make notebooks",
            ", ".join(missing),
            location=page,
            type="effdl",
            subtype="notebook-facts",
        )
        return
    theme = app.config.html_theme_options
    links = {
        "colab": colab_address(
            theme["repository_url"], theme["repository_branch"], f"{page}.ipynb"
        ),
        "ipynb": context["pathto"](f"_sources/{page}.ipynb", 1),
        "py": context["pathto"](f"_sources/{page}.py", 1),
    }
    context["body"] = re.sub(
        r"(?<=</h1>)", lambda _: facts(measured, links), context["body"], count=1
    )
    _write_script(notebook, Path(app.outdir, "_sources", f"{page}.py"))


def _write_script(notebook: nbformat.NotebookNode, path: Path) -> None:
    """Write the notebook as a Python file with ``# %%`` between its cells."""
    notebook.metadata = {"kernelspec": notebook.metadata.get("kernelspec", {})}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(jupytext.writes(notebook, fmt="py:percent"), encoding="utf8")


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the paragraph with Sphinx."""
    app.connect("html-page-context", add_facts)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
