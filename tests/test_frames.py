"""A choice of figures: radio buttons and pictures that belong together, and no script.

That the buttons work is shown in a browser by tests/site.
"""

import re
from collections import Counter
from html.parser import HTMLParser

import matplotlib.pyplot as plt
import pytest
from IPython.core.formatters import DisplayFormatter

from effdl import plot
from effdl.frames import HINT, show_choice
from effdl.plot import use_style

VOID = {"input", "path", "use", "circle"}
ALT = {"time": "Time falls.", "memory": "Memory rises.", "energy": "It is flat."}


@pytest.fixture(autouse=True)
def _style_of_the_book():
    with plt.rc_context():
        use_style()
        yield
    plt.close("all")


@pytest.fixture
def shown(monkeypatch):
    """What reaches the notebook: a list of (data, metadata)."""
    bundles = []

    def catch(output):
        bundles.append(DisplayFormatter().format(output))

    monkeypatch.setattr(plot, "display", catch)
    return bundles


class _Tree(HTMLParser):
    """The elements of a page, each as (tag, attributes, path of tags above it)."""

    def __init__(self, page):
        super().__init__()
        self.open, self.elements, self.texts = [], [], []
        self.feed(page)
        assert self.open == []  # every element is closed

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs), "/".join(self.open)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs), "/".join(self.open)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if data.strip():
            self.texts.append((self.open[-1], data.strip()))

    def all(self, tag):
        return [attrs for name, attrs, _ in self.elements if name == tag]

    def texts_of(self, tag):
        return [text for name, text in self.texts if name == tag]


def dots(*gids):
    fig, ax = plt.subplots()
    for number, gid in enumerate(gids):
        ax.plot(number, 1, "o", gid=gid)
    return fig


def choice(shown, figures=None, **options):
    figures = figures or {name: dots("a", "b") for name in ALT}
    show_choice(figures, **{"legend": "What it costs", "alt": ALT, **options})
    return shown[-1][0]["text/html"]


def test_a_set_of_radio_buttons_one_picture_for_each(shown):
    tree = _Tree(choice(shown))
    assert tree.texts_of("legend") == ["What it costs"]
    assert tree.texts_of("label") == list(ALT) == tree.texts_of("p")
    inputs = tree.all("input")
    assert [i["type"] for i in inputs] == ["radio"] * 3
    assert len({i["name"] for i in inputs}) == 1
    assert ["checked" in i for i in inputs] == [True, False, False]
    assert len(tree.all("svg")) == 3
    order = [tag for tag, _, path in tree.elements if path == "fieldset"]
    assert order == ["legend", *["label"] * 3, *["div"] * 3]


def test_every_button_is_labelled_and_every_picture_described(shown):
    tree = _Tree(choice(shown))
    for tag, _, path in tree.elements:
        assert tag != "input" or path == "fieldset/label"
    assert tree.texts_of("desc") == list(ALT.values())
    assert {svg["role"] for svg in tree.all("svg")} == {"img"}
    ids = {attrs.get("id") for _, attrs, _ in tree.elements}
    for svg in tree.all("svg"):
        assert set(svg["aria-labelledby"].split()) <= ids


def test_no_id_is_there_twice_even_beside_another_choice(shown):
    pages = [choice(shown), choice(shown, legend="Another"), choice(shown, alt=other())]
    ids = [a["id"] for p in pages for _, a, _ in _Tree(p).elements if "id" in a]
    assert len(ids) > 30
    assert [i for i, times in Counter(ids).items() if times > 1] == []
    names = [{i["name"] for i in _Tree(p).all("input")} for p in pages]
    assert len(set.union(*names)) == 3


def other():
    return {**ALT, "energy": "It is round."}


def test_same_choice_same_bytes(shown):
    details = {"b": "B", "a": "A"}
    assert choice(shown, details=details) == choice(shown, details=details)


def test_no_script_and_no_address(shown):
    page = choice(shown, details={"a": "A"})
    assert not re.search(r"script|https?:|//|url\((?!#)|@import|onclick", page)


def test_the_style_touches_nothing_else_on_the_page(shown):
    page = choice(shown, details={"a": "A"})
    key = _Tree(page).all("fieldset")[0]["id"]
    style = page[len("<style>") : page.index("</style>")]
    rules = re.sub(r"@[^{]*\{", "", style)
    selectors = ",".join(re.findall(r"([^{}]+)\{", rules))
    parts = re.split(r",(?![^(]*\))", selectors)
    assert len(parts) > 15
    assert all(part.strip().startswith(f"#{key}") for part in parts)
    assert "KEY" not in style


def test_what_hides_also_knows_how_to_show(shown):
    """A browser that lacks the selector hides nothing: all of it is in one block."""
    page = choice(shown, details={"a": "A"})
    before, _, guarded = page.partition("@supports selector(:has(a)){")
    assert "display:none" not in re.sub(r"@media print\{.*?\}\}", "", before)
    assert "display:none" in guarded
    for number in (1, 2, 3):
        rule = f":has(>label:nth-of-type({number})>input:checked)"
        assert f"{rule}>div:nth-of-type({number})" in guarded


def test_details_are_a_list_that_begins_with_a_hint(shown):
    details = {"a": "A: <i> & more", "b": "B:\n free"}
    page = choice(shown, details=details)
    tree = _Tree(page)
    assert tree.texts_of("li") == [HINT, "A: <i> & more", "B: free"]
    assert {svg["role"] for svg in tree.all("svg")} == {"group"}
    for number in (0, 1):
        assert f".point-{number}:hover)>ul>li:nth-child({number + 2})" in page
        assert f".point-{number}:focus)" in page
    assert ".point-2" not in page


def test_without_details_there_is_no_list(shown):
    tree = _Tree(choice(shown))
    assert tree.all("ul") == []
    assert HINT not in choice(shown)


def test_a_detail_may_belong_to_one_figure_only(shown):
    figures = {"time": dots("a"), "memory": dots("b"), "energy": dots()}
    tree = _Tree(choice(shown, figures, details={"b": "B", "a": "A"}))
    assert [svg["role"] for svg in tree.all("svg")] == ["group", "group", "img"]
    classes = [a["class"] for a in tree.all("g") if "class" in a]
    assert classes == ["point point-1", "point point-0"]


def test_names_are_escaped_and_their_spaces_tidied(shown):
    figures = {"a <  b": dots(), " c&d ": dots()}
    alt = {"a < b": "less", "c&d": "both"}
    tree = _Tree(choice(shown, figures, alt=alt, legend=' "x" &\ny'))
    assert tree.texts_of("label") == ["a < b", "c&d"]
    assert tree.texts_of("legend") == ['"x" & y']


def test_three_frames_with_fifteen_points_are_small(shown):
    names = [f"net-{number}" for number in range(15)]
    figures = {name: dots(*names) for name in ALT}
    details = {n: f"{n}: 72.0 %, 300 million MACs, 3.5 million" for n in names}
    assert len(choice(shown, figures, details=details)) < 60_000


def test_the_text_tells_what_is_shown_and_is_the_alt_text(shown):
    choice(shown)
    data, metadata = shown[0]
    said = "What it costs. time: Time falls. memory: Memory rises. energy: It is flat."
    assert data["text/plain"] == said
    assert set(data) == {"text/html", "text/plain"}
    assert metadata == {"text/html": {"alt": said}}


def test_the_alt_texts_may_come_in_another_order(shown):
    choice(shown, alt=dict(reversed(ALT.items())))
    assert shown[0][0]["text/plain"].startswith("What it costs. time: Time falls.")


def test_the_figures_are_closed(shown):
    figures = {name: dots() for name in ALT}
    choice(shown, figures)
    assert plt.get_fignums() == []


def test_outside_a_notebook_the_descriptions_are_printed(capsys):
    show_choice({"x": dots(), "y": dots()}, legend="L", alt={"x": "X.", "y": "Y."})
    assert capsys.readouterr().out == "L. x: X. y: Y.\n"


@pytest.mark.parametrize(
    ("names", "options", "message"),
    [
        ([], {"alt": {}}, "figures must be two or more, got 0; effdl.plot.show"),
        (["x"], {"alt": {"x": "X."}}, "figures must be two or more, got 1"),
        (["x", " x"], {}, "figures has a blank or a double name"),
        (["x", " "], {}, "figures has a blank or a double name"),
        (["x", "y"], {"alt": {"x": "X."}}, r"the figures are \['x', 'y'\]"),
        (["x", "y"], {"alt": {"x": "X.", "z": "Z."}}, r"descriptions \['x', 'z'\]"),
        (["x", "y"], {"alt": {"x": "X.", "y": "\n"}}, "alt is blank at 'y'"),
        (["x", "y"], {"legend": "  "}, "legend is blank"),
        (["x", "y"], {"details": {"a": " "}}, "details is blank at 'a'"),
        (["x", "y"], {"details": {"c": "C"}}, r"draw it with ax.plot\(..., gid='c'\)"),
    ],
)
def test_what_nobody_could_choose_is_an_error(names, options, message):
    figures = {name: dots("a") for name in names}
    options = {"legend": "L", "alt": {"x": "X.", "y": "Y."}, **options}
    with pytest.raises(ValueError, match=message):
        show_choice(figures, **options)
    assert len(plt.get_fignums()) == len(names)  # the reader may try again


def test_an_empty_figure_is_an_error():
    figures = {"x": dots(), "y": plt.figure()}
    with pytest.raises(ValueError, match="figure is empty"):
        show_choice(figures, legend="L", alt={"x": "X.", "y": "Y."})
