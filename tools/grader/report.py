"""What `make grade` prints."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from grader.cells import OTHER_SEED
from grader.one import Result


def progress(results: Iterator[tuple[Result, bool]], many: int) -> Iterator[Result]:
    """Say how far it is, one line for each submission."""
    for number, (result, ran) in enumerate(results, start=1):
        points = sum(result.points.values())
        said = "; ".join([*result.flags[:1], *result.notes[:1]])
        when = f"in {result.seconds:.0f} s" if ran else "(graded before)"
        line = f"{number:3}/{many} {result.student}: {points:g} points {when}"
        print(f"{line} {said}".rstrip(), flush=True)
        yield result


def advice(
    results: list[Result], kept: list[Result], left: int, folder: Path
) -> list[str]:
    """Return what a teacher should know after a run."""
    other = [n for r in results for n in r.notes if n.startswith(OTHER_SEED)]
    flagged = [r.student for r in results if r.flags]
    lines = []
    if kept:
        names = ", ".join(r.student for r in kept[:5])
        lines.append(
            f"{len(kept)} of earlier runs stay in the tables ({names}); delete a file "
            f"in {folder / 'results'} to drop one"
        )
    if other:
        lines.append(f"{len(other)} of {len(results)} were {other[0]}; is SEED= right?")
    if flagged:
        lines.append(f"flagged: {', '.join(flagged)}; look, then perhaps ACCEPT=name")
    if left:
        lines.append(f"{left} written answers have no points yet: by-hand.csv")
    return lines
