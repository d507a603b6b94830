"""The page on benchmarks: Table 2 as data, closed forms, forms of its numbers."""

import importlib
import itertools
import sys
from pathlib import Path

import pytest
import torch

from effdl.tables import load_benchmarks, load_search_methods

EXPERIMENTS = Path(__file__).parents[1] / "experiments"


@pytest.fixture
def numbers(monkeypatch):
    """The module experiments/nas_table_numbers.py, which is in no package."""
    monkeypatch.syspath_prepend(str(EXPERIMENTS))
    threads = torch.get_num_threads()
    yield importlib.import_module("nas_table_numbers")
    torch.set_num_threads(threads)
    for name in ("_numbers", "_results", "nas_table_numbers"):
        sys.modules.pop(name, None)


def test_sizes_that_follow_from_choices_do():
    """180^2 49^8 for the space of DARTS, 9^22 for that of FBNet."""
    sizes = [(row.benchmark, row.exact_size) for row in load_benchmarks()]
    for name in ("NAS-Bench-301", "NAS-Bench-311"):
        assert dict(sizes)[name] == pytest.approx(180**2 * 49**8, rel=0.01)
    fbnet = max(size for name, size in sizes if name == "HW-NAS-Bench")
    assert fbnet == pytest.approx(9**22, rel=0.001)


def test_every_erratum_of_table_2_is_named_in_its_row():
    named = {
        (row.benchmark, word.strip("."))
        for row in load_benchmarks()
        for word in row.note.replace(";", " ").replace(",", " ").split()
        if word.startswith("erratum-")
    }
    assert named == {
        ("NATS-Bench", "erratum-nats-size"),
        ("NAS-Bench-360", "erratum-tabular-definition"),
        ("NAS-Bench-NLP", "erratum-tabular-definition"),
        ("NAS-Bench-Graph", "erratum-nbgraph-metrics"),
        ("HW-NAS-Bench", "erratum-hwnas-metrics"),
    }


def test_the_same_metrics_stand_where_the_survey_prints_them():
    """NATS-Bench has those of NAS-Bench-201; three rows refer to one, or have none."""
    rows = {row.benchmark: row for row in load_benchmarks()}
    assert rows["NATS-Bench"].metrics == rows["NAS-Bench-201"].metrics
    assert len(rows["NAS-Bench-201"].metrics) == 9
    assert len(rows["NAS-Bench-111"].metrics) == 6
    assert rows["NAS-Bench-311"].metrics == rows["NAS-Bench-NLP11"].metrics
    assert rows["NAS-Bench-360"].metrics == ()


def test_the_choices_of_the_smallest_one_shot_space_by_listing_them(numbers):
    """Node 1 reads 1 of 1, node 2 reads 2 of 2, then 2 of 3, of 4 and of 5."""
    chosen = [
        list(itertools.combinations(range(node), count))
        for node, count in enumerate((1, 2, 2, 2, 2), start=1)
    ]
    wired = sum(1 for _ in itertools.product(*chosen))
    assert numbers.one_shot(0) == wired * 3**4 == 14_580
    assert numbers.one_shot(1) == 29_160


def test_the_space_of_darts_by_hand(numbers):
    assert numbers.darts_space() == 180**2 * 49**8


def test_what_fits_a_laptop_is_what_has_at_most_two_billion_rows(numbers):
    fitting = {(row.benchmark, row.exact_size) for row in numbers.fitting()}
    assert len(fitting) == 9
    assert all(size <= 2e9 for _, size in fitting)
    left = [r for r in load_benchmarks() if (r.benchmark, r.exact_size) not in fitting]
    assert all(row.exact_size is None or row.exact_size > 2e9 for row in left)


def test_the_median_search_by_gradient_is_that_of_table_1(numbers):
    hours = sorted(
        m.hours for m in load_search_methods() if m.strategy == "Gradient" and m.hours
    )
    middle = (hours[5] + hours[6]) / 2
    assert len(hours) == 12
    assert numbers.TABLES["search_gradient"]() == (middle, f"{middle:.0f}")


@pytest.mark.parametrize(
    ("function", "value", "text"),
    [
        ("digits", 48_393, "48,393"),
        ("decimal", 0.73241, "0.73"),
        ("share", 0.7326, "73.3 %"),
        ("points", 0.005, "0.5"),
        ("milliseconds", 0.05909, "59.1 ms"),
        ("milliseconds", -2e-17, "0.0 ms"),
        ("power", 9.848e20, "9.85 x 10²⁰"),
        ("power", 1.4322e-49, "1.43 x 10⁻⁴⁹"),
    ],
)
def test_numbers_are_printed_as_promised(numbers, function, value, text):
    assert getattr(numbers, function)(value)[1] == text
