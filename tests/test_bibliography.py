"""The bibliography parses, is complete, and holds whatever the book cites."""

import re
from pathlib import Path

import nbformat
import pytest
from pybtex.database import BibliographyDataError, parse_string

ROOT = Path(__file__).parent.parent
BIB = (ROOT / "book" / "references.bib").read_text(encoding="utf-8")
REQUIRED = {
    "article": {"author", "title", "journal", "year"},
    "inproceedings": {"author", "title", "booktitle", "year"},
    "incollection": {"author", "title", "booktitle", "year"},
    "book": {"author", "title", "publisher", "year"},
    "phdthesis": {"author", "title", "school", "year"},
    "techreport": {"author", "title", "institution", "year"},
    "misc": {"author", "title", "year"},
}
FORM = {
    "eprint": r"\d{2}(0[1-9]|1[0-2])\.\d{4,5}|[a-z-]+(\.[A-Z]{2})?/\d{7}",
    "doi": r"10\.\d{4,}/\S+",
    "year": r"(19|20)\d{2}",
    "url": r"https?://\S+",
    "pages": r"\d+(--\d+)?",
}
CITATION = re.compile(r"\{cite(?::[a-z]+)?\}`([^`]+)`|:cite(?::[a-z]+)?:`([^`]+)`")
PAPER = re.compile(r"https://(?:arxiv\.org/abs/|doi\.org/)([^\s>)\],;]*[^\s>)\],.;])")


def entries(bib):
    """Parse BibTeX and return {key: (kind, authors, fields)}."""
    data = parse_string(bib, "bibtex")
    return {
        key: (entry.type, entry.persons.get("author", []), dict(entry.fields))
        for key, entry in data.entries.items()
    }


def entry_problems(key, kind, authors, fields):
    """List what is wrong with one entry.

    A field that could not be confirmed is left out, and its note says so.
    """
    present = set(fields) | ({"author"} if authors else set())
    unconfirmed = fields.get("note", "").endswith("not confirmed")
    excused = {"author", "year"} if unconfirmed else set()
    if kind not in REQUIRED:
        yield f"{key}: unexpected kind {kind}"
    for field in sorted(REQUIRED.get(kind, set()) - present - excused):
        yield f"{key}: no {field}"
    for field, form in FORM.items():
        if field in fields and not re.fullmatch(form, fields[field]):
            yield f"{key}: malformed {field} {fields[field]}"
    if ("eprint" in fields) != (fields.get("archiveprefix") == "arXiv"):
        yield f"{key}: eprint and archiveprefix belong together"
    if [str(author) for author in authors][-1:] == ["others"] and len(authors) <= 10:
        yield f"{key}: give all authors, or ten of them"


def problems(bib):
    """List what is wrong with a bibliography."""
    parsed = entries(bib)
    found = [p for key, entry in parsed.items() for p in entry_problems(key, *entry)]
    for field in ("doi", "title"):
        values = [e[2][field].lower() for e in parsed.values() if field in e[2]]
        twice = sorted({value for value in values if values.count(value) > 1})
        found += [f"two entries with {field} {value}" for value in twice]
    return found


def cited_keys(text):
    """Return the keys that a page or a docstring cites."""
    groups = [a or b for a, b in CITATION.findall(text)]
    return {key.strip() for group in groups for key in group.split(",")}


def sources():
    """Yield (name, text) of every page, every notebook's text and every module."""
    for path in [*ROOT.glob("book/**/*.md"), *ROOT.glob("lib/effdl/**/*.py")]:
        yield str(path.relative_to(ROOT)), path.read_text(encoding="utf-8")
    for path in ROOT.glob("notebooks/**/*.ipynb"):
        if ".ipynb_checkpoints" not in path.parts:
            cells = nbformat.read(path, as_version=4).cells
            text = "\n".join(c.source for c in cells if c.cell_type == "markdown")
            yield str(path.relative_to(ROOT)), text


def test_bibliography_is_in_order():
    assert problems(BIB) == []


def test_every_citation_has_an_entry_that_is_complete():
    parsed = entries(BIB)
    for name, text in sources():
        for key in cited_keys(text):
            assert key in parsed, f"{name} cites {key}"
            note = parsed[key][2].get("note", "")
            assert not note.endswith("not confirmed"), f"look {key} up, {name} cites it"


def test_every_paper_that_the_library_names_is_in_the_bibliography():
    fields = [entry[2] for entry in entries(BIB).values()]
    known = {f[name].lower() for f in fields for name in ("eprint", "doi") if name in f}
    for name, text in sources():
        if name.endswith(".py"):
            named = {paper.lower() for paper in PAPER.findall(text)}
            assert named <= known, f"{name}: {named - known}"


def test_the_survey_and_the_ground_works_are_there():
    needed = {
        "luo2024efficient": "10.1145/3701728",
        "williams2009roofline": "10.1145/1498765.1498785",
        "horowitz2014computing": "10.1109/ISSCC.2014.6757323",
        "alpaydin1998optical": "10.24432/C50P49",
    }
    parsed = entries(BIB)
    assert {key: parsed[key][2]["doi"] for key in needed} == needed


GOOD = """
@inproceedings{a2020b,
  author = {Ann A and Bob B},
  title = {T},
  booktitle = {V},
  year = {2020},
  eprint = {2001.00001},
  archiveprefix = {arXiv},
  doi = {10.1000/x}
}
"""


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("@inproceedings", "@conference", "unexpected kind"),
        ("  booktitle = {V},\n", "", "no booktitle"),
        ("  author = {Ann A and Bob B},\n", "", "no author"),
        ("  year = {2020},\n", "", "no year"),
        ("year = {2020}", "year = {20}", "malformed year"),
        ("2001.00001", "2013.00001", "malformed eprint"),
        ("2001.00001", "arXiv:2001.00001", "malformed eprint"),
        ("10.1000/x", "https://doi.org/10.1000/x", "malformed doi"),
        ("  archiveprefix = {arXiv},\n", "", "belong together"),
        ("Ann A and Bob B", "Ann A and others", "give all authors"),
    ],
)
def test_planted_fault_is_found(old, new, message):
    assert problems(GOOD) == []
    assert old in GOOD
    assert message in " ".join(problems(GOOD.replace(old, new)))


def test_same_paper_under_two_keys_is_found():
    assert "two entries" in " ".join(problems(GOOD + GOOD.replace("a2020b", "c")))


def test_same_key_twice_is_found():
    with pytest.raises(BibliographyDataError, match="a2020b"):
        problems(GOOD + GOOD)


def test_citations_are_read_from_every_form():
    text = "{cite:t}`a`, {cite:p}`b, c` and {cite}`d`; in a docstring :cite:p:`e`"
    assert cited_keys(text) == set("abcde")
