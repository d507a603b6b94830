"""Sparse networks trained in many ways, to the same sparsity in as many epochs.

plain_mlp on moved digits, SGD as in train_classifier, 20 epochs in all. A variant is a
setting of a method; the pages choose one for each method by mean validation accuracy
and report its test accuracy.

    dense, dsd                   no weight is gone in the end
    fine-tuned, iterative        10 epochs dense, pruned by magnitude, 10 more
    re-initialised               the mask of fine-tuned, new weights: 10 or 20 epochs
    gradual                      pruned by magnitude, bit by bit, while it trains
    static, set, rigl            a random mask with the densities of ERK, which moves
                                 never, at random, or by the gradient
    ghosts, skips, neurons,      the random mask, with all ghosts of ToST, or one kind,
    labels, rescaled             or with the initialisation of ToST alone
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import cache, partial
from itertools import chain, repeat

import torch
from torch import Tensor, nn
from torch.optim import SGD
from torch.optim.lr_scheduler import LambdaLR

from _results import Case, fill_table, seeds_from_command_line
from effdl.blocks import plain_mlp
from effdl.data.digits import Digits, moved_digits
from effdl.prune.dense_sparse_dense import dense_sparse_dense_
from effdl.prune.densities import erk_sparsities
from effdl.prune.iterative import prune_and_train_
from effdl.prune.magnitude import magnitude_scores
from effdl.prune.masks import masks_of, prune_
from effdl.prune.pruned import weights_of
from effdl.prune.rescaled import learned_scales, rescale_
from effdl.prune.rigl import gradient_growth, move_while_training, random_growth
from effdl.prune.schedules import prune_gradually, sparsity_of_rounds
from effdl.prune.thresholds import layer_masks
from effdl.prune.tost import Ghosts
from effdl.seed import seeded
from effdl.train import accuracy, fit, train_classifier, warm_up_cosine

EPOCHS, BATCH, RATE = 20, 100, 0.1
STEPS = EPOCHS * 60  # 6,000 images
ROUNDS = 5


@cache
def digits() -> Digits:
    """Return the images."""
    return moved_digits()


def new(seed: int) -> nn.Module:
    """Return a network as initialised."""
    with seeded(seed):
        return plain_mlp()


def train(
    net: nn.Module,
    seed: int,
    epochs: int = EPOCHS,
    factor: float = 1.0,
    after_step: Callable[[], None] | None = None,
) -> None:
    """Train a network with the factor of the learning rate."""
    train_classifier(
        net,
        digits().train,
        epochs=epochs,
        learning_rate=factor * RATE,
        seed=seed,
        after_step=after_step,
    )


@cache
def half_trained(seed: int) -> nn.Module:
    """Return a dense network after half of the epochs."""
    net = new(seed)
    train(net, seed, EPOCHS // 2)
    return net


def dense(seed: int, _sparsity: float) -> nn.Module:
    """Return a network that was never pruned."""
    net = new(seed)
    train(net, seed)
    return net


def dsd(seed: int, _sparsity: float, factor: float) -> nn.Module:
    """Return a network after the three phases, with the factor of the last rate."""
    net = new(seed)
    lengths = iter((7, 7, 6))
    dense_sparse_dense_(
        net,
        lambda model, rate: train(model, seed, next(lengths), rate),
        rates=(1.0, 1.0, factor),
    )
    return net


def fine_tuned(seed: int, sparsity: float, factor: float, rounds: int = 1) -> nn.Module:
    """Return a dense network that was pruned and trained, in one round or several."""
    net = copy.deepcopy(half_trained(seed))
    epochs = EPOCHS // 2 // rounds
    prune_and_train_(
        net,
        sparsity_of_rounds(sparsity, rounds),
        scores_of=magnitude_scores,
        select=layer_masks,
        train=lambda model: train(model, seed + 100, epochs, factor),
    )
    return net


def re_initialised(seed: int, sparsity: float, epochs: int) -> nn.Module:
    """Return a network with new weights behind the mask of a trained one."""
    net = new(seed + 1000)
    prune_(net, layer_masks(magnitude_scores(half_trained(seed)), sparsity))
    train(net, seed + 100, epochs)
    return net


def gradual(seed: int, sparsity: float, start: int, steps: int) -> nn.Module:
    """Return a network that was pruned while it was trained."""
    net = new(seed)
    prune_(net, {n: torch.ones_like(w).bool() for n, w in weights_of(net).items()})

    def masks_for(model: nn.Module, wanted: float) -> dict[str, Tensor]:
        return layer_masks(magnitude_scores(model), wanted, within=masks_of(model))

    after_step = prune_gradually(
        net, masks_for, final=sparsity, steps=steps, start=start, every=20
    )
    train(net, seed, after_step=after_step)
    return net


def random_sparse(seed: int, sparsity: float) -> nn.Module:
    """Return an untrained network with a random mask."""
    net = new(seed)
    weights = weights_of(net)
    shares = erk_sparsities({n: w.shape for n, w in weights.items()}, sparsity)
    with seeded(seed + 2000):
        scores = {name: torch.rand_like(weight) for name, weight in weights.items()}
    prune_(net, layer_masks(scores, shares))
    return net


def static(seed: int, sparsity: float) -> nn.Module:
    """Return a network that kept its random mask."""
    net = random_sparse(seed, sparsity)
    train(net, seed)
    return net


def moving(seed: int, sparsity: float, every: int, by_gradient: bool) -> nn.Module:
    """Return a network whose random mask has moved."""
    net = random_sparse(seed, sparsity)
    batches = digits().train.batches(BATCH, seed=seed + 3000)
    endless = chain.from_iterable(repeat(batches))

    def by_slope(model: nn.Module) -> dict[str, Tensor]:
        return gradient_growth(model, *next(endless))

    growth = by_slope if by_gradient else random_growth
    after_step = move_while_training(net, growth, steps=3 * STEPS // 4, every=every)
    with seeded(seed + 4000):
        train(net, seed, after_step=after_step)
    return net


def haunted(
    seed: int,
    sparsity: float,
    share: float,
    *,
    smoothing: float = 0.0,
    neurons: bool = False,
    skips: bool = False,
    rescaled: bool = False,
) -> nn.Module:
    """Return a network that had ghosts for a share of its training."""
    net = random_sparse(seed, sparsity)
    if rescaled:
        three_passes = 3 * list(digits().train.batches(BATCH, seed=seed + 5000))
        rescale_(net, learned_scales(net, three_passes))
    ghosts = Ghosts(
        net,
        steps=int(share * STEPS),
        smoothing=smoothing,
        neurons=neurons,
        skips=skips,
    )
    batches = digits().train.batches(BATCH, seed=seed)
    sgd = SGD(net.parameters(), RATE, 0.9, 0, 5e-4, nesterov=True)
    schedule = LambdaLR(sgd, lambda step: warm_up_cosine(step, STEPS))

    def after_step() -> None:
        schedule.step()
        ghosts.after_step()

    def loss_of(inputs: Tensor, targets: Tensor) -> Tensor:
        return ghosts.loss(net(inputs), targets)

    fit(net, loss_of, batches, sgd, epochs=EPOCHS, after_step=after_step)
    return net


METHODS: dict[str, dict[str, Callable[[int, float], nn.Module]]] = {
    "dense": {"plain": dense},
    "dsd": {f"last rate {f}": partial(dsd, factor=f) for f in (0.1, 1.0)},
    "fine-tuned": {f"rate {f}": partial(fine_tuned, factor=f) for f in (0.1, 1.0)},
    "iterative": {
        f"rate {f}": partial(fine_tuned, factor=f, rounds=ROUNDS) for f in (0.1, 1.0)
    },
    "re-initialised": {
        f"{epochs} epochs": partial(re_initialised, epochs=epochs)
        for epochs in (EPOCHS // 2, EPOCHS)
    },
    "gradual": {"from 240 to 840": partial(gradual, start=240, steps=600)},
    "static": {"plain": static},
    "set": {
        f"every {n}": partial(moving, every=n, by_gradient=False) for n in (20, 100)
    },
    "rigl": {
        f"every {n}": partial(moving, every=n, by_gradient=True) for n in (20, 100)
    },
    "ghosts": {
        f"share {s}": partial(
            haunted, share=s, smoothing=0.1, neurons=True, skips=True, rescaled=True
        )
        for s in (0.25, 0.5)
    },
    "skips": {f"share {s}": partial(haunted, share=s, skips=True) for s in (0.25, 0.5)},
    "neurons": {"share 0.5": partial(haunted, share=0.5, neurons=True)},
    "labels": {"share 0.5": partial(haunted, share=0.5, smoothing=0.1)},
    "rescaled": {"plain": partial(haunted, share=0.5, rescaled=True)},
}
DENSE = ("dense", "dsd")  # what has no sparsity
SPARSITIES = (0.9, 0.97)


def measure(method: str, variant: str, sparsity: float, seed: int) -> Case:
    """Return the accuracies of one network, and how many weights it has."""
    net = METHODS[method][variant](seed, sparsity)
    kept = sum(int(w.count_nonzero()) for w in weights_of(net).values())
    return {
        "validation": accuracy(net, digits().validation.batches(1000)),
        "test": accuracy(net, digits().test.batches(1000)),
        "weights": kept,
    }


def cases(seeds: list[int]) -> list[Case]:
    """Return all cases, seed by seed."""
    return [
        {"method": method, "variant": variant, "sparsity": sparsity, "seed": seed}
        for seed in seeds
        for method, variants in METHODS.items()
        for variant in variants
        for sparsity in ((0.0,) if method in DENSE else SPARSITIES)
    ]


if __name__ == "__main__":
    torch.set_num_threads(1)
    fill_table(__file__, cases(seeds_from_command_line(__doc__)), measure)
