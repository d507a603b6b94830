"""Is it worth learning which connections a group keeps? Four ways to the same sparsity.

    dense      never condensed: four times the weights in the condensing layers
    learned    condensed in stages during the first half of training, as in the paper
    arbitrary  condensed before training, by the random weights of the start
    cut        trained dense, condensed at the end, not trained afterwards

All four start from the same weights for a seed and see the batches in the same order.
"""

from __future__ import annotations

from _results import Case, fill_table, seeds_from_command_line
from effdl.conv.condensing import condense_fully_, condense_on_schedule, deploy
from effdl.data.digits import moved_digits
from effdl.measure.count import parameter_count
from effdl.measure.macs import count_macs
from effdl.nets.condensenet_v1 import small_condensenet_v1
from effdl.seed import seeded
from effdl.train import accuracy, train_classifier

WAYS = ("dense", "learned", "arbitrary", "cut")


def measure(way: str, seed: int) -> Case:
    """Return accuracies and cost of one network."""
    digits = moved_digits()
    with seeded(seed):
        net = small_condensenet_v1()
    if way == "arbitrary":
        condense_fully_(net)
    steps = 10 * len(digits.train.batches(100))
    schedule = condense_on_schedule(net, steps) if way == "learned" else None
    train_classifier(net, digits.train, seed=seed, after_step=schedule)
    if way == "cut":
        condense_fully_(net)
    final = deploy(net)
    return {
        "validation": accuracy(final, digits.validation.batches(500)),
        "test": accuracy(final, digits.test.batches(500)),
        "parameters": parameter_count(final),
        "macs": count_macs(final, digits.test.inputs[:1]).total,
    }


if __name__ == "__main__":
    seeds = seeds_from_command_line(__doc__)
    fill_table(
        __file__,
        [{"way": way, "seed": seed} for seed in seeds for way in WAYS],
        measure,
    )
