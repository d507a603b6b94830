"""The hill between two copies that split at step k, on digit scenes.

Two copies of one network go on from step k with the data in two orders. A row holds
the largest test error on the line between them, less the mean error of both, and the
same for two networks that began with different weights.
"""

from __future__ import annotations

from dataclasses import replace

from torch import nn

from _lottery import initial, recipe, test_accuracy
from _results import Case, fill_table, seeds_from_command_line
from effdl.prune.interpolation import barrier, errors_between
from effdl.prune.rewinding import at_step

STEPS = (0, 60, 180)  # of 600


def hill(first: nn.Module, second: nn.Module) -> float:
    """Return the barrier of the test error, 0 to 1."""
    return barrier(errors_between(first, second, lambda net: 1 - test_accuracy(net)))


def measure(step: int, seed: int) -> Case:
    """Return the barriers."""
    train = recipe(seed)
    ends = []
    for order in (1, 2):
        net = at_step(initial("mlp", seed), step, train=train)
        replace(train, seed=1000 * order + seed)(net, start=step)
        ends.append(net)
    other = initial("mlp", 1000 + seed)
    strangers: float | str = ""
    if step == 0:
        train(other)
        strangers = hill(ends[0], other)
    return {"barrier": hill(*ends), "strangers": strangers}


if __name__ == "__main__":
    seeds = seeds_from_command_line(__doc__)
    cases = [{"step": step, "seed": seed} for seed in seeds for step in STEPS]
    fill_table(__file__, cases, measure)
