"""Lottery tickets and what they have to beat, on digit scenes: test accuracies.

    dense         the whole network
    ticket        m theta_0, found in rounds that halve what is left
    reinit        m, and weights drawn again
    shuffled      m shuffled inside each layer, and theta_0
    uniform       as many weights anywhere, and theta_0
    rewound       m theta_k, found and trained from step k on, k = 60 of 600
    rate_rewound  m theta_T, found in rounds, trained with all learning rates again
    one_shot      m theta_0, found in one round

The recipe is that of train_classifier: of it and AdamW at 2e-3 it gives the better
whole network by validation accuracy. The convolutional network, which is slow, is
pruned at one sparsity, in one round, and without two of the columns. The other
network gets two seeds more.
"""

from __future__ import annotations

from functools import cache, partial

from torch import nn

from _lottery import CONV_SPARSITY, REWIND, SPARSITIES, initial, recipe, test_accuracy
from _results import Case, fill_table, seeds_from_command_line
from effdl.prune.lottery import Round, find_ticket, find_tickets, make_ticket
from effdl.prune.lottery_controls import reinitialised, shuffled_masks, uniform_masks
from effdl.prune.masks import Masks
from effdl.prune.rewinding import find_rewound_tickets, rewind_learning_rate
from effdl.prune.thresholds import layer_masks
from effdl.seed import seeded

MISSING = ""


def sparsities_of(net: str) -> list[float]:
    """Return the sparsities after each round."""
    return list(SPARSITIES) if net == "mlp" else [CONV_SPARSITY]


@cache
def rounds(net: str, seed: int) -> list[Round]:
    """Return the whole network and its tickets."""
    train = recipe(seed)
    return find_tickets(initial(net, seed), sparsities_of(net), train=train)


@cache
def rewound(net: str, seed: int) -> list[Round]:
    """Return the tickets that go back to step k."""
    start, train = initial(net, seed), recipe(seed)
    return find_rewound_tickets(start, sparsities_of(net), train=train, step=REWIND)


@cache
def rate_rewound(net: str, seed: int) -> list[Round]:
    """Return the tickets that go back to the first learning rate only."""
    dense = rounds(net, seed)[0].trained
    return rewind_learning_rate(dense, sparsities_of(net), train=recipe(seed))


def trained(start: nn.Module, masks: Masks, seed: int) -> float:
    """Return the test accuracy of these weights, with these masks, after training."""
    ticket = make_ticket(start, masks)
    recipe(seed)(ticket)
    return test_accuracy(ticket)


def one_shot(net: str, sparsity: float, seed: int) -> float:
    """Return the test accuracy of a ticket from one round."""
    chain = rounds(net, seed)
    if sparsity == sparsities_of(net)[0]:
        return test_accuracy(chain[1].trained)

    def train(model: nn.Module) -> None:
        model.load_state_dict(chain[0].trained.state_dict())  # was trained before

    start = initial(net, seed)
    ticket = find_ticket(start, sparsity, train=train, select=layer_masks)
    recipe(seed)(ticket)
    return test_accuracy(ticket)


def measure(net: str, sparsity: float, seed: int) -> Case:
    """Return the test accuracies at one sparsity."""
    number = sparsities_of(net).index(sparsity) + 1
    chain, start = rounds(net, seed), initial(net, seed)
    masks = chain[number].masks
    with seeded(1000 + seed):
        fresh = reinitialised(start)
        shuffled, uniform = shuffled_masks(masks), uniform_masks(masks)
    after = partial(trained, seed=seed)
    small = net == "mlp"
    again = rate_rewound(net, seed)[number - 1].trained if small else None
    return {
        "dense": test_accuracy(chain[0].trained),
        "ticket": test_accuracy(chain[number].trained),
        "reinit": after(fresh, masks),
        "shuffled": after(start, shuffled),
        "uniform": after(start, uniform) if small else MISSING,
        "rewound": test_accuracy(rewound(net, seed)[number].trained),
        "rate_rewound": test_accuracy(again) if again else MISSING,
        "one_shot": one_shot(net, sparsity, seed),
    }


if __name__ == "__main__":
    seeds = seeds_from_command_line(__doc__)
    more = [*seeds, *(max(seeds) + extra for extra in (1, 2))]
    cases: list[Case] = [
        {"net": net, "sparsity": sparsity, "seed": seed}
        for net, chosen in (("mlp", more), ("conv", seeds))
        for seed in chosen
        for sparsity in sparsities_of(net)
    ]
    fill_table(__file__, cases, measure)
