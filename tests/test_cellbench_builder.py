"""The builder of the cell benchmark: resumes, loses nothing, names what is damaged."""

import sys
from pathlib import Path

import numpy as np
import pytest

EXPERIMENTS = Path(__file__).parents[1] / "experiments"


@pytest.fixture
def builder(monkeypatch, tmp_path):
    """experiments/build_cellbench.py on tiny data, writing to an empty folder."""
    monkeypatch.syspath_prepend(EXPERIMENTS)
    import build_cellbench
    from effdl.data.digits import small_digits

    few = small_digits(n_train=100, n_validation=1000, n_test=2000)
    monkeypatch.setattr(build_cellbench, "FOLDER", tmp_path)
    monkeypatch.setattr(build_cellbench, "scenes", lambda: few)
    monkeypatch.setattr(build_cellbench, "DATA", tmp_path)
    monkeypatch.setattr(build_cellbench, "trained_classes", lambda: [75, 25, 50])
    (tmp_path / "shards").mkdir()
    yield build_cellbench
    for name in ("build_cellbench", "_shards", "_results"):
        sys.modules.pop(name, None)


@pytest.fixture
def shards(builder):
    import _shards

    return _shards


def run(builder, monkeypatch, *arguments) -> None:
    monkeypatch.setattr(sys, "argv", ["build_cellbench.py", "--jobs", "1", *arguments])
    builder.main()


def filled(shards, builder) -> np.ndarray:
    table = shards.read_table(builder.FOLDER, builder.trained_classes())
    return table["test"] != shards.MISSING


def test_a_run_fills_the_table_and_a_second_one_does_nothing(
    builder, shards, monkeypatch, capsys
):
    run(builder, monkeypatch, "--seeds", "0", "2")
    assert filled(shards, builder).tolist() == [[True, False, True, False, False]] * 3
    assert not list((builder.FOLDER / "shards").iterdir())
    before = (builder.FOLDER / "trainings.npz").read_bytes()
    run(builder, monkeypatch, "--seeds", "0", "2")
    assert "0 trainings to do" in capsys.readouterr().out
    assert (builder.FOLDER / "trainings.npz").read_bytes() == before


def test_a_run_goes_on_where_one_was_stopped(builder, shards, monkeypatch):
    monkeypatch.setattr(builder, "SHARD", 1)
    run(builder, monkeypatch, "--seeds", "0", "--minutes", "0")
    assert filled(shards, builder).sum() < 3
    run(builder, monkeypatch, "--seeds", "0")
    assert filled(shards, builder).sum() == 3


def test_a_shard_that_was_not_packed_is_not_lost(builder, shards, monkeypatch):
    builder.train_shard([(25, 1)])
    run(builder, monkeypatch, "--seeds", "0")
    assert filled(shards, builder)[1].tolist() == [True, True, False, False, False]


def test_the_best_are_chosen_on_validation(builder, shards, monkeypatch):
    run(builder, monkeypatch, "--seeds", "0")
    table = shards.read_table(builder.FOLDER, builder.trained_classes())
    best = int(table["curves"][:, 0, -1].argmax())
    jobs = builder.missing_jobs(builder.trained_classes(), [1], 1)
    assert jobs == [(builder.trained_classes()[best], 1)]


def test_what_is_packed_is_what_was_trained(builder, shards):
    from effdl.nas.cell_space import Cell

    builder.train_shard([(25, 3)])
    shards.pack(builder.FOLDER, [75, 25, 50])
    table = shards.read_table(builder.FOLDER, [75, 25, 50])
    losses, curve, test = builder.train_one(Cell.numbered(25), 3, builder.scenes())
    assert table["losses"][1, 3] / 1e4 == pytest.approx(losses, abs=1e-4)
    assert table["curves"][1, 3].tolist() == [round(1000 * share) for share in curve]
    assert table["test"][1, 3] == round(2000 * test)


def test_a_card_would_give_the_same(builder, shards, monkeypatch):
    """The stacked path, on the processor: the same numbers but for rounding."""
    processor = builder.torch.device("cpu")
    monkeypatch.setattr(builder.torch, "device", lambda _: processor)
    monkeypatch.setattr(builder.torch.cuda, "get_device_name", lambda: "no card")
    jobs = [(75, 0), (25, 0)]
    assert list(builder.on_card(jobs)) == [2]
    shards.pack(builder.FOLDER, [75, 25, 50])
    stacked = shards.read_table(builder.FOLDER, [75, 25, 50])["losses"][:2, 0]
    (builder.FOLDER / "trainings.npz").unlink()
    builder.train_shard(jobs)
    shards.pack(builder.FOLDER, [75, 25, 50])
    alone = shards.read_table(builder.FOLDER, [75, 25, 50])["losses"][:2, 0]
    assert stacked[:, 0] / 1e4 == pytest.approx(alone[:, 0] / 1e4, abs=2e-3)
    assert "no card" in (builder.FOLDER / "provenance.csv").read_text()


@pytest.mark.parametrize("kept", [0, 100, -1])
def test_a_shard_cut_short_is_named_and_nothing_is_lost(builder, shards, kept):
    builder.train_shard([(25, 0)])
    builder.train_shard([(50, 0)])
    first, second = sorted((builder.FOLDER / "shards").iterdir())
    second.write_bytes(second.read_bytes()[:kept])
    with pytest.raises(ValueError, match=f"shard {second.name} is damaged .*delete it"):
        shards.pack(builder.FOLDER, [75, 25, 50])
    assert first.exists()
    second.unlink()
    assert shards.pack(builder.FOLDER, [75, 25, 50]) == 1


def test_a_table_of_other_cells_is_not_touched(builder, shards):
    builder.train_shard([(25, 0)])
    shards.pack(builder.FOLDER, [75, 25, 50])
    with pytest.raises(ValueError, match=r"trainings.npz is of other cells"):
        shards.pack(builder.FOLDER, [25, 75, 50])


def test_a_shard_is_whole_or_not_there(builder, monkeypatch):
    def fail(*_args, **_kwargs):
        raise OSError("disk full")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        builder.train_shard([(25, 0)])
    assert not list((builder.FOLDER / "shards").glob("*.npz"))
