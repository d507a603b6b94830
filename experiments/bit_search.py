"""Every search for bits, judged by a table in which all 729 answers are known.

bit_table.py runs before. A row is what one method finds for one network. Methods with a
budget get it in weight bits; the differentiable ones have a price instead, and are
judged at what they found costs. Columns:

    bits          of the six layers
    cost          weight bits
    regret        points of validation accuracy below the best member at that budget
    test          test accuracy of the answer, rounded and not trained
    trained       test accuracy after two epochs of training with these bits

Random search, evolution, the agent HAQ, and the same agent that never learns (random
actions behind the same wall) may each ask for 50 members; they stand for many runs, and
show the mean regret and, in "bits", what the first of them found.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from statistics import mean

import numpy as np
import torch

from _results import Case, fill_table, read_table, seeds_from_command_line
from bit_table import digits, logits, quantized, right, sizes, trained
from effdl.data.files import data_path
from effdl.nas.block_space import Choices
from effdl.nas.evolution import AgingEvolution
from effdl.nas.random_search import RandomSearch
from effdl.nas.search import run_search
from effdl.quant.bit_allocation import allocate
from effdl.quant.bit_choices import CANDIDATES, Bits
from effdl.quant.bit_table import BitTable, bit_tables
from effdl.quant.ddpg import Ddpg
from effdl.quant.dnas_bits import bits_table, parallel_bits
from effdl.quant.dnas_search import bits_architecture, bits_found, search_parallel_
from effdl.quant.edmips_search import likeliest, mixed_bits, search_bits_
from effdl.quant.haq import Haq
from effdl.quant.haq_layers import layer_rows
from effdl.quant.hawq import layer_traces, sensitivities
from effdl.quant.insert import calibrate_, insert_quantizers
from effdl.quant.observers import Extremes
from effdl.quant.quantizers import ActivationQuantizer, WeightQuantizer
from effdl.quant.set_bits import set_bits_
from effdl.seed import seeded
from effdl.train import train_classifier

BUDGETS = (27_000, 36_128, 54_000)  # of 18,064 to 72,256; 36,128 is 4 bits everywhere
QUERIES, RUNS = 50, 20
RATES, GAMMAS = (0.1, 1.0), (1.0, 10.0)  # of EdMIPS, of DNAS
QUANTIZERS = [WeightQuantizer(bits) for bits in CANDIDATES]


@cache
def table(seed: int) -> BitTable:
    """Return the truth about one network."""
    return bit_tables(read_table(data_path("results/bit_table.csv")))[seed]


def asked(found: BitTable) -> BitTable:
    """Return the same table, of which nothing was asked yet."""
    return BitTable(found.space, found.sizes, found.validation, found.test, found.loss)


def random_search(seed: int, budget: int, run: int) -> Choices:
    """Return the best of what random search asks for."""
    truth = asked(table(seed))
    strategy = RandomSearch(truth.within(budget), np.random.default_rng(run))
    return run_search(strategy, truth, queries=QUERIES)[-1].best


def evolution(seed: int, budget: int, run: int) -> Choices:
    """Return the best of what aging evolution asks for, within the budget."""
    truth, random = asked(table(seed)), np.random.default_rng(run)
    within = truth.within(budget)

    def mutate(choices: Choices) -> Choices:
        while truth.cost(child := truth.space.mutate(choices, random)) > budget:
            pass
        return child

    strategy = AgingEvolution(
        lambda: within[random.integers(len(within))], mutate, random, population=10
    )
    return run_search(strategy, truth, queries=QUERIES)[-1].best


def agent(seed: int, budget: int, run: int, *, learns: bool = True) -> Choices:
    """Return the best of what HAQ's agent asks for."""
    truth = asked(table(seed))
    _, rows = layer_rows(trained(seed), digits().train.inputs[:1])
    reference = 100 * right(logits(trained(seed), digits().validation), digits()[1])
    with seeded(run):
        strategy = Haq(
            truth.space, rows, truth.cost, budget, reference, Ddpg(10),
            warm_up=15 if learns else QUERIES,
        )  # fmt: skip
        return run_search(strategy, truth, queries=QUERIES)[-1].best


@cache
def traces(seed: int) -> dict[str, float]:
    """Return the traces of HAWQ-V2, on 500 training images."""
    some = digits().train
    with seeded(0):
        return layer_traces(
            trained(seed), (some.inputs[:500], some.targets[:500]), draws=20
        )


def allocated(seed: int, budget: int, weights: dict[str, float]) -> Choices:
    """Return what the programme finds if errors of layers are weighted so."""
    omegas = sensitivities(trained(seed), weights, QUANTIZERS)
    costs = [[size.weights * bits for bits in CANDIDATES] for size in sizes(seed)]
    return allocate(omegas, costs, budget).choices


def edmips(seed: int, rate: float) -> Choices:
    """Return the likeliest bits of weights; all inputs have 8."""
    net = mixed_bits(trained(seed), CANDIDATES)
    calibrate_(net, digits().train.batches(500))
    with seeded(seed):
        search_bits_(net, digits().train, sizes(seed), rate=rate, epochs=2)
    return numbers(tuple(bits for bits, _ in likeliest(net, sizes(seed))))


def dnas(seed: int, gamma: float) -> Choices:
    """Return the bits with the largest theta."""
    net = insert_quantizers(
        trained(seed),
        weight=lambda _name, _weight: None,
        activation=lambda _name: ActivationQuantizer(Extremes(), 8),
    )
    calibrate_(net, digits().train.batches(500))
    parallel, data = parallel_bits(net, CANDIDATES), digits()
    theta = bits_architecture(parallel)
    with seeded(seed):
        search_parallel_(
            parallel, theta, bits_table(sizes(seed), CANDIDATES),
            train=data.train, validation=data.validation,
            beta=10.0**-gamma, gamma=gamma, epochs=3,
        )  # fmt: skip
    return numbers(bits_found(theta))


def numbers(bits: Bits) -> Choices:
    """Return the numbers of candidates."""
    return tuple(CANDIDATES.index(b) for b in bits)


MANY: dict[str, Callable[[int, int, int], Choices]] = {
    "random": random_search,
    "evolution": evolution,
    "haq": agent,
    "wall": lambda seed, budget, run: agent(seed, budget, run, learns=False),
}
ONCE: dict[str, Callable[[int, int], Choices]] = {
    "hawq": lambda seed, budget: allocated(seed, budget, traces(seed)),
    "error": lambda seed, budget: allocated(
        seed, budget, dict.fromkeys(traces(seed), 1.0)
    ),
    "best": lambda seed, budget: table(seed).members[table(seed).best(budget)],
}
PRICED: dict[str, Callable[[int, float], Choices]] = {"edmips": edmips, "dnas": dnas}


def trained_on(seed: int, choices: Choices) -> float:
    """Return the test accuracy after two epochs of training with these bits."""
    net = quantized(seed)
    set_bits_(net, [CANDIDATES[k] for k in choices])
    train_classifier(net, digits().train, epochs=2, learning_rate=0.003, seed=seed)
    return right(logits(net.eval(), digits().test), digits().test)


def measure(seed: int, method: str, budget: float) -> Case:
    """Return the columns of the module's text."""
    truth = table(seed)
    if method in PRICED:
        found = [PRICED[method](seed, budget)]
        regrets = [truth.regret(found[0])]
    elif method in ONCE:
        found = [ONCE[method](seed, int(budget))]
        regrets = [truth.regret(found[0], budget)]
    else:
        found = [MANY[method](seed, int(budget), run) for run in range(RUNS)]
        regrets = [truth.regret(each, budget) for each in found]
    many = method in MANY
    return {
        "bits": " ".join(str(CANDIDATES[k]) for k in found[0]),
        "cost": truth.cost(found[0]),
        "regret": 100 * mean(regrets),
        "optimum_share": mean(regret == 0 for regret in regrets),
        "test": mean(float(truth.test[truth.row(each)]) for each in found),
        "trained": "" if many else trained_on(seed, found[0]),
    }


def cases(seeds: list[int]) -> list[Case]:
    """Return every method at every budget or price, for every network."""
    budgeted = [(name, b) for name in (*MANY, *ONCE) for b in BUDGETS]
    priced = [("edmips", rate) for rate in RATES] + [("dnas", g) for g in GAMMAS]
    return [
        {"method": method, "budget": budget, "seed": seed}
        for seed in seeds
        for method, budget in [*budgeted, *priced]
    ]


if __name__ == "__main__":
    torch.set_num_threads(1)
    fill_table(__file__, cases(seeds_from_command_line(__doc__)), measure)
