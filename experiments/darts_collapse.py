"""What long searches find where skip connections take over, with and without a cure.

The setting that collapses: 300 images for the weights and 300 for the architecture, six
cells, constant learning rates of 0.1 and 0.03, 40 epochs. Every case is one search. The
cell it finds is looked up in the cell benchmark, after 8 epochs and at the end.

    skips            edges of the cell that is found which have a skip connection
    nones            edges where none has the largest logit; only the cells of open
                     gates can have a none
    skip_weight      the skip's share of the weights of an edge, mean over the edges, of
                     the architecture that is kept, with PT-DARTS before the selection;
                     the curve has all epochs
    kept             epoch, from 1, of the architecture that the method returns
    early_...        the same of the cell after 8 epochs: the largest logit of every
                     edge; of the last epoch if the search ended earlier
    note             largest eigenvalues, or the number of evaluations of a selection
"""

from __future__ import annotations

from functools import cache

from _results import Case, fill_table, seeds_from_command_line
from _searches import EARLY, METHODS, Setting, looked_up
from effdl.data.digits import Split, small_digits
from effdl.nas.cell_space import OPERATIONS
from effdl.nas.gradient.early_stopping import restore_
from effdl.nas.gradient.found_cell import found_cell
from effdl.nas.gradient.method import SearchEpoch
from effdl.nas.gradient.search import Rates
from effdl.seed import seeded

IMAGES = 300
SKIP = OPERATIONS.index("skip_connect")
NONE = OPERATIONS.index("none")
NOT_TRIED = (  # no cures
    *("second order", "second order, wide"),
    *("GDAS", "SNAS", "ProxylessNAS"),
)


@cache
def setting() -> Setting:
    """Return what all methods search on: the setting that collapses."""
    scenes = small_digits().train
    train, validation = (
        Split(scenes.inputs[a : a + IMAGES], scenes.targets[a : a + IMAGES])
        for a in (0, IMAGES)
    )
    rates = Rates(weights=0.1, weights_end=0.1, architecture=0.03)
    return Setting(train, validation, rates, cells=3, epochs=40)


def measure(method: str, seed: int) -> Case:
    """Return what one method finds in one search."""
    with seeded(seed):
        run, epochs, cell = METHODS[method](setting(), seed)
    kept = epochs[run.kept]
    logits = kept.logits[:, : len(OPERATIONS)]
    restore_(run.architecture, epochs[min(EARLY, len(epochs)) - 1])
    early = found_cell(run.architecture)
    curve = [skip_share(epoch) for epoch in epochs]
    return {
        "epochs": len(epochs),
        "kept": run.kept + 1,
        "skips": cell.count("skip_connect"),
        "nones": int((logits.argmax(dim=1) == NONE).sum()),
        "skip_weight": curve[run.kept],
        "validation": looked_up(cell, "validation"),
        "test": looked_up(cell, "test"),
        "early_skips": early.count("skip_connect"),
        "early_validation": looked_up(early, "validation"),
        "early_test": looked_up(early, "test"),
        "loss": epochs[-1].loss,
        "search_seconds": run.seconds,
        "cell": str(cell),
        "early_cell": str(early),
        "note": run.note,
        "curve": " ".join(f"{weight:.3f}" for weight in curve),
    }


def skip_share(epoch: SearchEpoch) -> float:
    """Return the mean share that the skip has of the weights of an edge."""
    weights = epoch.weights[:, : len(OPERATIONS)]  # without an auxiliary skip
    return float((weights[:, SKIP] / weights.sum(dim=1)).mean())


if __name__ == "__main__":
    seeds = seeds_from_command_line(__doc__)
    names = [name for name in METHODS if name not in NOT_TRIED]
    cases = [{"method": name, "seed": seed} for seed in seeds for name in names]
    fill_table(__file__, cases, measure)
