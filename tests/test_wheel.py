"""The wheel that Colab installs is whole: modules, types and data, and nothing else."""

import os
import subprocess
import sys
import zipfile

import pytest

from bundle import build_wheel
from common import ROOT

OUTSIDE = """
import effdl.checks
from effdl.data.files import data_path
from effdl.survey import load_index

print(effdl.__file__, data_path("results/width.csv"), len(load_index()), sep="\\n")
"""


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory):
    """The installed package, away from the checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    wheel = build_wheel(folder / "wheels")
    target = folder / "site"
    zipfile.ZipFile(wheel).extractall(target)
    return target


def test_every_module_and_every_table_travels(unpacked):
    inside = {str(p.relative_to(unpacked)) for p in unpacked.rglob("*") if p.is_file()}
    lib, data = ROOT / "lib", ROOT / "data"
    modules = {str(p.relative_to(lib)) for p in lib.rglob("*.py")}
    tables = {f"effdl/shipped/{p.relative_to(data)}" for p in data.rglob("*.csv")}
    assert modules | tables | {"effdl/py.typed"} <= inside
    extra = {
        p for p in inside - modules if not p.startswith(("effdl/shipped/", "effdl-"))
    }
    assert extra == {"effdl/py.typed"}


def test_the_data_is_found_without_a_checkout(unpacked, tmp_path):
    env = {**os.environ, "PYTHONPATH": str(unpacked)}
    command = [sys.executable, "-c", OUTSIDE]
    run = subprocess.run(
        command, cwd=tmp_path, env=env, capture_output=True, text=True, check=True
    )
    module, table, rows = run.stdout.split()
    assert module.startswith(str(unpacked))
    assert table.startswith(str(unpacked / "effdl" / "shipped"))
    assert int(rows) > 0


def test_it_asks_for_ranges_and_never_for_a_version(unpacked):
    metadata = next(unpacked.glob("effdl-*.dist-info/METADATA")).read_text()
    wanted = [x for x in metadata.splitlines() if x.startswith("Requires-Dist")]
    assert wanted
    ranges = [line.partition(";")[0] for line in wanted]
    assert not [wide for wide in ranges if "==" in wide or "<" in wide]
