"""Typed access to what the book knows about the survey: index and sections.

Each function reads one CSV file whose columns are the fields of the class that it
returns. The survey's own four tables are in `effdl.tables`.

Example:
    >>> introduction, organization, *_ = load_sections()
    >>> introduction.title, introduction.rows
    ('Introduction', 32)
"""

from dataclasses import dataclass

from effdl.data.files import data_path
from effdl.rows import read_rows


@dataclass(frozen=True)
class Entry:
    """One thing that the survey names or claims, and where the book treats it.

    Attributes:
        id: Anchor of the paragraph that treats it.
        section: Number in the survey, such as "2.1".
        topic: Heading of the survey's paragraph.
        name: What is named; an error of the survey begins with "erratum".
        kind: Such as "operator", "network" or "claim".
        target: What is promised: implement, demonstrate, measure, tabulate or explain.
        page: Each ``book/<file>.md#<label>``.
        notebook: Each ``notebooks/<file>.ipynb``.
        symbol: Each ``effdl.<module>.<name>``.
        test: Each ``tests/<file>.py::<function>``.
        survey_value: The survey's number with its unit; empty if it gives none.
        our_value: Ours; empty if there is none.
        verdict: "agrees", "convention", "wrong", "depends" or empty.
    """

    id: str
    section: str
    topic: str
    name: str
    kind: str
    target: str
    page: tuple[str, ...]
    notebook: tuple[str, ...]
    symbol: tuple[str, ...]
    test: tuple[str, ...]
    survey_value: str
    our_value: str
    verdict: str

    @property
    def erratum(self) -> bool:
        """Whether this entry corrects the survey."""
        return self.name.startswith("erratum")


@dataclass(frozen=True)
class Section:
    """One heading of the survey and how much it names; headings below do not count.

    Attributes:
        number: Such as "2.1".
        title: The heading.
        topics: Different topics.
        implement: Things to implement.
        demonstrate: Things to demonstrate.
        measure: Numbers to measure.
        tabulate: Facts for a table.
        explain: Things to explain in prose.
        errata: Those of all of these that correct the survey.
    """

    number: str
    title: str
    topics: int
    implement: int
    demonstrate: int
    measure: int
    tabulate: int
    explain: int
    errata: int

    @property
    def rows(self) -> int:
        """Number of things the section names: the sum over the five targets."""
        shown = self.implement + self.demonstrate + self.measure
        return shown + self.tabulate + self.explain

    @property
    def parent(self) -> str:
        """Number of the heading above: "2.1" for "2.1.3", empty for "2"."""
        return self.number.rpartition(".")[0]


def load_index() -> list[Entry]:
    """Return what the book treats, in the survey's order.

    Example:
        >>> load_index()[0].section
        '1'
    """
    return read_rows(data_path("survey/index.csv"), Entry, separator=" ")


def load_errata() -> list[Entry]:
    """Return the entries that correct the survey, in its order.

    Example:
        >>> all(entry.erratum for entry in load_errata())
        True
    """
    return [entry for entry in load_index() if entry.erratum]


def load_sections() -> list[Section]:
    """Return every heading of the survey, in its order.

    Example:
        >>> load_sections()[0].title
        'Introduction'
    """
    return read_rows(data_path("survey/sections.csv"), Section)
