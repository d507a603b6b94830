"""Repair what Jupyter Book 1.0.4 and its theme get wrong.

Accessible names and landmarks that axe misses, a script that is added twice and
breaks the console, and 1.5 MB of script that draws icons the page has as a font.
The edits run on every page after every build, so each must be harmless when it
meets its own result.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

EDITS = [
    (  # the arrows in the sidebar have no name
        re.compile(r'<summary>(?=<span class="toctree-toggle")'),
        '<summary aria-label="Show the sections">',
    ),
    (  # the left sidebar is outside of every landmark
        re.compile(r'<div id="pst-primary-sidebar" (?!role)'),
        '<div id="pst-primary-sidebar" role="complementary" aria-label="Book" ',
    ),
    (  # the accessible name must hold the visible text, "Search Ctrl+K"
        re.compile(
            r'(<button class="btn search-button-field[^>]*?) aria-label="Search"'
        ),
        r"\1",
    ),
    (  # pandas writes an empty header over the row names
        re.compile(
            r'(<table border="1" class="dataframe">\s*<thead>\s*<tr[^>]*>\s*)<th></th>'
        ),
        r"\1<td></td>",
    ),
    (  # every exercise and every solution of a page has the same id
        re.compile(r'<section id="(exercise|solution)-content">'),
        r'<section class="\1-content">',
    ),
    (  # the title of the printed page would be a second h1
        re.compile(r'(id="jb-print-docs-body"[^>]*>\s*)<h1>(.*?)</h1>', re.DOTALL),
        r'\1<p class="h1">\2</p>',
    ),
    (  # entries of a bibliography are no list items, so it is no list
        re.compile(r'<div role="list" class="citation-list">'),
        '<div class="citation-list">',
    ),
    (  # its icons come with the web fonts, which the page loads anyway
        re.compile(r'\s*<script defer src="[^"]*fontawesome\.js[^"]*"></script>'),
        "",
    ),
]


def edited(html: str) -> str:
    """Return the page with every repair made."""
    for pattern, replacement in EDITS:
        html = pattern.sub(replacement, html)
    return html


def scripts_once(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: object
) -> None:
    """Drop thebe, which is off, and inline scripts that were added before."""
    seen: set[str] = set()
    kept = []
    for script in context.get("script_files", []):
        attributes = getattr(script, "attributes", None) or {}
        body = attributes.get("body") or ""
        name = str(getattr(script, "filename", "") or "")
        if "thebe" in name or "THEBE_JS_URL" in body or (body and body in seen):
            continue
        seen.add(body)
        kept.append(script)
    if "script_files" in context:
        context["script_files"][:] = kept


def edit_pages(app: Sphinx, exception: Exception | None) -> None:
    """Repair the pages, and drop source maps that point nowhere."""
    if exception or app.builder.format != "html":
        return
    for page in Path(app.outdir).rglob("*.html"):
        old = page.read_text(encoding="utf8")
        new = edited(old)
        if new != old:
            page.write_text(new, encoding="utf8")
    for source_map in Path(app.outdir, "_static").rglob("*.map"):
        source_map.unlink()


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the repairs with Sphinx."""
    app.connect("html-page-context", scripts_once, priority=900)
    app.connect("build-finished", edit_pages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
