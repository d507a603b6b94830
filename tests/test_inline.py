"""A figure within a page: its ids are its own, its text is text, its marks answer."""

import re
import xml.etree.ElementTree as ET

import matplotlib.pyplot as plt
import pytest

from effdl.inline import inline_svg
from effdl.plot import COLOURS, use_style


@pytest.fixture(autouse=True)
def _style_of_the_book():
    with plt.rc_context():
        use_style()
        yield
    plt.close("all")


def dots(gids=("a", "b")):
    fig, ax = plt.subplots()
    for number, gid in enumerate(gids):
        ax.plot(number, 1, "o", gid=gid)
    ax.set(xlabel="width & depth", ylabel="error")
    return fig


def parsed(fig, key="k", title="A title", alt="What is seen.", details=None):
    return ET.fromstring(
        inline_svg(fig, key=key, title=title, alt=alt, details=details)
    )


def points(root):
    return [e for e in root.iter() if "point" in e.get("class", "").split()]


def test_it_is_one_element_that_a_page_can_hold():
    svg = inline_svg(dots(), key="k", title="A title", alt="What is seen.")
    assert svg.startswith("<svg ")
    assert svg.endswith("</svg>")
    for foreign in ("<?xml", "DOCTYPE", "<metadata", "xmlns", "xlink", "  "):
        assert foreign not in svg
    assert (parsed(dots()).get("width"), parsed(dots()).get("height")) == (
        "360pt",  # 5 by 3 inches
        "216pt",
    )


def test_no_style_leaks_into_the_page():
    """Matplotlib's own says * {...}; here the root has it as an attribute."""
    svg = inline_svg(dots(), key="k", title="A title", alt="What is seen.")
    assert "<style" not in svg
    assert 'stroke-linejoin="round"' in svg[: svg.index(">")]


def test_title_and_description_name_it():
    root = parsed(dots(), title="<cost>", alt='Below 1 % & "free"')
    named = {e.get("id"): e.text for e in root if e.tag in {"title", "desc"}}
    assert root.get("role") == "img"
    assert [named[i] for i in root.get("aria-labelledby").split()] == [
        "<cost>",
        'Below 1 % & "free"',
    ]


def test_every_id_begins_with_the_key_and_is_needed():
    svg = inline_svg(dots(), key="cost-1", title="A title", alt="What is seen.")
    ids = re.findall(r' id="([^"]*)"', svg)
    assert len(ids) == len(set(ids)) > 4
    assert all(i.startswith("cost-1-") for i in ids)
    used = set(re.findall(r'(?:href="|url\()#([^")]*)', svg))
    assert used | {"cost-1-t", "cost-1-d"} == set(ids)


def test_colours_are_not_taken_for_ids():
    svg = inline_svg(dots(), key="k", title="A title", alt="What is seen.")
    assert f"fill: {COLOURS.blue.lower()}" in svg
    assert f"stroke: {COLOURS.grey}" in svg


def test_text_is_text_in_the_typeface_and_colour_of_the_page():
    root = parsed(dots())
    texts = {"".join(e.itertext()): e for e in root.iter("text")}
    assert {"width & depth", "error"} <= texts.keys()
    for text in texts.values():
        assert "currentColor" in text.get("style")
        assert "font-family" not in text.get("style")
        assert "text-anchor" in text.get("style")
    upright = texts["error"]
    assert upright.get("transform").startswith("rotate(-90")
    assert texts["width & depth"].get("transform") is None


def test_words_do_not_run_together_where_only_the_text_is_left():
    """JupyterLab drops the tags of a picture that it does not trust."""
    svg = inline_svg(dots(), key="k", title="A title", alt="What is seen.")
    words = re.sub("<[^>]*>", "", svg).split()
    assert words[:5] == ["A", "title", "What", "is", "seen."]
    assert {"width", "depth", "error", "0.0", "1.0"} <= set(words)


def test_powers_of_ten_are_in_the_colour_of_the_page_too():
    fig, ax = plt.subplots()
    ax.loglog([1, 100], [1, 100])
    spans = list(parsed(fig).iter("tspan"))
    assert spans
    assert all("currentColor" in span.get("style") for span in spans)


def test_a_label_keeps_its_digits_and_a_coordinate_loses_them():
    fig, ax = plt.subplots()
    ax.plot([0, 1], [0.123456, 0.2])
    ax.set_xticks([0.5], ["0.12345"])
    root = parsed(fig)
    assert "0.12345" in {text.text for text in root.iter("text")}
    places = [e.get(a, "") for e in root.iter() for a in ("d", "x", "y", "transform")]
    assert not re.search(r"\.\d{3}", " ".join(places))


def test_a_mark_with_a_detail_can_be_reached_and_says_it():
    details = {"b": "B costs 3 & more", "a": "A is free"}
    root = parsed(dots(), details=details)
    assert root.get("role") == "group"  # a screen reader skips what is inside an img
    said = {p.get("class"): p.get("aria-label") for p in points(root)}
    assert said == {"point point-0": "B costs 3 & more", "point point-1": "A is free"}
    for point in points(root):
        assert point.get("tabindex") == "0"
        assert point.get("role") == "img"


def test_a_mark_is_felt_around_its_centre():
    """24 pixels of a screen are 18 points; rings may be a little less and invisible."""
    (point,) = points(parsed(dots(), details={"a": "A"}))
    (use,) = point.iter("use")
    (ring,) = point.iter("circle")
    assert (ring.get("cx"), ring.get("cy")) == (use.get("x"), use.get("y"))
    assert ring.get("fill") == "none"
    assert ring.get("pointer-events") == "all"
    assert 6 <= float(ring.get("r")) <= 9


def test_every_dot_of_a_series_gets_a_ring_and_a_bar_none():
    fig, ax = plt.subplots()
    ax.plot([1, 2, 3], [1, 2, 3], "o", gid="series")
    ax.bar([1], [1], gid="bar")
    found = points(parsed(fig, details={"series": "three", "bar": "one"}))
    rings = {p.get("aria-label"): len(list(p.iter("circle"))) for p in found}
    assert rings == {"three": 3, "one": 0}


def test_details_of_other_figures_are_passed_over():
    details = {"elsewhere": "not here", "b": "B"}
    (point,) = points(parsed(dots(), details=details))
    assert point.get("class") == "point point-1"
    assert parsed(dots(), details={"elsewhere": "not here"}).get("role") == "img"


def test_same_figure_same_bytes():
    def draw():
        return inline_svg(dots(), key="k", title="T", alt="A.", details={"a": "A"})

    first = draw()
    with plt.rc_context({"svg.hashsalt": None, "svg.fonttype": "path"}):
        assert draw() == first


def test_fifteen_dots_are_small():
    names = [f"net-{number}" for number in range(15)]
    details = {name: f"{name}: 70 %, 300 million multiply-adds" for name in names}
    svg = inline_svg(dots(names), key="k", title="T", alt="A.", details=details)
    assert len(svg) < 20_000


def test_the_figure_stays_open():
    fig = dots()
    parsed(fig)
    assert plt.fignum_exists(fig.number)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"key": ""}, "key must be a word such as 'cost-1', got ''"),
        ({"key": "1a"}, "key must be a word"),
        ({"key": "a b"}, "key must be a word"),
        ({"title": " "}, "title, alt or a detail is blank"),
        ({"alt": "\n"}, "title, alt or a detail is blank"),
        ({"details": {"a": ""}}, "title, alt or a detail is blank"),
    ],
)
def test_what_nobody_could_read_is_an_error(change, message):
    with pytest.raises(ValueError, match=message):
        inline_svg(dots(), **{"key": "k", "title": "T", "alt": "A.", **change})


def test_an_empty_figure_is_an_error():
    with pytest.raises(ValueError, match="figure is empty; draw into"):
        parsed(plt.figure())
