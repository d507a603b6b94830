"""What each differentiable search finds in the cell benchmark, and for what.

The setting works: half of the training scenes for the weights, half for the
architecture, one cell in each stage as in the benchmark, 20 epochs. Every case is one
search. The benchmark's validation part chooses between cells, its test part reports.

    validation, test   mean accuracies of the found cell over all of its trainings
    below              share of all cells with a lower mean test accuracy
    regret             test accuracy that is missing to the best cell by validation
    search_seconds     of the CPU, with the tuning of PT-DARTS, without its evaluations
    random_test        what random search finds in the same seconds, in expectation
    mixture, discrete  validation accuracy of the supernet as the run left it: with the
                       weights that are kept, and with one operation on each edge
"""

from __future__ import annotations

from functools import cache

import numpy as np
import torch

from _results import Case, fill_table, seeds_from_command_line
from _searches import METHODS, Setting, looked_up
from effdl.data.digits import Split, small_digits
from effdl.nas.cell_space import OPERATIONS
from effdl.nas.cellbench import load_cellbench
from effdl.nas.gradient.found_cell import inherited_accuracy
from effdl.nas.gradient.search import SMALL_RATES
from effdl.nas.random_search import expected_best
from effdl.seed import seeded

LEFT_OUT = ("FairDARTS, open gates", "RobustDARTS, L2")


@cache
def setting() -> Setting:
    """Return what all methods search on."""
    scenes = small_digits().train
    halves = (Split(scenes.inputs[i::2], scenes.targets[i::2]) for i in (0, 1))
    return Setting(*halves, rates=SMALL_RATES, cells=1, epochs=20)


@cache
def random_test(seconds: float) -> float:
    """Return the expected test accuracy of random search within so many seconds.

    It chooses by the validation accuracy of seed 0; other seeds report.
    """
    table = load_cellbench()
    cells = max(1, int(seconds / table.need("seconds").mean()))
    others = np.nanmean(table.need("test")[:, 1:], axis=1)
    return expected_best(table.need("validation")[:, 0], cells, reported=others)


def measure(method: str, seed: int) -> Case:
    """Return what one method finds in one search."""
    with seeded(seed):
        run, epochs, cell = METHODS[method](setting(), seed)
        wide = len(run.architecture.candidates[0]) > len(OPERATIONS)
        weights = run.architecture.one_hot(cell.operations)
        judged = small_digits().validation
        mixture = inherited_accuracy(run.supernet, epochs[run.kept].weights, judged)
        discrete = inherited_accuracy(run.supernet, weights, judged)
    table = load_cellbench()
    tests = table.mean("test")
    best = tests[table.mean("validation").argmax()]
    test = looked_up(cell, "test")
    return {
        "epochs": len(epochs),
        "skips": cell.count("skip_connect"),
        "validation": looked_up(cell, "validation"),
        "test": test,
        "below": float((tests < test).mean()),
        "regret": float(best - test),
        "search_seconds": run.seconds,
        "random_test": random_test(round(run.seconds)),
        "mixture": np.nan if wide else mixture,
        "discrete": discrete,
        "cell": str(cell),
    }


if __name__ == "__main__":
    torch.set_num_threads(1)
    seeds = seeds_from_command_line(__doc__)
    names = [name for name in METHODS if name not in LEFT_OUT]
    cases = [{"method": name, "seed": seed} for seed in seeds for name in names]
    fill_table(__file__, cases, measure)
