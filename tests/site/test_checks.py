"""The checks of the built site find planted faults, and nothing else."""

import json

import pytest
import site_checks as checks

SOUND = """<html lang="en"><head><link rel="stylesheet" href="a.css">
<link rel="canonical" href="https://example.org/"></head><body>
<h1>A title<a class="headerlink" href="#x">#</a></h1><p id="x">text</p>
<a href="https://example.org/">a link may lead elsewhere</a>
<img src="data:image/png;base64,AAAA,BBBB" alt="a dot"></body></html>"""
ON_PAGES = [
    checks.images_without_alt,
    checks.heading_faults,
    checks.repeated_ids,
    checks.foreign_loads,
    checks.language_faults,
]


@pytest.mark.parametrize("check", ON_PAGES, ids=lambda check: check.__name__)
def test_a_sound_page_has_no_faults(check):
    assert check(SOUND) == []


@pytest.mark.parametrize("image", ["<img src=a.svg>", '<img src=a.svg alt="  ">'])
def test_a_picture_without_words_is_found(image):
    assert checks.images_without_alt(image) == ["image without alt text: a.svg"]


@pytest.mark.parametrize(
    ("html", "count"),
    [("<p>none</p>", 0), ("<h1>one</h1><h1>two</h1>", 2), ("<h1> </h1>", 1)],
)
def test_a_page_has_one_h1_with_text(html, count):
    (fault,) = checks.heading_faults(html)
    assert fault.startswith(f"{count} h1 on one page")


def test_an_id_that_is_there_twice_is_found():
    html = '<p id="a"></p><p id="b"></p><p id="a"></p>'
    assert checks.repeated_ids(html) == ["id 'a' is there 2 times"]


@pytest.mark.parametrize(
    "html",
    [
        '<script src="https://cdn.example/x.js"></script>',
        '<img alt="x" src="//cdn.example/x.js">',
        '<img alt="x" srcset="a.png 1x, https://cdn.example/x.js 2x">',
        '<link rel="stylesheet" href="https://cdn.example/x.js">',
        '<link rel="preconnect" href="https://cdn.example/x.js">',
        '<iframe src="http://cdn.example/x.js"></iframe>',
        '<p style="background: url(https://cdn.example/x.js)"></p>',
        '<style>@import "https://cdn.example/x.js";</style>',
        "<svg><use href='https://cdn.example/x.js'></use></svg>",
    ],
)
def test_whatever_asks_another_host_is_found(html):
    (fault,) = checks.foreign_loads(html)
    assert fault.endswith("//cdn.example/x.js")


def test_a_style_sheet_that_asks_another_host_is_found():
    css = '@import url("https://fonts.example/a.css"); p {background: url(b.png)}'
    assert checks.foreign_css(css) == ["style sheet loads https://fonts.example/a.css"]


def test_a_page_without_a_language_is_found():
    assert checks.language_faults("<html><p>?</p></html>") == ["no language on <html>"]


@pytest.fixture
def small_site(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "index.html").write_text('<p id="here">x</p>')
    (tmp_path / "a b.txt").write_text("x")

    def faults(html):
        page = tmp_path / "page.html"
        page.write_text(html)
        return checks.dead_links(page, tmp_path, {})

    return faults


@pytest.mark.parametrize(
    "address",
    [
        "sub/index.html#here",
        "sub/#here",
        "#top",
        "a%20b.txt",
        "https://example.org/gone",
        "mailto:a@example.org",
        "a%20b.txt#page=2",
        "page.html?q=1",
    ],
)
def test_links_that_lead_somewhere_pass(small_site, address):
    assert small_site(f'<p id="top"></p><a href="{address}">x</a>') == []


@pytest.mark.parametrize(
    ("html", "fault"),
    [
        ('<a href="gone.html">x</a>', "leads to nothing: gone.html"),
        ('<img alt="x" src="gone.png">', "leads to nothing: gone.png"),
        ('<script src="gone.js"></script>', "leads to nothing: gone.js"),
        ('<a href="#gone">x</a>', "no such place on the page: #gone"),
        ('<a href="sub/#gone">x</a>', "no such place on the page: sub/#gone"),
        ('<a href="../page.html">x</a>', "leads to nothing: ../page.html"),
        (
            '<meta http-equiv="Refresh" content="0; url=gone.html">',
            "leads to nothing: gone.html",
        ),
    ],
)
def test_links_that_lead_nowhere_are_found(small_site, html, fault):
    assert small_site(html) == [fault]


def test_files_behind_links_to_the_repository():
    html = """<a href="https://github.com/o/r/blob/main/a/b.py#L3">x</a>
    <a href="https://github.com/o/r/edit/main/c.md?x=1">x</a>
    <a href="https://colab.research.google.com/github/o/r/blob/main/n%20b.ipynb">x</a>
    <a href="https://github.com/o/other/blob/main/no.py">x</a>
    <a href="https://github.com/o/r">x</a>"""
    files = checks.repository_files(html, "https://github.com/o/r")
    assert files == ["a/b.py", "c.md", "n b.ipynb"]


NAMES = {"2": "Manual Network Design", "2.1": "Convolutions", "2.2.1": "For NLP"}


@pytest.mark.parametrize(
    ("path", "title"),
    [
        ("book/02-manual/index.html", "2 Manual Network Design"),
        ("book/02-manual/2-1-convolutions.html", "2.1 Convolutions"),
        ("book/02-manual/2-2-1-nlp.html", "2.2.1 For NLP"),
        ("book/glossary.html", "Glossary"),
        ("book/api/conv.html", "Convolutions"),
        ("notebooks/02-manual/ghost.html", "The Ghost convolution"),
    ],
)
def test_titles_as_in_the_survey_pass(path, title):
    assert checks.title_faults(path, title, NAMES) == []


@pytest.mark.parametrize(
    ("path", "title", "fault"),
    [
        ("book/02-manual/index.html", "Manual Network Design", "number '' in"),
        ("book/02-manual/index.html", "3 Manual Network Design", "number '3' in"),
        ("book/02-manual/2-1-x.html", "2.2 Convolutions", "'2.1' in its path"),
        ("book/02-manual/2-1-x.html", "2.1 Folding", "the survey has 'Convolutions'"),
        ("book/02-manual/2-9-x.html", "2.9 Folding", "the survey has None"),
        ("notebooks/02-manual/ghost.html", "2.1 Ghost", "number '2.1' in"),
    ],
)
def test_other_titles_are_found(path, title, fault):
    (found,) = checks.title_faults(path, title, NAMES)
    assert fault in found


SOLUTION = """
    soft = softmax(logits / temperature)
    return [a < b for a in soft]
"""


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("page.html", "<pre><span>soft</span> = softmax(<b>logits</b> / temperature)\n"
         "  return [a &lt; b for a in soft]</pre>"),
        ("notebook.ipynb", json.dumps({"source": SOLUTION})),
        ("index.js", SOLUTION.replace("\n", " ")),
    ],
)  # fmt: skip
def test_a_solution_on_the_site_is_found(tmp_path, name, text):
    (tmp_path / "other.html").write_text("softmax(logits / temperature)")
    (tmp_path / name).write_text(text)
    assert checks.leaked({"task-1": SOLUTION}, tmp_path) == [f"{name}: task-1"]
