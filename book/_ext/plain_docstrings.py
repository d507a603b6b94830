"""Show the library's docstrings as they are meant to be read.

They are written for `help()`: equations and small tables stand in indented lines, and
types stand in the signature alone. reStructuredText would run the indented lines
together, and napoleon takes the words before a colon for a type. Both are put right
around napoleon, so that nobody has to write docstrings for Sphinx. The fields of a
named tuple are listed once, where its "Attributes" explain them.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from sphinx.application import Sphinx

BEFORE_NAPOLEON, AFTER_NAPOLEON = 400, 600  # napoleon itself has 500
SECTION = re.compile(
    r"(Args|Arguments|Attributes|Examples?|Note|Notes|Raises|References|Returns"
    r"|See Also|Todo|Warning|Warnings|Warns|Yields):$"
)
LIST_ITEM = re.compile(r"([*+-]|\d+\.)\s")
SUBSTITUTION = re.compile(r"\|(\w[^|]*)\|")
TUPLE_FIELD = type(NamedTuple("Pair", [("first", int)]).first)
FIELD = re.compile(r":(returns?|yields?|rtype|type|param[^:]*|raises[^:]*):")


def with_literal_blocks(lines: list[str]) -> list[str]:
    """Return the docstring with every set-off indented block kept as it is.

    Set off means: after a blank line, deeper than the paragraph before it, and neither
    inside a section such as "Args:" nor the continuation of a list item.
    """
    out: list[str] = []
    paragraph = ""  # the last line that is not blank
    blank = True
    for line in lines:
        deeper = line.startswith("  ") and paragraph and not paragraph.startswith(" ")
        if deeper and blank and not _owns_what_follows(paragraph):
            out += [".. code-block:: text", ""]
        out.append(line if line.startswith(" ") else _without_markup(line))
        blank = not line.strip()
        paragraph = paragraph if blank else line
    return out


def _without_markup(line: str) -> str:
    """Return the line with |i|, a size in the docstrings, kept from being markup."""
    text = line.split("``")
    return "``".join(
        part if odd % 2 else SUBSTITUTION.sub(r"\\|\1|", part)
        for odd, part in enumerate(text)
    )


def _owns_what_follows(line: str) -> bool:
    """Whether the indented lines after this one belong to it already."""
    return bool(
        line.endswith("::")
        or line.startswith("..")
        or SECTION.match(line)
        or LIST_ITEM.match(line)
    )


def with_whole_sentences(lines: list[str]) -> list[str]:
    """Return napoleon's output with the words it took for a type back in place."""
    out = list(lines)
    while (at := _first(out, ":rtype:")) is not None:
        words = _cut_field(out, at)
        returned = _first(out, ":returns:")
        if returned is not None:
            rest = out[returned].removeprefix(":returns:").strip()
            out[returned] = f":returns: {words}: {rest}"
    if (at := _first(out, ":type:")) is not None:
        words = _cut_field(out, at)
        out[:1] = [f"{words}: {out[0]}" if out else words]
    return out


def _first(lines: list[str], start: str) -> int | None:
    return next((i for i, line in enumerate(lines) if line.startswith(start)), None)


def _cut_field(lines: list[str], at: int) -> str:
    """Remove the field that begins at this line, and return its text."""
    end = at + 1
    while end < len(lines) and lines[end].startswith(" "):
        end += 1
    text = " ".join(line.strip() for line in lines[at:end])
    del lines[at:end]
    return FIELD.sub("", text, count=1).strip()


def _before(
    app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]
) -> None:
    lines[:] = with_literal_blocks(lines)


def _after(
    app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]
) -> None:
    lines[:] = with_whole_sentences(lines)


def is_tuple_field(obj: object) -> bool:
    """Whether autodoc would say of it no more than "Alias for field number 0"."""
    return isinstance(obj, TUPLE_FIELD)


def _skip(
    app: Sphinx, what: str, name: str, obj: object, skip: bool, options: object
) -> bool | None:
    return True if is_tuple_field(obj) else None  # None leaves it to autodoc


def setup(app: Sphinx) -> dict[str, bool]:
    """Register both passes, and what is left out."""
    app.connect("autodoc-skip-member", _skip)
    app.connect("autodoc-process-docstring", _before, priority=BEFORE_NAPOLEON)
    app.connect("autodoc-process-docstring", _after, priority=AFTER_NAPOLEON)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
