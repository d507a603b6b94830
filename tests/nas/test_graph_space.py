"""Architectures of NAS-Bench-Graph: which are the same, and how many are not."""

import itertools
from collections import Counter

import numpy as np
import pytest

from effdl.nas.graph_space import (
    ARCHITECTURES,
    OPERATIONS,
    SHAPES,
    GraphArchitecture,
)

SKIPS = ("skip",) * 4
TREES = list(itertools.product(range(1), range(2), range(3), range(4)))


def output(architecture: GraphArchitecture) -> Counter[str]:
    """Return what leaves the network, written as functions of the raw features x.

    A skip returns its input. Raw features that reach the output by skips alone are not
    counted: an architecture is the same with and without them.
    """
    held = ["x"]
    for read, operation in zip(
        architecture.inputs, architecture.operations, strict=True
    ):
        value = held[read]
        held.append(value if operation == "skip" else f"{operation}({value})")
    ends = [held[n] for n in range(1, 5) if n not in architecture.inputs]
    return Counter(end for end in ends if end != "x")


def sample(count: int, seed: int = 0) -> list[GraphArchitecture]:
    """Return architectures with any tree, skips in half of their places."""
    random = np.random.default_rng(seed)
    found = []
    while len(found) < count:
        operations = np.where(
            random.random(4) < 0.5, "skip", random.choice(OPERATIONS, 4)
        )
        if tuple(operations) != SKIPS:
            tree = TREES[int(random.integers(len(TREES)))]
            found.append(GraphArchitecture(tree, tuple(operations.tolist())))
    return found


@pytest.fixture(scope="module")
def numbers() -> set[int]:
    """The numbers of all architectures in one of the shapes; takes two seconds."""
    return {
        GraphArchitecture(shape, operations).number
        for shape in SHAPES
        for operations in itertools.product(OPERATIONS, repeat=4)
        if operations != SKIPS
    }


def test_the_same_number_means_the_same_output():
    for architecture in sample(2000):
        same = GraphArchitecture.numbered(architecture.number)
        assert output(same) == output(architecture)


def test_the_number_of_the_authors_example_by_hand():
    """Node 1 is read by 2 and 4, node 2 by 3: shape (0, 1, 1, 2), the seventh.

    The branch with two nodes, gin then fc, comes first: digits 1 gcn, 2 gin, 3 cheb,
    7 fc after the shape's 6. (The authors' second way to write it, with the inputs
    (0, 1, 1, 2), is a slip: there fc reads cheb.)
    """
    one = GraphArchitecture((0, 1, 2, 1), ("gcn", "gin", "fc", "cheb"))
    other = GraphArchitecture((0, 1, 1, 3), ("gcn", "cheb", "gin", "fc"))
    assert one.number == other.number == 61237


@pytest.mark.parametrize(
    ("inputs", "operations", "number"),
    [
        ((0, 0, 0, 0), ("fc", "gin", "gat", "gcn"), 127),  # branches in order
        ((0, 0, 1, 2), ("gin", "gcn", "gat", "fc"), 31270),  # two chains change places
        ((0, 1, 2, 3), ("gcn", "gin", "skip", "gat"), 88120),  # a skip inside a chain
        ((0, 1, 2, 3), ("gcn", "gin", "gat", "skip"), 88120),  # and at its end
        ((0, 0, 1, 1), ("gcn", "gin", "skip", "fc"), 21278),  # a branch around fc stays
        ((0, 0, 0, 0), ("gcn", "gin", "skip", "fc"), 58127),  # but not one of raw x
        ((0, 1, 1, 1), ("skip", "skip", "gcn", "fc"), 78817),  # two skips in front
        ((0, 1, 1, 1), ("gcn", "skip", "skip", "skip"), 51888),  # three ends stay three
        ((0, 1, 1, 3), ("gat", "fc", "skip", "skip"), 78078),  # one of two in a row
    ],
)
def test_numbers_by_hand(inputs, operations, number):
    assert GraphArchitecture(inputs, operations).number == number


def test_there_are_as_many_as_the_paper_says(numbers):
    assert len(numbers) == ARCHITECTURES == 26_206


def test_every_tree_has_a_place_among_them(numbers):
    assert {architecture.number for architecture in sample(2000, seed=1)} <= numbers


def test_a_number_is_that_of_the_architecture_it_names(numbers):
    for number in sorted(numbers)[::20]:
        assert GraphArchitecture.numbered(number).number == number


def test_the_order_of_the_nodes_does_not_matter():
    random = np.random.default_rng(2)
    for architecture in sample(200, seed=3):
        order = random.permutation(4) + 1  # node n is written as number order[n - 1]
        place = [0, *order.tolist()]
        inputs = tuple(place[read] for read in architecture.inputs)
        moved = sorted(zip(place[1:], inputs, architecture.operations, strict=True))
        if all(read < node for node, read, _ in moved):
            other = GraphArchitecture(
                tuple(read for _, read, _ in moved), tuple(o for _, _, o in moved)
            )
            assert other.number == architecture.number


GOOD = ("gcn", "gin", "fc", "skip")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: GraphArchitecture((0, 1, 2), GOOD), "give 4 inputs and 4 operations"),
        (lambda: GraphArchitecture((0, 1, 2, 3), GOOD[:3]), "give 4 inputs"),
        (
            lambda: GraphArchitecture((0, 2, 0, 0), GOOD),
            "node 2 must read one of 0 to 1",
        ),
        (lambda: GraphArchitecture((0, 0, -1, 0), GOOD), "node 3 must read .* got -1"),
        (
            lambda: GraphArchitecture((0, 0, 0, 0), ("gcn", "gin", "fc", "mlp")),
            r"unknown operation 'mlp'; choose from \['gat'",
        ),
        (lambda: GraphArchitecture.numbered(90_000), "has the number 90000"),
        (lambda: GraphArchitecture.numbered(1_249), "has the number 1249"),
        (lambda: GraphArchitecture.numbered(-1), "has the number -1"),
    ],
)
def test_bad_input_is_explained(call, message):
    with pytest.raises(ValueError, match=message):
        call()
