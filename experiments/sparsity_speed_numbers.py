"""The numbers that the pages print about what sparsity buys.

Times are ratios of medians within a case of results/sparsity_speed.csv, whose script
runs before; of the seeds the median counts. The counts are exact, of one network (seed
0): a plain one of linear layers, pruned to 90 % by magnitude and trained again, and a
plain one of convolutions with its kernels brought to 8 patterns.
"""

from __future__ import annotations

import copy
from functools import cache
from statistics import median

import torch
from torch import Tensor, nn

from _numbers import Answer, fill_numbers
from _results import read_table, seeds_from_command_line
from effdl.blocks import plain_mlp, plain_net
from effdl.data.digits import Digits, moved_digits
from effdl.data.files import data_path
from effdl.prune.break_even import block_mask, break_even
from effdl.prune.cambricon_x import Cycles, crossing, cycles
from effdl.prune.eie import Run, interleave, run
from effdl.prune.eie_storage import encode, nearest_codes
from effdl.prune.magnitude import magnitude_scores
from effdl.prune.masks import prune_
from effdl.prune.patterns import (
    all_patterns,
    distinct_loops,
    loop_changes,
    nearest_patterns,
    pattern_library,
    pattern_mask,
    reorder,
)
from effdl.prune.pruned import weights_of
from effdl.prune.skipping import Macs, model_macs, total_macs
from effdl.prune.thresholds import layer_masks
from effdl.seed import seeded
from effdl.train import accuracy, train_classifier

SOURCES = ("results/sparsity_speed.csv",)
FORMATS = ("csr", "bsr", "gathered", "smaller")
HIDDEN = "3.weight"


@cache
def times() -> dict[tuple[int, float], dict[str, float]]:
    """Return the time of each format over that of zeros in place, by case."""
    cases: dict[tuple[int, float], list[dict[str, float]]] = {}
    for row in read_table(data_path("results/sparsity_speed.csv")):
        zeros = float(row["zeros_us"])
        ratios = {n: float(row[f"{n}_us"]) / zeros for n in ("whole", *FORMATS)}
        cases.setdefault((int(row["batch"]), float(row["sparsity"])), []).append(ratios)
    return {
        case: {name: median(r[name] for r in found) for name in found[0]}
        for case, found in cases.items()
    }


def pays_from(name: str, batch: int) -> Answer:
    """Return the sparsity from which on a format is faster than zeros in place."""
    found = {s: ratio[name] for (b, s), ratio in sorted(times().items()) if b == batch}
    sparsity = break_even(list(found), list(found.values()), 1.0)
    if sparsity is None:
        return 1.0, "nowhere"
    first = sparsity == min(found)
    return sparsity, f"{100 * sparsity:.0f} %" + (" or less" if first else "")


def factor(name: str, batch: int, sparsity: float) -> Answer:
    """Return how many times as fast a format is as zeros in place."""
    value = 1 / times()[batch, sparsity][name]
    return value, f"{value:.0f}" if value >= 10 else f"{value:.1f}"


def slower(name: str, batch: int, sparsity: float) -> Answer:
    """Return how many times as slow a format is as zeros in place."""
    value = times()[batch, sparsity][name]
    return value, f"{value:.1f}"


@cache
def digits() -> Digits:
    """Return the scenes."""
    return moved_digits()


def trained(net: nn.Module, masks: dict[str, Tensor]) -> nn.Module:
    """Return the network after pruning and three more epochs."""
    prune_(net, masks)
    train_classifier(net, digits().train, epochs=3, learning_rate=0.02)
    return net


@cache
def start() -> dict[str, Tensor]:
    """Return the state of a trained network of linear layers."""
    with seeded(0):
        net = plain_mlp((256, 512, 512, 10))
    train_classifier(net, digits().train, epochs=6)
    return net.state_dict()


def started() -> nn.Module:
    """Return the trained network of linear layers, not pruned."""
    net = plain_mlp((256, 512, 512, 10))
    net.load_state_dict(start())
    return net


@cache
def mlp() -> nn.Module:
    """Return the network of linear layers, 90 % of each layer gone."""
    net = started()
    return trained(net, layer_masks(magnitude_scores(net), 0.9))


def tested(net: nn.Module) -> Answer:
    """Return a test accuracy."""
    share = accuracy(net, digits().test.batches(500))
    return share, f"{100 * share:.1f} %"


def tested_blocks(side: int | None) -> Answer:
    """Return the test accuracy with blocks, or rows, of the hidden layers gone."""
    net = started()
    masks = {}
    for name in ("1.weight", HIDDEN):
        weight = weights_of(net)[name].abs()
        block = (1, weight.shape[1]) if side is None else (side, side)
        masks[name] = block_mask(weight, 0.9, block=block)
    return tested(trained(net, masks))


@cache
def macs() -> Macs:
    """Return the multiply-adds of the pruned network for 500 test images."""
    return total_macs(model_macs(mlp(), digits().test.inputs[:500]).values())


def share(what: str) -> Answer:
    """Return the share of products that a kind of machine has to do."""
    value = getattr(macs(), what) / macs().dense
    return value, f"{100 * value:.1f} %"


@cache
def hidden() -> tuple[Tensor, Tensor, Tensor]:
    """Return codes and codebook of the hidden layer, and one input of it."""
    weight, net = weights_of(mlp())[HIDDEN], mlp()
    ranks = (torch.arange(15) + 0.5) / 15
    codebook = torch.cat([torch.zeros(1), weight[weight != 0].quantile(ranks)])
    with torch.no_grad():
        x = torch.relu(net[1](net[0](digits().test.inputs[:1])))[0]
    return nearest_codes(weight, codebook), codebook, x


@cache
def machine(elements: int, depth: int) -> Run:
    """Return what a machine does with the hidden layer."""
    codes, codebook, x = hidden()
    return run(interleave(codes, elements), codebook, x, depth=depth)


def efficiency(elements: int, depth: int) -> Answer:
    """Return the share of cycles in which elements work."""
    value = machine(elements, depth).efficiency
    return value, f"{100 * value:.0f} %"


def padding() -> Answer:
    """Return the share of entries that are padding, stored for one element."""
    stored = encode(hidden()[0])
    value = stored.padding / len(stored.codes)
    return value, f"{100 * value:.0f} %"


@cache
def gathered() -> Cycles:
    """Return the cycles of the hidden layer on 16 elements with 16 multipliers."""
    return cycles(hidden()[0] != 0)


@cache
def kernels() -> dict[str, Answer]:
    """Return counts and accuracies of a network of convolutions with 8 patterns."""
    with seeded(0):
        net = plain_net(16)
    train_classifier(net, digits().train, epochs=6)
    weights = {n: w for n, w in weights_of(net).items() if w.ndim == 4}
    library = pattern_library(weights.values(), all_patterns(), 8)
    choice = {n: nearest_patterns(w, library) for n, w in weights.items()}
    last = list(weights)[-1]
    single = layer_masks({last: weights[last].abs()}, 5 / 9)[last]
    order = reorder(choice[last])
    found = {
        "dense": tested(net),
        "kernels": whole(choice[last].numel()),
        "loops_single": whole(distinct_loops(single)),
        "loops": whole(distinct_loops(pattern_mask(choice[last], library))),
        "changes": whole(loop_changes(choice[last])),
        "changes_ordered": whole(loop_changes(choice[last], order)),
    }
    control = copy.deepcopy(net)
    largest = layer_masks({n: w.abs() for n, w in weights.items()}, 5 / 9)
    trained(net, {n: pattern_mask(choice[n], library) for n in weights})
    found["single_accuracy"] = tested(trained(control, largest))
    return found | {"accuracy": tested(net)}


def whole(number: int) -> Answer:
    """Return a count."""
    return number, f"{number:,}"


def ratio(value: float) -> Answer:
    """Return a factor."""
    return value, f"{value:.1f}"


def crosses(bits: int) -> Answer:
    """Return the density below which steps are shorter than one bit a weight."""
    return crossing(bits), f"{100 * crossing(bits):.1f} %"


NUMBERS = {
    **{
        f"speed_{name}_from_{batch}": lambda n=name, b=batch: pays_from(n, b)
        for name in FORMATS
        for batch in (1, 256)
    },
    **{
        f"speed_{name}_99": lambda n=name: factor(n, 256, 0.99)
        for name in FORMATS
    },
    **{
        f"speed_{name}_90": lambda n=name: factor(n, 256, 0.9)
        for name in (*FORMATS, "whole")
    },
    "speed_csr_50_slower": lambda: slower("csr", 256, 0.5),
    "speed_dense_accuracy": lambda: tested(started()),
    "speed_single_accuracy": lambda: tested_blocks(1),
    "speed_block_accuracy": lambda: tested_blocks(32),
    "speed_row_accuracy": lambda: tested_blocks(None),
    "speed_macs_weights": lambda: share("weights"),
    "speed_macs_activations": lambda: share("activations"),
    "speed_macs_both": lambda: share("both"),
    "speed_eie_padding_1": padding,
    "speed_eie_16_1": lambda: efficiency(16, 1),
    "speed_eie_16_8": lambda: efficiency(16, 8),
    "speed_eie_64_8": lambda: efficiency(64, 8),
    "speed_eie_cycles_16": lambda: whole(machine(16, 8).cycles),
    "speed_eie_macs": lambda: whole(machine(16, 8).macs),
    "speed_cambricon_in_step": lambda: ratio(gathered().dense / gathered().in_step),
    "speed_cambricon": lambda: ratio(gathered().dense / gathered().asynchronous),
    "speed_crossing_2": lambda: crosses(2),
    "speed_crossing_4": lambda: crosses(4),
    **{
        f"speed_patterns_{name}": lambda n=name: kernels()[n]
        for name in (
            "dense", "accuracy", "single_accuracy", "kernels", "loops_single",
            "loops", "changes", "changes_ordered",
        )
    },
}  # fmt: skip


if __name__ == "__main__":
    seeds_from_command_line(__doc__)  # for --help; the one seed stands above
    fill_numbers(__file__, NUMBERS, SOURCES)
