"""The programs behind make: they count right, repair, and rewrite all or nothing."""

import subprocess
import sys
from pathlib import Path

import pytest

import address
import build_book
import common
import gates
import mutants
import test_all

REPORT = (
    "<testsuites><testsuite name='pytest' tests='7' failures='1' errors='1'"
    " skipped='2'/></testsuites>"
)


def test_a_report_is_counted_without_the_skipped(tmp_path):
    path = tmp_path / "report.xml"
    path.write_text(REPORT)
    assert test_all.count(path) == (3, 2)


def test_a_stage_that_leaves_no_whole_report_passes_nothing(tmp_path):
    assert test_all.count(tmp_path / "none.xml") == (0, 0)
    (tmp_path / "half.xml").write_text(REPORT[:40])
    assert test_all.count(tmp_path / "half.xml") == (0, 0)


def test_the_first_failing_stage_gives_the_status_and_all_stages_count(
    monkeypatch, capsys, tmp_path
):
    """Passes, then failures with status 5, then one with 2: the sum and 5."""
    monkeypatch.setattr(test_all, "REPORTS", tmp_path)
    outcomes = {
        "tool": test_all.Outcome(1, 0, 0),
        "pytest": test_all.Outcome(10, 2, 5),
        "notebooks": test_all.Outcome(4, 1, 2),
        "python": test_all.Outcome(1, 0, 0),
    }
    for name, outcome in outcomes.items():
        monkeypatch.setattr(test_all, name, lambda *_, _o=outcome, **__: _o)
    assert test_all.main() == 5
    assert capsys.readouterr().out.splitlines()[-1] == "38 passed, 7 failed"


def test_a_command_that_fails_is_one_failure():
    command = [sys.executable, "-c", "raise SystemExit(3)"]
    assert test_all.whole(command) == (0, 1, 3)


def test_a_crash_of_pytest_counts_as_a_failure(tmp_path, monkeypatch):
    monkeypatch.setattr(test_all, "REPORTS", tmp_path)
    outcome = test_all.pytest("crash", "--no-such-option")
    assert outcome.failed == 1
    assert outcome.status != 0


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A small project that carries its address in four places."""
    text = "url: https://github.com/OWNER/REPO\n"
    for name in address.FILES:
        (tmp_path / name).write_text(text)
    notebook = tmp_path / "a.ipynb"
    notebook.write_text('"git+https://github.com/OWNER/REPO"')
    monkeypatch.setattr(common, "ROOT", tmp_path)
    monkeypatch.setattr(address, "ROOT", tmp_path)
    monkeypatch.setattr(address, "book_notebooks", lambda: [notebook])
    return tmp_path


def test_the_address_is_rewritten_everywhere(project, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["address.py", "https://github.com/me/book.git"])
    assert address.main() == 0
    texts = [p.read_text() for p in project.iterdir()]
    assert len(texts) == len(address.FILES) + 1
    assert all("https://github.com/me/book" in t and "OWNER" not in t for t in texts)


def test_an_interrupted_change_of_address_is_finished_by_the_same_command(
    project, monkeypatch
):
    """Each run writes one file and stops: _config.yml still tells the old address."""
    monkeypatch.setattr(sys, "argv", ["address.py", "https://github.com/me/book"])
    for _ in address.FILES:
        written = []

        def write(path, text, written=written):
            if written:
                raise KeyboardInterrupt
            written.append(path.write_text(text))

        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(address, "write_atomically", write)
            address.main()
        assert "OWNER" in (project / "_config.yml").read_text()
    assert address.main() == 0
    assert not any("OWNER" in path.read_text() for path in project.iterdir())


@pytest.mark.parametrize(
    "url", ["", "me/book", "https://github.com/me", "https://a b/c/d"]
)
def test_what_is_no_address_is_refused_and_nothing_changes(project, monkeypatch, url):
    monkeypatch.setattr(sys, "argv", ["address.py", url])
    assert address.main() == 1
    assert all("OWNER/REPO" in p.read_text() for p in project.iterdir())


def test_one_address_stands_in_all_files_that_carry_it():
    wanted = common.repository_address()
    for name in address.FILES:
        assert wanted in (common.ROOT / name).read_text(), name
    for notebook in common.book_notebooks():
        assert f"git+{wanted}" in notebook.read_text(), notebook


@pytest.mark.parametrize("above", ["assignments", "dist"])
def test_where_the_checkout_lies_hides_nothing(tmp_path, monkeypatch, above):
    root = tmp_path / above
    notebook = root / "notebooks" / "a.ipynb"
    notebook.parent.mkdir(parents=True)
    notebook.touch()
    (root / "notebooks" / "assignments").mkdir()
    (root / "notebooks" / "assignments" / "b.ipynb").touch()
    monkeypatch.setattr(common, "ROOT", root)
    monkeypatch.setattr(common, "NOTEBOOKS", root / "notebooks")
    assert common.book_notebooks() == [notebook]
    assert notebook in common.tracked_files()


def test_sources_are_found_without_git(monkeypatch):
    monkeypatch.setenv("PATH", "")
    found = common.tracked_files()
    assert Path(__file__) in found
    assert not any(".venv" in path.parts for path in found)


def test_a_gate_that_does_not_exist_is_not_passed(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["gates.py", "lynt"])
    assert gates.main() == 1
    assert "no gate is called lynt" in capsys.readouterr().out


def test_writing_is_all_or_nothing(tmp_path, monkeypatch):
    path = tmp_path / "table.csv"
    path.write_text("old")

    def fail(self, target):
        raise OSError("interrupted")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="interrupted"):
        common.write_atomically(path, "new")
    assert path.read_text() == "old"


@pytest.fixture
def book(tmp_path, monkeypatch):
    """A build folder of its own, and the commands that would have run."""
    commands = []
    monkeypatch.setattr(build_book, "BUILD", tmp_path / "_build")
    monkeypatch.setattr(build_book, "UNFINISHED", tmp_path / "_build" / "unfinished")
    monkeypatch.setattr(build_book, "WATCHED", tmp_path / "_build" / "watched.sha256")
    monkeypatch.setattr(build_book, "watched", lambda: "now")

    def run(command):
        commands.append(command)
        return 0

    monkeypatch.setattr(build_book, "run", run)
    return commands


def test_an_interrupted_build_starts_from_nothing(book):
    half = build_book.BUILD / "html" / "half.html"
    half.parent.mkdir(parents=True)
    half.write_text("<p>half")
    build_book.UNFINISHED.touch()
    assert build_book.build() == 0
    assert not half.exists()
    assert not build_book.UNFINISHED.exists()


def test_the_mark_outlives_the_clearing(book, monkeypatch):
    """Interrupted while it clears, the next build must clear again."""
    half = build_book.BUILD / "html" / "half.html"
    half.parent.mkdir(parents=True)
    build_book.UNFINISHED.touch()
    build_book.clear()
    assert list(build_book.BUILD.iterdir()) == [build_book.UNFINISHED]


def test_a_disk_that_fills_up_during_the_build_is_one_sentence(
    tmp_path, monkeypatch, capsys
):
    code = "raise OSError(28, 'No space left on device')"
    run = build_book.run
    monkeypatch.setattr(build_book, "build", lambda: run([sys.executable, "-c", code]))
    assert build_book.main() == 1
    assert capsys.readouterr().out.splitlines()[-1].startswith("book: the disk is full")


def test_a_failed_build_leaves_the_mark(book, monkeypatch):
    monkeypatch.setattr(build_book, "run", lambda command: 1)
    assert build_book.build() == 1
    assert build_book.UNFINISHED.exists()


def test_pages_are_all_rebuilt_only_when_something_watched_changed(book, monkeypatch):
    build_book.build()
    build_book.build()
    monkeypatch.setattr(build_book, "watched", lambda: "later")
    build_book.build()
    assert ["--all" in command for command in book] == [False, False, True]


def test_every_warning_is_an_error(book):
    build_book.build()
    assert {"--warningiserror", "--nitpick", "--keep-going"} <= set(book[0])


def test_every_mutant_can_be_planted_and_every_module_has_five():
    for file in sorted(mutants.MUTANTS.glob("*.toml")):
        found = list(mutants.read(file))
        assert len(found) >= 5, file
        assert len({m.name for m in found}) == len(found), file
        for mutant in found:
            source = (common.ROOT / mutants.source_of(mutant.module)).read_text()
            assert source.count(mutant.old) == 1, f"{file}: {mutant.name}"
            assert mutant.old != mutant.new


def test_every_module_of_the_library_has_mutants():
    lib = common.ROOT / "lib"
    files = [p for p in lib.rglob("*.py") if p.name != "__init__.py"]
    names = {".".join(p.relative_to(lib).with_suffix("").parts) for p in files}
    files = mutants.MUTANTS.glob("effdl.*.toml")
    assert names == {mutant.module for file in files for mutant in mutants.read(file)}


def test_the_table_has_every_mutant_and_all_were_killed():
    files = sorted(mutants.MUTANTS.glob("*.toml"))
    planted = {(m.module, m.name) for file in files for m in mutants.read(file)}
    table = mutants.stored()
    assert set(table) == planted
    assert {key for key, verdict in table.items() if verdict != "killed"} == set()


def test_a_mutant_is_killed_and_a_harmless_change_survives(tmp_path):
    """In a program of its own: the mutants are run in forks of it."""
    file = tmp_path / "effdl.checks.toml"
    entry = '[[mutant]]\nname = "{}"\nold = "value < 1"\nnew = "{}"\n'
    file.write_text(
        'module = "effdl.checks"\ntests = ["tests/test_checks.py"]\n'
        + entry.format("accepts zero", "value < 0")
        + entry.format("the same", "not value >= 1")
        + entry.format("no Python", "value <")
    )
    command = [sys.executable, "tools/mutants.py", str(file)]
    run = subprocess.run(
        command, cwd=common.ROOT, capture_output=True, text=True, check=False
    )
    lines = (line.split("effdl.checks:") for line in run.stdout.splitlines()[:3])
    verdicts = {name.strip(): verdict.strip() for verdict, name in lines}
    assert verdicts == {
        "accepts zero": "killed",
        "the same": "survived",
        "no Python": "no Python",
    }, run.stderr
    assert run.returncode == 1
