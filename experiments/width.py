"""Accuracy versus width: what the plain network reaches on each kind of digits.

The ground of all later chapters: how much a network loses when it is narrow says how
much room there is for methods that make wide ones smaller. Every seed draws other
weights and another order of the batches; the scenes are the same. Choose on the column
validation, report the column test.
"""

from __future__ import annotations

from torch.utils.flop_counter import FlopCounterMode

from _results import Case, fill_table, seeds_from_command_line
from effdl.blocks import plain_net
from effdl.data.digits import cluttered_digits, moved_digits, small_digits
from effdl.seed import seeded
from effdl.train import accuracy, train_classifier

SCENES = {"moved": moved_digits, "cluttered": cluttered_digits, "small": small_digits}
WIDTHS = (4, 8, 16, 24)


def measure(data: str, width: int, seed: int) -> Case:
    """Return accuracies and cost of one trained network."""
    splits = SCENES[data]()
    with seeded(seed):
        net = plain_net(width)
    counter = FlopCounterMode(display=False)
    with counter:
        net.eval()(splits.test.inputs[:1])
    train_classifier(net, splits.train, seed=seed)
    return {
        "validation": accuracy(net, splits.validation.batches(500)),
        "test": accuracy(net, splits.test.batches(500)),
        "parameters": sum(parameter.numel() for parameter in net.parameters()),
        "macs": counter.get_total_flops() // 2,
    }


if __name__ == "__main__":
    seeds = seeds_from_command_line(__doc__)
    fill_table(
        __file__,
        [
            {"data": data, "width": width, "seed": seed}
            for seed in seeds
            for data in SCENES
            for width in WIDTHS
        ],
        measure,
    )
