"""CITATION.cff and the licences: complete, consistent, nobody invented."""

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent
SURVEY_AUTHORS = [
    "Xiangzhong Luo",
    "Di Liu",
    "Hao Kong",
    "Shuo Huai",
    "Hui Chen",
    "Guochu Xiong",
    "Weichen Liu",
]
# Fields of version 1.2.0 of the Citation File Format (the ones that a book can use).
TOP = {"cff-version", "message", "title", "authors", "type", "abstract", "version"}
TOP |= {"license", "license-url", "repository-code", "url", "keywords", "references"}
TOP |= {"date-released", "doi", "identifiers", "preferred-citation"}
REFERENCE = {"type", "title", "authors", "journal", "year", "doi", "url", "notes"}
REFERENCE |= {"volume", "issue", "pages", "conference", "publisher", "identifiers"}


def read(name):
    return (ROOT / name).read_text(encoding="utf-8")


def problems(text):
    """List what is wrong with the text of a CITATION.cff."""
    cff = yaml.safe_load(text)
    found = [f"no {k}" for k in ("message", "title", "authors") if not cff.get(k)]
    if cff.get("cff-version") != "1.2.0":
        found.append("cff-version is not 1.2.0")
    if cff.get("type") not in {"software", "dataset"}:
        found.append("type is neither software nor dataset")
    if not re.match(r"https://\S+$", cff.get("repository-code", "")):
        found.append("repository-code is not an address")
    found += [f"unknown key {key}" for key in set(cff) - TOP]
    found += _author_problems(cff.get("authors", []))
    for reference in cff.get("references", []):
        found += _reference_problems(reference)
    return found


def _reference_problems(reference):
    needed = ("type", "title", "authors")
    yield from (f"reference without {k}" for k in needed if not reference.get(k))
    yield from (f"unknown reference key {key}" for key in set(reference) - REFERENCE)
    yield from _author_problems(reference.get("authors", []))
    if not re.match(r"10\.\d{4,}/\S+$", str(reference.get("doi", "10.1234/x"))):
        yield "reference with a malformed doi"


def _author_problems(authors):
    person, entity = {"family-names", "given-names"}, {"name"}
    for author in authors:
        if set(author) not in (person, entity):
            yield f"neither a person nor an entity: {author}"


def test_citation_is_well_formed():
    assert problems(read("CITATION.cff")) == []


def test_book_is_by_its_contributors_and_no_invented_person():
    assert yaml.safe_load(read("CITATION.cff"))["authors"] == [
        {"name": "The contributors"}
    ]


def test_survey_is_the_reference_with_its_real_authors():
    (survey,) = yaml.safe_load(read("CITATION.cff"))["references"]
    names = [f"{a['given-names']} {a['family-names']}" for a in survey["authors"]]
    assert names == SURVEY_AUTHORS
    assert (survey["doi"], survey["year"]) == ("10.1145/3701728", 2024)
    assert survey["url"].endswith("2411.01431")


def test_address_and_version_are_those_of_the_project():
    cff = yaml.safe_load(read("CITATION.cff"))
    config = yaml.safe_load(read("_config.yml"))
    assert cff["repository-code"] == config["repository"]["url"]
    assert f'version = "{cff["version"]}"' in read("pyproject.toml")


def test_code_licence_is_bsd_in_full():
    licence = " ".join(read("LICENSE").split())
    assert licence.startswith("BSD 3-Clause License Copyright (c)")
    assert "the contributors of this book" in licence
    for clause in ("1. Redistributions of source", "2. Redistributions in binary"):
        assert clause in licence
    assert "3. Neither the name" in licence
    assert licence.endswith("EVEN IF ADVISED OF THE POSSIBILITY OF SUCH DAMAGE.")


def test_text_licence_is_cc_by_in_full():
    licence = read("LICENSE-TEXT.md")
    assert "https://creativecommons.org/licenses/by/4.0/" in licence
    for section in range(1, 9):
        assert f"Section {section} -- " in licence


def test_third_parties_are_named_with_their_licences():
    notices = read("THIRD-PARTY.md")
    for word in ("MathJax", "Apache License 2.0", "10.24432/C50P49", "CC BY 4.0"):
        assert word in notices


GOOD = """
cff-version: 1.2.0
message: cite it
type: software
title: A book
authors: [{name: The contributors}]
repository-code: https://example.org/a/b
references:
  - {type: article, title: T, authors: [{name: X}], doi: 10.1145/3701728}
"""


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("cff-version: 1.2.0", "cff-version: 1.1.0", "not 1.2.0"),
        ("message: cite it", "", "no message"),
        ("type: software", "type: book", "neither software"),
        ("[{name: The contributors}]", "[{author: X}]", "neither a person"),
        ("https://example.org/a/b", "example", "not an address"),
        ("title: T, ", "", "without title"),
        ("10.1145/3701728", "doi.org/1", "malformed doi"),
        ("type: software", "type: software\npublisher: X", "unknown key publisher"),
    ],
)
def test_planted_fault_is_found(old, new, message):
    assert problems(GOOD) == []
    assert old in GOOD
    assert message in " ".join(problems(GOOD.replace(old, new)))
