"""Which plain network is the book's? Three layouts of equal depth, on validation.

Five 3 x 3 convolutions can widen early or late and halve the resolution early or late.
This table decides what effdl.blocks.plain_net is, on the hardest digits, the cluttered
ones, and on their validation part only.

It became "wide late": at width 16 as good as "wide early", within the spread of the
seeds, for half the multiply-adds and parameters; and at width 8 as good as "wide late,
small early" at width 16, for half the multiply-adds. It also loses more when it is
narrowed than "wide early" does, and that is what the chapters on compression are about.
"""

from __future__ import annotations

from torch import nn, zeros
from torch.utils.flop_counter import FlopCounterMode

from _results import Case, fill_table, seeds_from_command_line
from effdl.blocks import conv_bn
from effdl.data.digits import cluttered_digits
from effdl.seed import seeded
from effdl.train import accuracy, train_classifier

LAYOUTS = {
    "wide early": ((1, 2, 2, 4, 4), (1, 2, 1, 2, 1)),
    "wide late": ((1, 1, 2, 2, 4), (1, 2, 1, 2, 1)),
    "wide late, small early": ((1, 1, 2, 2, 4), (2, 1, 2, 1, 2)),
}  # factors of the width, strides


def measure(layout: str, width: int, seed: int) -> Case:
    """Return validation accuracy and cost of one trained network."""
    splits = cluttered_digits()
    with seeded(seed):
        net = build(*LAYOUTS[layout], width)
    parameters = sum(p.numel() for p in net.parameters())
    counter = FlopCounterMode(display=False)
    with counter:
        net.eval()(zeros(1, 1, 16, 16))
    train_classifier(net, splits.train, seed=seed)
    return {
        "validation": accuracy(net, splits.validation.batches(500)),
        "parameters": parameters,
        "macs": counter.get_total_flops() // 2,
    }


def build(
    factors: tuple[int, ...], strides: tuple[int, ...], width: int
) -> nn.Sequential:
    """Return convolutions with the given widths and strides, mean, linear layer."""
    channels = [1] + [factor * width for factor in factors]
    layers = [
        conv_bn(c, n, 3, stride=stride)
        for c, n, stride in zip(channels, channels[1:], strides, strict=False)
    ]
    head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels[-1], 10))
    return nn.Sequential(*layers, *head)


if __name__ == "__main__":
    seeds = seeds_from_command_line(__doc__)
    fill_table(
        __file__,
        [
            {"layout": layout, "width": width, "seed": seed}
            for seed in seeds
            for width in (4, 8, 16)
            for layout in LAYOUTS
        ],
        measure,
    )
