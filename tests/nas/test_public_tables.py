"""The public tables: small copies joined by hand, and the real ones where cached."""

import io
import json
import zipfile

import numpy as np
import pytest

from effdl.nas import public_tables
from effdl.nas.cell_classes import live_edges
from effdl.nas.cell_space import Cell, all_cells
from effdl.nas.nas_bench_201 import nas_bench_201_net
from effdl.nas.public_files import CELL_ACCURACIES, CELL_LATENCIES, CELL_NUMBERS
from effdl.nas.public_tables import (
    DATASETS,
    load_hw_latencies,
    load_nas_bench_201,
    naslib_cell,
    network_counts,
)
from on_paper import counted_on_paper
from public_data import as_pt, put, skip_unless_cached

FIRST = "|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+"
FIRST += "|nor_conv_1x1~0|skip_connect~1|skip_connect~2|"
BEST = "|nor_conv_1x1~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+"
BEST += "|skip_connect~0|nor_conv_3x3~1|nor_conv_1x1~2|"
NUMBER = {  # as NASLib numbers the operations
    "skip_connect": 0,
    "none": 1,
    "nor_conv_3x3": 2,
    "nor_conv_1x1": 3,
    "avg_pool_3x3": 4,
}


def naslib_code(cell: Cell) -> str:
    """Return NASLib's way to write a cell: edges ordered by source, then target."""
    a01, a02, a12, a03, a13, a23 = (NUMBER[name] for name in cell.operations)
    return str((a01, a02, a03, a12, a13, a23))


def archive(parts: dict[str, list[dict[str, object]]]) -> bytes:
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w") as file:
        file.writestr("zen/", "")
        for name, entries in parts.items():
            file.writestr(
                f"zen/benchmark--nasbench201--{name}.json", json.dumps(entries)
            )
    return memory.getvalue()


def accuracies(cells: list[Cell], shift: int) -> list[dict[str, object]]:
    """Return entries in which a cell's accuracy in per cent tells its number."""
    return [
        {"idx": "?", "arch": naslib_code(c), "val_accuracy": c.index / 200 + shift}
        for c in cells
    ]


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("EFFDL_CACHE", str(tmp_path))
    monkeypatch.delenv("EFFDL_ONLINE", raising=False)
    return tmp_path


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """All three tables, from whole files with made-up numbers in reverse order."""
    cells, cache = list(all_cells()), tmp_path_factory.mktemp("cache")
    content = archive({
        "cifar10--0": accuracies(cells[:9000], 0),
        "cifar10--9000": accuracies(cells[9000:], 0),
        "cifar100--0": accuracies(cells, 1),
        "ImageNet16-120--0": accuracies(cells, 2),
    })
    numbers = {str(cell): 15_624 - cell.index for cell in cells}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EFFDL_CACHE", str(cache))
        file = put(cache, CELL_ACCURACIES, content)
        patch.setattr(public_tables, "CELL_ACCURACIES", file)
        use_latencies(cache, patch, numbers, range(15_625))
        return {name: load_nas_bench_201(name, online=False) for name in DATASETS}


def use_latencies(cache, patch, numbers: dict[str, int], values) -> None:
    """Give device after device these milliseconds, plus 100, 101 and 102."""
    file = put(cache, CELL_NUMBERS, as_pt(numbers))
    patch.setattr(public_tables, "CELL_NUMBERS", file)
    files = {
        device: put(cache, download, as_pt([float(v + base) for v in values]))
        for base, (device, download) in enumerate(CELL_LATENCIES.items(), start=100)
    }
    patch.setattr(public_tables, "CELL_LATENCIES", files)


@pytest.mark.parametrize(("dataset", "shift"), [("cifar10", 0), ("cifar100", 1)])
def test_accuracy_and_latency_of_a_cell_are_joined_by_its_string(
    tables, dataset, shift
):
    table = tables[dataset]
    assert len(table) == 15_625
    for number in (0, 1, 8999, 9000, 15_624):
        cell = Cell.numbered(number)
        row = table.row(cell)
        assert table.cells[row] == cell
        assert table.validation[row] == pytest.approx([number / 20_000 + shift / 100])
        for base, device in enumerate(CELL_LATENCIES, start=100):
            seconds = table.need(f"latency_{device}")[row]
            assert seconds == pytest.approx((15_624 - number + base) / 1000)


def test_the_table_says_what_it_lacks(tables):
    table = tables["cifar10"]
    assert table.lacks == ("test", "curves", "losses")
    for name in ("test", "curves", "losses", "seconds"):
        with pytest.raises(
            ValueError, match=f"on cifar10 lacks '{name}'; it has valid"
        ):
            table.need(name)


def test_latencies_of_other_images_are_not_given(tables):
    table = tables["ImageNet16-120"]
    assert list(table.costs) == ["parameters", "macs"]
    assert table.validation[0] == pytest.approx([0.02])


def test_latencies_come_in_the_order_of_the_cells_that_are_asked_for(
    cache, monkeypatch
):
    first, second = Cell.numbered(7), Cell.numbered(3)
    use_latencies(cache, monkeypatch, {str(first): 1, str(second): 0}, [20, 30])
    seconds = load_hw_latencies("pixel3", [first, second, first])
    np.testing.assert_allclose(seconds, [0.131, 0.121, 0.131])


@pytest.mark.parametrize("number", [0, 1, 5, 25, 625, 3_111, 15_624])
def test_the_numbers_of_naslib_are_read_edge_by_edge(number):
    cell = Cell.numbered(number)
    assert naslib_cell(naslib_code(cell)) == cell


def test_a_code_by_hand():
    """1x1 on 0-1, 3x3 on 0-2, skip on 0-3, 3x3 on 1-2 and on 1-3, 1x1 on 2-3."""
    assert naslib_cell("(3, 2, 0, 2, 2, 3)") == Cell.parse(BEST)


@pytest.mark.parametrize(
    "names",
    [
        ("nor_conv_3x3",) * 6,
        ("nor_conv_1x1",) * 6,
        ("nor_conv_1x1", "nor_conv_3x3", "skip_connect") * 2,
    ],
)
@pytest.mark.parametrize(("classes", "side"), DATASETS.values(), ids=list(DATASETS))
def test_the_closed_forms_are_what_the_network_has(names, classes, side):
    cell = Cell(names)
    net, macs = counted_on_paper(lambda: nas_bench_201_net(cell, classes=classes), side)
    parameters = sum(p.numel() for p in net.parameters())
    assert network_counts(cell, classes=classes, side=side) == (parameters, macs)


def test_the_counts_of_the_table_are_those_of_its_data_set(tables):
    cell = Cell.parse(BEST)
    for dataset, (classes, side) in DATASETS.items():
        table = tables[dataset]
        row = table.row(cell)
        counts = table.costs["parameters"][row], table.costs["macs"][row]
        assert counts == network_counts(cell, classes=classes, side=side)


def test_the_first_cell_of_hw_nas_bench_has_the_latencies_of_its_read_me():
    """No. 0 on CIFAR-10, as printed there, in milliseconds."""
    skip_unless_cached(CELL_NUMBERS, *CELL_LATENCIES.values())
    printed = {"raspi4": 10.481976820010459, "pixel3": 3.60585, "eyeriss": 3.64562}
    for device, milliseconds in printed.items():
        seconds = load_hw_latencies(device, [Cell.parse(FIRST)])
        assert 1000 * seconds == pytest.approx([milliseconds], rel=1e-12)


def test_the_best_cell_on_cifar_100_is_the_known_one():
    skip_unless_cached(CELL_ACCURACIES, CELL_NUMBERS, *CELL_LATENCIES.values())
    table = load_nas_bench_201("cifar100")
    best = int(table.validation[:, 0].argmax())
    assert table.cells[best] == Cell.parse(BEST)
    assert table.validation[best] == pytest.approx([0.7326], abs=1e-6)


def test_a_disconnected_cell_guesses_and_no_other_edge_order_would_show_that():
    skip_unless_cached(CELL_ACCURACIES)
    table = load_nas_bench_201("ImageNet16-120")
    dead = [row for row, cell in enumerate(table.cells) if not live_edges(cell)]
    assert len(dead) == 341
    assert table.validation[dead] == pytest.approx(1 / 120, abs=1e-6)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: load_nas_bench_201("mnist"), "unknown data set 'mnist'.*cifar10"),
        (lambda: load_hw_latencies("abacus", []), "unknown device 'abacus'.*raspi4"),
        (lambda: naslib_cell("(1, 1, 2)"), r"malformed cell '\(1, 1, 2\)'"),
        (lambda: naslib_cell("(1, 1, 2, 0, 2, 5)"), "six numbers from 0 to 4"),
    ],
)
def test_bad_input_is_explained(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_an_archive_that_is_cut_short_is_refused(cache, monkeypatch):
    content = archive({"cifar10--0": accuracies(list(all_cells())[:250], 0)})
    file = put(cache, CELL_ACCURACIES, content)
    monkeypatch.setattr(public_tables, "CELL_ACCURACIES", file)
    with pytest.raises(ValueError, match="has 250 of the 15625 cells for cifar10"):
        load_nas_bench_201()


def test_latencies_that_are_cut_short_are_refused(cache, monkeypatch):
    use_latencies(cache, monkeypatch, {"a": 0, "b": 1, "c": 2}, [1, 2])
    with pytest.raises(ValueError, match="2 latencies on raspi4 do not fit 3 cells"):
        load_hw_latencies("raspi4", [])


def test_an_altered_archive_is_named_before_it_is_opened(cache):
    put(cache, CELL_ACCURACIES, b"another file")
    with pytest.raises(ValueError, match=r"nb201_zen\.zip is truncated or altered"):
        load_nas_bench_201(online=False)


def test_without_file_and_network_the_way_out_is_named(cache):
    with pytest.raises(FileNotFoundError, match=r"nb201_zen\.zip .*EFFDL_ONLINE=1"):
        load_nas_bench_201()
