"""What can be said of a built site without a browser.

Each check takes HTML or a folder and returns a list of faults in words, so that the
checks themselves are tested on planted ones.
"""

import functools
import re
from collections import Counter
from dataclasses import dataclass, field
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LOADS = {  # attributes whose address the browser fetches by itself
    "script": ("src",),
    "img": ("src", "srcset"),
    "source": ("src", "srcset"),
    "iframe": ("src",),
    "embed": ("src",),
    "object": ("data",),
    "audio": ("src",),
    "video": ("src", "poster"),
    "track": ("src",),
    "input": ("src",),
    "image": ("href",),
    "use": ("href",),
}
FETCHED_RELATIONS = {"stylesheet", "icon", "preload", "prefetch", "modulepreload"}
FETCHED_RELATIONS |= {"preconnect", "dns-prefetch", "manifest", "apple-touch-icon"}
CSS_ADDRESS = re.compile(r"(?:url\(\s*|@import\s+)['\"]?((?:https?:)?//[^'\")\s]+)")


@dataclass
class Page:
    """The parts of a page that the checks ask about."""

    ids: list[str] = field(default_factory=list)
    loads: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    without_alt: list[str] = field(default_factory=list)
    h1: list[str] = field(default_factory=list)
    language: str = ""
    refresh: str = ""


class _Reader(HTMLParser):
    def __init__(self):
        super().__init__()
        self.page = Page()
        self.open_h1 = False
        self.open_style = False

    def handle_starttag(self, tag, attrs):
        attributes = {name: value or "" for name, value in attrs}
        page = self.page
        if attributes.get("id"):
            page.ids.append(attributes["id"])
        page.loads += [attributes[a] for a in LOADS.get(tag, ()) if attributes.get(a)]
        page.loads += CSS_ADDRESS.findall(attributes.get("style", ""))
        if tag == "link" and FETCHED_RELATIONS & set(attributes["rel"].split()):
            page.loads.append(attributes.get("href", ""))
        if tag == "a" and attributes.get("href"):
            page.links.append(attributes["href"])
        if tag == "img" and not attributes.get("alt", "").strip():
            page.without_alt.append(attributes.get("src", "")[:80])
        if tag == "html":
            page.language = attributes.get("lang", "")
        if tag == "meta" and attributes.get("http-equiv", "").lower() == "refresh":
            page.refresh = attributes.get("content", "").partition("url=")[2].strip()
        if tag == "h1":
            self.open_h1 = True
            page.h1.append("")
        self.open_style = tag == "style"

    def handle_endtag(self, tag):
        self.open_h1 = self.open_h1 and tag != "h1"
        self.open_style = False

    def handle_data(self, data):
        if self.open_h1:
            self.page.h1[-1] += data
        if self.open_style:
            self.page.loads += CSS_ADDRESS.findall(data)


@functools.cache  # each page is asked about by six checks and by links that lead there
def read_page(html: str) -> Page:
    """Return what the checks need to know of a page."""
    reader = _Reader()
    reader.feed(html)
    reader.page.h1 = [
        " ".join(text.removesuffix("#").split()) for text in reader.page.h1
    ]
    return reader.page


def images_without_alt(html: str) -> list[str]:
    """A picture that a reader may not see must be described."""
    sources = read_page(html).without_alt
    return [f"image without alt text: {source}" for source in sources]


def heading_faults(html: str) -> list[str]:
    """A page has one h1, and it is not empty."""
    found = read_page(html).h1
    if len(found) == 1 and found[0]:
        return []
    return [f"{len(found)} h1 on one page: {found}"]


def repeated_ids(html: str) -> list[str]:
    """An id that is there twice leads links to the wrong place."""
    counts = Counter(read_page(html).ids)
    return [f"id {name!r} is there {n} times" for name, n in counts.items() if n > 1]


def is_foreign(address: str) -> bool:
    """Whether another host would be asked."""
    return bool(urlsplit(address.strip()).netloc)


def foreign_loads(html: str) -> list[str]:
    """Opening a page must ask no other host for anything."""
    addresses = [
        part.split()[0]
        for load in read_page(html).loads
        for part in ([load] if load.startswith("data:") else load.split(","))
        if part.strip()
    ]
    return [f"loads {address}" for address in addresses if is_foreign(address)]


def foreign_css(css: str) -> list[str]:
    """A style sheet must ask no other host either."""
    return [f"style sheet loads {address}" for address in CSS_ADDRESS.findall(css)]


def language_faults(html: str) -> list[str]:
    """A screen reader must know which language to speak."""
    return [] if read_page(html).language else ["no language on <html>"]


def dead_links(page: Path, root: Path, known: dict[Path, set[str]]) -> list[str]:
    """Every link and picture inside the site leads to a file, and to a place in it.

    Args:
        page: The file to check.
        root: The folder of the site.
        known: The ids of pages seen before; grows.
    """
    read = read_page(page.read_text(encoding="utf8"))
    faults = []
    for address in [*read.links, *read.loads, *filter(None, [read.refresh])]:
        parts = urlsplit(address.strip())
        if parts.scheme or parts.netloc:
            continue
        target = page if not parts.path else page.parent / unquote(parts.path)
        target = target.resolve()
        if target.is_dir():
            target /= "index.html"
        if not target.is_file() or not target.is_relative_to(root.resolve()):
            faults.append(f"leads to nothing: {address}")
        elif parts.fragment and not _has_anchor(target, parts.fragment, known):
            faults.append(f"no such place on the page: {address}")
    return faults


def _has_anchor(target: Path, fragment: str, known: dict[Path, set[str]]) -> bool:
    if target.suffix != ".html":
        return True
    if target not in known:
        known[target] = set(read_page(target.read_text(encoding="utf8")).ids)
    return unquote(fragment) in known[target]


def repository_files(html: str, repository: str) -> list[str]:
    """Return the paths that a page's links to the repository and to Colab name."""
    slug = repository.removeprefix("https://github.com/").strip("/")
    hosts = rf"https://(?:github\.com|colab\.research\.google\.com/github)/{slug}"
    pattern = re.compile(rf"{hosts}/(?:blob|edit|tree|raw)/[^/]+/([^?#]+)")
    matches = (pattern.fullmatch(link.split("#")[0].split("?")[0]) for link in
               read_page(html).links)  # fmt: skip
    return [unquote(match[1]) for match in matches if match]


def title_faults(page: str, title: str, names: dict[str, str]) -> list[str]:
    """Titles carry the survey's own numbers; notebooks carry none.

    Args:
        page: Path of the page, such as ``book/02-manual/2-1-convolutional.html``.
        title: Its h1.
        names: The survey's headings by number.
    """
    expected = _number_of(page)
    number, _, name = title.partition(" ")
    if not re.fullmatch(r"\d+(\.\d+)*", number):
        number, name = "", title
    if number != expected:
        return [f"{page}: number {number!r} in its title, {expected!r} in its path"]
    if number and name != names.get(number):
        return [f"{page}: title {name!r}, but the survey has {names.get(number)!r}"]
    return []


def _number_of(page: str) -> str:
    """Return the section number that a path stands for, or nothing."""
    *folders, file = Path(page).with_suffix("").parts
    chapter = re.match(r"(\d\d)-", folders[-1]) if folders else None
    if folders[:1] != ["book"] or chapter is None:
        return ""
    if file == "index":
        return str(int(chapter[1]))
    section = re.match(r"(\d+(?:-\d+)*)-", file)
    return section[1].replace("-", ".") if section else ""


def leaked(secrets, site):
    """Files of the site that hold one of the texts that only teachers may see.

    Spaces, line ends, tags and the backslashes of notebooks do not matter.
    """
    kinds = {".html", ".ipynb", ".js", ".json", ".md", ".py", ".txt"}
    wanted = {_squeezed(text): name for name, text in secrets.items()}
    found = []
    for path in sorted(p for p in site.rglob("*") if p.suffix in kinds):
        text = path.read_text(encoding="utf8", errors="replace")
        if path.suffix == ".html":
            text = unescape(re.sub(r"<[^>]*>", "", text))
        text = _squeezed(text.replace("\\n", ""))
        found += [f"{path.name}: {wanted[key]}" for key in wanted if key in text]
    return found


def _squeezed(text):
    return re.sub(r"[\s\\]+", "", text)
