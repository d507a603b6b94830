"""The numbers that the pages print about training sparse networks.

Of the variants of a method the one with the best mean validation accuracy is taken, for
each sparsity; its test accuracy is printed. Barriers are those of the training loss.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from itertools import pairwise
from statistics import mean, stdev

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Adam

from _numbers import Answer, fill_numbers
from _results import Row, read_table
from effdl.data.files import data_path
from effdl.prune.bezier import BezierPath, barrier, losses_along
from effdl.prune.masks import Masks, masks_of, prune_
from effdl.seed import seeded
from effdl.train import fit
from sparse_training import DENSE, METHODS, digits, fine_tuned, new, train

SOURCES = ("results/sparse_training.csv",)
PLACES = [step / 20 for step in range(21)]
SEEDS, BARRIER_SPARSITY = 3, 0.9
KEYS = {"0.9": "90", "0.97": "97", "0": "dense"}


@cache
def chosen(method: str, sparsity: str) -> tuple[Row, ...]:
    """Return the rows of the variant that validates best, by seed."""
    table = read_table(data_path(SOURCES[0]))
    rows = [r for r in table if (r["method"], r["sparsity"]) == (method, sparsity)]
    variants: dict[str, list[Row]] = {}
    for row in sorted(rows, key=lambda row: int(row["seed"])):
        variants.setdefault(row["variant"], []).append(row)
    best = max(variants.values(), key=lambda v: mean(float(r["validation"]) for r in v))
    return tuple(best)


def tests(method: str, sparsity: str) -> list[float]:
    """Return the test accuracies in per cent, by seed."""
    return [100 * float(row["test"]) for row in chosen(method, sparsity)]


def test(method: str, sparsity: str) -> Answer:
    """Return the mean test accuracy and its standard deviation over seeds."""
    found = tests(method, sparsity)
    return mean(found), f"{mean(found):.1f} ± {stdev(found):.1f} %"


def variant(method: str, sparsity: str) -> Answer:
    """Return the name of the variant that was chosen."""
    return 0, chosen(method, sparsity)[0]["variant"]


def gain(method: str, other: str, sparsity: str) -> Answer:
    """Return the mean difference between two methods, seed by seed, in points."""
    pairs = zip(tests(method, sparsity), tests(other, sparsity), strict=True)
    found = [ours - theirs for ours, theirs in pairs]
    rounded = round(mean(found), 1) + 0.0  # never -0.0
    return mean(found), f"{rounded:+.1f} ± {stdev(found):.1f}"


def ends(seed: int) -> tuple[nn.Module, nn.Module, nn.Module]:
    """Return three networks with one mask: untrained, from new weights, fine-tuned.

    The first has the weights that the fine-tuned network once began with.
    """
    tuned = fine_tuned(seed, BARRIER_SPARSITY, 1.0)
    start, scratch = new(seed), new(seed + 1000)
    for net in (start, scratch):
        prune_(net, masks_of(tuned))
    train(scratch, seed + 100)
    return start, scratch, tuned


def height(start: nn.Module, end: nn.Module, masks: Masks | None, seed: int) -> float:
    """Return the barrier of a trained curve."""
    path = BezierPath(start, end, masks=masks)

    def loss_of(inputs: Tensor, targets: Tensor) -> Tensor:
        return F.cross_entropy(path(inputs), targets)

    batches = digits().train.batches(100, seed=seed)
    with seeded(seed):
        fit(path, loss_of, batches, Adam(path.parameters(), 5e-3), epochs=15)
    return barrier(losses_along(path, digits().train, PLACES), PLACES)


@cache
def barriers(seed: int) -> dict[str, float]:
    """Return the barriers of three paths, and the rise from the start to the end."""
    start, scratch, tuned = ends(seed)
    line = losses_along(BezierPath(scratch, tuned), digits().train, PLACES)
    down = losses_along(BezierPath(start, tuned), digits().train, PLACES)
    return {
        "line": barrier(line, PLACES),
        "sparse": height(scratch, tuned, masks_of(tuned), seed),
        "dense": height(scratch, tuned, None, seed),
        "rise": max(0.0, *(later - earlier for earlier, later in pairwise(down))),
    }


def mean_barrier(kind: str) -> Answer:
    """Return the mean barrier over seeds."""
    found = mean(barriers(seed)[kind] for seed in range(SEEDS))
    return found, f"{found:.2f}"


def in_order() -> Answer:
    """Return in how many seeds dense is at most sparse, and sparse at most the line."""
    found = [barriers(seed) for seed in range(SEEDS)]
    count = sum(b["dense"] <= b["sparse"] <= b["line"] for b in found)
    return count, f"{count} of {SEEDS}"


def falling() -> Answer:
    """Return in how many seeds the loss falls all the way from the start."""
    count = sum(barriers(seed)["rise"] == 0 for seed in range(SEEDS))
    return count, f"{count} of {SEEDS}"


def key_of(*words: str) -> str:
    """Return a key of the pages."""
    return "_".join(("sparse", *words)).replace("-", "_")


NUMBERS: dict[str, Callable[[], Answer]] = {}
for _method in METHODS:
    for _sparsity in ("0",) if _method in DENSE else ("0.9", "0.97"):
        _place = KEYS[_sparsity]
        NUMBERS[key_of("test", _method, _place)] = partial(test, _method, _sparsity)
        if len(METHODS[_method]) > 1:
            key = key_of("variant", _method, _place)
            NUMBERS[key] = partial(variant, _method, _sparsity)
for _method, _other in (
    ("fine-tuned", "re-initialised"),
    ("gradual", "fine-tuned"),
    ("iterative", "fine-tuned"),
    ("rigl", "static"),
    ("rigl", "set"),
    ("set", "static"),
    ("ghosts", "static"),
    ("skips", "static"),
    ("neurons", "static"),
    ("labels", "static"),
    ("rescaled", "static"),
    ("gradual", "rigl"),
):
    for _sparsity in ("0.9", "0.97"):
        key = key_of("gain", _method, _other, KEYS[_sparsity])
        NUMBERS[key] = partial(gain, _method, _other, _sparsity)
NUMBERS["sparse_gain_dsd"] = partial(gain, "dsd", "dense", "0")
for _kind in ("line", "sparse", "dense"):
    NUMBERS[f"sparse_barrier_{_kind}"] = partial(mean_barrier, _kind)
NUMBERS["sparse_barrier_order"] = in_order
NUMBERS["sparse_barrier_falling"] = falling


if __name__ == "__main__":
    torch.set_num_threads(1)
    fill_numbers(__file__, NUMBERS, SOURCES)
