"""Where the built site is, and which pages it has."""

import os
import shutil
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
for folder in (ROOT / "tests" / "site", ROOT / "book" / "_ext"):
    sys.path.insert(0, str(folder))  # the checks, and the extensions of the book
SITE = ROOT / "_build" / "html"
GENERATED = {"genindex.html", "py-modindex.html", "search.html"}


def absent(what, way_out):
    """Skip where a thing is absent, but never in continuous integration."""
    reason = f"{what} is not there: {way_out}"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="module")
def browser():
    import browser_checks as checks
    from playwright.sync_api import sync_playwright

    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        absent("Chromium", "install the package chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path, args=checks.CHROMIUM, chromium_sandbox=False
        )
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def root():
    return ROOT


@pytest.fixture(scope="session")
def site():
    if not (SITE / "index.html").is_file():
        absent("the built site", "run make book")
    return SITE


def html_files():
    """Return every page but the theme's templates."""
    hidden = {"_static", "_sources", "_images", "mathjax"}
    paths = (path.relative_to(SITE) for path in SITE.rglob("*.html"))
    return sorted(str(path) for path in paths if not hidden & set(path.parts))


def written_pages():
    """Return the pages that somebody wrote: not indices, code or the redirect."""
    return [
        page
        for page in html_files()
        if page.startswith(("book/", "notebooks/")) and page not in GENERATED
    ]


def in_one_worker(page):
    """Keep a page in one worker (-n 2 --dist loadgroup), which opens it once."""
    return pytest.param(page, marks=pytest.mark.xdist_group(page))


def pytest_generate_tests(metafunc):
    """Run a test once for every page that its argument stands for."""
    lists = {
        "page": written_pages,
        "any_page": html_files,
        "notebook_page": lambda: [
            page for page in written_pages() if page.startswith("notebooks/")
        ],
    }
    for name, pages in lists.items():
        if name in metafunc.fixturenames:
            metafunc.parametrize(name, [in_one_worker(page) for page in pages()])
