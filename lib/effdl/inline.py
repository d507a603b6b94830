"""A figure as an SVG element inside a page, where it can answer to the reader.

``effdl.plot.show`` stores a picture in a file of its own: safe, but a page cannot look
into it. An SVG that is part of the page takes the page's typeface and text colour, and
its marks can be pointed at. It also has to behave: every id of a page occurs once, no
style may leak out, and a screen reader has to find a name.

    role="img"      a picture: it has one name, and what is inside is not read
    role="group"    a picture with marks that can be reached, each with a name

Text stays text here, so that the element is small. That makes its letters depend on the
reader's typefaces; leave them a little room.
"""

import html
import io
import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from effdl.plot import COLOURS, rounded

SVG = "{http://www.w3.org/2000/svg}"
REACH = 8  # how far from the centre of a mark it is felt, in points


def inline_svg(
    figure: Figure,
    *,
    key: str,
    title: str,
    alt: str,
    details: Mapping[str, str] | None = None,
) -> str:
    """Return the figure as an ``<svg>`` element for use within HTML.

    The mark of the first detail has the classes ``point`` and ``point-0``, and so on.
    Keyboard and pointer reach it. Its rings have no stroke until CSS gives them one.

    Args:
        figure: A figure with at least one axes. It stays open.
        key: Begins every id in the element. Unique in the page.
        title: A word or two; browsers show it to who points at the picture.
        alt: What the picture shows, for readers who do not see it.
        details: A line about a mark, by the ``gid`` that its artist was drawn with.
            The figure need not have all of these marks.

    Raises:
        ValueError: If ``key`` is no word of letters, digits and hyphens, a text is
            blank, or the figure is empty.

    Example:
        >>> fig, ax = plt.subplots()
        >>> _ = ax.plot([1], [4], "o", gid="dot")
        >>> svg = inline_svg(fig, key="a", title="A", alt="Dot.", details={"dot": "4"})
        >>> svg[:44]
        '<svg role="group" aria-labelledby="a-t a-d" '
        >>> plt.close(fig)
    """
    details = details or {}
    if not re.fullmatch(r"[A-Za-z][\w-]*", key, re.ASCII):
        raise ValueError(f"key must be a word such as 'cost-1', got {key!r}")
    if not all(text.strip() for text in (title, alt, *details.values())):
        raise ValueError("title, alt or a detail is blank; say what is to be seen")
    if not figure.axes:
        raise ValueError("figure is empty; draw into fig.subplots() first")
    root = ET.fromstring(_draw(figure))
    marks = [e for e in root.iter() if e.get("id") in details]
    numbers = {gid: number for number, gid in enumerate(details)}
    for mark in marks:
        gid = mark.attrib["id"]
        _let_reach(mark, details[gid], numbers[gid])
    _rename(root, key)
    body = [p for p in root if p.tag in {"g", "defs"} and p.find("style") is None]
    return (
        f'<svg role="{"group" if marks else "img"}" aria-labelledby="{key}-t {key}-d" '
        f'viewBox="{root.attrib["viewBox"]}" width="{root.attrib["width"]}" '
        f'height="{root.attrib["height"]}" stroke-linejoin="round">'
        f'<title id="{key}-t">{html.escape(title)}</title>\n'
        f'<desc id="{key}-d">{html.escape(alt)}</desc>\n'
        f"{''.join(ET.tostring(part, encoding='unicode') for part in body)}</svg>"
    )


def _draw(figure: Figure) -> str:
    """Return matplotlib's SVG with short numbers and with text in the page's style."""
    buffer = io.StringIO()
    with plt.rc_context({"svg.fonttype": "none"}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    svg = re.sub(r' transform="rotate\(-0 [^"]*"', "", buffer.getvalue())
    svg = re.sub(r'(?<= )(?:d|x|y|transform)="[^"]*', lambda x: rounded(x[0]), svg)
    svg = re.sub(r"font-family: [^;\"]*;? ?", "", svg)
    grey = f"(<t(?:ext|span)[^>]*fill: ){COLOURS.grey}"
    return re.sub(grey, r"\1currentColor", svg)


def _let_reach(mark: ET.Element, text: str, number: int) -> None:
    """Let pointer and keyboard reach the mark; give it a name and rings."""
    centres = [(use.get("x", ""), use.get("y", "")) for use in mark.iter(f"{SVG}use")]
    mark.attrib |= {"class": f"point point-{number}", "role": "img", "tabindex": "0"}
    mark.set("aria-label", text)
    for x, y in centres:
        ring = {"cx": x, "cy": y, "r": f"{REACH}", "fill": "none"}
        ET.SubElement(mark, "circle", ring, **{"pointer-events": "all"})


def _rename(root: ET.Element, key: str) -> None:
    """Drop namespaces, spaces and idle ids; begin the other ids with the key.

    A space remains after each text: where the picture is not trusted, a notebook shows
    its words one after the other.
    """
    elements = [*root.iter()]
    values = " ".join(value for e in elements for value in e.attrib.values())
    used = dict.fromkeys(re.findall(r"#([^\s;)]+)", values))
    ids = {e.get("id") for e in elements}
    names = {old: f"{key}-{n}" for n, old in enumerate(o for o in used if o in ids)}
    for element in elements:
        element.tag = element.tag.removeprefix(SVG)
        element.text = (element.text or "").strip() and element.text
        element.tail = "\n" if element.tag == "text" else None
        for name, value in [*element.attrib.items()]:
            del element.attrib[name]
            if name != "id":
                new = re.sub(
                    r"#([^\s;)]+)", lambda x: "#" + names.get(x[1], x[1]), value
                )
                element.attrib[name.rpartition("}")[2]] = " ".join(new.split())
            elif value in names:
                element.attrib["id"] = names[value]
