"""Two architectures, three recipes: which of the two decides on the accuracy?

    light      a cell of the benchmark with three convolutions and 5,138 parameters
    heavy      one with six convolutions and 16,482 parameters; both are good ones

    short      6 epochs
    long       20 epochs: the ratio of DARTS+ to DARTS, which trained 2,000 and 600
    shifted    20 epochs, each image moved by up to one pixel each way, anew every time

All else is the benchmark's recipe. For a seed, an architecture starts from the same
weights and sees the images in the same order with every recipe.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from _results import Case, fill_table, seeds_from_command_line
from effdl.data.digits import small_digits
from effdl.measure.count import parameter_count
from effdl.nas.cell_net import small_cell_net
from effdl.nas.cell_space import Cell
from effdl.seed import seeded
from effdl.train import accuracy, train_classifier

CELLS = {
    "light": (
        "|nor_conv_3x3~0|+|none~0|nor_conv_1x1~1|"
        "+|nor_conv_1x1~0|none~1|avg_pool_3x3~2|"
    ),
    "heavy": (
        "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_1x1~1|"
        "+|nor_conv_3x3~0|nor_conv_3x3~1|nor_conv_3x3~2|"
    ),
}
RECIPES = {"short": 6, "long": 20, "shifted": 20}  # epochs


class Shifted(nn.Module):
    """A classifier that sees every image moved a little, while it is trained."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        """Return logits for images (N, c, H, W)."""
        return self.net(shifted(x) if self.training else x)


def shifted(x: Tensor) -> Tensor:
    """Return every image of (N, c, H, W) moved by -1, 0 or 1 pixel each way."""
    height, width = x.shape[-2:]
    padded = F.pad(x, (1, 1, 1, 1), mode="replicate")
    places = padded.unfold(2, height, 1).unfold(3, width, 1)  # (N, c, 3, 3, H, W)
    down, right = torch.randint(3, (2, len(x)))
    return places[torch.arange(len(x)), :, down, right]


def measure(cell: str, recipe: str, seed: int) -> Case:
    """Return accuracies of one training."""
    digits = small_digits()
    with seeded(seed):
        net = small_cell_net(Cell.parse(CELLS[cell]))
        student = Shifted(net) if recipe == "shifted" else net
        train_classifier(student, digits.train, epochs=RECIPES[recipe], seed=seed)
    return {
        "train": accuracy(net, digits.train.batches(500)),
        "validation": accuracy(net, digits.validation.batches(500)),
        "test": accuracy(net, digits.test.batches(500)),
        "parameters": parameter_count(net),
    }


if __name__ == "__main__":
    seeds = seeds_from_command_line(__doc__)
    fill_table(
        __file__,
        [
            {"cell": cell, "recipe": recipe, "seed": seed}
            for seed in seeds
            for cell in CELLS
            for recipe in RECIPES
        ],
        measure,
    )
