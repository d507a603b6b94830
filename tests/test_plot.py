"""Figures are legible on both pages, described, small and the same in every run."""

import re
import xml.etree.ElementTree as ET

import matplotlib.pyplot as plt
import numpy as np
import pytest
from IPython.core.formatters import DisplayFormatter

from effdl import plot
from effdl.plot import COLOURS, show, use_style

WHITE, DARK = "#ffffff", "#121212"


@pytest.fixture(autouse=True)
def _plain_matplotlib():
    with plt.rc_context():
        yield
    plt.close("all")


@pytest.fixture
def shown(monkeypatch):
    """What reaches the notebook: a list of (data, metadata)."""
    bundles = []

    def catch(picture):
        bundles.append(DisplayFormatter().format(picture))

    monkeypatch.setattr(plot, "display", catch)
    return bundles


def line(y=(1, 4, 9)):
    fig, ax = plt.subplots()
    ax.plot(range(len(y)), y, label="a line")
    ax.set(xlabel="width", ylabel="multiply-adds", title="a title")
    ax.legend()
    return fig


def svg_of(shown, fig, alt="Cost grows with the square of the width."):
    show(fig, alt=alt)
    return shown[-1][0]["image/svg+xml"]


def luminance(colour):
    """WCAG 2.2, definition of relative luminance."""
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels
    ]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))


def contrast(one, other):
    """WCAG 2.2, definition of contrast ratio."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_contrast_of_known_pairs():
    """Black on white is 21 by definition; #767676 is the classic 4.54 on white."""
    assert contrast("#000000", WHITE) == pytest.approx(21)
    assert contrast("#767676", WHITE) == pytest.approx(4.54, abs=0.005)


@pytest.mark.parametrize("page", [WHITE, DARK])
@pytest.mark.parametrize("name", COLOURS._fields)
def test_every_colour_stands_out_on_both_pages(name, page):
    assert contrast(getattr(COLOURS, name), page) >= 3


def test_colours_are_those_of_okabe_and_ito():
    """In the order of their list, and none twice."""
    assert COLOURS[:4] == ("#0072B2", "#D55E00", "#009E73", "#CC79A7")
    assert len(set(COLOURS)) == 5


def test_lines_take_the_colours_in_order():
    use_style()
    _, ax = plt.subplots()
    drawn = [ax.plot([0, 1])[0].get_color() for _ in range(5)]
    assert drawn == [*COLOURS[:4], COLOURS.blue]


def test_axes_text_and_spines_are_grey():
    use_style()
    fig = line()
    ax = fig.axes[0]
    fig.canvas.draw()
    texts = [ax.xaxis.label, ax.title, *ax.get_xticklabels(), *ax.get_yticklabels()]
    texts += ax.get_legend().get_texts()
    assert {text.get_color() for text in texts} == {COLOURS.grey}
    shown_spines = [spine for spine in ax.spines.values() if spine.get_visible()]
    assert len(shown_spines) == 2
    assert {spine.get_edgecolor()[:3] for spine in shown_spines} == {
        plt.matplotlib.colors.to_rgb(COLOURS.grey)
    }


def test_the_notebook_gets_svg_text_and_alt(shown):
    show(line(), alt="  Cost grows\n with the square. ")
    data, metadata = shown[0]
    assert data["text/plain"] == "Cost grows with the square."
    assert data["image/svg+xml"].startswith("<svg ")
    assert set(data) == {"image/svg+xml", "text/plain"}
    assert metadata == {"image/svg+xml": {"alt": "Cost grows with the square."}}


def test_svg_is_well_formed_and_named_for_screen_readers(shown):
    alt = 'Below 1 % "free" & <10 ms'
    root = ET.fromstring(svg_of(shown, line(), alt))
    assert root.get("role") == "img"
    assert root.get("aria-label") == alt


def test_same_figure_same_bytes(shown):
    use_style()
    first = svg_of(shown, line())
    plt.rcdefaults()  # the ids must not depend on the style
    use_style()
    assert svg_of(shown, line()) == first
    plt.rcParams["svg.hashsalt"] = None
    assert svg_of(shown, line()) == first


def test_no_date_no_font_and_no_generator_in_the_file(shown):
    svg = svg_of(shown, line())
    assert "<metadata>" not in svg
    assert "<text" not in svg
    assert "font-family" not in svg


def test_background_is_transparent(shown):
    """Without a legend, the only filled shapes are letters and tick marks."""
    use_style()
    fig, ax = plt.subplots()
    ax.plot([0, 1])
    root = ET.fromstring(svg_of(shown, fig))
    patches = [
        group.find("{*}path")
        for group in root.iter("{http://www.w3.org/2000/svg}g")
        if group.get("id") in {"patch_1", "patch_2"}
    ]
    for patch in patches:
        style = patch.get("style") or ""
        assert "fill: none" in style or "opacity: 0" in style
    assert len(patches) == 2


def test_coordinates_are_short_and_close(shown):
    rng = np.random.default_rng(0)
    y = rng.random(200)
    svg = svg_of(shown, line(y))
    paths = " ".join(re.findall(r' d="([^"]*)"', svg))
    assert not re.search(r"\.\d{3}", paths)
    assert len(svg) < 30_000
    assert plot.rounded("M 12.345678 -0.004999\nL 3 4.5 ") == "M 12.35 -0.00\nL 3 4.5 "


def test_the_figure_is_closed(shown):
    fig = line()
    show(fig, alt="Cost grows.")
    assert not plt.fignum_exists(fig.number)


def test_outside_a_notebook_the_description_is_printed(capsys):
    show(line(), alt="Cost grows.")
    assert capsys.readouterr().out == "Cost grows.\n"


@pytest.mark.parametrize("alt", ["", "  \n"])
def test_a_blank_description_is_an_error(alt):
    with pytest.raises(ValueError, match="alt is blank; say in a sentence"):
        show(line(), alt=alt)


def test_an_empty_figure_is_an_error():
    with pytest.raises(ValueError, match="fig is empty; draw into"):
        show(plt.figure(), alt="Nothing.")
