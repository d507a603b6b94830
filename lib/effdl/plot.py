"""Figures that read on a white and on a dark page, and for those who do not see them.

A figure of this book is one transparent SVG for both themes of the site. So every
colour must stand out from white and from near black at once. The contrast ratio of
WCAG 2 asks for 3 between a graphic and what lies behind it:

    ratio = (l_light + 0.05) / (l_dark + 0.05)      l: relative luminance, 0 to 1

Of the eight colours that Okabe and Ito chose for readers with colour blindness
(https://jfly.uni-koeln.de/color/), four pass on both pages. A fifth, a middle grey,
is for axes, text and reference lines.

    use_style()                                     once, in ``effdl.notebook.setup``
    fig, ax = plt.subplots()
    ax.plot(width, accuracy, color=COLOURS.blue)
    show(fig, alt=f"Accuracy rises from {low:.0%} to {high:.0%} as width doubles.")
"""

import html
import io
import re
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
from cycler import cycler
from IPython.display import display
from matplotlib.figure import Figure


class Palette(NamedTuple):
    """Colours by name; also a tuple, so ``COLOURS[0]`` and ``zip`` work."""

    blue: str
    vermillion: str
    green: str
    purple: str
    grey: str


COLOURS = Palette(
    blue="#0072B2",
    vermillion="#D55E00",
    green="#009E73",
    purple="#CC79A7",
    grey="#767676",  # for axes, text and reference lines, not for a series
)

STYLE: dict[Any, Any] = {  # matplotlib types its keys since 3.11 only
    "figure.figsize": (5.0, 3.0),  # inches
    "figure.constrained_layout.use": True,
    "axes.prop_cycle": cycler(color=COLOURS[:4]),
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": COLOURS.grey,
    "axes.labelcolor": COLOURS.grey,
    "axes.titlecolor": COLOURS.grey,
    "axes.titlesize": "medium",
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "text.color": COLOURS.grey,
    "xtick.color": COLOURS.grey,
    "ytick.color": COLOURS.grey,
    "grid.color": COLOURS.grey,
    "grid.alpha": 0.3,
    "hatch.color": COLOURS.grey,
    "patch.edgecolor": COLOURS.grey,
    "boxplot.boxprops.color": COLOURS.grey,
    "boxplot.whiskerprops.color": COLOURS.grey,
    "boxplot.capprops.color": COLOURS.grey,
    "boxplot.flierprops.markeredgecolor": COLOURS.grey,
    "legend.frameon": False,
    "image.interpolation": "nearest",  # a pixel of a feature map stays a square
    "savefig.facecolor": "none",
    "svg.fonttype": "path",  # the same letters on every machine
    "svg.hashsalt": "effdl",  # the same ids in every run
}


def use_style() -> None:
    """Make the book's look the default of matplotlib in this process.

    Call ``matplotlib.rcdefaults`` to go back.

    Example:
        >>> use_style()
        >>> plt.rcParams["axes.labelcolor"]
        '#767676'
    """
    plt.rcParams.update(STYLE)


def show(fig: Figure, *, alt: str) -> None:
    """Display ``fig`` as an SVG that carries its description, and close it.

    The same figure gives the same bytes in every run. Outside a notebook only the
    description is printed.

    Args:
        fig: A figure with at least one axes.
        alt: What the picture shows, in a sentence or two, for readers who do not
            see it. Say what can be read from it, not that it is a plot.

    Raises:
        ValueError: If ``alt`` is blank or ``fig`` is empty.

    Example:
        >>> fig, ax = plt.subplots()
        >>> _ = ax.plot([1, 2], [1, 4])
        >>> show(fig, alt="Twice the width costs four times the multiply-adds.")
        Twice the width costs four times the multiply-adds.
    """
    alt = " ".join(alt.split())
    if not alt:
        raise ValueError("alt is blank; say in a sentence what the picture shows")
    if not fig.axes:
        raise ValueError("fig is empty; draw into fig.subplots() first")
    svg = _svg(fig, alt)
    plt.close(fig)  # or the notebook would draw it a second time
    display_described("image/svg+xml", svg, alt)


def display_described(kind: str, content: str, words: str) -> None:
    """Display something together with words for those who do not see it.

    Outside a notebook only the words are printed.

    Args:
        kind: The media type of the content, such as ``"text/html"``.
        content: What is shown.
        words: What it shows; kept in the output's metadata as ``alt``, too.

    Example:
        >>> display_described("text/html", "<b>2</b>", "A bold two.")
        A bold two.
    """
    display(_Described(kind, content, words))  # type: ignore[no-untyped-call]


def rounded(path: str) -> str:
    """Return an SVG path with hundredths of a point: finer than any screen.

    Args:
        path: The value of its attribute ``d``.

    Example:
        >>> rounded("M 12.345678 -0.5 L 3 4")
        'M 12.35 -0.5 L 3 4'
    """
    return re.sub(r"-?\d+\.\d{3,}", lambda x: f"{float(x[0]):.2f}", path)


class _Described:
    """Content with words for it, in the form that notebooks ask for."""

    def __init__(self, kind: str, content: str, words: str) -> None:
        self.kind, self.content, self.words = kind, content, words

    def __repr__(self) -> str:
        return self.words

    def _repr_mimebundle_(
        self, **_wanted: object
    ) -> tuple[dict[str, str], dict[str, dict[str, str]]]:
        data = {self.kind: self.content, "text/plain": self.words}
        return data, {self.kind: {"alt": self.words}}


def _svg(fig: Figure, alt: str) -> str:
    """Return the figure as a short SVG element that screen readers can name."""
    buffer = io.StringIO()
    keys = ("svg.fonttype", "svg.hashsalt")  # also where use_style was not called
    fixed: dict[Any, Any] = {key: STYLE[key] for key in keys}
    with plt.rc_context(fixed):
        fig.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]  # without the XML header
    svg = re.sub(r"\s*<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(?<= d=")[^"]*', lambda path: rounded(path[0]), svg)
    return svg.replace("<svg ", f'<svg role="img" aria-label="{html.escape(alt)}" ', 1)
