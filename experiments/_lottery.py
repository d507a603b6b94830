"""What the lottery scripts and their notebook's numbers share: networks and recipe."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

from torch import nn
from torch.optim import SGD

from effdl.blocks import plain_mlp, plain_net
from effdl.data.digits import Digits, moved_digits
from effdl.prune.recipe import Recipe
from effdl.seed import seeded
from effdl.train import accuracy, warm_up_cosine

SPARSITIES = (0.5, 0.75, 0.875, 0.9375, 0.96875)  # half of what is left, in each round
CONV_SPARSITY = 0.875
REWIND = 60  # steps: one epoch of ten


@cache
def digits() -> Digits:
    """Return the scenes."""
    return moved_digits()


def recipe(seed: int) -> Recipe:
    """Return ten epochs as train_classifier does them, from any step to any other."""

    def sgd(parameters: Iterator[nn.Parameter]) -> SGD:
        return SGD(parameters, 0.1, 0.9, weight_decay=5e-4, nesterov=True)

    return Recipe(digits().train, sgd, factor=warm_up_cosine, seed=seed)


def initial(net: str, seed: int) -> nn.Module:
    """Return a network with its first weights."""
    with seeded(seed):
        return plain_mlp() if net == "mlp" else plain_net(8)


def test_accuracy(model: nn.Module) -> float:
    """Return the accuracy on the test part."""
    return accuracy(model, digits().test.batches(500))
