"""einsum_macs against a literal loop and against what PyTorch runs."""

import itertools

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from effdl.measure.einsum import einsum_macs

SIZES = {"b": 2, "h": 3, "i": 4, "j": 5, "k": 6, "l": 7}


def shapes_of(equation):
    terms = equation.split("->")[0].split(",")
    return [tuple(SIZES[letter] for letter in term) for term in terms]


def flops(equation, *shapes, path=None):
    """Multiply-adds of the products that PyTorch runs: half of its FLOPs."""
    operands = [torch.zeros(shape) for shape in shapes]
    with FlopCounterMode(display=False) as counter:
        torch._C._VariableFunctions.einsum(equation, operands, path=path)
    return counter.get_total_flops() // 2


@pytest.mark.parametrize("equation", ["ij,jk->ik", "bij,bjk->bik", "bi,bi->b"])
def test_two_operands_are_a_loop_over_every_index(equation):
    """The definition: one multiply-add for each value of all indices together."""
    letters = sorted(set(equation) - set(",->"))
    steps = itertools.product(*(range(SIZES[letter]) for letter in letters))
    assert einsum_macs(equation, *shapes_of(equation)) == sum(1 for _ in steps)


@pytest.mark.parametrize(
    "equation",
    [
        "ij,jk->ik",
        "bhik,bhjk->bhij",
        "bhij,bhjk->bihk",
        "bij,jk",
        "ij,jk,kl->il",
        "bij,bjk,bkl->bil",
        "ij,jk,kl,lb->ib",
        "ij,kl->ik",
        "bij,bik->bjk",
    ],
)
def test_agrees_with_the_products_that_pytorch_runs(equation):
    shapes = shapes_of(equation)
    assert einsum_macs(equation, *shapes) == flops(equation, *shapes)


@pytest.mark.parametrize(
    "path", [[0, 1, 0, 2, 0, 1], [1, 2, 1, 2, 0, 1], [2, 3, 0, 1, 0, 1]]
)
def test_a_path_is_followed(path):
    shapes = shapes_of("ij,jk,kl,lb->ib")
    expected = flops("ij,jk,kl,lb->ib", *shapes, path=path)
    assert einsum_macs("ij,jk,kl,lb->ib", *shapes, path=path) == expected


@pytest.mark.parametrize(
    ("equation", "shapes"),
    [
        ("...ij,...jk->...ik", [(2, 3, 4, 5), (2, 3, 5, 6)]),
        ("...ij,...jk", [(2, 4, 5), (2, 5, 6)]),
        ("...ij,jk", [(2, 3, 4, 5), (5, 6)]),
        ("i...,...j->...ij", [(4, 2), (2, 5)]),
        ("...ij,jk->...ik", [(2, 3, 4, 5), (5, 6)]),
    ],
)
def test_dots_stand_for_leading_dimensions(equation, shapes):
    assert einsum_macs(equation, *shapes) == flops(equation, *shapes)


def test_dots_are_aligned_at_the_right():
    """(2, 3) batches of the left meet (3,) of the right: 2*3 products of 4*5*6."""
    assert einsum_macs("...ij,...jk->...ik", (2, 3, 4, 5), (3, 5, 6)) == 720


def test_a_size_of_one_is_broadcast():
    """One matrix of 5x6 meets two of 4x5, on whichever side it is."""
    assert einsum_macs("...ij,...jk->...ik", (2, 4, 5), (1, 5, 6)) == 240
    assert einsum_macs("...ij,...jk->...ik", (1, 4, 5), (2, 5, 6)) == 240


def test_spaces_mean_nothing():
    assert einsum_macs(" ij , jk -> ik ", (2, 3), (3, 4)) == 24


@pytest.mark.parametrize("equation", ["ij->ji", "ij->", "ii->i", "ij"])
def test_one_operand_multiplies_nothing(equation):
    assert einsum_macs(equation, (3, 3)) == 0


def test_a_sum_before_the_product_is_not_multiplied():
    """Index l (200) is summed first; then 3 * 100 multiply-adds over i and j remain."""
    assert einsum_macs("ij,jl->i", (3, 100), (100, 200)) == 300


@pytest.mark.parametrize("equation", ["i,j->ij", "ij,ij->ij", "ij,kl->ik"])
def test_products_without_a_sum_do_not_count(equation):
    assert einsum_macs(equation, *shapes_of(equation)) == 0


def test_the_order_matters_for_three_operands():
    shapes = [(2, 100), (100, 100), (100, 1)]
    left = einsum_macs("ij,jk,kl->il", *shapes)
    right = einsum_macs("ij,jk,kl->il", *shapes, path=[1, 2, 0, 1])
    assert (left, right) == (2 * 100 * 100 + 200, 100 * 100 + 200)
