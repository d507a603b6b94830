"""Tables of results: filled without halves, resumed, and made by the code of today."""

import ast
import csv
import importlib.util
import sys
from functools import cache
from pathlib import Path

import pytest
import torch

from effdl.blocks import plain_net
from effdl.data.files import SUMS, data_folder, read_sums
from effdl.measure.macs import count_macs
from effdl.reach import code_hash

ROOT = Path(__file__).parents[1]
EXPERIMENTS = ROOT / "experiments"
SCRIPTS = sorted(EXPERIMENTS.glob("[!_]*.py"))
ORIGIN = ["seconds", "command", "python", "torch", "numpy", "processor", "code_hash"]


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def tables() -> list[Path]:
    """Return the tables that a script of experiments/ made."""
    every = sorted((ROOT / "data" / "results").glob("*.csv"))
    return [path for path in every if "code_hash" in path.read_text().split("\n")[0]]


def load_results():
    """Return the module experiments/_results.py, which is in no package."""
    location = EXPERIMENTS / "_results.py"
    spec = importlib.util.spec_from_file_location("_results", location)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def results():
    threads = torch.get_num_threads()
    yield load_results()
    torch.set_num_threads(threads)


@pytest.fixture
def script(tmp_path) -> Path:
    path = tmp_path / "experiments" / "square.py"
    path.parent.mkdir()
    path.write_text('"""Squares."""\nPOWER = 2\n')
    return path


CASES = [{"x": x, "seed": seed} for seed in (0, 1) for x in (1, 2, 3)]


def filled(results, script: Path, cases=CASES, measure=None) -> list[dict[str, str]]:
    data = script.parents[1] / "data"
    measure = measure or (lambda x, seed: {"y": x * x, "share": x / 3})
    return read(results.fill_table(str(script), cases, measure, data=data))


def test_a_row_holds_case_results_and_origin(results, script):
    rows = filled(results, script)
    assert len(rows) == 6
    row = rows[1]
    assert list(row) == ["x", "seed", "y", "share", *ORIGIN]
    assert (row["x"], row["seed"], row["y"], row["share"]) == (
        "2",
        "0",
        "4",
        "0.666667",
    )
    assert row["command"] == "python experiments/square.py"
    assert row["torch"] == torch.__version__
    assert row["code_hash"] == code_hash(script.read_text())
    assert float(row["seconds"]) >= 0
    assert row["processor"]


def test_the_sum_of_the_table_is_noted_down(results, script):
    filled(results, script)
    data = script.parents[1] / "data"
    assert list(read_sums(data)) == ["results/square.csv"]
    assert sorted(path.name for path in data.rglob("*.*")) == ["square.csv"]


def test_an_interrupted_script_goes_on_where_it_was(results, script):
    calls = []

    def measure(x, seed):
        calls.append((x, seed))
        if len(calls) == 4:
            raise KeyboardInterrupt
        return {"y": x * x}

    with pytest.raises(KeyboardInterrupt):
        filled(results, script, measure=measure)
    table = script.parents[1] / "data" / "results" / "square.csv"
    assert [row["x"] for row in read(table)] == ["1", "2", "3"]
    rows = filled(results, script, measure=measure)
    assert len(rows) == 6
    assert calls == [(1, 0), (2, 0), (3, 0), (1, 1), (1, 1), (2, 1), (3, 1)]


def test_a_second_run_measures_nothing(results, script):
    before = filled(results, script)

    def never(x, seed):
        raise AssertionError((x, seed))

    assert filled(results, script, measure=never) == before


def test_a_sum_that_an_interrupted_run_did_not_note_is_noted_by_the_next(
    results, script, monkeypatch
):
    """Stopped between the table and its sum, with no row left to measure."""
    data = script.parents[1] / "data"

    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(results, "write_sums", stop)
        filled(results, script, cases=CASES[:1])
    assert not (data / SUMS).exists()
    filled(results, script, cases=CASES[:1])
    assert list(read_sums(data)) == ["results/square.csv"]


def test_more_seeds_are_added_to_those_that_are_there(results, script):
    filled(results, script, cases=CASES[:3])
    new = [{"x": x, "seed": 5} for x in (1, 2, 3)]
    rows = filled(results, script, cases=new)
    assert [row["seed"] for row in rows] == ["0"] * 3 + ["5"] * 3


def test_rows_made_by_other_code_are_made_again(results, script):
    filled(results, script)
    script.write_text('"""Squares."""\nPOWER = 3\n')
    rows = filled(results, script, measure=lambda x, seed: {"y": x**3})
    assert [row["y"] for row in rows] == ["1", "8", "27"] * 2
    assert {row["code_hash"] for row in rows} == {code_hash(script.read_text())}


def test_what_a_script_imports_from_its_folder_counts_but_for_the_filling(
    results, script
):
    script.write_text("from _helper import f\nfrom _results import fill_table\n")
    helper, deeper = (script.with_name(f"{name}.py") for name in ("_helper", "_deep"))
    helper.write_text("from _deep import g\nf = g\n")
    deeper.write_text("from _helper import f\ng = 1\n")  # a circle ends, too
    script.with_name("_results.py").write_text("fill_table = 1\n")
    first = results.hash_of_script(script)
    script.with_name("_results.py").write_text("fill_table = 2\n")
    assert results.hash_of_script(script) == first
    deeper.write_text("from _helper import f\ng = 2\n")
    second = results.hash_of_script(script)
    assert second != first
    helper.write_text('"""Prose."""\nfrom _deep import g\nf = g  # as it is\n')
    assert results.hash_of_script(script) == second
    helper.write_text("from _deep import g\nf = g + 1\n")
    assert results.hash_of_script(script) != second


def test_prose_in_the_script_changes_nothing(results, script):
    before = filled(results, script)
    script.write_text('"""Squares of numbers."""\n\nPOWER = 2  # as ever\n')
    assert filled(results, script, measure=None) == before


@pytest.mark.parametrize(
    ("cases", "measured", "message"),
    [
        ([{"x": 1}], {"y": 1}, "every case needs a seed"),
        ([{"x": 1, "seed": 0}], {"x": 1}, r"measure returned \['x'\]"),
        ([{"x": 1, "seed": 0}], {"numpy": 1}, r"measure returned \['numpy'\]"),
    ],
)
def test_bad_cases_are_explained(results, script, cases, measured, message):
    with pytest.raises(ValueError, match=message):
        filled(results, script, cases=cases, measure=lambda **_: measured)
    assert not (script.parents[1] / "data").exists()


def test_settings_that_a_script_no_longer_has_leave_the_table(results, script):
    filled(results, script)
    rows = filled(results, script, cases=[{"x": 2, "seed": 0}, {"x": 9, "seed": 0}])
    assert [(row["x"], row["seed"]) for row in rows] == [
        ("2", "0"),
        ("2", "1"),
        ("9", "0"),
    ]


@pytest.mark.parametrize(
    ("words", "seeds"), [([], [0, 1, 2]), (["--seeds", "4", "7"], [4, 7])]
)
def test_the_command_line_chooses_the_seeds(results, monkeypatch, words, seeds):
    monkeypatch.setattr(sys, "argv", ["script.py", *words])
    assert results.seeds_from_command_line("A table.") == seeds


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_every_script_says_what_it_is_for(path):
    assert ast.get_docstring(ast.parse(path.read_text()))


@cache
def hash_of(script: Path) -> str:
    return load_results().hash_of_script(script)


@pytest.mark.parametrize("path", tables(), ids=lambda path: path.stem)
def test_every_table_was_made_by_the_code_of_today(path):
    for row in read(path):
        script = ROOT / row["command"].split()[1]
        assert script.is_file(), f"{row['command']} is gone"
        assert row["code_hash"] == hash_of(script), "run: make experiments"
        assert int(row["seed"]) >= 0


@pytest.mark.parametrize("path", tables(), ids=lambda path: path.stem)
def test_no_case_stands_twice_in_a_table(path):
    """What identifies a row are the columns up to the seed."""
    rows = read(path)
    columns = list(rows[0])
    case = columns[: columns.index("seed") + 1]
    assert len({tuple(row[name] for name in case) for row in rows}) == len(rows)


def test_scripts_and_tables_go_together():
    assert {path.stem for path in SCRIPTS} >= {path.stem for path in tables()}
    assert {"layout", "width"} <= {path.stem for path in tables()}


def test_the_table_of_widths_shows_room_for_compression():
    """All seeds and widths are there, and narrow networks lose what wide ones keep."""
    rows = read(data_folder() / "results" / "width.csv")
    means = {}
    for data in ("moved", "cluttered", "small"):
        for width in (4, 8, 16, 24):
            chosen = [r for r in rows if (r["data"], int(r["width"])) == (data, width)]
            assert {row["seed"] for row in chosen} >= {"0", "1", "2"}
            means[width] = sum(float(row["test"]) for row in chosen) / len(chosen)
        assert means[4] + 0.02 < means[8] < means[24]
        assert means[8] < means[16]


def test_the_macs_in_the_table_of_widths_are_those_of_the_library():
    rows = read(data_folder() / "results" / "width.csv")
    sizes = {"moved": 16, "cluttered": 16, "small": 12}
    for data, width in {(row["data"], int(row["width"])) for row in rows}:
        size = sizes[data]
        macs = count_macs(plain_net(width).eval(), torch.zeros(1, 1, size, size)).total
        stored = {
            int(row["macs"])
            for row in rows
            if (row["data"], int(row["width"])) == (data, width)
        }
        assert stored == {macs}
