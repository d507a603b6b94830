"""The table of everything the book has made of the survey, with a filter.

    :::{method-finder}
    :::

One row for each row of ``data/survey/index.csv``. The name links to the place in the
book; further columns link to notebooks, to the code and, in the repository, to its
tests. Without JavaScript it is a plain table; with it, ``_extra/finder/finder.js``,
which only this page loads, shows the form above.
"""

from __future__ import annotations

import csv
from pathlib import Path, PurePosixPath

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

HEADERS = ("Name", "Section", "Kind", "Notebook", "Code and test", "Number")
FORM = """
<form class="finder" hidden>
 <p><label for="finder-text">Search the table</label>
  <input id="finder-text" type="search" autocomplete="off" spellcheck="false"></p>
 <p><label for="finder-section">Section</label>
  <select id="finder-section"><option value="">all</option>{sections}</select></p>
 <p><label for="finder-kind">Kind</label>
  <select id="finder-kind"><option value="">all</option>{kinds}</select></p>
 <p><output for="finder-text finder-section finder-kind">{count}</output></p>
</form>
<script defer src="{script}"></script>
"""


def options(values: list[str]) -> str:
    """Return the choices of a select element, in order, each once."""
    escaped = [value.replace("&", "&amp;").replace("<", "&lt;") for value in values]
    return "".join(f"<option>{value}</option>" for value in dict.fromkeys(escaped))


def by_section(section: str) -> list[int]:
    """Return a sort key that puts 2.2.1 before 2.10."""
    return [int(part) for part in section.split(".") if part.isdigit()]


class MethodFinder(SphinxDirective):
    """Render the index as a table of links."""

    def run(self) -> list[nodes.Node]:
        """Return form, script and table."""
        path = Path(self.env.srcdir, "data", "survey", "index.csv")
        self.env.note_dependency(str(path))
        with path.open(newline="", encoding="utf8") as lines:
            rows = sorted(csv.DictReader(lines), key=lambda r: by_section(r["section"]))
        up = "../" * self.env.docname.count("/")
        form = FORM.format(
            sections=options([row["section"] for row in rows]),
            kinds=options(sorted(row["kind"] for row in rows)),
            count=f"{len(rows)} of {len(rows)} shown",
            script=f"{up}finder/finder.js",
        )
        return [nodes.raw("", form, format="html"), self._table(rows)]

    def _table(self, rows: list[dict[str, str]]) -> nodes.table:
        group = nodes.tgroup(cols=len(HEADERS))
        group += [nodes.colspec(colwidth=1) for _ in HEADERS]
        head = nodes.row("", *[_entry(nodes.Text(header)) for header in HEADERS])
        group += nodes.thead("", head)
        group += nodes.tbody("", *[self._row(row) for row in rows])
        return nodes.table("", group, classes=["finder-table"])

    def _row(self, row: dict[str, str]) -> nodes.row:
        pages = row["page"].split()
        name = self._link(row["name"], "std", "ref", pages[0].partition("#")[2])
        notebooks = [
            self._link("", "std", "doc", _document(path))
            for path in row["notebook"].split()
        ]
        symbols = [
            self._link(symbol.rpartition(".")[2], "py", "obj", symbol, code=True)
            for symbol in row["symbol"].split()
        ]
        return nodes.row(
            "",
            _entry(name),
            _entry(nodes.Text(row["section"])),
            _entry(nodes.Text(row["kind"])),
            _entry(*notebooks),
            _entry(*symbols, *[self._test(test) for test in row["test"].split()]),
            _entry(*[nodes.Text(line) for line in _numbers(row)]),
        )

    def _test(self, address: str) -> nodes.reference:
        """Return a link to the file; the name of a test is a sentence."""
        path, _, function = address.partition("::")
        sentence = function.removeprefix("test_").replace("_", " ")
        theme = self.config.html_theme_options
        base = f"{theme['repository_url']}/blob/{theme['repository_branch']}"
        return nodes.reference("", f"test: {sentence}", refuri=f"{base}/{path}")

    def _link(
        self, text: str, domain: str, role: str, target: str, *, code: bool = False
    ) -> nodes.Node:
        """Return a reference that fails the build when its target is not there.

        Without a text it reads like the title of its target.
        """
        inner = nodes.literal("", text) if code else nodes.inline("", text)
        return addnodes.pending_xref(
            "",
            inner,
            refdomain=domain,
            reftype=role,
            reftarget=target,
            refexplicit=bool(text),
            refwarn=True,
            refdoc=self.env.docname,
        )


def _document(path: str) -> str:
    """Return the name by which Sphinx knows a file: absolute, without suffix."""
    return "/" + str(PurePosixPath(path).with_suffix(""))


def _numbers(row: dict[str, str]) -> list[str]:
    """Return the survey's number and ours, where the row has them."""
    named = {
        "survey": row["survey_value"],
        "here": row["our_value"],
        "verdict": row["verdict"],
    }
    return [f"{name}: {value}" for name, value in named.items() if value]


def _entry(*inner: nodes.Node) -> nodes.entry:
    """Return a cell; several links stand one below the other."""
    if not inner:
        return nodes.entry("", nodes.paragraph())
    return nodes.entry("", *[nodes.paragraph("", "", node) for node in inner])


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive with Sphinx."""
    app.add_directive("method-finder", MethodFinder)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
