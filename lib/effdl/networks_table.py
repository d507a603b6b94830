"""The networks of the survey's section 2: what it prints, and what we count.

``data/survey/networks.csv`` has one row for each network of Figs. 3 and 6 and of the
text of section 2.1. A verdict compares a number that the survey prints with the count
of a public implementation, and follows from one rule:

    agrees        the count is within 1 % of the printed number, or is it when rounded
                  to its last digit
    convention    the count is not, but the count under a named other rule is, such as
                  that of the tool which the authors used
    wrong         neither is
    (empty)       nothing is printed, or no public implementation can be counted

A printed number is kept with the digits that were printed: 569M is 569e6 and 0.24G is
0.24e9, so that its last digit is known.

Example:
    >>> [n.key for n in load_networks() if n.figure == "3" and n.verdict == "wrong"]
    ['mobilenet_v2', 'mobilenext']
"""

from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal

from effdl.data.files import data_path
from effdl.rows import read_rows

TOLERANCE = 0.01  # the share by which a printed number may be off
VERDICTS = ("", "agrees", "convention", "wrong")  # from nothing to the worst


@dataclass(frozen=True)
class Network:
    """One network. Numbers are None where there is nothing to print or to count.

    Attributes:
        key: Name for programs, such as "ghostnet_v1_13".
        network: Name.
        variant: Width, depth or letter.
        figure: "3", "6", or "text" for a network in the text of section 2.1 only.
        section: The survey's section.
        year: First public version of the paper.
        survey_top1: Accuracy on ImageNet in per cent, as the survey prints it.
        survey_macs: What the survey prints as FLOPs.
        survey_params: Parameters that the survey prints.
        our_params: Parameters of ``implementation``.
        our_macs: Its multiply-adds for one image.
        our_fvcore_total: What fvcore calls FLOPs; None if it fails.
        input_size: Height and width of the image.
        implementation: Python call that makes it; empty if none is installed.
        convention: What the printed FLOPs count.
        convention_macs: Our count of just that.
        verdict_macs: On the FLOPs.
        verdict_params: On the parameters.
        verdict: The worse of the two.
        why: What must be known to read the row.
        source: Key in the bibliography, or "arXiv" and the number of the paper.
    """

    key: str
    network: str
    variant: str
    figure: str
    section: str
    year: int
    survey_top1: float | None
    survey_macs: float | None
    survey_params: float | None
    our_params: int | None
    our_macs: int | None
    our_fvcore_total: int | None
    input_size: int | None
    implementation: str
    convention: str
    convention_macs: int | None
    verdict_macs: str
    verdict_params: str
    verdict: str
    why: str
    source: str


def load_networks() -> list[Network]:
    """Return the networks in the survey's order.

    Example:
        >>> load_networks()[0].network
        'AlexNet'
    """
    return read_rows(data_path("survey/networks.csv"), Network)


def fits(printed: str, count: int) -> bool:
    """Return whether a printed number is a count, but for 1 % or for rounding.

    Args:
        printed: The number with the digits that were printed, such as "0.24e9".
        count: What we count.

    Example:
        >>> fits("569e6", 568_740_352), fits("0.24e9", 227_003_256)
        (True, False)
    """
    number = Decimal(printed)
    last_digit = Decimal(1).scaleb(int(number.as_tuple().exponent))
    rounded = (count / last_digit).quantize(Decimal(1), ROUND_HALF_UP) * last_digit
    return rounded == number or abs(count / number - 1) <= Decimal(str(TOLERANCE))


def verdict_on(
    printed: str, count: int | None, *, by_convention: int | None = None
) -> str:
    """Return "agrees", "convention", "wrong", or nothing if there is no comparison.

    Args:
        printed: As for :func:`fits`; empty if nothing is printed.
        count: Ours; None if there is no implementation to count.
        by_convention: The count under a rule that explains the printed number.

    Example:
        >>> verdict_on("0.24e9", 227_003_256, by_convention=236_239_560)
        'convention'
    """
    if not printed or count is None:
        return ""
    if fits(printed, count):
        return "agrees"
    explained = by_convention is not None and fits(printed, by_convention)
    return "convention" if explained else "wrong"


def worse_verdict(first: str, second: str) -> str:
    """Return the worse of two verdicts; an empty one is the best.

    Example:
        >>> worse_verdict("agrees", "convention")
        'convention'
    """
    return max(first, second, key=VERDICTS.index)
