"""The numbers that the pages print about hardware-aware variants of the search.

Superkernels, meta-kernels, merged convolutions, routes, shrunk spaces, a proxy device.
A page prints {{ key }}. Choices are made on validation. Accuracies are on test; mean
scores of a space are on validation.
Published tables are read from the cache of downloads.
"""

from __future__ import annotations

from functools import cache, partial

import numpy as np
import torch
from torch import Tensor, nn

from _numbers import Answer, fill_numbers
from _results import seeds_from_command_line
from effdl.blocks import conv_bn, mean_linear
from effdl.data.digits import small_digits
from effdl.measure.latency import latency
from effdl.measure.memory import peak_activation_bytes
from effdl.nas.block_space import BlockSpace, Choices
from effdl.nas.cell_space import all_cells
from effdl.nas.cellbench import load_cellbench
from effdl.nas.gradient.method import Method
from effdl.nas.gradient.mixed import MixedOperation
from effdl.nas.gradient.mixed_net import prepare_for_search_
from effdl.nas.gradient.search import Rates, search
from effdl.nas.gradient.steps import Searching
from effdl.nas.hardware.cell_costs import cell_sums, fit_cell_costs
from effdl.nas.hardware.dense_net import RoutedNet, route_architecture
from effdl.nas.hardware.dense_routes import chained_cost, likeliest_route
from effdl.nas.hardware.merge_convs import fold_norm, merge
from effdl.nas.hardware.meta_kernel import MetaConv2d
from effdl.nas.hardware.pixel1_table import load_pixel1
from effdl.nas.hardware.proxy_device import adapt_table, fit_table, transfer_loss
from effdl.nas.hardware.scaled_channels import scaled_layer
from effdl.nas.hardware.space_shrinking import best_of_draws, sample_left, shrink_space
from effdl.nas.hardware.superkernel import SuperKernelBlock
from effdl.nas.hardware.superkernel_runtime import Runtimes
from effdl.nas.mbconv_space import mbconv_layer
from effdl.nas.public_tables import load_nas_bench_201
from effdl.nas.ranking import spearman
from effdl.nas.supernet import SuperNet
from effdl.seed import seeded
from effdl.train import accuracy, train_classifier

TIMES = Runtimes(1.0, 2.0, 1.4, 2.8)
MERGED = {"same": (16, 16, 16), "wide": (16, 96, 16)}
FACTORS, SHAPES = (1 / 6, 1 / 2, 1.0), ((8, 8, 1), (8, 16, 2), (16, 16, 1), (16, 16, 1))
FEW = 30


@cache
def pixel_residuals() -> np.ndarray:
    """Return the relative error of the runtime of 3x3,e3 in every layer."""
    rows = (Runtimes(*row) for row in load_pixel1().extra.double().tolist())
    return np.array([times.residual / times.k3_e3 for times in rows])


@cache
def superkernel_memory() -> float:
    """Return the memory of a mixture of five blocks, divided by a superkernel's."""
    with seeded(0):
        layer = mbconv_layer(16, 16, kernels=(3, 5))
        mixture = MixedOperation({name: make() for name, make in layer.items()})
        prepare_for_search_(mixture, MixedOperation)
        block, x = SuperKernelBlock(16, 16), torch.randn(32, 16, 12, 12)
    even = torch.full((len(layer),), 1 / len(layer))
    apart = peak_activation_bytes(mixture, (x, even), training=True)
    return apart / peak_activation_bytes(block, x, training=True)


class OneByOne(nn.Module):
    """The mixture by K convolutions, to be measured."""

    def __init__(self, meta: MetaConv2d) -> None:
        super().__init__()
        self.meta = meta

    def forward(self, x: Tensor, weights: Tensor) -> Tensor:
        """Return the mixture."""
        return self.meta.one_by_one(x, weights)


@cache
def meta_factors() -> tuple[float, float]:
    """Return memory and time one by one, divided by those of the mixed kernel."""
    with seeded(0):
        meta = MetaConv2d(16, [(3, 16), (5, 16), (7, 16)])
        inputs = (torch.randn(32, 16, 12, 12), torch.full((3,), 1 / 3))
    ways = {"apart": OneByOne(meta), "mixed": meta}
    held = {n: peak_activation_bytes(m, inputs, training=True) for n, m in ways.items()}
    times = latency(ways, inputs)
    time = times["apart"].median / times["mixed"].median
    return held["apart"] / held["mixed"], time


@cache
def merge_speed(name: str) -> float:
    """Return the time of the merged convolution, divided by that of the two.

    All maps are of one size, as in ``merge_costs``; so the two differ at the border.
    """
    c, m, n = MERGED[name]
    with seeded(0):
        first, second = (nn.Conv2d(*w, 3, padding=1) for w in ((c, m), (m, n)))
        x = torch.randn(32, c, 12, 12)
    ways = {"two": nn.Sequential(first, second), "one": merge(first, second)}
    times = latency(ways, x)
    return times["one"].median / times["two"].median


def thin_or_deep(*, deep: bool) -> nn.Sequential:
    """Return a network with two convolutions in the middle, or the one that they are.

    No activation is between the two, and only the first is padded.
    """
    first, second = nn.Conv2d(16, 32, 3, padding=2), nn.Conv2d(32, 16, 3)
    middle = (
        (first, nn.BatchNorm2d(32), second)
        if deep
        else (nn.Conv2d(16, 16, 5, padding=2),)
    )
    return nn.Sequential(
        conv_bn(1, 16, 3, stride=2),
        nn.Sequential(*middle, nn.BatchNorm2d(16)),
        nn.ReLU(),
        conv_bn(16, 16, 3, stride=2),
        *mean_linear(16, 10),
    )


@cache
def depth_that_goes() -> tuple[float, float, int]:
    """Return test accuracy trained deep, trained merged, and changed predictions."""
    digits = small_digits()
    found = []
    for deep in (True, False):
        each = []
        for seed in range(2):
            with seeded(seed):
                net = thin_or_deep(deep=deep)
            train_classifier(net, digits.train, epochs=5, seed=seed)
            each.append(accuracy(net, digits.test.batches(500)))
            if deep and seed == 0:
                changed = changed_by_merging(net, digits.test.inputs)
        found.append(float(np.mean(each)))
    return found[0], found[1], changed


def changed_by_merging(net: nn.Sequential, inputs: Tensor) -> int:
    """Return for how many inputs the merged network predicts another class."""
    net.eval()
    first, norm, second, last = net[1]
    shallow = merge(fold_norm(first, norm), fold_norm(second, last))
    with torch.no_grad():
        before = net(inputs).argmax(dim=1)
        after = nn.Sequential(net[0], shallow, *net[2:])(inputs).argmax(dim=1)
    return int((before != after).sum())


@cache
def route(price: float) -> tuple[str, float]:
    """Return the likeliest route after a search, and the mean MACs of a route."""
    digits = small_digits()
    halves = small_digits(n_validation=3000)
    with seeded(0):
        net = RoutedNet((8, 8, 12, 16, 16), reach=3)
        found, costs = route_architecture(net), net.costs(6)

        def priced(loss: Tensor, weights: Tensor, _searching: Searching) -> Tensor:
            return loss + price * chained_cost(weights, net.targets, *costs).log()

        done = search(
            net,
            found,
            digits.train.batches(64, seed=0),
            halves.validation.batches(64, seed=0),
            epochs=4,
            method=Method(objective=priced),
            rates=Rates(weights=0.05, architecture=0.03),
        )
    weights = done[-1].weights
    cost = chained_cost(weights, net.targets, *costs).item()
    return "-".join(map(str, likeliest_route(weights, net.targets))), cost


@cache
def shrunk() -> dict[str, float]:
    """Return mean scores in the whole and the shrunk space, and what is found there."""
    digits, random = small_digits(), np.random.default_rng(0)
    with seeded(0):
        space = BlockSpace(
            tuple(scaled_layer(c, n, stride=s, factors=FACTORS) for c, n, s in SHAPES)
        )
        net = SuperNet(conv_bn(1, 8, 3, stride=2), space, mean_linear(16, 10))
        path = Path(net, space.sample(random))

        def next_path() -> None:
            path.choices = space.sample(random)

        train_classifier(path, digits.train, epochs=10, after_step=next_path)

    @cache
    def score(choices: Choices) -> float:
        path.choices = choices
        return accuracy(path, digits.validation.batches(1000))

    stages = shrink_space(space, score, random, keep=2, samples=5)
    means = [
        float(np.mean([score(sample_left(left, random)) for _ in range(20)]))
        for left in (stages[0], stages[-1])
    ]
    allowed = partial(within, limit=0.5)
    tests = {}
    for name, left in (("whole", stages[0]), ("shrunk", stages[-1])):
        path.choices = best_of_draws(left, score, random, allowed=allowed, draws=40)
        tests[name] = accuracy(path, digits.test.batches(1000))
    return {"whole": means[0], "left": means[1]} | {
        f"{n}_test": t for n, t in tests.items()
    }


class Path(nn.Module):
    """One path of a supernet at a time."""

    def __init__(self, net: SuperNet, choices: Choices) -> None:
        super().__init__()
        self.net, self.choices = net, choices

    def forward(self, x: Tensor) -> Tensor:
        """Return logits."""
        return self.net(x, self.choices)


def path_macs(choices: Choices) -> float:
    """Return the MACs of the blocks with only those channels that count."""
    total, size = 0.0, 6
    for choice, (c, n, stride) in zip(choices, SHAPES, strict=True):
        kernel, factor = (3, 5)[choice // len(FACTORS)], FACTORS[choice % len(FACTORS)]
        middle, before = round(6 * c * factor), size
        size = size // stride
        total += middle * (c * before**2 + (kernel**2 + n) * size**2)
    return total


def within(choices: Choices, limit: float) -> bool:
    """Return whether a path needs at most a share of the widest one's MACs."""
    widest = 2 * len(FACTORS) - 1
    return path_macs(choices) <= limit * path_macs((widest,) * len(SHAPES))


@cache
def devices(name: str) -> dict[str, float]:
    """Return how two devices agree, what a front loses, what adapting brings."""
    if name == "own":
        table = load_cellbench()
        proxy, target = table.need("latency_1"), table.need("latency_64")
    else:
        table = load_nas_bench_201()
        proxy, target = table.need("latency_raspi4"), table.need(f"latency_{name}")
    values = table.mean("validation")
    cells = table.cells if name == "own" else tuple(all_cells())
    has = np.array([cell.one_hot()[:, 1:].ravel() for cell in cells], dtype=float)
    adapted, fresh = [], []
    for seed in range(5):
        random = np.random.default_rng(seed)
        few = random.choice(len(has), FEW, replace=False)
        taken = adapt_table(fit_table(has, proxy), has[few], target[few], strength=3e-3)
        adapted.append(spearman(taken.predict(has), target))
        fresh.append(spearman(fit_table(has[few], target[few]).predict(has), target))
    return {
        "order": spearman(proxy, target),
        "loss": transfer_loss(proxy, target, values),
        "table": spearman(fit_table(has, proxy).predict(has), target),
        "adapted": float(np.mean(adapted)),
        "fresh": float(np.mean(fresh)),
    }


def fitted_agreement() -> float:
    """Return how two tables of operators, fitted to our two latencies, agree."""
    bench = load_cellbench()
    one, many = (
        cell_sums(fit_cell_costs(bench, name)[0], bench.cells)
        for name in ("latency_1", "latency_64")
    )
    return spearman(one, many)


def percent(share: float) -> Answer:
    """Return a share as the pages print it."""
    return share, f"{100 * share:.1f} %"


def times(factor: float) -> Answer:
    """Return a factor as the pages print it."""
    return factor, f"{factor:.2f}"


def correlation(value: float) -> Answer:
    """Return a correlation as the pages print it."""
    return value, f"{value:.3f}"


def words(text: str) -> Answer:
    """Return a text as the pages print it; its number is its length."""
    return len(text), text


def thousands(number: float) -> Answer:
    """Return MACs as the pages print them."""
    return number, f"{number / 1000:.0f} thousand"


NUMBERS = {
    "variants_pixel_worst": lambda: percent(float(np.abs(pixel_residuals()).max())),
    "variants_super_memory": lambda: times(superkernel_memory()),
    "variants_meta_memory": lambda: times(meta_factors()[0]),
    "variants_meta_time": lambda: times(meta_factors()[1]),
    "variants_merge_same_time": lambda: times(merge_speed("same")),
    "variants_merge_wide_time": lambda: times(merge_speed("wide")),
    "variants_merge_deep": lambda: percent(depth_that_goes()[0]),
    "variants_merge_shallow": lambda: percent(depth_that_goes()[1]),
    "variants_merge_changed": lambda: (
        depth_that_goes()[2],
        f"{depth_that_goes()[2]}",
    ),
    "variants_route_free": lambda: words(route(0.0)[0]),
    "variants_route_free_macs": lambda: thousands(route(0.0)[1]),
    "variants_route_priced": lambda: words(route(1.0)[0]),
    "variants_route_priced_macs": lambda: thousands(route(1.0)[1]),
    "variants_shrink_whole": lambda: percent(shrunk()["whole"]),
    "variants_shrink_left": lambda: percent(shrunk()["left"]),
    "variants_shrink_whole_test": lambda: percent(shrunk()["whole_test"]),
    "variants_shrink_left_test": lambda: percent(shrunk()["shrunk_test"]),
    "variants_proxy_own_fitted": lambda: correlation(fitted_agreement()),
    **{
        f"variants_proxy_{name}_{key}": partial(
            lambda name, key: (
                percent(devices(name)[key])
                if key == "loss"
                else correlation(devices(name)[key])
            ),
            name,
            key,
        )
        for name in ("own", "pixel3", "eyeriss")
        for key in ("order", "loss", "table", "adapted", "fresh")
    },
}


if __name__ == "__main__":
    seeds_from_command_line(__doc__)  # for --help; the seeds are fixed
    fill_numbers(__file__, NUMBERS, ())
