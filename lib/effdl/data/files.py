"""Files that travel with the book: find them, and refuse those that were altered.

The folder ``data/`` of a checkout goes into the wheel as ``effdl/shipped``. Either way
``SHA256SUMS`` beside the files says what each of them has to be.
"""

import hashlib
from collections.abc import Iterable
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parents[1]
SUMS = "SHA256SUMS"
PARTIAL = ".part"  # ends the name of a file that is being written


def data_path(name: str) -> Path:
    """Return where a file of the book's data lies, after checking its content.

    Read such files through this function only, with the name written out: that is how
    the book knows which data a notebook depends on.

    Args:
        name: Path below the data folder, with slashes.

    Raises:
        ValueError: If the name is not a listed one, or the file is not what is listed.
        FileNotFoundError: If the file, or the whole data folder, is missing.

    Example:
        >>> data_path("README.md").name
        'README.md'
    """
    folder = data_folder()
    sums = read_sums(folder)
    if name not in sums:
        raise ValueError(
            f"{name!r} is not listed in {folder / SUMS}; the name must be written as "
            "there, and after adding a file run: python experiments/_results.py"
        )
    path = folder / name
    if not path.is_file():
        raise FileNotFoundError(f"{name} is missing from {folder}; {_way_out(folder)}")
    stat = path.stat()
    found = _sha256(path, stat.st_mtime_ns, stat.st_size)
    if found != sums[name]:
        raise ValueError(
            f"{path} is truncated or altered: its {stat.st_size} bytes have SHA-256 "
            f"{found[:12]}..., not {sums[name][:12]}...; {_way_out(folder)}"
        )
    return path


def data_folder() -> Path:
    """Return the folder of the data: in the wheel, or else in the checkout.

    Raises:
        FileNotFoundError: If neither has one.

    Example:
        >>> (data_folder() / "SHA256SUMS").is_file()
        True
    """
    candidates = (PACKAGE / "shipped", PACKAGE.parents[1] / "data")
    for folder in candidates:
        if (folder / SUMS).is_file():
            return folder
    places = " or ".join(str(folder) for folder in candidates)
    raise FileNotFoundError(
        f"the book's data are neither in {places}; install effdl from its repository "
        "(pip install with git+https), not from a copy of lib/ alone"
    )


def read_sums(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file listed in ``SHA256SUMS``, by name.

    Args:
        folder: Holds ``SHA256SUMS``, in the format of the program sha256sum.

    Raises:
        ValueError: If a line is not a sum of 64 digits and a name.

    Example:
        >>> len(read_sums(data_folder())["README.md"])
        64
    """
    sums = {}
    for line in (folder / SUMS).read_text(encoding="utf-8").splitlines():
        digest, _, name = line.partition("  ")
        if len(digest) != 64 or not name:
            raise ValueError(f"{folder / SUMS} has the broken line {line!r}")
        sums[name] = digest
    return sums


def write_sums(folder: Path, names: Iterable[str] | None = None) -> None:
    """Note down in ``SHA256SUMS`` what files are now, all or nothing.

    For those who make data, not for those who read them: it makes any content right.

    Args:
        folder: Holds ``SHA256SUMS``, or is going to.
        names: Files whose sums are new; the other lines stay. All files if None, but
            for hidden ones, such as those of an editor or a file manager.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> _ = (folder / "a.txt").write_text("a")
        >>> write_sums(folder)
        >>> list(read_sums(folder))
        ['a.txt']
    """
    sums = {}
    if names is None:
        files = (path for path in folder.rglob("*") if path.is_file())
        found = (path.relative_to(folder) for path in files)
        hidden = "."  # begins their names, or those of their folders
        names = [
            x.as_posix() for x in found if not any(p[0] == hidden for p in x.parts)
        ]
    elif (folder / SUMS).is_file():
        sums = read_sums(folder)
    for name in names:
        if name != SUMS and not name.endswith(PARTIAL):
            sums[name] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    lines = [f"{sums[name]}  {name}\n" for name in sorted(sums)]
    write_text_whole(folder / SUMS, "".join(lines))


def write_text_whole(path: Path, text: str) -> None:
    """Write under a temporary name, then rename: all of the file or nothing.

    Args:
        path: What to write, in a folder that exists.
        text: The new content; lines end in a newline on every system.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "a.txt"
        >>> write_text_whole(path, "whole")
        >>> path.read_text()
        'whole'
    """
    partial = path.with_name(path.name + PARTIAL)
    partial.write_text(text, encoding="utf-8", newline="\n")
    partial.replace(path)


@cache
def _sha256(path: Path, _changed: int, _size: int) -> str:
    """Return the sum, computed again only when time or size of the file changed."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _way_out(folder: Path) -> str:
    if folder.name == "shipped":
        return "install effdl again"
    return f"restore it with: git checkout -- {folder.name}/"
