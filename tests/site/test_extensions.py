"""The local Sphinx extensions do what they say, and refuse what they must."""

import html
import re

import assignment
import bookfix
import method_finder
import nbformat
import notebook_facts
import numbers_from_data
import pytest
import source_from_lib
import survey_check
from sphinx.application import Sphinx
from sphinx.errors import ConfigError

PAGE = """<div id="pst-primary-sidebar" class="x"><summary><span class="toctree-toggle"
 role="presentation"></span></summary></div>
<button class="btn search-button-field search-button__button" title="Search"
 aria-label="Search">Search</button>
<div id="jb-print-docs-body" class="onlyprint">\n <h1>Title</h1></div>
<div role="list" class="citation-list"></div>
<section id="exercise-content"></section><section id="exercise-content"></section>
<table border="1" class="dataframe"><thead><tr style="x"><th></th><th>a</th></tr>
<script defer src="../_static/scripts/fontawesome.js?digest=1"></script>"""


def test_every_repair_is_made_once():
    page = PAGE.replace('toggle"\n role', 'toggle" role').replace(
        "<summary><", "<summary><"
    )
    once = bookfix.edited(page)
    assert bookfix.edited(once) == once
    for pattern, _ in bookfix.EDITS:
        assert pattern.search(PAGE), pattern.pattern
        assert not pattern.search(once)


def test_text_that_needs_no_repair_stays():
    page = "<h1>Title</h1><table><thead><tr><th></th></tr></thead></table>"
    assert bookfix.edited(page) == page


def write(folder, name, text):
    (folder / name).write_text(text, encoding="utf8")


def test_numbers_of_all_files_are_read(tmp_path):
    write(tmp_path, "numbers.csv", 'key,value,text\na,1,"1,000"\n')
    write(tmp_path, "survey_numbers.csv", "text,key\nfour,b\n")
    write(tmp_path, "width.csv", "width\n1\n")
    assert numbers_from_data.read_numbers(tmp_path) == {"a": "1,000", "b": "four"}


@pytest.mark.parametrize(
    ("csv", "message"),
    [
        ("key,value\na,1\n", "needs the columns key and text"),
        ("key,text\na-b,1\n", "key 'a-b' is not a name"),
        ("key,text\na,1\na,1\n", "key 'a' is there twice"),
        ("key,text\na,\n", "key 'a' has no text"),
    ],
)
def test_a_number_that_no_page_could_use_is_an_error(tmp_path, csv, message):
    write(tmp_path, "numbers.csv", csv)
    with pytest.raises(ConfigError, match=f"numbers.csv.*{message}"):
        numbers_from_data.read_numbers(tmp_path)


@pytest.mark.parametrize(
    ("found", "numbers"),
    [
        ("{{ mass }} MB in ResNet-50, fp32 and int8, with 3x3 kernels.", []),
        ("$x^2 = 4$ and `2 + 2` and {py:func}`f.x2` and [a](b2.md).", []),
        ("Not 87 MB but 102.4 MB.", ["87", "102.4"]),
        ("25,557,032 weights", ["25,557,032"]),
        ("{{ a }} of 2", ["2"]),
    ],
)
def test_typed_numbers_are_told_from_names(found, numbers):
    source = f"The survey says\n: 87 MB, on page 3.\n\nWe find\n: {found}"
    assert [n.rstrip(".,") for n in survey_check.typed_numbers(source)] == numbers


MEASURED = {
    "hash": "0",
    "seconds": 7.31,
    "cpu_seconds": 12.4,
    "peak_memory_mb": 1612.3,
    "device": "A <fast> CPU, 2 cores",
    "python": "3.11.7",
    "torch": "2.14.1",
    "date": "2026-11-25",
}


def test_facts_of_a_notebook_by_hand():
    links = {"colab": "https://c/?a&b", "ipynb": "x.ipynb", "py": "x.py"}
    paragraph = notebook_facts.facts(MEASURED, links)
    text = html.unescape(re.sub(r"<[^>]+>", "", paragraph))
    assert text.startswith(
        "Measured: 12 s of processor time, 7.3 s by the clock, 1,612 MB of memory at "
        "the peak. A <fast> CPU, 2 cores, Python 3.11.7, PyTorch 2.14.1, 2026-11-25."
    )
    assert 'href="https://c/?a&amp;b"' in paragraph
    assert paragraph.count(" download>") == 2


def test_address_of_a_notebook_in_colab():
    address = notebook_facts.colab_address(
        "https://github.com/o/r", "main", "a/b.ipynb"
    )
    assert address == "https://colab.research.google.com/github/o/r/blob/main/a/b.ipynb"


def test_sections_are_sorted_as_numbers():
    sections = ["10", "2.2.1", "2", "2.10", "1.1"]
    assert sorted(sections, key=method_finder.by_section) == [
        "1.1", "2", "2.2.1", "2.10", "10",
    ]  # fmt: skip


def test_choices_are_escaped_and_there_once():
    assert method_finder.options(["a", "b & <c>", "a"]) == (
        "<option>a</option><option>b &amp; &lt;c></option>"
    )


def test_the_source_of_the_library_is_found_without_an_import(tmp_path):
    (tmp_path / "effdl" / "conv").mkdir(parents=True)
    write(tmp_path / "effdl" / "conv", "__init__.py", "raise SystemExit")
    write(tmp_path / "effdl", "seed.py", "raise SystemExit")
    find = source_from_lib.first_in(tmp_path, lambda name: (None, name))
    assert find("effdl.seed") == (str(tmp_path / "effdl" / "seed.py"), None)
    assert find("effdl.conv")[0] == str(tmp_path / "effdl" / "conv" / "__init__.py")
    assert find("torch.nn") == (None, "torch.nn")


CONF = """
extensions = ["myst_nb", "numbers_from_data", "survey_check", "notebook_facts",
              "assignment"]
myst_enable_extensions = ["colon_fence", "deflist", "substitution"]
nb_execution_mode = "off"
html_theme_options = {"repository_url": "https://github.com/o/r",
                      "repository_branch": "main"}
html_theme = "basic"
"""
BOX = """
:::{{survey-check}} {verdict}
:name: {name}

The survey says
: 87 MB.

{term}
: {found}
:::
"""
BOXES = {
    "good": BOX.format(
        verdict="wrong", name="good-box", term="We find", found="{{ mass }} MB."
    ),
    "typed": BOX.format(
        verdict="agrees", name="typed", term="We find", found="It is 102 MB."
    ),
    "verdict": BOX.format(verdict="bad", name="v", term="We find", found="x"),
    "terms": BOX.format(verdict="wrong", name="t", term="We found", found="x"),
    "unknown": BOX.format(
        verdict="wrong", name="u", term="We find", found="{{ nothing }}"
    ),
    "twice": BOX.format(
        verdict="wrong", name="good-box", term="We find", found="the same name"
    ),
}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A small book with one page for each kind of box, and two notebooks."""
    source = tmp_path_factory.mktemp("book")
    results = source / "data" / "results"
    results.mkdir(parents=True)
    write(results, "numbers.csv", "key,text\nmass,102.4\n")
    write(source, "conf.py", CONF)
    for name, box in BOXES.items():
        write(source, f"{name}.md", f"# A page\n\n{box}\n\nSee {{ref}}`good-box`.\n")
    for name, metadata in {"ran": {"effdl": MEASURED}, "new": {}}.items():
        cells = [
            nbformat.v4.new_markdown_cell("# A notebook\n\nText."),
            nbformat.v4.new_code_cell("%pip list\n1 + 1"),
        ]
        book = nbformat.v4.new_notebook(cells=cells, metadata=metadata)
        nbformat.write(book, source / f"{name}.ipynb")
    released = source / assignment.RELEASE / "darts"
    released.mkdir(parents=True)
    task = nbformat.v4.new_markdown_cell("## Task 1: a step of $x^2$  (1 point)\n\n?")
    book = nbformat.v4.new_notebook(cells=[task])
    nbformat.write(book, released / "darts.ipynb")
    for name in ("darts", "gone"):
        write(source, f"{name}.md", f"# A page\n\n:::{{assignment}} {name}\n:::\n")
    names = "\n".join([*BOXES, "ran", "new", "darts", "gone"])
    write(source, "index.md", f"# Book\n\n```{{toctree}}\n{names}\n```\n")
    warnings = (source / "warnings.txt").open("w+", encoding="utf8")
    app = Sphinx(
        source, source, source / "out", source / "doctrees", "html",
        status=None, warning=warnings,
    )  # fmt: skip
    app.build()
    warnings.seek(0)
    text = re.sub(r"\x1b\[[0-9;]*m", "", warnings.read())
    warnings.close()
    return source / "out", text.splitlines()


def test_a_good_box_is_rendered_with_its_verdict_and_number(built):
    out, warnings = built
    page = (out / "good.html").read_text(encoding="utf8")
    assert 'class="survey-check survey-check-wrong admonition"' in page
    assert '<span class="verdict">wrong</span>' in page
    assert "102.4 MB." in page
    assert 'id="good-box"' in page
    assert not [line for line in warnings if "good.md" in line and "label" not in line]


def test_a_link_to_a_box_reads_like_its_title(built):
    out, _ = built
    page = (out / "terms.html").read_text(encoding="utf8")
    assert re.search(
        r'href="\w+\.html#good-box"><span class="std std-ref">'
        r"The survey, checked: wrong</span>",
        page,
    )


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("typed", "typed number 102 in 'We find'"),
        ("verdict", "verdict 'bad' is none of agrees, convention, wrong, depends"),
        ("terms", "got ['The survey says', 'We found']"),
        ("unknown", "'nothing' is undefined"),
        ("twice", "duplicate label good-box"),
        ("new", "the notebook has no measured seconds"),
        ("gone", "run make assignments"),
    ],
)
def test_the_build_complains(built, name, complaint):
    _, warnings = built
    about = [line for line in warnings if name in line]
    assert any(complaint in line for line in about), about


def test_a_notebook_begins_with_its_facts_and_comes_as_a_script(built):
    out, _ = built
    page = (out / "ran.html").read_text(encoding="utf8")
    assert re.search(r"</h1><div class=\"notebook-facts\"><p>Measured:", page)
    script = (out / "_sources" / "ran.py").read_text(encoding="utf8")
    assert "# %%\n# %pip list\n1 + 1" in script
    assert "cpu_seconds" not in script
    assert "notebook-facts" not in (out / "good.html").read_text(encoding="utf8")


def test_an_assignment_shows_its_tasks_and_leads_to_its_notebook(built):
    out, _ = built
    page = (out / "darts.html").read_text(encoding="utf8")
    assert "Task 1: a step of" in page
    assert "(1 point)" in page
    assert "x^2" in page
    colab = "https://colab.research.google.com/github/o/r/blob/main/"
    assert f'href="{colab}{assignment.RELEASE}/darts/darts.ipynb"' in page
    (address,) = re.findall(r'href="(_downloads/[^"]*/darts.ipynb)"', page)
    assert (out / address).is_file()
