"""The numbers that the pages print about binary networks, crossbars and Boltzmann.

A page prints {{ key }}. binary_sets.py runs before. Accuracies are those of test
scenes, means of the seeds; for the crossbar one network and one seed.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Adam

from _numbers import Answer, fill_numbers
from _results import read_table, seeds_from_command_line
from effdl.blocks import plain_mlp
from effdl.data.digits import moved_digits
from effdl.data.files import data_path
from effdl.quant.boltzmann import (
    BoltzmannMachine,
    all_pictures,
    bars_and_stripes,
    divergence,
    round_weights_,
)
from effdl.quant.crossbar_tiles import crossbars_needed, without_smallest_tiles
from effdl.quant.fake import quantize
from effdl.quant.grid import affine_grid, symmetric_grid
from effdl.quant.in_memory import Crossbar, cells_of, multiply, noisy_cells
from effdl.seed import seeded
from effdl.train import fit, train_classifier

SOURCES = ("results/binary_sets.csv",)
NAMES = {
    "floats": "floats",
    "sign": "sign",
    "slope": "slope",
    "shortcut": "shortcut",
    "bireal": "Bi-Real",
    "abc": "ABC-Net",
    "ir": "IR-Net",
    "react": "ReActNet",
    "taught": "ReActNet, taught",
    "lab": "LAB",
    "adabin": "AdaBin",
}
IMAGES = 500


@cache
def accuracies(name: str, optimiser: str = "Adam") -> tuple[float, ...]:
    """Return the test accuracies of a method, one for each seed."""
    rows = read_table(data_path("results/binary_sets.csv"))
    wanted = {"method": NAMES[name], "optimiser": optimiser}
    found = tuple(float(row["test"]) for row in rows if wanted.items() <= row.items())
    if not found:
        raise ValueError(f"no row of {wanted}; run binary_sets.py")
    return found


def mean(name: str, optimiser: str = "Adam") -> float:
    """Return the mean test accuracy of a method."""
    return float(np.mean(accuracies(name, optimiser)))


def spread() -> float:
    """Return the largest difference between seeds of one binary method."""
    return max(float(np.ptp(accuracies(name))) for name in NAMES if name != "floats")


@cache
def classifier() -> tuple[nn.Linear, ...]:
    """Return the linear layers of a trained network."""
    with seeded(0):
        net = plain_mlp()
    train_classifier(net, moved_digits().train)
    return tuple(layer for layer in net if isinstance(layer, nn.Linear))


@cache
def ranges() -> tuple[tuple[Tensor, Tensor], ...]:
    """Return the range of the input of each layer, over scenes of training."""
    x, found = moved_digits().train.inputs[:1000].flatten(1), []
    with torch.no_grad():
        for layer in classifier():
            found.append(x.aminmax())
            x = layer(x).relu()
    return tuple(found)


@cache
def in_memory(adc_bits: int | None, sigma: float = 0.0, kept: float = 1.0) -> float:
    """Return the test accuracy of the 8-bit network, computed on crossbars.

    Args:
        adc_bits: Of the converters.
        sigma: Of the cells' noise.
        kept: Share of the crossbars that are left in the first layer.
    """
    kind, test = Crossbar(adc_bits=adc_bits), moved_digits().test
    x = test.inputs[:IMAGES].flatten(1)
    for number, (layer, (low, high)) in enumerate(
        zip(classifier(), ranges(), strict=True)
    ):
        weight = layer.weight.detach()
        if number == 0 and kept < 1:
            tiles = crossbars_needed(weight, kind)
            weight = without_smallest_tiles(weight, kind, round(kept * tiles))
        grid = affine_grid(low, high, bits=8)
        grid_w = symmetric_grid(weight.abs().amax(), bits=8)
        q, w = quantize(x, grid), quantize(weight, grid_w)
        with seeded(number):
            cells = noisy_cells(cells_of(w, kind), sigma)
        total = multiply(q, cells, kind) - grid.zero_point * w.sum(dim=1)
        x = grid.scale * grid_w.scale * total + layer.bias.detach()
        x = x if layer is classifier()[-1] else x.relu()
    return (x.argmax(dim=1) == test.targets[:IMAGES]).double().mean().item()


def crossbars() -> int:
    """Return how many crossbars the network takes."""
    return sum(crossbars_needed(layer.weight, Crossbar()) for layer in classifier())


@cache
def machine() -> BoltzmannMachine:
    """Return a Boltzmann machine that learned bars and stripes of 4 x 4 pixels."""
    data = bars_and_stripes(4)
    with seeded(0):
        found = BoltzmannMachine(16, 8)
    adam = Adam(found.parameters(), 0.1)
    fit(found, lambda v, _: -found(v).mean(), [(data, data)], adam, epochs=300)
    return found


@cache
def price(bits: int) -> float:
    """Return the divergence of the machine from itself with rounded weights."""
    rounded, every = BoltzmannMachine(16, 8), all_pictures(16)
    rounded.load_state_dict(machine().state_dict())
    round_weights_(rounded, bits)
    return divergence(machine()(every), rounded(every))


def learned() -> float:
    """Return the probability of bars and stripes by the machine."""
    return float(machine()(bars_and_stripes(4)).detach().exp().sum())


def percent(share: float) -> Answer:
    """Return an accuracy or a share as the pages print it."""
    return share, f"{100 * share:.1f} %"


def points(difference: float) -> Answer:
    """Return a difference of accuracies as the pages print it."""
    return difference, f"{100 * difference:.1f} points"


def nats(value: float) -> Answer:
    """Return a divergence as the pages print it."""
    return value, f"{value:.2g}"


NUMBERS = {
    **{f"sets_{name}": (lambda n=name: percent(mean(n))) for name in NAMES},
    "sets_spread": lambda: points(spread()),
    "sets_shortcut_gain": lambda: points(mean("shortcut") - mean("sign")),
    "sets_slope_gain": lambda: points(mean("slope") - mean("sign")),
    "sets_bireal_sgd": lambda: percent(mean("bireal", "SGD")),
    "sets_adabin_sgd": lambda: percent(mean("adabin", "SGD")),
    "sets_left": lambda: points(mean("floats") - mean("bireal")),
    "sets_memory_exact": lambda: percent(in_memory(None)),
    **{
        f"sets_memory_adc{bits}": (lambda b=bits: percent(in_memory(b)))
        for bits in (9, 8, 7, 6, 5, 4)
    },
    "sets_memory_noise_low": lambda: percent(in_memory(None, 0.1)),
    "sets_memory_noise_high": lambda: percent(in_memory(None, 0.5)),
    "sets_memory_half": lambda: percent(in_memory(None, kept=0.5)),
    "sets_memory_crossbars": lambda: (crossbars(), str(crossbars())),
    "sets_boltzmann_learned": lambda: percent(learned()),
    **{
        f"sets_boltzmann_kl{bits}": (lambda b=bits: nats(price(b)))
        for bits in (2, 3, 4, 6, 8)
    },
}


if __name__ == "__main__":
    seeds_from_command_line(__doc__)  # for --help; every seed is fixed
    torch.set_num_threads(1)
    fill_numbers(__file__, NUMBERS, SOURCES)
