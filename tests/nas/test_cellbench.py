"""The benchmark: complete, plausible, and what a training of today gives."""

import csv
import shutil

import numpy as np
import pytest

from effdl.data import files
from effdl.data.digits import small_digits
from effdl.data.files import data_folder, data_path, write_sums
from effdl.measure.count import parameter_count
from effdl.measure.macs import count_macs
from effdl.measure.memory import peak_activation_bytes
from effdl.nas import cellbench
from effdl.nas.cell_classes import functional_form, representatives
from effdl.nas.cell_net import small_cell_net
from effdl.nas.cell_space import Cell
from effdl.nas.cellbench import load_cellbench
from effdl.nas.ranking import spearman
from effdl.seed import seeded
from effdl.train import warm_up_cosine

FILES = (cellbench.TRAININGS, cellbench.COSTS)


@pytest.fixture(scope="module")
def table():
    return load_cellbench()


@pytest.fixture
def copied(tmp_path, monkeypatch):
    """A copy of the data that may be damaged."""
    (tmp_path / "cellbench").mkdir()
    for name in FILES:
        shutil.copy(data_path(name), tmp_path / name)
    write_sums(tmp_path)
    monkeypatch.setattr(cellbench, "data_path", tmp_path.joinpath)
    load_cellbench.cache_clear()
    yield tmp_path
    load_cellbench.cache_clear()


def test_every_connected_function_is_there_once(table):
    forms = {functional_form(cell) for cell in table.cells}
    assert len(forms) == len(table) == 5043
    assert forms == set(representatives()) - {None}


def test_every_class_has_seeds_and_the_best_and_the_unpooled_have_more(table):
    seeds = np.isfinite(table.need("test")).sum(axis=1)
    unpooled = [cell.count("avg_pool_3x3") == 0 for cell in table.cells]
    best = np.argsort(-table.mean("validation"), kind="stable")[:100]
    assert seeds.min() >= 2
    assert sum(unpooled) == 1010
    assert (seeds[unpooled] == 5).all()
    assert (seeds[best] >= 3).all()


def test_a_training_is_known_altogether_or_not_at_all(table):
    done = np.isfinite(table.need("test"))
    for name in ("validation", "test", "curves", "losses"):
        values = table.need(name)
        assert (np.isfinite(values).reshape(5043, 5, -1).all(axis=2) == done).all()
        if name != "losses":
            assert np.nanmin(values) >= 0
            assert np.nanmax(values) < 0.95
    last = table.need("curves")[:, :, -1]
    assert (last[done] == table.need("validation")[done]).all()


def test_training_lowers_the_loss_of_nearly_every_cell(table):
    losses = table.mean("losses")
    assert (losses[:, -1] < losses[:, 0]).all()
    assert np.mean(losses[:, -1] < 0.5 * losses[:, 0]) > 0.5


def test_a_query_is_a_training_within_rounding(table):
    """The first epoch of ten, trained here: the loss that the table holds."""
    digits = small_digits()
    for number, seed in ((11593, 0), (700, 4), (14846, 1)):  # the last one pools
        cell = Cell.numbered(number)
        found = table.need("losses")[table.row(cell), seed, 0]
        assert first_epoch(cell, seed, digits) == pytest.approx(found, abs=1e-3)


def first_epoch(cell, seed, digits) -> float:
    """Return the mean loss of the first epoch, written out without the library."""
    import torch
    import torch.nn.functional as F

    with seeded(seed):
        net = small_cell_net(cell)
    sgd = torch.optim.SGD(net.parameters(), 0.1, 0.9, 0, 5e-4, nesterov=True)
    losses = []
    for step, (x, y) in enumerate(digits.train.batches(100, seed=seed)):
        sgd.param_groups[0]["lr"] = 0.1 * warm_up_cosine(step, 300)
        loss = F.cross_entropy(net(x), y)
        sgd.zero_grad()
        loss.backward()
        sgd.step()
        losses.append(loss.item())
    return sum(losses) / len(losses)


def test_costs_are_those_of_the_networks(table):
    for row in (0, 1500, 4000):
        net, image = small_cell_net(table.cells[row]), small_digits().test.inputs[:1]
        assert table.need("parameters")[row] == parameter_count(net)
        assert table.need("macs")[row] == count_macs(net, image).total
        assert table.need("peak_bytes")[row] == peak_activation_bytes(net, image)


def test_parameters_and_macs_follow_from_the_counts(table):
    """A k x k convolution adds C (k k C + 2) parameters and H W C k k C MACs a cell."""
    ones = np.array([cell.count("nor_conv_1x1") for cell in table.cells])
    threes = np.array([cell.count("nor_conv_3x3") for cell in table.cells])
    added = sum(c * ((c + 2) * ones + (9 * c + 2) * threes) for c in (8, 16))
    stem, reduction, last, linear = 8 * 9 + 16, 16 * 8 * 9 + 32, 32, 170
    expected = added + stem + reduction + last + linear
    assert table.need("parameters").tolist() == expected.tolist()
    per_cell = 36 * 64 + 9 * 256
    expected = 36 * 72 + 9 * 1152 + 160 + per_cell * (ones + 9 * threes)
    assert table.need("macs").tolist() == expected.tolist()


def test_the_noise_of_a_seed_is_less_than_what_cells_differ_by(table):
    test = table.need("test")
    noise = np.sqrt(np.nanvar(test, axis=1, ddof=1).mean())
    assert 0.005 < noise < 0.04
    assert table.mean("test").std() > 3 * noise
    assert 0.85 < spearman(test[:, 0], test[:, 1]) < 0.97


def test_bigger_cells_take_longer(table):
    for name in ("latency_1", "latency_64", "seconds"):
        assert (table.need(name) > 0).all()
        assert spearman(table.need("parameters"), table.need(name)) > 0.2


def test_the_origin_of_every_training_is_told(table):
    with data_path("cellbench/provenance.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    done = np.isfinite(table.need("test")).sum()
    assert sum(int(row["trainings"]) for row in rows) == done
    assert all(float(row["seconds"]) > 0 and row["processor"] for row in rows)


def test_the_benchmark_is_compact():
    folder = data_folder() / "cellbench"
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 5e6


@pytest.mark.parametrize("name", FILES)
def test_a_table_whose_sum_does_not_match_is_refused(name, copied, monkeypatch):
    monkeypatch.setattr(files, "data_folder", lambda: copied)
    monkeypatch.setattr(cellbench, "data_path", files.data_path)
    content = bytearray((copied / name).read_bytes())
    content[len(content) // 2] ^= 1
    (copied / name).write_bytes(content)
    with pytest.raises(ValueError, match=f"{name} is truncated or altered"):
        load_cellbench()


def test_a_table_cut_short_is_named(copied):
    path = copied / cellbench.TRAININGS
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(
        ValueError, match=r"trainings.npz cannot be read .*; restore it"
    ):
        load_cellbench()


def test_costs_of_other_cells_are_refused(copied):
    path = copied / cellbench.COSTS
    path.write_text("\n".join(path.read_text().split("\n")[:-2]) + "\n")
    with pytest.raises(ValueError, match="hold different cells"):
        load_cellbench()


def test_missing_trainings_are_not_a_number(copied):
    path = copied / cellbench.TRAININGS
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    arrays["test"][7, 3] = cellbench.MISSING
    np.savez(path, **arrays)
    found = load_cellbench()
    assert np.isnan(found.need("test")[7, 3])
    assert np.isfinite(found.mean("test")[7])
