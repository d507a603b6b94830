"""The built pages hang together: links, names, pictures, titles, downloads."""

import ast
import csv
import re

import pytest
import site_checks as checks
import yaml

from grader import cells

pytestmark = pytest.mark.site
MEGABYTE = 1e6


@pytest.fixture(scope="module")
def known():
    return {}


@pytest.fixture(scope="module")
def config(root):
    return yaml.safe_load((root / "_config.yml").read_text(encoding="utf8"))


@pytest.fixture(scope="module")
def contents(root):
    """The documents of the table of contents, in order."""
    tree = yaml.safe_load((root / "_toc.yml").read_text(encoding="utf8"))

    def files(node):
        for child in node.get("chapters", []) + node.get("sections", []):
            yield child["file"]
            yield from files(child)

    return [tree["root"], *(file for part in tree["parts"] for file in files(part))]


def html_of(site, page):
    return (site / page).read_text(encoding="utf8")


def test_every_document_of_the_contents_has_a_page(site, contents):
    assert [doc for doc in contents if not (site / f"{doc}.html").is_file()] == []


def test_every_page_and_notebook_is_in_the_contents(root, contents):
    files = [*root.glob("book/**/*.md"), *root.glob("notebooks/**/*.ipynb")]
    names = {path.relative_to(root).with_suffix("").as_posix() for path in files}
    kept_out = ("notebooks/assignments/", ".ipynb_checkpoints")
    named = {n for n in names if not any(part in n for part in kept_out)}
    assert named - set(contents) == set()
    assert len(contents) == len(set(contents))


def test_the_first_page_leads_to_the_book(site, contents):
    redirect = checks.read_page(html_of(site, "index.html")).refresh
    assert redirect == f"{contents[0]}.html"


def test_links_and_anchors_lead_somewhere(site, any_page, known):
    assert checks.dead_links(site / any_page, site, known) == []


def test_nothing_is_loaded_from_another_host(site, any_page):
    assert checks.foreign_loads(html_of(site, any_page)) == []


def test_no_style_sheet_loads_from_another_host(site):
    sheets = sorted(site.rglob("*.css"))
    css = "\n".join(path.read_text(encoding="utf8") for path in sheets)
    assert checks.foreign_css(css) == []
    assert sheets


def test_every_image_has_alt_text(site, any_page):
    assert checks.images_without_alt(html_of(site, any_page)) == []


def test_every_page_has_one_h1(site, page):
    assert checks.heading_faults(html_of(site, page)) == []


def test_no_id_is_there_twice(site, page):
    assert checks.repeated_ids(html_of(site, page)) == []


def test_every_page_names_its_language(site, page):
    assert checks.language_faults(html_of(site, page)) == []


def test_a_page_is_light(site, page):
    assert (site / page).stat().st_size < MEGABYTE


def test_titles_carry_the_surveys_numbers_and_names(site, root, page):
    with (root / "data/survey/sections.csv").open(encoding="utf8") as lines:
        names = {row["number"]: row["title"] for row in csv.DictReader(lines)}
    (title,) = checks.read_page(html_of(site, page)).h1
    assert checks.title_faults(page, title, names) == []


def test_links_to_the_repository_name_files(site, root, config, page):
    address = config["repository"]["url"]
    paths = checks.repository_files(html_of(site, page), address)
    assert [path for path in paths if not (root / path).exists()] == []
    assert any(path.endswith((".md", ".ipynb")) for path in paths)  # "suggest edit"


def test_a_notebook_page_links_to_colab_and_to_its_downloads(
    site, root, config, notebook_page
):
    source = notebook_page.replace(".html", ".ipynb")
    html = html_of(site, notebook_page)
    slug = config["repository"]["url"].removeprefix("https://github.com/")
    colab = "https://colab.research.google.com/github"
    branch = config["repository"]["branch"]
    links = checks.read_page(html).links
    assert links.count(f"{colab}/{slug}/blob/{branch}/{source}") == 2  # header and text
    folder = (site / notebook_page).parent
    files = {(folder / link).resolve() for link in links if "://" not in link}
    notebook = site / "_sources" / source
    assert {notebook.resolve(), notebook.with_suffix(".py").resolve()} <= files
    assert notebook.read_bytes() == (root / source).read_bytes()


def test_the_script_of_a_notebook_is_python(site, notebook_page):
    path = (site / "_sources" / notebook_page).with_suffix(".py")
    text = path.read_text(encoding="utf8")
    assert ast.parse(text).body
    assert "# %%" in text
    assert not re.search(r"^\s*%", text, re.MULTILINE)  # magics are comments


def test_a_notebook_page_begins_with_what_it_costs(site, notebook_page):
    text = html_of(site, notebook_page).partition("</h1>")[2]
    start = re.sub(r"<[^>]+>", "", text[:1500])
    for measured in (
        r"[\d.]+ s of processor time",
        r"[\d.]+ s by the clock",
        r"[\d,]+ MB of memory",
        r"\d+ cores",
        r"PyTorch \d",
        r"\d{4}-\d\d-\d\d",
    ):
        assert re.search(measured, start), measured


def test_the_contents_add_no_numbers_of_their_own(site):
    assert 'class="section-number"' not in html_of(site, "book/index.html")


def test_the_api_pages_link_to_the_source(site):
    assert list((site / "_modules").rglob("*.html"))


def test_no_solution_and_no_hidden_test_is_on_the_site(site):
    secrets = {
        f"{name} {cells.grade_id(cell)}": text
        for name in cells.source_names()
        for cell in cells.read_source(name).cells
        for text in cells.hidden_texts(cell)
    }
    assert len(secrets) > 50
    assert checks.leaked(secrets, site) == []
