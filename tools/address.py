"""Write the repository's address into every file that carries it.

    make address URL=https://github.com/someone/book

It stands once, in _config.yml; the install cells, README and CITATION.cff copy it.
_config.yml is written last: it says what the old address is, so that an interrupted run
is finished by the same command.
"""

from __future__ import annotations

import re
import sys

from common import ROOT, book_notebooks, repository_address, write_atomically

FILES = ("README.md", "CITATION.cff", "_config.yml")  # in this order


def main() -> int:
    """Replace the old address by the one on the command line."""
    new = (
        sys.argv[1].strip().rstrip("/").removesuffix(".git")
        if len(sys.argv) > 1
        else ""
    )
    if not re.fullmatch(r"https://[\w.-]+(/[\w.-]+){2,}", new):
        print(f"address: {new!r} is not like https://github.com/OWNER/REPO; "
              "use make address URL=https://...", file=sys.stderr)  # fmt: skip
        return 1
    old = repository_address()
    changed = 0
    assignments = sorted((ROOT / "notebooks" / "assignments").rglob("*.ipynb"))
    for path in [*book_notebooks(), *assignments, *(ROOT / name for name in FILES)]:
        text = path.read_text(encoding="utf8")
        if old in text:
            write_atomically(path, text.replace(old, new))
            changed += 1
    print(f"address: {old} is now {new} in {changed} files")
    return 0


if __name__ == "__main__":
    sys.exit(main())
