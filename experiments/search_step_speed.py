"""What a step of the search costs, against the loop as it is usually written.

Both have the same network, batches and optimisers. The usual loop runs every operation
on every edge, none included, and lets backward compute all gradients in both halves of
a step: those of w when alpha moves, those of alpha when w moves. Steps of the two are
taken in turn; a row holds the medians of one repetition.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_
from torch.optim import SGD, Adam

from _results import Case, fill_table, seeds_from_command_line
from effdl.data.digits import small_digits
from effdl.nas.cell_space import OPERATIONS
from effdl.nas.gradient.architecture import Architecture
from effdl.nas.gradient.method import DARTS
from effdl.nas.gradient.mixed_net import small_mixed_net
from effdl.nas.gradient.search import SMALL_RATES
from effdl.nas.gradient.steps import Searching, first_order_step
from effdl.seed import seeded

STEPS, BATCH = 60, 64


class UsualEdge(nn.Module):
    """The sum over all operations, none included."""

    def __init__(self, candidates: dict[str, nn.Module]) -> None:
        super().__init__()
        self.candidates = nn.ModuleDict(candidates)

    def forward(self, x: Tensor, weights: Tensor, _runs: None = None) -> Tensor:
        """Return the weighted sum, (N, C, H, W)."""
        modules = self.candidates.items()
        sent = (x.mul(0.0) if name == "none" else module(x) for name, module in modules)
        return sum(w * y for w, y in zip(weights, sent, strict=True))


def optimisers(net: nn.Module, alpha: nn.Parameter) -> tuple[SGD, Adam]:
    """Return both optimisers with the rates of the small search."""
    r = SMALL_RATES
    sgd = SGD(net.parameters(), r.weights, 0.9, weight_decay=r.weight_decay)
    decay = r.architecture_decay
    return sgd, Adam([alpha], r.architecture, (0.5, 0.999), weight_decay=decay)


def usual_step(net: nn.Module, alpha: nn.Parameter) -> Callable[..., object]:
    """Return a function that takes the usual step on two batches."""
    sgd, adam = optimisers(net, alpha)

    def step(train: tuple[Tensor, Tensor], validation: tuple[Tensor, Tensor]) -> None:
        adam.zero_grad()
        x, y = validation
        F.cross_entropy(net(x, alpha.softmax(1)), y).backward()
        adam.step()
        sgd.zero_grad()
        x, y = train
        F.cross_entropy(net(x, alpha.softmax(1)), y).backward()
        clip_grad_norm_(net.parameters(), 5.0)
        sgd.step()

    return step


def our_step(net: nn.Module, found: Architecture) -> Callable[..., object]:
    """Return a function that takes the library's step on two batches."""
    sgd, adam = optimisers(net, found.logits)
    searching = Searching(net, found, DARTS.relax, DARTS.objective, sgd, adam)
    return lambda train, validation: first_order_step(searching, train, validation)


def measure(seed: int) -> Case:
    """Return the median milliseconds of a step of each, taken in turn."""
    part = small_digits(n_train=640).train
    batches = list(part.batches(BATCH, seed=seed))
    steps = {}
    for name in ("ours", "usual"):
        with seeded(seed):
            found = Architecture([OPERATIONS] * 6)
            net = small_mixed_net(make_edge=UsualEdge) if name == "usual" else None
            net = net or small_mixed_net()
            start = our_step(net, found) if name == "ours" else None
            steps[name] = start or usual_step(net, found.logits)
    taken: dict[str, list[float]] = {name: [] for name in steps}
    for number in range(STEPS):
        train, validation = (batches[(number + i) % len(batches)] for i in (0, 5))
        for name, step in steps.items():
            start_time = time.perf_counter()
            step(train, validation)
            taken[name].append(1000 * (time.perf_counter() - start_time))
    ours, usual = (median(taken[name]) for name in ("ours", "usual"))
    return {
        "ours_ms": round(ours, 2),
        "usual_ms": round(usual, 2),
        "ratio": round(usual / ours, 3),
    }


if __name__ == "__main__":
    torch.set_num_threads(1)
    fill_table(
        __file__, [{"seed": s} for s in seeds_from_command_line(__doc__)], measure
    )
