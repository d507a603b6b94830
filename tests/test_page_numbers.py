"""Tables of numbers for the pages: made again when what they were read from changes."""

import csv
import importlib
import math
import sys
from pathlib import Path

import pytest
import torch

from effdl.data.files import data_path, write_sums
from effdl.networks_table import load_networks

EXPERIMENTS = Path(__file__).parents[1] / "experiments"
HELPERS = ("_numbers", "_results", "network_numbers")


@pytest.fixture
def scripts(monkeypatch):
    """Import a module of experiments/, which is no package."""
    monkeypatch.syspath_prepend(str(EXPERIMENTS))
    threads = torch.get_num_threads()
    yield importlib.import_module
    torch.set_num_threads(threads)
    for name in HELPERS:
        sys.modules.pop(name, None)


@pytest.fixture
def data(tmp_path) -> Path:
    """A data folder with one source, and a script beside it."""
    folder = tmp_path / "data"
    folder.mkdir()
    (tmp_path / "twice.py").write_text('"""Twice."""\n')
    write_source(folder, "3")
    return folder


def write_source(data: Path, text: str) -> None:
    (data / "source.txt").write_text(text)
    write_sums(data, ["source.txt"])


def read(path: Path) -> list[tuple[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return [(row["key"], row["text"]) for row in csv.DictReader(file)]


def test_numbers_are_made_again_when_their_source_changes(scripts, data):
    fill_numbers = scripts("_numbers").fill_numbers
    calls = []

    def twice():
        calls.append("twice")
        value = 2 * int((data / "source.txt").read_text())
        return value, f"{value} apples"

    def fill(numbers):
        script = str(data.parent / "twice.py")
        return read(fill_numbers(script, numbers, ["source.txt"], data=data))

    assert fill({"twice": twice}) == [("twice", "6 apples")]
    assert fill({"twice": twice}) == [("twice", "6 apples")]
    assert len(calls) == 1
    more = {"twice": twice, "one": lambda: (1, "one")}
    assert fill(more) == [("twice", "6 apples"), ("one", "one")]
    assert len(calls) == 1
    write_source(data, "4")
    assert fill(more) == [("twice", "8 apples"), ("one", "one")]
    assert len(calls) == 2


@pytest.mark.parametrize(
    ("function", "value", "text"),
    [
        ("digits", 5_182_508, "5,182,508"),
        ("decimal", 48.944, "48.94"),
        ("share", 0.9596, "96.0 %"),
        ("percent", 72.0, "72.0 %"),
        ("deviation", 0.0309, "+3.1 %"),
        ("deviation", -0.0108, "-1.1 %"),
        ("deviation", -0.0004, "0.0 %"),
        ("points", 71.5 - 70.6, "0.9"),
        ("amount", 141_150_512, "141.2 million"),
        ("amount", 93_353_451_520, "93.35 billion"),
        ("megabytes", 4_993_696, "4.99 MB"),
        ("megabytes", 244_403_360, "244.4 MB"),
        ("mebibytes", 4_993_696, "4.76 MiB"),
        ("printed", "0.24e9", "0.24 billion"),
        ("printed", "569e6", "569 million"),
    ],
)
def test_numbers_are_printed_as_promised(scripts, function, value, text):
    assert getattr(scripts("network_numbers"), function)(value)[1] == text


def test_the_pages_print_what_was_counted():
    texts = dict(read(data_path("results/network_numbers.csv")))
    for network in load_networks():
        if network.our_params:
            printed = texts[f"net_{network.key}_params"]
            assert int(printed.replace(",", "")) == network.our_params
        if network.verdict:
            assert texts[f"net_{network.key}_verdict"] == network.verdict
        if network.survey_top1:
            assert texts[f"net_{network.key}_top1"] == f"{network.survey_top1} %"


def test_the_compressed_squeezenet_by_hand(scripts):
    """1,244,448 weights, 3,976 biases, 26 layers; a third of the weights is kept."""
    numbers = scripts("network_numbers")
    kept = 0.33 * 1_244_448
    assert numbers.kept() == pytest.approx(kept)
    by_hand = kept * (8 + 4) / 8 + 26 * 256 * 4 + 3_976 * 4
    assert numbers.compressed(8) == pytest.approx(by_hand)


def test_the_entropy_of_a_gap_is_that_of_its_distribution(scripts):
    """Gap g has the probability p (1 - p)^g; the sum ends where nothing is left."""
    numbers = scripts("network_numbers")
    p = numbers.DENSITY
    chances = [p * (1 - p) ** gap for gap in range(200)]
    entropy = -sum(chance * math.log2(chance) for chance in chances)
    assert numbers.gap_bits() == pytest.approx(entropy)


def test_no_network_of_the_pareto_set_is_beaten(scripts):
    numbers = scripts("network_numbers")
    best = {network.key for network in numbers.counted_pareto()}
    drawn = [network for network in load_networks() if network.figure == "3"]
    for mine in drawn:
        beaten = any(
            other.our_macs <= mine.our_macs and other.survey_top1 >= mine.survey_top1
            for other in drawn
            if other.key != mine.key
        )
        assert beaten is (mine.key not in best)
