"""The book's own files about the survey hold together."""

import collections
import csv

import pytest

from effdl import survey
from effdl.survey import load_errata, load_index, load_sections

TARGETS = ("implement", "demonstrate", "measure", "tabulate", "explain")
VERDICTS = {"", "agrees", "convention", "wrong", "depends"}

INDEX = """\
id,section,topic,name,kind,target,page,notebook,symbol,test,survey_value,our_value,verdict
conv,2,Any,Conv,operator,implement,a.md#conv,n.ipynb,effdl.a.f effdl.a.g,t.py::f,,,
err-five,2,Any,erratum: five operators,claim,explain,a.md#five,,,,5,6,wrong
"""


@pytest.fixture
def small_index(tmp_path, monkeypatch):
    """Put two lines where the index is."""
    (tmp_path / "index.csv").write_text(INDEX, encoding="utf-8")
    paths = {"survey/index.csv": tmp_path / "index.csv"}
    monkeypatch.setattr(survey, "data_path", paths.__getitem__)


def test_the_rows_of_a_section_are_the_sum_of_its_targets():
    """Definition, on the file as text."""
    with survey.data_path("survey/sections.csv").open() as file:
        expected = [sum(int(line[t]) for t in TARGETS) for line in csv.DictReader(file)]
    assert [section.rows for section in load_sections()] == expected


def test_the_whole_survey_by_hand():
    """946 things, 9 chapters; section 1 names 32 of them, section 2 none itself."""
    sections = {section.number: section for section in load_sections()}
    assert sum(section.rows for section in sections.values()) == 946
    assert [n for n in sections if "." not in n] == list("123456789")
    assert (sections["1"].rows, sections["2"].rows) == (32, 0)
    assert sections["2.1"].title == "Manual Convolutional Neural Network Design"


def test_every_heading_stands_below_its_parent():
    seen = {""}
    for section in load_sections():
        assert section.parent in seen
        seen.add(section.number)
    assert len(seen) == 1 + len(load_sections())


def test_parents_by_hand():
    parents = {section.number: section.parent for section in load_sections()}
    assert (parents["2.2.1"], parents["2.2"], parents["2"]) == ("2.2", "2", "")


def test_no_more_errata_or_topics_than_rows():
    for section in load_sections():
        assert section.errata <= section.rows
        assert section.topics <= section.rows


def test_an_entry_by_hand(small_index):
    first, second = load_index()
    assert first.symbol == ("effdl.a.f", "effdl.a.g")
    assert (first.page, second.notebook) == (("a.md#conv",), ())
    assert (second.survey_value, second.our_value) == ("5", "6")


def test_errata_are_the_entries_that_say_so(small_index):
    assert [entry.id for entry in load_errata()] == ["err-five"]
    assert [entry.erratum for entry in load_index()] == [False, True]


def test_the_index_fits_the_sections():
    """No entry twice, none in an unknown section, no section over-full."""
    entries = load_index()
    assert len({entry.id for entry in entries}) == len(entries)
    done = collections.Counter((entry.section, entry.target) for entry in entries)
    sections = {section.number: section for section in load_sections()}
    for (number, target), count in done.items():
        assert count <= getattr(sections[number], target)


def test_verdicts_come_from_one_list():
    for entry in load_index():
        assert entry.verdict in VERDICTS
        assert bool(entry.verdict) or not entry.our_value
