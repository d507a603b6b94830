"""A figure with a choice of views that needs no script, no widget and no other host.

Several figures become one HTML output. It begins with a radio button for each of them,
the pictures follow, and two rules of CSS do the rest:

    every picture:                       display: none
    the one whose button is checked:     display: block

Browsers already let Tab and the arrow keys move between radio buttons and tell screen
readers which is checked, so nothing of that is written here. Without CSS all pictures
are shown, each below its name, and all details. It works in the built book, on Colab
and in JupyterLab, and goes on working when no kernel runs. JupyterLab shows only the
words of it while a notebook is not trusted, which ends when its cells are run.

The same figures give the same bytes in every run. Do not show the same choice twice on
one page: its ids would repeat.
"""

import hashlib
from collections.abc import Mapping
from html import escape
from typing import Any, TypeVar

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from effdl.inline import inline_svg
from effdl.plot import display_described

T = TypeVar("T")
MINE = 'data-lm-suppress-shortcuts="true"'  # or JupyterLab takes the arrow keys
HINT = "Point at a mark, tap it, or reach it with Tab to read its numbers."
CSS = """\
#KEY{border:0;margin:0;min-width:0;padding:0}
#KEY>legend{float:none;font-size:1em;font-weight:bold;margin:0;padding:0;width:auto}
#KEY>label{display:inline-block;margin-right:1em;padding:.2em 0}
#KEY input{margin-right:.3em}
#KEY :focus-visible{outline:3px solid;outline-offset:2px}
#KEY svg{display:block;height:auto;max-width:100%}
#KEY text{pointer-events:none}
#KEY .point:focus{outline:0!important}
#KEY .point:is(:hover,:focus)>:is(circle,path){
stroke:currentColor!important;stroke-width:2!important}
#KEY>ul{list-style:none;margin:0;min-height:3.5em;padding:0}
@media print{#KEY>ul{display:none}}
@supports selector(:has(a)){
#KEY>div,#KEY>div>p,#KEY>ul>li{display:none}
#KEY:not(:has(.point:is(:hover,:focus)))>ul>li:first-child{display:block}
SHOWN{display:block}}
"""


def show_choice(
    figures: Mapping[str, Figure],
    *,
    legend: str,
    alt: Mapping[str, str],
    details: Mapping[str, str] | None = None,
) -> None:
    """Display the figures as one output in which the reader chooses, and close them.

    Outside a notebook only the descriptions are printed.

    Args:
        figures: At least two, by the words beside their buttons. The first is the one
            that is seen, and printed on paper, before anybody chooses.
        legend: What is chosen, such as ``"Horizontal axis"``.
        alt: What each figure shows, for readers who do not see it, by the same names.
        details: A line about a mark, by the ``gid`` that its artist was drawn with.
            The mark shows it, and a ring, to those who point at it, tap it or reach it
            with Tab. Marks in several figures may share a ``gid``.

    Raises:
        ValueError: If there are fewer than two figures, their names and those of the
            descriptions differ, or no figure has a mark for a detail. Also if a figure
            is empty, a text blank or a name there twice.

    Example:
        >>> def line(y):
        ...     fig, ax = plt.subplots()
        ...     ax.plot([1, 2], y)
        ...     return fig
        >>> show_choice(
        ...     {"time": line([3, 2]), "memory": line([1, 4])},
        ...     legend="What it costs",
        ...     alt={"time": "Time falls.", "memory": "Memory rises fourfold."},
        ... )
        What it costs. time: Time falls. memory: Memory rises fourfold.
    """
    (legend,) = _tidy("legend", {"legend": legend}).values()
    figures, alt = _tidy("figures", figures), _tidy("alt", alt)
    details = _tidy("details", details or {})
    if len(figures) < 2:
        raise ValueError(
            f"figures must be two or more, got {len(figures)}; "
            "effdl.plot.show displays a single one"
        )
    if figures.keys() != alt.keys():
        raise ValueError(
            "alt must describe every figure by its name; the figures are "
            f"{list(figures)}, the descriptions {list(alt)}"
        )
    drawn = {artist.get_gid() for fig in figures.values() for artist in fig.findobj()}
    if absent := [gid for gid in details if gid not in drawn]:
        raise ValueError(
            f"details has {absent[0]!r}, but no figure has a mark with this gid; "
            f"draw it with ax.plot(..., gid={absent[0]!r})"
        )
    said = " ".join([f"{legend}.", *(f"{name}: {alt[name]}" for name in figures)])
    digest = hashlib.sha256(f"{said} {details}".encode()).hexdigest()
    key = f"f{digest[:7]}"  # an id may not begin with a digit
    frames = {
        name: inline_svg(
            figure, key=f"{key}-{n}", title=name, alt=alt[name], details=details
        )
        for n, (name, figure) in enumerate(figures.items())
    }
    for figure in figures.values():
        plt.close(figure)  # or the notebook would draw it once more
    page = _page(key, legend, frames, [HINT, *details.values()] if details else [])
    display_described("text/html", page, said)


def _tidy(argument: str, given: Mapping[str, T]) -> dict[str, T]:
    # Single spaces, so that what differs in them only is seen to be the same.
    tidy: dict[str, Any] = {}
    for name, value in given.items():
        short = " ".join(name.split())
        if not short or short in tidy:
            raise ValueError(f"{argument} has a blank or a double name: {list(given)}")
        tidy[short] = " ".join(value.split()) if isinstance(value, str) else value
        if not tidy[short]:
            raise ValueError(f"{argument} is blank at {short!r}; say what is there")
    return tidy


def _page(key: str, legend: str, frames: Mapping[str, str], notes: list[str]) -> str:
    """Return a set of buttons, the pictures behind them, and a list of the notes."""
    shown = [
        f"#KEY:has(>label:nth-of-type({n})>input:checked)>div:nth-of-type({n})"
        for n in range(1, len(frames) + 1)
    ]
    for n in range(len(notes) - 1):  # where one is pointed at, not where the focus is
        note = f">ul>li:nth-child({n + 2})"
        shown += [f"#KEY:has(.point-{n}:hover){note}"]
        shown += [f"#KEY:has(.point-{n}:focus):not(:has(.point:hover)){note}"]
    css = CSS.replace("SHOWN", ",\n".join(shown)).replace("KEY", key)
    buttons = "".join(
        f'<label><input type="radio" name="{key}"{"" if n else " checked"} {MINE}> '
        f"{escape(name)}</label>\n"
        for n, name in enumerate(frames)
    )
    pictures = "".join(
        f"<div><p>{escape(name)}</p>{svg}</div>\n" for name, svg in frames.items()
    )
    items = "".join(f"<li>{escape(note)}</li>\n" for note in notes)
    return (
        f'<style>\n{css}</style>\n<fieldset id="{key}" class="frames">\n'
        f"<legend>{escape(legend)}</legend>\n"
        f"{buttons}{pictures}{f'<ul>{items}</ul>' if notes else ''}</fieldset>"
    )
