"""Which cells compute the same: the forms against all ways to place the weights."""

import itertools
import math
from collections import Counter, defaultdict

import numpy as np
import pytest
import torch

from effdl.nas.cell_classes import (
    functional_form,
    live_edges,
    representative,
    representatives,
    scale_blind_form,
)
from effdl.nas.cell_net import CellBlock
from effdl.nas.cell_space import EDGES, EXAMPLE, Cell, all_cells
from on_paper import randomised

PATHS = (((0, 3),), ((0, 1), (1, 3)), ((0, 2), (2, 3)), ((0, 1), (1, 2), (2, 3)))
CONVS = ("nor_conv_1x1", "nor_conv_3x3")
PLAIN = Cell(("none",) * 3 + ("nor_conv_3x3", "none", "none"))
TWICE = Cell(  # the convolution reads the input twice: by node 1 and directly
    ("skip_connect", "skip_connect", "skip_connect", "none", "none", "nor_conv_3x3")
)


@pytest.fixture(scope="module")
def cells():
    return list(all_cells())


@pytest.fixture(scope="module")
def forms(cells):
    return [functional_form(cell) for cell in cells]


@pytest.fixture(scope="module")
def blind_forms(cells):
    return [scale_blind_form(cell) for cell in cells]


def on_edges(cell):
    return dict(zip(EDGES, cell.operations, strict=True))


def on_a_path(cell):
    """Return the edges of all paths that carry something, listed path by path."""
    named = on_edges(cell)
    return {e for p in PATHS if all(named[i] != "none" for i in p) for e in p}


def weighted(cell):
    """Return the edges on a path with a convolution, those of either size."""
    used = on_a_path(cell)
    return [[e for e in EDGES if e in used and on_edges(cell)[e] == c] for c in CONVS]


def placings(edges):
    """Yield every way to give the convolutions of either size their weights."""
    for orders in itertools.product(*map(itertools.permutations, edges)):
        yield {e: n for order in orders for n, e in enumerate(order)}


def fingerprints(cells, *, norms):
    """Return for every cell a number that two share if some placing makes them equal.

    Maps are vectors here, pooling a fixed matrix, and a convolution tanh(A v) with a
    matrix A that its number decides, or tanh(A v / |v|) behind batch norm. Of the
    outputs for all placings of the matrices, the smallest number counts.
    """
    random = np.random.default_rng(0)
    matrices = dict(zip(CONVS, random.normal(size=(2, 6, 3, 3)), strict=True))
    pool, x = random.normal(size=(3, 3)) / 2, random.normal(size=(1, 3))
    numbers = []
    for cell in cells:
        named, used = on_edges(cell), on_a_path(cell)
        ways = list(placings(weighted(cell)))
        nodes = {0: np.repeat(x, len(ways), axis=0)}  # (ways, 3)
        for i, j in sorted(used, key=lambda edge: (edge[1], edge[0])):
            v, name = nodes[i], named[i, j]
            if name == "avg_pool_3x3":
                v = v @ pool
            elif name in CONVS:
                length = np.linalg.norm(v, axis=1, keepdims=True) if norms else 1
                a = matrices[name][[way[i, j] for way in ways]]
                v = np.tanh(np.einsum("noi,ni->no", a, v / length))
            nodes[j] = nodes.get(j, 0) + v
        y = nodes.get(3, np.zeros((1, 3)))
        y = y / np.linalg.norm(y, axis=1, keepdims=True) if norms and 3 in nodes else y
        numbers.append(round(float(y[:, 0].min()), 9))
    return numbers


def blocks(one, other):
    """Return two cells' blocks in float64, the batch norms off their first state."""
    made = [CellBlock(cell, 2).double() for cell in (one, other)]
    return [randomised(block) for block in made]


def differences(one, other, *, train):
    """Yield how far the outputs are apart for each placing of one's weights in other.

    The convolutions themselves change places; both cells have as many of each size.
    """
    first, second = (block.train(train) for block in blocks(one, other))
    with torch.random.fork_rng():
        torch.manual_seed(1)
        x = torch.randn(2, 2, 5, 5, dtype=torch.float64)
    targets = [edge for edges in weighted(other) for edge in edges]
    with torch.no_grad():
        y = first(x)
        for orders in itertools.product(*map(itertools.permutations, weighted(one))):
            sources = [edge for order in orders for edge in order]
            for source, target in zip(sources, targets, strict=True):
                conv = first.edges[str(EDGES.index(source))]
                second.edges[str(EDGES.index(target))] = conv
            yield (second(x) - y).abs().max().item()


def test_live_edges_are_those_of_the_four_paths(cells):
    for cell in cells:
        assert {EDGES[e] for e in live_edges(cell)} == on_a_path(cell)
        assert list(live_edges(cell)) == sorted(live_edges(cell))


def test_forms_are_equal_exactly_if_some_placing_of_the_weights_is(cells, forms):
    """All 15,625 cells, on vectors: the two partitions are one."""
    numbers = fingerprints(cells, norms=False)
    pairs = {(f, n) for f, n in zip(forms, numbers, strict=True)}
    assert len(pairs) == len({f for f, _ in pairs}) == len({n for _, n in pairs})


def test_scale_blind_forms_are_equal_exactly_if_behind_norms(cells, blind_forms):
    numbers = fingerprints(cells, norms=True)
    pairs = {(f, n) for f, n in zip(blind_forms, numbers, strict=True)}
    assert len(pairs) == len({f for f, _ in pairs}) == len({n for _, n in pairs})


def test_the_numbers_of_forms(cells, forms, blind_forms):
    """The disconnected cells, which hold 0, are one form each time."""
    unpooled = [
        form
        for cell, form in zip(cells, forms, strict=True)
        if "avg_pool_3x3" not in cell.operations
    ]
    assert len(set(forms)) == 5_044
    assert len(set(unpooled)) == 1_011
    assert len(set(blind_forms)) == 4_931


def test_a_cell_is_disconnected_if_no_path_is_complete(cells, forms, blind_forms):
    for cell, form, blind in zip(cells, forms, blind_forms, strict=True):
        assert (form is None) == (blind is None) == (not on_a_path(cell))


def test_the_rule_of_nas_bench_201_gives_6466_strings(cells, forms):
    """Written out: skip passes the source's string on, zero is '#', sums are sorted.

    It is no partition by function: 430 of its strings stand for several functions,
    since a string does not tell one convolution used twice from two, and 792 functions
    have several strings.
    """

    def sent(name, held):
        if name == "none" or held == "#":
            return "#"
        return held if name == "skip_connect" else f"({held})@{name}"

    strings, functions = defaultdict(set), defaultdict(set)
    for cell, form in zip(cells, forms, strict=True):
        named, nodes = on_edges(cell), ["0"]
        for j in (1, 2, 3):
            terms = [sent(named[i, j], held) for i, held in enumerate(nodes)]
            nodes.append("+".join(sorted(terms)))
        strings[form].add(nodes[3])
        functions[nodes[3]].add(form)
    assert len(functions) == 6_466
    assert sum(len(several) > 1 for several in functions.values()) == 430
    assert sum(len(several) > 1 for several in strings.values()) == 792


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        # a convolution by way of node 1, or of node 2
        (
            ("nor_conv_3x3", "none", "none", "none", "skip_connect", "none"),
            ("none", "nor_conv_3x3", "none", "none", "none", "skip_connect"),
            True,
        ),
        # disconnected, both
        (
            ("none", "none", "none", "none", "none", "none"),
            ("skip_connect", "none", "none", "none", "none", "none"),
            True,
        ),
        # one convolution used twice, and two
        (
            ("nor_conv_3x3", "none", "skip_connect", "none", *["skip_connect"] * 2),
            ("nor_conv_3x3", "none", "none", "nor_conv_3x3", "skip_connect", "none"),
            False,
        ),
        # the input twice, and once
        (
            ("skip_connect", "none", "none", "skip_connect", "skip_connect", "none"),
            ("none", "none", "none", "skip_connect", "none", "none"),
            False,
        ),
        # a convolution of side 1 and one of side 3
        (
            ("none", "none", "none", "nor_conv_1x1", "none", "none"),
            ("none", "none", "none", "nor_conv_3x3", "none", "none"),
            False,
        ),
        # first the convolution, and first the pooling
        (
            ("nor_conv_3x3", "none", "none", "none", "avg_pool_3x3", "none"),
            ("avg_pool_3x3", "none", "none", "none", "nor_conv_3x3", "none"),
            False,
        ),
    ],
)
def test_pairs_by_hand(one, other, same):
    assert (functional_form(Cell(one)) == functional_form(Cell(other))) is same


def test_forms_by_hand():
    """Output: the input pooled twice, and a convolution that reads the input twice."""
    cell = Cell((
        "avg_pool_3x3",
        "none",
        "none",
        "none",
        "avg_pool_3x3",
        "nor_conv_1x1",
    ))
    assert functional_form(cell) == ((), (((2, -1), 1),))
    assert functional_form(TWICE) == (
        (("nor_conv_3x3", (((0, -1), 2),)),),
        (((0, 0), 1),),
    )
    assert scale_blind_form(TWICE) == scale_blind_form(PLAIN) == functional_form(PLAIN)
    assert functional_form(Cell(("nor_conv_3x3",) * 3 + ("none",) * 3)) is None


@pytest.mark.parametrize("train", [False, True])
def test_inside_a_class_some_bijection_gives_equal_outputs(cells, forms, train):
    """As modules in float64: 40 cells against the first of their classes."""
    first = {}
    for cell, form in zip(cells, forms, strict=True):
        first.setdefault(form, cell)
    random = np.random.default_rng(0)
    pairs = [
        (first[forms[n]], cells[n])
        for n in random.permutation(len(cells))
        if forms[n] is not None and first[forms[n]] != cells[n]
    ]
    for one, other in pairs[:40]:
        assert min(differences(one, other, train=train)) < 1e-10, f"{one} {other}"


def test_between_classes_of_equal_counts_no_bijection_does(cells, forms):
    """As modules in float64: 30 pairs with the same operations, all bijections.

    Left out are cells with more than 24 bijections, for the time that they take.
    """
    groups = defaultdict(dict)
    for cell, form in zip(cells, forms, strict=True):
        live = Counter(on_edges(cell)[edge] for edge in on_a_path(cell))
        if math.prod(math.factorial(live[conv]) for conv in CONVS) <= 24:
            groups[tuple(sorted(live.items()))].setdefault(form, cell)
    several = [list(group.values()) for group in groups.values() if len(group) > 1]
    random = np.random.default_rng(0)
    for _ in range(30):
        group = several[random.integers(len(several))]
        one, other = random.choice(len(group), 2, replace=False)
        nearest = min(differences(group[one], group[other], train=False))
        assert nearest > 1e-6, f"{group[one]} {group[other]}"


def test_batch_norm_hides_a_factor_in_training_but_not_after():
    """conv(ReLU(2 x)) and conv(ReLU(x)): equal but for the epsilon of the norm."""
    assert functional_form(TWICE) != functional_form(PLAIN)
    assert min(differences(TWICE, PLAIN, train=True)) < 1e-3
    assert min(differences(TWICE, PLAIN, train=False)) > 0.1


def test_scale_blind_forms_join_whole_classes(forms, blind_forms):
    pairs = set(zip(forms, blind_forms, strict=True))
    assert len(pairs) == len(set(forms))


def test_representatives_are_the_first_of_their_classes(cells, forms):
    first = {}
    for cell, form in zip(cells, forms, strict=True):
        first.setdefault(form, cell)
    assert representatives() == first
    assert representatives() is representatives()  # computed once
    assert list(representatives().values()) == sorted(
        first.values(), key=lambda cell: cell.index
    )


def test_a_representative_represents_itself(cells):
    for cell in cells[7::500]:
        if live_edges(cell):
            chosen = representative(cell)
            assert chosen.index <= cell.index
            assert representative(chosen) == chosen
            assert functional_form(chosen) == functional_form(cell)


def test_a_disconnected_cell_has_no_representative():
    cell = Cell.parse(EXAMPLE.replace("skip_connect", "none"))
    with pytest.raises(ValueError, match="is disconnected: no path leads from") as told:
        representative(cell)
    assert str(cell) in str(told.value)
