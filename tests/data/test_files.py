"""data_path: the right file or a clear error, in a checkout and in a wheel."""

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from effdl.data import files
from effdl.data.files import (
    SUMS,
    data_folder,
    data_path,
    read_sums,
    write_sums,
    write_text_whole,
)


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """A data folder of our own, with two files in it."""
    made = tmp_path / "checkout" / "data"
    (made / "results").mkdir(parents=True)
    (made / "a.txt").write_text("first")
    (made / "results" / "b.csv").write_text("x\n1\n")
    write_sums(made)
    monkeypatch.setattr(files, "PACKAGE", tmp_path / "checkout" / "lib" / "effdl")
    return made


def test_sums_are_those_of_the_program_sha256sum(folder):
    lines = (folder / SUMS).read_text().splitlines()
    assert lines == [
        f"{hashlib.sha256(b'first').hexdigest()}  a.txt",
        f"{hashlib.sha256(b'x' + bytes([10]) + b'1' + bytes([10])).hexdigest()}"
        "  results/b.csv",
    ]
    if shutil.which("sha256sum"):
        subprocess.run(["sha256sum", "--quiet", "-c", SUMS], cwd=folder, check=True)


def test_a_file_is_found_in_the_checkout(folder):
    assert data_path("a.txt") == folder / "a.txt"
    assert data_path("results/b.csv").read_text() == "x\n1\n"


def test_a_wheel_brings_its_own_copy_which_goes_first(folder, monkeypatch):
    shipped = files.PACKAGE / "shipped"
    shutil.copytree(folder, shipped)
    assert data_folder() == shipped
    assert data_path("results/b.csv") == shipped / "results" / "b.csv"


def test_a_copied_package_works_far_from_the_checkout(folder, tmp_path):
    """As installed: the package in one folder, its data inside, and another cwd."""
    site, package = tmp_path / "site", Path(sys.modules["effdl"].__file__).parent
    (site / "effdl" / "data").mkdir(parents=True)
    shutil.copy(package / "__init__.py", site / "effdl")
    for name in ("__init__.py", "files.py"):
        shutil.copy(package / "data" / name, site / "effdl" / "data")
    shutil.copytree(folder, site / "effdl" / "shipped")
    code = (
        "from effdl.data.files import data_path; print(data_path('a.txt').read_text())"
    )
    command = [
        sys.executable,
        "-S",
        "-c",
        f"import sys; sys.path[:0]=[{str(site)!r}]; {code}",
    ]
    done = subprocess.run(
        command, cwd=tmp_path, check=True, capture_output=True, text=True
    )
    assert done.stdout.strip() == "first"


@pytest.mark.parametrize("change", ["firs", "fIrst", "first and more"])
def test_a_truncated_or_altered_file_is_refused(folder, change):
    (folder / "a.txt").write_text(change)
    with pytest.raises(
        ValueError, match=r"a.txt is truncated or altered.*git checkout"
    ):
        data_path("a.txt")


def test_a_file_that_changes_after_it_was_read_is_refused(folder):
    data_path("a.txt")
    (folder / "a.txt").write_text("second")
    with pytest.raises(ValueError, match="truncated or altered: its 6 bytes"):
        data_path("a.txt")


def test_a_missing_file_is_named_with_what_to_do(folder):
    (folder / "a.txt").unlink()
    with pytest.raises(
        FileNotFoundError, match=r"a.txt is missing from .*git checkout"
    ):
        data_path("a.txt")


def test_in_a_wheel_the_advice_is_to_install_again(folder):
    shipped = files.PACKAGE / "shipped"
    shutil.copytree(folder, shipped)
    (shipped / "a.txt").unlink()
    with pytest.raises(FileNotFoundError, match="install effdl again"):
        data_path("a.txt")


@pytest.mark.parametrize("name", ["b.csv", "../data/a.txt", "/etc/passwd", ""])
def test_only_listed_names_are_given(folder, name):
    with pytest.raises(ValueError, match="is not listed in"):
        data_path(name)


def test_without_any_data_the_error_says_how_to_get_them(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "PACKAGE", tmp_path / "lib" / "effdl")
    with pytest.raises(FileNotFoundError, match="install effdl from its repository"):
        data_path("a.txt")


def test_broken_sums_are_shown(folder):
    (folder / SUMS).write_text("abc  a.txt\n")
    with pytest.raises(ValueError, match=r"broken line 'abc  a.txt'"):
        data_path("a.txt")


def test_naming_files_leaves_the_other_sums_alone(folder):
    before = read_sums(folder)
    (folder / "a.txt").write_text("new")
    (folder / "results" / "b.csv").write_text("new")
    write_sums(folder, ["results/b.csv"])
    after = read_sums(folder)
    assert after["a.txt"] == before["a.txt"]
    assert after["results/b.csv"] == hashlib.sha256(b"new").hexdigest()
    assert sorted(path.name for path in folder.iterdir()) == [SUMS, "a.txt", "results"]


def test_half_written_files_are_not_listed(folder):
    (folder / "c.csv.part").write_text("x")
    write_sums(folder)
    assert "c.csv.part" not in read_sums(folder)


def test_hidden_files_are_not_listed(folder):
    before = read_sums(folder)
    (folder / ".cache").mkdir()
    (folder / ".cache" / "x").write_text("x")
    (folder / "results" / ".DS_Store").write_text("x")
    write_sums(folder)
    assert read_sums(folder) == before


def test_a_text_is_written_whole_or_not_at_all(folder, monkeypatch):
    path = folder / "a.txt"
    write_text_whole(path, "one\ntwo\n")
    assert path.read_bytes() == b"one\ntwo\n"

    def interrupted(*_arguments, **_options):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_text", interrupted)
        with pytest.raises(KeyboardInterrupt):
            write_text_whole(path, "three")
    assert path.read_bytes() == b"one\ntwo\n"
    write_text_whole(path, "four")
    assert sorted(x.name for x in folder.iterdir()) == [SUMS, "a.txt", "results"]


def test_every_file_of_the_book_is_listed_and_is_what_is_listed():
    folder = data_folder()
    present = {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and path.name != SUMS and path.suffix != ".part"
    }
    present = {name for name in present if "/." not in f"/{name}"}
    assert present == set(read_sums(folder)), "run: python experiments/_results.py"
    for name in present:
        data_path(name)
