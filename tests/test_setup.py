"""The set-up explains what it cannot do, and repairs what was interrupted."""

import subprocess
import sys
import venv
from pathlib import Path

import pytest

import setup_env

REQUIREMENTS = Path(setup_env.ROOT, "requirements.txt").read_text()


@pytest.mark.parametrize("version", [(3, 11), (3, 12), (3, 13)])
def test_supported_pythons_are_accepted(version):
    setup_env.check_python(version)


@pytest.mark.parametrize("version", [(2, 7), (3, 10), (3, 14)])
def test_another_python_is_named_with_the_way_out(version):
    with pytest.raises(
        setup_env.SetupError, match=r"make PYTHON=python3\.12"
    ) as caught:
        setup_env.check_python(version)
    assert "Python {}.{}".format(*version) in str(caught.value)


@pytest.mark.parametrize(
    ("output", "sentence"),
    [
        (
            "NewConnectionError: Failed to establish a new connection",
            "cannot be reached",
        ),
        ("OSError: [Errno 28] No space left on device", "GB free"),
        ("error: something nobody has seen", "goes on from here"),
    ],
)
def test_a_failed_installation_ends_in_one_sentence(output, sentence, tmp_path):
    explained = setup_env.explain(output, tmp_path / "venv")
    assert sentence in explained
    assert "\n" not in explained


def test_a_full_disk_is_refused_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(setup_env, "NEEDED_GB", 1e9)
    with pytest.raises(setup_env.SetupError, match="make room"):
        setup_env.check_disk(tmp_path / "venv")
    assert list(tmp_path.iterdir()) == []


def test_the_program_ends_with_the_sentence_and_status_1(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(setup_env, "NEEDED_GB", 1e9)
    monkeypatch.setattr(sys, "argv", ["setup_env.py", str(tmp_path / "venv")])
    assert setup_env.main() == 1
    assert capsys.readouterr().err.strip().startswith("set-up: the disk of")


def test_a_folder_that_is_no_environment_is_never_emptied(tmp_path):
    """VENV=~ must not cost anybody the home folder."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "letters.txt").write_text("dear")
    with pytest.raises(setup_env.SetupError, match="is no Python environment"):
        setup_env.set_up(tmp_path)
    assert (tmp_path / "letters.txt").read_text() == "dear"


@pytest.mark.parametrize("found", [[], ["bin", "lib"], ["pyvenv.cfg", "share"]])
def test_what_an_interrupted_venv_leaves_may_be_cleared(tmp_path, found):
    for name in found:
        (tmp_path / name).mkdir()
    setup_env.check_may_be_cleared(tmp_path)
    setup_env.check_may_be_cleared(tmp_path / "nothing")


@pytest.mark.parametrize(("made", "lines"), [("3.9", 1), (None, 0)])
def test_an_environment_of_another_python_is_mentioned(tmp_path, capsys, made, lines):
    version = made or "{}.{}".format(*sys.version_info)
    (tmp_path / "lib" / f"python{version}").mkdir(parents=True)
    setup_env.mention_another_python(tmp_path)
    said = capsys.readouterr().out
    assert said.count("keeps its python3.9") == said.count("\n") == lines


@pytest.mark.parametrize("fault", ["record", "file", "truncated"])
def test_a_half_written_package_is_found(tmp_path, fault):
    """What an interrupted pip leaves: no RECORD, a missing file, a short file."""
    home = tmp_path / "venv"
    venv.create(home, with_pip=False)
    site = next(home.glob("lib/python*/site-packages"))
    (site / "thing.py").write_text("x = 1\n")
    info = site / "thing-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: thing\nVersion: 1.0\n")
    (info / "RECORD").write_text("thing.py,,6\nthing-1.0.dist-info/RECORD,,\n")
    assert setup_env.broken_in(home) == []
    if fault == "record":
        (info / "RECORD").unlink()
    elif fault == "file":
        (site / "thing.py").unlink()
    else:
        (site / "thing.py").write_text("x")
    assert setup_env.broken_in(home) == ["thing==1.0"]


@pytest.mark.parametrize(
    ("requirement", "repaired"),
    [("torch==2.14.1+cpu", True), ("nvidia-cudnn-cu13==9.1", True), ("mine==1", False)],
)
def test_only_what_the_book_brings_is_repaired(requirement, repaired):
    assert setup_env.ours(requirement) is repaired


def test_the_environment_of_this_run_is_whole_and_up_to_date():
    """Nothing to do: a second set-up returns at once, and prints nothing."""
    home = Path(sys.prefix)
    if not (home / setup_env.STAMP).exists():
        pytest.skip("this environment was not made by make")
    command = [sys.executable, str(setup_env.__file__), str(home)]
    again = subprocess.run(command, capture_output=True, text=True, check=True)
    assert again.stdout == ""


def test_the_pins_name_every_package_once_and_no_index():
    lines = [x for x in REQUIREMENTS.splitlines() if x and not x.startswith("#")]
    assert all("==" in line and "://" not in line for line in lines)
    names = [line.partition("==")[0].lower() for line in lines]
    assert len(names) == len(set(names))
    assert not [line for line in lines if line.startswith("-")]
