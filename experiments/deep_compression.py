"""The three stages of Deep Compression on two small networks: bytes and accuracies.

Both are trained for ten epochs on moved digits, pruned (80 and 70 % of every layer,
which costs less than two points on validation) and trained for five more. Then their
weights share values, which are trained for three epochs. Bytes are those of real files.
The coded file is loaded into a fresh network, which has to reach the same accuracies.

    bits                  of gaps and codes: "paper" is 8 in convolutions, 5 elsewhere
    dense_bytes           what torch.save writes
    pruned, shared, coded bytes after the stage
    untrained             validation accuracy before the shared values are trained
"""

from __future__ import annotations

import copy
from functools import cache

import torch
from torch import Tensor, nn

from _results import Case, fill_table, seeds_from_command_line
from effdl.blocks import plain_mlp, plain_net
from effdl.data.digits import moved_digits
from effdl.measure.count import serialized_bytes
from effdl.prune.deep_compression import (
    load_shared_file_,
    paper_bits,
    pruned_file,
    shared_file,
)
from effdl.prune.magnitude import magnitude_scores
from effdl.prune.masks import make_permanent_, prune_
from effdl.prune.thresholds import layer_masks
from effdl.prune.weight_sharing import share_weights_
from effdl.seed import seeded
from effdl.train import accuracy, train_classifier

NETS = {"linear": (plain_mlp, 0.8), "convolutional": (lambda: plain_net(16), 0.7)}
DIGITS = moved_digits()


def four(_weight: Tensor) -> int:
    """Return four bits for every weight."""
    return 4


BITS = {"paper": paper_bits, "4": four}


def judged(net: nn.Module) -> tuple[float, float]:
    """Return validation and test accuracy."""
    validation, test = (s.batches(1000) for s in (DIGITS.validation, DIGITS.test))
    return accuracy(net, validation), accuracy(net, test)


@cache
def pruned(name: str, seed: int) -> tuple[nn.Module, tuple[float, float]]:
    """Return a pruned network, made permanent, and how good it was before."""
    make, sparsity = NETS[name]
    with seeded(seed):
        net = make()
    train_classifier(net, DIGITS.train, seed=seed)
    before = judged(net)
    prune_(net, layer_masks(magnitude_scores(net), sparsity))
    train_classifier(net, DIGITS.train, epochs=5, learning_rate=0.02, seed=seed)
    make_permanent_(net)
    return net, before


def measure(net: str, bits: str, seed: int) -> Case:
    """Return bytes and accuracies of one network."""
    start, dense = pruned(net, seed)
    bits_of, shared = BITS[bits], copy.deepcopy(start)
    share_weights_(shared, bits_of)
    untrained, _ = judged(shared)
    train_classifier(
        shared,
        DIGITS.train,
        epochs=3,
        learning_rate=0.001,
        weight_decay=0,
        seed=seed,
    )
    fresh = NETS[net][0]()
    coded = shared_file(shared, bits_of, coded=True)
    load_shared_file_(fresh, coded, bits_of, coded=True)
    if judged(fresh) != judged(shared):
        raise RuntimeError("the loaded network computes something else")
    after_pruning, after_sharing = judged(start), judged(shared)
    return {
        "dense_bytes": serialized_bytes(start),
        "pruned_bytes": len(pruned_file(start, bits_of)),
        "shared_bytes": len(shared_file(shared, bits_of)),
        "coded_bytes": len(coded),
        "dense_validation": dense[0],
        "pruned_validation": after_pruning[0],
        "untrained": untrained,
        "shared_validation": after_sharing[0],
        "dense_test": dense[1],
        "pruned_test": after_pruning[1],
        "shared_test": after_sharing[1],
    }


if __name__ == "__main__":
    seeds = seeds_from_command_line(__doc__)
    torch.set_num_threads(1)
    cases = [
        {"net": net, "bits": bits, "seed": seed}
        for seed in seeds
        for net in NETS
        for bits in BITS
    ]
    fill_table(__file__, cases, measure)
