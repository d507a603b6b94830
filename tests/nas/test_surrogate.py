"""A surrogate of a small made-up table, whose truth is known everywhere."""

from functools import cache

import numpy as np
import pytest

from effdl.nas.cell_classes import representatives
from effdl.nas.cell_space import EDGES, OPERATIONS, Cell
from effdl.nas.surrogate import Surrogate, cell_features, fit_surrogate
from effdl.nas.table import CellTable

CELLS = tuple(cell for form, cell in representatives().items() if form is not None)[
    ::17
]
ROWS = np.arange(len(CELLS))


def accuracy(cell: Cell) -> float:
    """Return a made-up accuracy: convolutions help, most on the last edges."""
    worth = {"none": 0, "avg_pool_3x3": 1, "skip_connect": 2}
    worth |= {"nor_conv_1x1": 4, "nor_conv_3x3": 6}
    weights = (1, 2, 1, 3, 2, 3)
    pairs = zip(weights, cell.operations, strict=True)
    return sum(weight * worth[name] for weight, name in pairs) / 100


def table_of(noise: float = 0.0, seeds: int = 2) -> CellTable:
    random = np.random.default_rng(1)
    truth = np.array([[accuracy(cell)] * seeds for cell in CELLS])
    validation = truth + noise * random.normal(size=truth.shape)
    parameters = np.array([float(cell.count("nor_conv_3x3")) for cell in CELLS])
    return CellTable(
        "made-up", CELLS, validation, validation, None, None, {"parameters": parameters}
    )


@cache
def fitted(share: float, **options: object) -> Surrogate:
    random = np.random.default_rng(0)
    rows = random.choice(ROWS, int(share * len(ROWS)), replace=False)
    return fit_surrogate(table_of(), rows, random, **options)


def test_features_say_what_is_where_and_how_often():
    """Written out: for each edge one of five operations, then the five counts."""
    cell = CELLS[-1]
    expected = [
        float(cell.operations[edge] == name)
        for edge in range(len(EDGES))
        for name in OPERATIONS
    ]
    expected += [float(cell.operations.count(name)) for name in OPERATIONS]
    assert cell_features(cell).tolist() == expected


def test_an_error_by_hand():
    """Truth 0.1, 0.3, 0.9; predicted 0.2, 0.9, 0.5: off by 0.1, 0.6, 0.4.

    The order 1, 3, 2 has a rank correlation of 1 - 6 (0 + 1 + 1) / (3 * 8) = 0.5, and
    who believes it takes 0.3 instead of 0.9.
    """
    truth = np.array([[0.0, 0.2], [0.3, 0.3], [0.8, 1.0], [0.4, 0.4]])
    table = CellTable("four", CELLS[:4], truth, None, None, None, {})
    predictions = np.array([0.2, 0.9, 0.5, 99.0])
    surrogate = Surrogate(table, np.array([0]), predictions)
    error = surrogate.error(np.arange(3))
    assert error.mean_absolute == pytest.approx((0.1 + 0.6 + 0.4) / 3)
    assert error.largest == pytest.approx(0.6)
    assert error.rank_correlation == pytest.approx(0.5)
    assert error.regret == pytest.approx(0.6)
    assert surrogate.unseen().tolist() == [1, 2, 3]
    assert surrogate.predict(CELLS[2]) == 0.5


def test_trained_on_everything_it_is_the_table():
    """100 trees that each take a tenth of the error leave 0.9^100 = 3e-5 of it."""
    surrogate = fitted(1.0, depth=None, trees=100)
    error = surrogate.error(ROWS)
    spread = np.ptp(table_of().mean("validation"))
    assert error.largest < 3e-5 * spread
    assert error.rank_correlation == pytest.approx(1, abs=1e-3)
    assert error.regret == 0


def test_one_tree_takes_its_share_of_the_error():
    surrogate = fitted(1.0, depth=None, trees=1, learning_rate=0.25)
    truth = table_of().mean("validation")
    expected = truth.mean() + 0.25 * (truth - truth.mean())
    np.testing.assert_allclose(surrogate.predictions, expected, rtol=1e-6)


def test_cells_it_never_saw_are_predicted_better_than_by_the_mean():
    surrogate = fitted(0.5)
    unseen = surrogate.unseen()
    assert len(unseen) + len(surrogate.trained_on) == len(ROWS)
    assert not set(unseen) & set(surrogate.trained_on)
    error = surrogate.error(unseen)
    truth = table_of().mean("validation")
    assert error.mean_absolute < 0.4 * np.abs(truth - truth.mean()).mean()
    assert error.rank_correlation > 0.9
    assert error.mean_absolute > surrogate.error(surrogate.trained_on).mean_absolute


def test_more_rows_and_deeper_trees_follow_the_truth_more_closely():
    errors = [
        fitted(share, trees=100).error(ROWS).mean_absolute for share in (0.1, 0.4, 1.0)
    ]
    assert errors == sorted(errors, reverse=True)
    seen = [fitted(0.5, depth=d, trees=100).error(ROWS).mean_absolute for d in (1, 3)]
    assert seen == sorted(seen, reverse=True)


def test_several_seeds_are_learnt_by_their_mean():
    table = table_of(noise=0.02, seeds=3)
    random = np.random.default_rng(0)
    surrogate = fit_surrogate(table, ROWS, random, depth=None, trees=150)
    np.testing.assert_allclose(
        surrogate.predictions, table.mean("validation"), atol=1e-5
    )


def test_cells_of_equal_function_get_equal_predictions():
    """An edge out of a node that nothing reaches changes no output."""
    surrogate = fitted(0.5)
    known = next(
        cell
        for cell in CELLS
        if cell.operations[0] == "none" and cell.operations[2] == "none"
    )
    names = list(known.operations)
    names[2] = "nor_conv_3x3"  # from node 1, which holds nothing
    twin = Cell(tuple(names))
    assert twin not in CELLS
    assert surrogate.predict(twin) == surrogate.predict(known)


def test_the_surrogate_can_stand_in_for_its_table():
    surrogate = fitted(0.5)
    table = surrogate.table()
    assert table.name == "surrogate of made-up"
    assert table.lacks == ("test", "curves", "losses")
    assert table.validation.shape == (len(CELLS), 1)
    assert table.mean("validation").tolist() == surrogate.predictions.tolist()
    np.testing.assert_array_equal(
        table.need("parameters"), table_of().need("parameters")
    )


def test_the_same_generator_gives_the_same_surrogate_and_rows_are_copied():
    rows = ROWS[::2].copy()
    table = table_of()
    one, other = (
        fit_surrogate(table, rows, np.random.default_rng(5), trees=30) for _ in range(2)
    )
    assert one.predictions.tolist() == other.predictions.tolist()
    rows[0] = 1
    assert one.trained_on[0] == 0


def test_the_generator_is_advanced_once():
    random, same = np.random.default_rng(5), np.random.default_rng(5)
    fit_surrogate(table_of(), ROWS, random, trees=1)
    same.integers(2**31)
    assert random.random() == same.random()


def fit(rows: list[int]) -> Surrogate:
    return fit_surrogate(
        table_of(), np.array(rows, dtype=np.int64), np.random.default_rng(0), trees=1
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: fit([]), f"rows must be one or more of 0 to {len(CELLS) - 1}"),
        (lambda: fit([0, len(CELLS)]), "rows must be one or more of 0 to"),
        (lambda: fit([-1, 3]), "rows must be one or more of 0 to"),
        (lambda: fit([3, 4, 3]), r"must not hold a row twice; use np\.unique"),
        (lambda: fit([0, 1]).error(np.array([4])), "rows must be 2 or more .* got 1"),
        (lambda: fit([0, 1]).predict(Cell(("none",) * 6)), "is disconnected"),
    ],
)
def test_bad_input_is_explained(call, message):
    with pytest.raises(ValueError, match=message):
        call()
