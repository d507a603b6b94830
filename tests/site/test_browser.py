"""The site in a real browser: quiet, self-contained, legible, usable by keyboard."""

import os
import re

import browser_checks as checks
import pytest

from conftest import absent

pytestmark = [pytest.mark.site, pytest.mark.browser]
FIRST_PAGE_LIMIT = 1.5e6  # bytes
MODES = list(checks.MODES)


@pytest.fixture(scope="module")
def address(site):
    with checks.serve(site) as address:
        yield address


@pytest.fixture(scope="module")
def visits(browser, address):
    """Each page is opened once in each mode, whatever is asked of it afterwards."""
    known = {}

    def visit(page, mode):
        if (page, mode) not in known:
            known[page, mode] = checks.visit(browser, address + page, mode)
        return known[page, mode]

    return visit


@pytest.mark.parametrize("mode", MODES)
def test_a_page_opens_without_a_word_on_the_console(visits, page, mode):
    record = visits(page, mode)
    assert record.console == []
    assert record.failed == []


@pytest.mark.parametrize("mode", MODES)
def test_a_page_asks_no_other_host(visits, page, mode):
    assert visits(page, mode).foreign == []


@pytest.mark.parametrize("mode", MODES)
def test_axe_finds_nothing_serious(visits, page, mode):
    assert visits(page, mode).axe == []


def test_nothing_is_wider_than_a_phone(visits, page):
    assert visits(page, "phone").wide == []


def test_every_formula_is_set(visits, page):
    assert visits(page, "light").formulas == []


def test_the_theme_follows_the_reader(visits, page):
    assert (visits(page, "light").theme, visits(page, "dark").theme) == (
        "light",
        "dark",
    )


def test_the_first_page_is_light(browser, address, site):
    redirect = (site / "index.html").stat().st_size
    with checks.opened(browser, address + "book/index.html") as (page, record):
        page.wait_for_load_state("networkidle")
        assert 50_000 < record.bytes + redirect < FIRST_PAGE_LIMIT


def test_search_finds_the_ghost_convolution(browser, address):
    with checks.opened(browser, address + "book/index.html") as (page, record):
        page.keyboard.press("Control+k")
        page.keyboard.type("Ghost convolution")
        page.keyboard.press("Enter")
        page.wait_for_selector("#search-results li a")
        found = page.eval_on_selector_all(
            "#search-results li a", "all => all.map(a => a.href)"
        )
        assert any("ghost-convolution.html" in link for link in found)
        assert record.console == []


def test_the_switch_changes_the_theme_and_the_choice_stays(browser, address):
    with checks.opened(browser, address + "book/index.html") as (page, _):
        theme = "() => document.documentElement.dataset.theme"
        for _ in range(3):  # auto, light, dark in some order
            if page.evaluate(theme) == "dark":
                break
            page.locator("button.theme-switch-button:visible").click()
        assert page.evaluate(theme) == "dark"
        page.reload()
        assert page.evaluate(theme) == "dark"


def test_the_contents_are_reached_by_keyboard(browser, address):
    with checks.opened(browser, address + "book/index.html") as (page, _):
        skip, *others = checks.focus_order(page, 40)
        assert skip["text"] == "Skip to main content"
        sidebar = [stop for stop in others if stop["sidebar"]]
        links = [stop["href"] for stop in sidebar if stop["tag"] == "a"]
        assert any("02-manual-networks" in link for link in links)
        assert any(stop["tag"] == "summary" for stop in sidebar)  # unfolds a chapter
        assert [stop for stop in others if not stop["shown"]] == []
        assert [stop for stop in others if not stop["outlined"]] == []


def test_a_chapter_unfolds_by_keyboard(browser, address):
    with checks.opened(browser, address + "book/index.html") as (page, _):
        for _ in range(40):
            (stop,) = checks.focus_order(page, 1)
            if stop["tag"] == "summary":
                break
        page.keyboard.press("Enter")
        (stop,) = checks.focus_order(page, 1)
        assert re.search(r"01-introduction/\w", stop["href"])
        assert stop["shown"]


def test_the_skip_link_leads_to_the_text(browser, address):
    with checks.opened(browser, address + "book/index.html") as (page, _):
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        (stop,) = checks.focus_order(page, 1)
        assert not stop["sidebar"]


def test_the_menu_of_a_phone_opens_and_closes_by_keyboard(browser, address):
    with checks.opened(browser, address + "book/index.html", "phone") as (page, _):
        link = page.locator("#pst-primary-sidebar a[href*='02-manual-networks']").first
        modal = page.locator("#pst-primary-sidebar-modal a[href*='02-manual-networks']")
        for _ in range(6):
            (stop,) = checks.focus_order(page, 1)
            if "primary-toggle" in stop["classes"]:
                break
        assert "primary-toggle" in stop["classes"]
        assert not link.is_visible()
        page.keyboard.press("Enter")
        modal.first.wait_for(state="visible")
        modal.first.focus()
        page.keyboard.press("Escape")
        modal.first.wait_for(state="hidden")


def test_the_finder_filters_and_says_how_many(browser, address):
    with checks.opened(browser, address + "book/find-a-method.html") as (page, _):
        rows = page.locator("table.finder-table tbody tr:visible")
        count = page.locator("form.finder output")
        every = rows.count()
        assert count.inner_text() == f"{every} of {every} shown"
        page.get_by_label("Search the table").fill("ghost")
        some = rows.count()
        assert 0 < some < every
        assert count.inner_text() == f"{some} of {every} shown"
        assert all("ghost" in text.lower() for text in rows.all_text_contents())
        page.get_by_label("Search the table").fill("")
        page.get_by_label("Section", exact=True).select_option("2.1")
        assert {row.locator("td").nth(1).inner_text() for row in rows.all()} == {"2.1"}
        page.get_by_label("Kind", exact=True).select_option(index=1)
        assert rows.count() <= every


def test_without_javascript_the_finder_is_a_plain_table(browser, address):
    where = address + "book/find-a-method.html"
    with checks.opened(browser, where, java_script_enabled=False) as (page, _):
        assert page.locator("table.finder-table tbody tr:visible").count() > 1
        assert not page.locator("form.finder").is_visible()


def test_only_the_finder_loads_its_script(site):
    loading = [
        path.relative_to(site).as_posix()
        for path in site.rglob("*.html")
        if "finder.js" in path.read_text(encoding="utf8")
    ]
    assert loading == ["book/find-a-method.html"]


PLANTED = """<!doctype html><html lang="en"><head><title>Planted</title>
<meta name="viewport" content="width=device-width"></head><body>
<main><h1>Planted</h1><p style="width:900px">wide</p>
<img src="https://example.org/x.png" alt="x"><img src="gone.png" alt="gone">
<span class="math">$x$</span><button type="button"></button>
<script>nobody.home()</script></main></body></html>"""


def test_every_planted_fault_is_reported(browser, tmp_path):
    (tmp_path / "index.html").write_text(PLANTED, encoding="utf8")
    with checks.serve(tmp_path) as address:
        record = checks.visit(browser, address, "phone")
    assert any("nobody is not defined" in line for line in record.console)
    assert record.foreign == ["asks for https://example.org/x.png"]
    assert [line for line in record.failed if "gone.png" in line] == [
        f"404 for {address}gone.png"
    ]
    assert any(line.startswith("button-name (critical)") for line in record.axe)
    assert any("wide" in element for element in record.wide)
    assert record.formulas == ["$x$"]


COLOURS = """<!doctype html><html lang="en"><head><title>Colours</title>
<link rel="icon" href="data:,"><style>
body { background: #fff; color: #000 }
a { color: #333; text-decoration: none } .line { text-decoration: underline }
.veil { opacity: .3 } .light { color: #aaa } .dark { color: #555 }
li:nth-child(7) { color: #888 }
.box { position: relative } .box i { position: absolute; inset: 0; background: #111 }
.box b { position: relative } .large { font-size: 30px; color: #888 }
.mixed { color: color-mix(in srgb, #777 60%, #bbb) }
@media (prefers-color-scheme: dark) { body { background: #000; color: #fff }
  a { color: #ddd } .box i { background: #eee } li:nth-child(7) { color: #444 }
  .mixed { color: #333 } }
</style></head><body><main><h1>Colours</h1>
<p id="sound">Text. <a class="line" href="#x">a link</a> <span>and more</span></p>
<p id="hidden-link">Text with <a href="#x">a link that</a> looks like the text.</p>
<p id="x" class="light">pale in the light</p><p class="dark">pale in the dark</p>
<div class="veil"><p><span id="veiled">below a veil</span></p></div>
<ul>ITEMS</ul><div class="box"><i></i><b id="covered">on a box of its colour</b></div>
<p id="large" class="large">large</p><p id="mixed" class="mixed">mixed</p>
<p id="image" style="background: linear-gradient(#000, #fff)">on a gradient</p>
<p id="shadow" style="color: #999; text-shadow: 0 0 1px #000">with a shadow</p>
</main></body></html>"""
COLOURS = COLOURS.replace("ITEMS", "".join(f"<li>item {n}</li>" for n in range(9)))
IN_BOTH = {"#hidden-link > a", "#veiled", "#covered", "#mixed", "li:nth-child(7)"}


def targets(results, kind):
    return {node["target"][0] for rule in results[kind] for node in rule["nodes"]}


@pytest.fixture(scope="module")
def colours(tmp_path_factory):
    folder = tmp_path_factory.mktemp("colours")
    (folder / "index.html").write_text(COLOURS, encoding="utf8")
    with checks.serve(folder) as address:
        yield address


@pytest.mark.parametrize(
    ("mode", "found"), [("light", {"#x", "#shadow"}), ("dark", {".dark"})]
)
def test_every_fault_of_colour_is_found_in_its_mode(browser, colours, mode, found):
    with checks.opened(browser, colours, mode) as (page, _):
        results = checks.run_axe(page, **checks.AXE[mode])
    assert targets(results, "violations") == IN_BOTH | found
    assert targets(results, "incomplete") == {"#image"}
    faults = checks.visit(browser, colours, mode).axe
    assert {fault.split()[0] for fault in faults} == {*checks.COLOUR_RULES}


def test_the_quick_axe_says_what_axe_says(browser, colours, address, site):
    """All of it: violations, doubts and passes, with places, colours and reasons."""
    book = address + "book/02-manual-networks/index.html"
    for place, mode in ((colours, "light"), (colours, "dark"), (book, "dark")):
        said = []
        for script in (checks.AXE_SCRIPT, checks.QUICK_AXE):
            with checks.opened(browser, place, mode) as (page, _):
                results = checks.run_axe(page, script, **checks.AXE[mode])
            kinds = ("violations", "incomplete", "passes", "inapplicable")
            said.append([results[kind] for kind in kinds])
        assert said[0] == said[1]
        assert targets({"all": said[0][2]}, "all")


SOUND = """<!doctype html><html lang="en"><head><title>Sound</title>
<link rel="icon" href="data:,"></head><body><main><h1>Sound</h1></main></body></html>"""


def test_a_sound_page_is_reported_sound(browser, tmp_path):
    (tmp_path / "index.html").write_text(SOUND, encoding="utf8")
    with checks.serve(tmp_path) as address:
        record = checks.visit(browser, address, "dark")
    record.bytes = 0
    assert record == checks.Visit()


def test_chromium_is_demanded_in_continuous_integration(monkeypatch):
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="Chromium is not there"):
        absent("Chromium", "install it")
    monkeypatch.delenv("CI")
    with pytest.raises(pytest.skip.Exception, match="install it"):
        absent("Chromium", "install it")
    assert "CI" not in os.environ
