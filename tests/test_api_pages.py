"""The library reference: complete, without leftovers, and true to the docstrings."""

import importlib.util
import re
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parent.parent
LIBRARY = ROOT / "lib"
PAGES = [ROOT / "book" / "api.md", *sorted((ROOT / "book" / "api").glob("*.md"))]
DIRECTIVE = re.compile(r"^\.\. automodule:: (\S+)$", re.MULTILINE)


def module_names(library):
    """Return the dotted names of the public modules and packages below a folder."""
    names = set()
    for path in sorted(library.glob("effdl/**/*.py")):
        parts = path.relative_to(library).with_suffix("").parts
        parts = parts[:-1] if parts[-1] == "__init__" else parts
        if not any(part.startswith("_") for part in parts):
            names.add(".".join(parts))
    return names


def problems(documented, existing):
    """Compare the list of documented modules with the set of existing ones."""
    twice = {name for name in documented if documented.count(name) > 1}
    found = [f"no page shows {name}" for name in sorted(existing - set(documented))]
    found += [f"shown, but gone: {name}" for name in sorted(set(documented) - existing)]
    return found + [f"shown twice: {name}" for name in sorted(twice)]


def test_every_public_module_is_on_exactly_one_page():
    documented = [n for page in PAGES for n in DIRECTIVE.findall(page.read_text())]
    assert problems(documented, module_names(LIBRARY)) == []


def test_every_family_page_is_linked_and_in_the_table_of_contents():
    overview = (ROOT / "book" / "api.md").read_text()
    contents = (ROOT / "_toc.yml").read_text()
    for page in PAGES[1:]:
        assert f"<api-{page.stem}>" in overview
        assert f"(api-{page.stem})=" in page.read_text()
        assert f"file: book/api/{page.stem}\n" in contents


def test_missing_leftover_and_doubled_modules_are_found():
    found = problems(["effdl.a", "effdl.b", "effdl.b"], {"effdl.b", "effdl.c"})
    assert found == [
        "no page shows effdl.c",
        "shown, but gone: effdl.a",
        "shown twice: effdl.b",
    ]


def test_private_modules_need_no_page(tmp_path):
    (tmp_path / "effdl" / "conv").mkdir(parents=True)
    for name in ("__init__.py", "conv/__init__.py", "conv/ghost.py", "conv/_x.py"):
        (tmp_path / "effdl" / name).touch()
    assert module_names(tmp_path) == {"effdl", "effdl.conv", "effdl.conv.ghost"}


@pytest.fixture(scope="module")
def extension():
    path = ROOT / "book" / "_ext" / "plain_docstrings.py"
    spec = importlib.util.spec_from_file_location("plain_docstrings", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


MARK = ".. code-block:: text"


def test_equation_in_a_docstring_stays_on_its_own_lines(extension):
    lines = ["Costs", "", "    a = b", "    c = d", "", "and so on."]
    expected = ["Costs", "", MARK, "", *lines[2:]]
    assert extension.with_literal_blocks(lines) == expected


def test_two_blocks_in_a_row_are_one(extension):
    lines = ["Costs", "", "    a = b", "", "    c = d"]
    assert extension.with_literal_blocks(lines).count(MARK) == 1


@pytest.mark.parametrize(
    "lines",
    [
        ["Text.", "", "More text."],
        ["Args:", "    x: An input.", "", "        Its second paragraph."],
        ["Example:", "", "    >>> 1"],
        ["* an item", "", "  that goes on"],
        ["Already literal::", "", "    a = b"],
        ["Text", "    directly below"],
    ],
)
def test_other_indented_lines_are_left_alone(extension, lines):
    assert extension.with_literal_blocks(lines) == lines


def test_bars_are_sizes_and_no_substitutions(extension):
    lines = ["costs |i| |j|, in code ``|i|``"]
    expected = [r"costs \|i| \|j|, in code ``|i|``"]
    assert extension.with_literal_blocks(lines) == expected


def test_words_before_a_colon_are_not_a_return_type(extension):
    lines = ["Do it.", "", ":returns: of x.", ":rtype: Names, sorted", "", "End."]
    expected = ["Do it.", "", ":returns: Names, sorted: of x.", "", "End."]
    assert extension.with_whole_sentences(lines) == expected


def test_words_before_a_colon_are_not_the_type_of_a_property(extension):
    lines = ["the heading above.", "", ":type: Parent"]
    assert extension.with_whole_sentences(lines)[0] == "Parent: the heading above."


def test_docstring_without_a_colon_is_not_changed(extension):
    lines = ["Do it.", "", ":param x: An input.", ":returns: Names."]
    assert extension.with_whole_sentences(lines) == lines


def test_fields_of_a_named_tuple_are_not_listed_a_second_time(extension):
    class Stage(NamedTuple):
        channels: int

        def twice(self):
            return 2 * self.channels

    assert extension.is_tuple_field(Stage.channels)
    assert not extension.is_tuple_field(Stage.twice)
    assert not extension.is_tuple_field(property(Stage.twice))
