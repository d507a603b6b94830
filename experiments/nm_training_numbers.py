"""The numbers that the pages print about training N:M networks.

Of the settings of a method that with the best mean validation accuracy is taken, for
each pattern; its test accuracy is printed. nm_training.py runs before. The numbers of
ADMM and of pruning after training are computed here.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import cache, partial
from itertools import combinations
from statistics import mean, stdev

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR

from _numbers import Answer, fill_numbers
from _results import Row, read_table, seeds_from_command_line
from effdl.data.digits import Split, small_digits
from effdl.data.files import data_path
from effdl.prune.admm import Admm
from effdl.prune.nm import nm_mask
from effdl.prune.sparsegpt import (
    column_sweep,
    curvature,
    output_error,
    refit,
    wanda_scores,
)
from effdl.seed import seeded
from effdl.train import accuracy, fit, warm_up_cosine
from nm_training import BATCH, EPOCHS, PATTERNS, RATE, TinyTransformer

SOURCES = ("results/nm_training.csv",)
BASES = ("magnitude", "STE", "SR-STE", "ADMM", "MdGf", "SdGf")
GROUPS, ROUNDS, SEEDS = 2000, 1000, 3
FEED_FORWARD = [f"layers.{i}.linear{k}" for i in range(2) for k in (1, 2)]


@cache
def chosen(base: str, pattern: str) -> tuple[Row, ...]:
    """Return the rows of the setting that validates best."""
    rows = [r for r in read_table(data_path(SOURCES[0])) if r["pattern"] == pattern]
    settings: dict[str, list[Row]] = {}
    for row in rows:
        if row["method"].split(",")[0] == base:
            settings.setdefault(row["method"], []).append(row)
    return tuple(
        max(settings.values(), key=lambda v: mean(float(r["validation"]) for r in v))
    )


def test(base: str, pattern: str) -> Answer:
    """Return the mean test accuracy and its standard deviation over seeds."""
    found = [100 * float(row["test"]) for row in chosen(base, pattern)]
    return mean(found), f"{mean(found):.1f} ± {stdev(found):.1f} %"


def flips(base: str, pattern: str) -> Answer:
    """Return how many weights the masks change in a step of the last epoch."""
    found = mean(float(row["late_flips"]) for row in chosen(base, pattern))
    return found, f"{found:.1f}"


def setting(base: str, pattern: str) -> Answer:
    """Return the name of the setting that was chosen."""
    return 0, chosen(base, pattern)[0]["method"]


@cache
def groups() -> tuple[Tensor, Tensor, Tensor]:
    """Return optima a, curvatures h and the best masks of many groups of four."""
    with seeded(0):
        a = torch.randn(GROUPS, 4, dtype=torch.float64)
        h = torch.randn(GROUPS, 4, dtype=torch.float64).exp()
    every = torch.tensor([
        [i in kept for i in range(4)] for kept in combinations(range(4), 2)
    ])
    losses = torch.stack([(h * a.square() * ~mask).sum(dim=1) for mask in every])
    return a, h, every[losses.argmin(dim=0)]


def admm_finds(rho: float) -> Answer:
    """Return the share of groups for which ADMM ends with the best mask."""
    a, h, best = groups()
    layer = nn.Linear(4, GROUPS, bias=False).double()
    layer.weight.data.copy_(a)
    admm = Admm(layer, ["weight"], rho=rho)
    for _ in range(ROUNDS):
        apart = admm.target["weight"] - admm.dual["weight"]
        layer.weight.data.copy_((h * a + rho * apart) / (h + rho))
        admm.update()
    found = ((admm.target["weight"] != 0) == best).all(dim=1).double().mean().item()
    return found, f"{100 * found:.0f} %"


@cache
def trained(seed: int) -> TinyTransformer:
    """Return a dense network, trained as in nm_training.py."""
    batches = small_digits().train.batches(BATCH, seed=seed)
    steps = EPOCHS * len(batches)
    with seeded(seed):
        net = TinyTransformer()
    adamw = AdamW(net.parameters(), RATE, weight_decay=0.01)
    schedule = LambdaLR(adamw, lambda step: warm_up_cosine(step, steps))

    def loss_of(x: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(net(x), y)

    fit(net, loss_of, batches, adamw, epochs=EPOCHS, after_step=schedule.step)
    return net.eval()


def inputs_of(net: nn.Module, name: str, images: Tensor) -> Tensor:
    """Return what a linear layer gets for some images, (samples, in)."""
    seen: list[Tensor] = []
    layer = net.get_submodule(name)
    hook = layer.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    net(images)  # with gradients: the fused operator of inference calls no hook
    hook.remove()
    return seen[0].detach().flatten(0, -2)


def by_size(weight: Tensor, _x: Tensor, choose: Callable[[Tensor], Tensor]) -> Tensor:
    """Return the weights cut by magnitude."""
    return torch.where(choose(weight.abs()), weight, 0)


def by_wanda(weight: Tensor, x: Tensor, choose: Callable[[Tensor], Tensor]) -> Tensor:
    """Return the weights cut by Wanda's score."""
    return torch.where(choose(wanda_scores(weight, x)), weight, 0)


def by_sweep(weight: Tensor, x: Tensor, choose: Callable[[Tensor], Tensor]) -> Tensor:
    """Return the weights after SparseGPT's sweep."""
    block = choose.keywords["group"]  # type: ignore[attr-defined]
    return column_sweep(weight, curvature(x), choose, block=block)


def by_refit(weight: Tensor, x: Tensor, choose: Callable[[Tensor], Tensor]) -> Tensor:
    """Return the weights under Wanda's mask that lose least."""
    return refit(weight, curvature(x), choose(wanda_scores(weight, x)))


HOW = {"magnitude": by_size, "wanda": by_wanda, "sweep": by_sweep, "refit": by_refit}


@cache
def after_training(how: str, pattern: str) -> tuple[float, float]:
    """Return mean loss of outputs and test accuracy, feed-forward matrices pruned.

    Both as shares, over layers and seeds; the first on images of the validation part.
    """
    keep, group = PATTERNS[pattern]
    choose = partial(nm_mask, keep=keep, group=group)
    digits: tuple[Split, ...] = small_digits()
    lost, right = [], []
    for seed in range(SEEDS):
        net = copy.deepcopy(trained(seed))
        for name in FEED_FORWARD:
            layer = net.get_submodule(name)
            x = inputs_of(net, name, digits[0].inputs[:500])
            unseen = inputs_of(net, name, digits[1].inputs[:500])
            before = layer.weight.detach().clone()
            after = HOW[how](before, x, choose)
            products = unseen.T @ unseen
            whole = output_error(before, torch.zeros_like(before), products)
            lost.append(output_error(before, after, products) / whole)
            layer.weight.data.copy_(after)
        right.append(accuracy(net, digits[2].batches(500)))
    return mean(lost), mean(right)


def lost(how: str, pattern: str) -> Answer:
    """Return the share of the outputs' squares that is lost."""
    value = after_training(how, pattern)[0]
    return value, f"{100 * value:.1f} %"


def right(how: str, pattern: str) -> Answer:
    """Return the test accuracy after pruning without any training."""
    value = after_training(how, pattern)[1]
    return value, f"{100 * value:.1f} %"


def slug(text: str) -> str:
    """Return what stands for a method or a pattern in a key."""
    return text.lower().replace("-", "_").replace(":", "_")


NUMBERS: dict[str, Callable[[], Answer]] = {
    "nmtraining_dense": partial(test, "dense", "none"),
    **{
        f"nmtraining_{slug(base)}_{slug(pattern)}": partial(test, base, pattern)
        for pattern in PATTERNS
        for base in BASES
    },
    **{
        f"nmtraining_{slug(base)}_{slug(pattern)}_flips": partial(flips, base, pattern)
        for pattern in PATTERNS
        for base in ("STE", "SR-STE")
    },
    **{
        f"nmtraining_{slug(base)}_{slug(pattern)}_setting": partial(
            setting, base, pattern
        )
        for pattern in PATTERNS
        for base in ("SR-STE", "ADMM", "MdGf", "SdGf")
    },
    **{
        f"nmtraining_admm_finds_{name}": partial(admm_finds, rho)
        for name, rho in {"tenth": 0.1, "1": 1.0, "100": 100.0}.items()
    },
    **{
        f"nmtraining_{how}_{slug(pattern)}_{kind}": partial(answer, how, pattern)
        for pattern in PATTERNS
        for how in HOW
        for kind, answer in {"lost": lost, "right": right}.items()
    },
}


if __name__ == "__main__":
    seeds_from_command_line(__doc__)  # for --help; the seeds are those of the table
    fill_numbers(__file__, NUMBERS, SOURCES)
