"""The choice of figures, tried: mouse, keyboard and finger, on paper, without CSS."""

import browser_checks as checks
import matplotlib.pyplot as plt
import pytest
from IPython.core.formatters import DisplayFormatter

from effdl import frames, plot
from effdl.plot import use_style

pytestmark = [pytest.mark.site, pytest.mark.browser]
NAMES = ["multiply-adds", "parameters", "latency"]
PAGE = """<!doctype html><html lang="en"><head><title>A choice</title>
<meta name="viewport" content="width=device-width"><link rel="icon" href="data:,">
<style>:root {{color-scheme: light dark}} body {{font: 16px sans-serif}}</style></head>
<body><main><h1>A choice</h1>{}</main></body></html>"""
VISIBLE = "all => all.map(e => e.checkVisibility())"


def draw(name):
    fig, ax = plt.subplots()
    for number in range(5):
        ax.plot(10 * number, number, "o", gid=f"net-{number}")
        ax.annotate(f"net {number}", (10 * number, number))
    ax.set(xlabel=name, ylabel="accuracy, %")
    return fig


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    outputs = []
    with pytest.MonkeyPatch.context() as patch, plt.rc_context():
        use_style()
        patch.setattr(plot, "display", outputs.append)
        frames.show_choice(
            {name: draw(name) for name in NAMES},
            legend="Horizontal axis",
            alt={name: f"Five dots over {name}." for name in NAMES},
            details={f"net-{n}": f"Net {n}: {n} %" for n in range(5)},
        )
    data, _ = DisplayFormatter().format(outputs[0])
    folder = tmp_path_factory.mktemp("choice")
    (folder / "index.html").write_text(PAGE.format(data["text/html"]), "utf8")
    with checks.serve(folder) as address:
        yield address


def seen(page, selector):
    return page.eval_on_selector_all(selector, VISIBLE)


def note(page):
    (line,) = (item for item in page.locator("li").all() if item.is_visible())
    return line.inner_text()


@pytest.mark.parametrize("mode", checks.MODES)
def test_nothing_is_wrong_with_it_in_any_mode(browser, address, mode):
    record = checks.visit(browser, address, mode)
    record.bytes = 0
    assert record == checks.Visit()


def test_one_picture_is_seen_and_the_arrow_keys_change_it(browser, address):
    with checks.opened(browser, address) as (page, _):
        assert seen(page, "svg") == [True, False, False]
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.type") == "radio"
        for shown in ([False, True, False], [False, False, True], [True, False, False]):
            page.keyboard.press("ArrowRight")
            assert seen(page, "svg") == shown
        page.get_by_text("latency", exact=True).first.click()
        assert seen(page, "svg") == [False, False, True]


def test_a_screen_reader_finds_group_choice_picture_and_marks(browser, address):
    with checks.opened(browser, address) as (page, _):
        group = page.get_by_role("group", name="Horizontal axis")
        assert group.get_by_role("radio").count() == 3
        assert group.get_by_role("radio", name="multiply-adds").is_checked()
        picture = group.get_by_role("group", name="Five dots over multiply-adds.")
        assert picture.get_by_role("img").count() == 5
        assert picture.get_by_role("img", name="Net 3: 3 %").count() == 1


def test_tab_leads_from_mark_to_mark_and_shows_where_it_is(browser, address):
    with checks.opened(browser, address) as (page, _):
        assert note(page) == frames.HINT
        page.keyboard.press("Tab")
        for number in range(5):
            page.keyboard.press("Tab")
            assert note(page) == f"Net {number}: {number} %"
            ring = page.locator(":focus > circle")
            stroke = ring.evaluate("e => getComputedStyle(e).stroke")
            assert stroke == page.evaluate("getComputedStyle(document.body).color")
        page.keyboard.press("Tab")
        assert note(page) == frames.HINT


def test_the_mark_below_the_mouse_wins_over_the_one_with_the_focus(browser, address):
    with checks.opened(browser, address) as (page, _):
        page.locator(".point").nth(1).focus()
        page.locator(".point").nth(3).hover()
        assert note(page) == "Net 3: 3 %"
        page.mouse.move(0, 0)
        assert note(page) == "Net 1: 1 %"


def test_a_finger_reaches_a_mark(browser, address):
    with checks.opened(browser, address, "phone") as (page, _):
        page.locator(".point").nth(2).tap()
        assert note(page) == "Net 2: 2 %"


def test_the_first_picture_is_printed_and_no_hint(browser, address):
    with checks.opened(browser, address) as (page, _):
        page.emulate_media(media="print")
        assert seen(page, "svg") == [True, False, False]
        assert seen(page, "li") == [False] * 6


def test_without_css_everything_is_there(browser, address):
    with checks.opened(browser, address) as (page, _):
        page.evaluate("document.querySelectorAll('style').forEach(e => e.remove())")
        assert seen(page, "svg") == seen(page, "fieldset p") == [True] * 3
        assert seen(page, "li") == [True] * 6
