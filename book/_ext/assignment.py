"""The directive that lists an assignment's tasks, and where to get its notebook.

    :::{assignment} darts
    :::

What it says is read from the student version, so tasks and points cannot differ from
the notebook. The notebook itself is copied to the site; its source never is.
"""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
from docutils import nodes
from notebook_facts import colab_address
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

RELEASE = "notebooks/assignments/release"
TASK = re.compile(r"^## Task \d+: .*point.*", re.MULTILINE)


def tasks(path: Path) -> list[str]:
    """Return the headings of the tasks, with their points."""
    cells = nbformat.read(path, as_version=4).cells
    text = "\n".join(c.source for c in cells if c.cell_type == "markdown")
    return [match[0].removeprefix("## ") for match in TASK.finditer(text)]


class Assignment(SphinxDirective):
    """Show the tasks of an assignment, and the links to its student version."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return a list of tasks and a line of links, or say what is missing."""
        name = self.arguments[0]
        file = f"{RELEASE}/{name}/{name}.ipynb"
        path = Path(self.env.srcdir, file)
        if not path.is_file():
            raise self.error(f"there is no {file}; run make assignments")
        self.env.note_dependency(str(path))
        items = nodes.bullet_list()
        for task in tasks(path):
            paragraph = nodes.paragraph("", "", *self.inline(task))
            items += nodes.list_item("", paragraph)
        return [items, self.links(name, file)]

    def inline(self, text: str) -> list[nodes.Node]:
        """Return a heading's text with its formulas and code."""
        found, messages = self.state.inline_text(text, self.lineno)
        return [*found, *messages]

    def links(self, name: str, file: str) -> nodes.paragraph:
        """Return the line that leads to Colab and to the file."""
        theme = self.config.html_theme_options
        address = colab_address(
            theme["repository_url"], theme["repository_branch"], file
        )
        colab = nodes.reference("", f"{name} in Colab", refuri=address, internal=False)
        download = addnodes.download_reference(
            "", "", reftarget=f"/{file}", refdoc=self.env.docname, refexplicit=True
        )
        download += nodes.Text(f"{name}.ipynb")
        between = nodes.Text(", or download ")
        return nodes.paragraph("", "", nodes.Text("Open "), colab, between, download)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive with Sphinx."""
    app.add_directive("assignment", Assignment)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
