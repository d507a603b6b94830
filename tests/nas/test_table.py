"""Tables of cells: who shares a row, what is lacking, what is refused."""

import numpy as np
import pytest

from effdl.nas.cell_classes import functional_form, representatives
from effdl.nas.cell_space import Cell, all_cells, sample_cell
from effdl.nas.table import CellTable


def table(cells, *, seeds=2, epochs=3, **changes) -> CellTable:
    random = np.random.default_rng(0)
    shape = (len(cells), seeds, epochs)
    curves = random.random(shape)
    parts = {
        "validation": curves[:, :, -1],
        "test": random.random(shape[:2]),
        "curves": curves,
        "losses": random.random(shape),
        "costs": {"macs": np.arange(len(cells), dtype=float)},
    }
    return CellTable("a table", tuple(cells), **(parts | changes))


@pytest.fixture
def whole() -> CellTable:
    return table([cell for form, cell in representatives().items() if form is not None])


def test_every_connected_cell_finds_the_row_of_its_function(whole):
    random = np.random.default_rng(1)
    for cell in (sample_cell(random) for _ in range(300)):
        form = functional_form(cell)
        if form is not None:
            assert functional_form(whole.cells[whole.row(cell)]) == form


def test_a_cell_that_is_itself_listed_has_its_own_row():
    """NAS-Bench-201's table lists all cells, those of equal function included."""
    cells = [cell for cell in all_cells() if cell.count("none") == 0][:300]
    rows = [table(cells).row(cell) for cell in cells]
    assert rows == list(range(300))
    assert len({functional_form(cell) for cell in cells}) < 300


def test_need_gives_what_the_table_was_made_of(whole):
    assert whole.need("losses") is whole.losses
    assert whole.need("macs").tolist() == list(range(len(whole)))
    assert whole.has == ("validation", "test", "curves", "losses", "macs")
    assert whole.lacks == ()


def test_a_table_says_what_it_lacks():
    poor = table([Cell(("skip_connect",) * 6)], test=None, curves=None, losses=None)
    assert poor.lacks == ("test", "curves", "losses")
    with pytest.raises(
        ValueError, match="a table lacks 'test'; it has validation, macs"
    ):
        poor.need("test")
    with pytest.raises(ValueError, match="lacks 'joules'"):
        poor.need("joules")


def test_the_mean_is_over_the_seeds_that_were_trained():
    cells = [Cell(("skip_connect",) * 6), Cell(("nor_conv_3x3",) * 6)]
    scores = np.array([[0.2, 0.4, np.nan], [0.5, 0.6, 0.7]])
    found = table(cells, seeds=3, epochs=4, validation=scores)
    assert found.mean("validation").tolist() == pytest.approx([0.3, 0.6])
    assert found.mean("curves").shape == (2, 4)


def test_disconnected_and_missing_cells_are_refused(whole):
    nothing = Cell(("none",) * 6)
    with pytest.raises(ValueError, match="is disconnected: no path leads from node 0"):
        whole.row(nothing)
    few = table([Cell(("skip_connect",) * 6)])
    missing = Cell(("nor_conv_1x1",) * 6)
    with pytest.raises(ValueError, match=r"no row for .*; it holds 1 cells"):
        few.row(missing)
    assert [few.has_row(cell) for cell in (nothing, missing, few.cells[0])] == [
        False,
        False,
        True,
    ]


@pytest.mark.parametrize("name", ["validation", "test", "curves", "losses"])
def test_arrays_of_another_length_are_refused(name):
    with pytest.raises(ValueError, match=f"{name} of a table must have 1 rows"):
        table([Cell(("skip_connect",) * 6)], **{name: np.zeros((2, 2, 2))})


def test_costs_of_another_length_are_refused():
    with pytest.raises(ValueError, match=r"macs of a table must have 1 rows.*got 3"):
        table([Cell(("skip_connect",) * 6)], costs={"macs": np.zeros(3)})
