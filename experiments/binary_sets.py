"""Which help for 1-bit networks helps on digit scenes, each alone on the same block.

The network, the recipe and the order of the images are the same in all cases. Weights
and activations of four convolutions are binary, but in the case "floats". The rates
are one guess for each optimiser, tuned for none of the methods. Two of them are also
trained by SGD: how fast a weight moves then depends on the scale that stands before its
sign, which Adam divides out.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from itertools import count

import torch
import torch.nn.functional as F
from torch import nn
from torch.optim import SGD, Adam, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from _results import Case, fill_table, seeds_from_command_line
from effdl.data.digits import Digits, small_digits
from effdl.measure.count import parameter_count
from effdl.quant.abc_net import ManySigns
from effdl.quant.adabin import AdaptiveSign, AdaptiveWeight, Maxout
from effdl.quant.bireal import BinaryBlock, Block, small_binary_net
from effdl.quant.ir_net import BalancedSign, TanhSign, set_progress_
from effdl.quant.lab import LearnedBinarizer
from effdl.quant.react_net import RPReLU, RSign, distribution_loss
from effdl.quant.straight_signs import clipped_sign
from effdl.seed import seeded
from effdl.train import accuracy, fit, warm_up_cosine

EPOCHS, WIDTH = 8, 16
TAUGHT = "ReActNet, taught"


class ClippedSign(nn.Module):
    """The sign with the slope of the clipped identity."""

    def __init__(self, _channels: int) -> None:
        super().__init__()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the signs."""
        return clipped_sign(x)


class Rectify(nn.ReLU):
    """ReLU, where others binarize."""

    def __init__(self, _channels: int) -> None:
        super().__init__()


PLAIN = partial(BinaryBlock, binarize=ClippedSign, shortcut=False)
BLOCKS: dict[str, Block] = {
    "floats": partial(BinaryBlock, binarize=Rectify, weight=nn.Identity),
    "sign": PLAIN,
    "slope": partial(BinaryBlock, shortcut=False),
    "shortcut": partial(BinaryBlock, binarize=ClippedSign),
    "Bi-Real": BinaryBlock,
    "ABC-Net": partial(BinaryBlock, weight=ManySigns),
    "IR-Net": partial(BinaryBlock, binarize=TanhSign, weight=BalancedSign),
    "ReActNet": partial(BinaryBlock, binarize=RSign, tail=RPReLU),
    TAUGHT: partial(BinaryBlock, binarize=RSign, tail=RPReLU),
    "LAB": partial(BinaryBlock, binarize=LearnedBinarizer),
    "AdaBin": partial(
        BinaryBlock, binarize=AdaptiveSign, weight=AdaptiveWeight, tail=Maxout
    ),
}
OPTIMISERS: dict[str, Callable[[nn.Module], Optimizer]] = {
    "Adam": lambda net: Adam(net.parameters(), 0.01),
    "SGD": lambda net: SGD(net.parameters(), 0.1, 0.9, 0, 5e-4, nesterov=True),
}
BY_SGD = ("Bi-Real", "AdaBin")


@cache
def digits() -> Digits:
    """Return the scenes."""
    return small_digits(n_train=6000)


def train(net: nn.Module, teacher: nn.Module | None, optimiser: str, seed: int) -> None:
    """Train a network in place by the recipe, on labels or on what a teacher says."""
    batches = digits().train.batches(100, seed=seed)
    steps, done = EPOCHS * len(batches), count(1)
    optimizer = OPTIMISERS[optimiser](net)
    schedule = LambdaLR(optimizer, lambda step: warm_up_cosine(step, steps))

    def loss_of(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        if teacher is None:
            return F.cross_entropy(net(x), y)
        with torch.no_grad():
            wanted = teacher(x)
        return distribution_loss(net(x), wanted)

    def after_step() -> None:
        schedule.step()
        set_progress_(net, min(1.0, next(done) / steps))

    fit(net, loss_of, batches, optimizer, epochs=EPOCHS, after_step=after_step)


@cache
def trained(method: str, optimiser: str, seed: int) -> nn.Module:
    """Return a network after the recipe."""
    teacher = None
    if method == TAUGHT:
        teacher = trained("floats", optimiser, seed).eval()
    with seeded(seed):
        net = small_binary_net(BLOCKS[method], WIDTH)
    train(net, teacher, optimiser, seed)
    return net


def measure(method: str, optimiser: str, seed: int) -> Case:
    """Return accuracies and the number of parameters."""
    net = trained(method, optimiser, seed)
    return {
        "validation": round(accuracy(net, digits().validation.batches(500)), 4),
        "test": round(accuracy(net, digits().test.batches(500)), 4),
        "parameters": parameter_count(net),
    }


if __name__ == "__main__":
    torch.set_num_threads(1)
    pairs = [(m, "Adam") for m in BLOCKS] + [(m, "SGD") for m in BY_SGD]
    cases = [
        {"method": m, "optimiser": o, "seed": s}
        for s in seeds_from_command_line(__doc__)
        for m, o in pairs
    ]
    fill_table(__file__, cases, measure)
