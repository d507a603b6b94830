"""Crossbars: exact with enough bits in the converter, and how it fails with fewer."""

import pytest
import torch

from effdl.quant.in_memory import Crossbar, cells_of, multiply, noisy_cells


def example(outputs=5, inputs=300, batch=4):
    """Return integer inputs and weights over all of their range."""
    weight = torch.randint(-128, 128, (outputs, inputs))
    return torch.randint(0, 256, (batch, inputs)), weight


def test_cells_hold_the_digits_of_either_side():
    _, weight = example()
    for bits in (1, 2, 3, 4):
        kind = Crossbar(cell_bits=bits)
        cells = cells_of(weight, kind)
        assert cells.shape == (2, kind.slices, 5, 300)
        assert cells.min() == 0
        assert cells.max() <= 2**bits - 1
        powers = (2.0**bits) ** torch.arange(kind.slices, dtype=torch.double)
        sides = (cells * powers.view(1, -1, 1, 1)).sum(dim=1)
        assert torch.equal(sides[0] - sides[1], weight.double())
        assert not (sides[0] * sides[1]).any()


def test_by_hand():
    """-6 = -(2 + 4 * 1), 5 = 1 + 4 * 1; 10 * (-6) + 200 * 5 = 940."""
    cells = cells_of(torch.tensor([[-6, 5]]), Crossbar())
    assert cells[0, :, 0, 1].tolist() == [1, 1, 0, 0]
    assert cells[1, :, 0, 0].tolist() == [2, 1, 0, 0]
    found = multiply(torch.tensor([[10, 200]]), cells, Crossbar())
    assert found.tolist() == [[940]]


@pytest.mark.parametrize("cell_bits", [1, 2, 4])
@pytest.mark.parametrize("rows", [16, 128])
def test_with_enough_bits_it_is_the_product_of_integers(cell_bits, rows):
    x, weight = example()
    free = Crossbar(rows=rows, cell_bits=cell_bits)
    enough = Crossbar(rows=rows, cell_bits=cell_bits, adc_bits=free.exact_adc_bits)
    for kind in (free, enough):
        found = multiply(x, cells_of(weight, kind), kind)
        assert torch.equal(found, x @ weight.T)


def test_the_bits_that_are_enough_are_the_fewest():
    """All cells full: 128 rows of cells of 1 bit add up to 128, which is 8 bits.

    The logarithm of 128 is 7: with 7 bits a converter ends at 127.
    """
    kind = Crossbar(rows=128, cell_bits=1, weight_bits=2, input_bits=1)
    assert kind.exact_adc_bits == 8
    assert Crossbar(rows=128, cell_bits=2).exact_adc_bits == 9  # of 384
    assert Crossbar(rows=127, cell_bits=1).exact_adc_bits == 7
    x, weight = torch.ones(1, 128, dtype=torch.long), torch.ones(1, 128).long()
    for bits, expected in ((8, 128), (7, 127)):
        fewer = Crossbar(128, 128, 1, 2, 1, adc_bits=bits)
        assert multiply(x, cells_of(weight, fewer), fewer).item() == expected


def test_the_largest_weights_of_either_sign_fit():
    weight = torch.tensor([[-128, 127]])
    found = multiply(
        torch.tensor([[255, 255]]), cells_of(weight, Crossbar()), Crossbar()
    )
    assert found.item() == -255


def test_the_error_grows_as_the_converter_loses_bits():
    x, weight = example(outputs=16, inputs=256, batch=16)
    errors = []
    for bits in range(9, 2, -1):
        kind = Crossbar(adc_bits=bits)
        found = multiply(x, cells_of(weight, kind), kind)
        errors.append((found - x @ weight.T).abs().double().mean().item())
    assert errors[0] == 0
    assert errors == sorted(errors)
    assert errors[-1] > 100


def test_each_current_is_clipped_and_never_grows():
    """Weights of one sign: what is clipped can only be missing."""
    x, weight = example()
    weight = weight.abs().clamp(max=127)
    before = x @ weight.T
    for bits in (8, 7, 6, 5):
        kind = Crossbar(adc_bits=bits)
        found = multiply(x, cells_of(weight, kind), kind)
        assert bool((found <= before).all())
        before = found


def test_smaller_crossbars_are_added_up_digitally():
    x, weight = example()
    weight = weight.abs().clamp(max=127)
    kinds = [Crossbar(rows=rows, adc_bits=6) for rows in (16, 128)]
    exact = x @ weight.T
    errors = [
        (multiply(x, cells_of(weight, k), k) - exact).abs().sum().item() for k in kinds
    ]
    assert errors[0] == 0 < errors[1]  # 16 rows of 3 make 48, below 63


def test_noise_multiplies_cells_and_spares_empty_ones():
    cells = torch.full((20_000,), 3.0)
    logs = (noisy_cells(cells, 0.1) / 3).log()
    assert abs(logs.mean()) < 0.005
    assert abs(logs.std() - 0.1) < 0.005
    assert not noisy_cells(torch.zeros(5), 0.5).any()
    assert torch.equal(noisy_cells(cells, 0.0), cells)


def test_noise_makes_errors_that_grow_with_it():
    x, weight = example()
    kind, exact = Crossbar(), x @ weight.T
    errors = []
    for sigma in (0.0, 0.02, 0.2):
        found = multiply(x, noisy_cells(cells_of(weight, kind), sigma), kind)
        errors.append((found - exact).abs().double().mean().item())
    assert errors[0] == 0 < errors[1] < errors[2]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Crossbar(rows=0), "rows"),
        (lambda: Crossbar(cell_bits=5), "cell_bits must be 1 to 4, got 5"),
        (lambda: Crossbar(weight_bits=1), "bits must be 2 to 16"),
        (lambda: Crossbar(adc_bits=0), "bits must be 1 to 16"),
        (lambda: Crossbar(input_bits=17), "bits must be 1 to 16"),
        (lambda: cells_of(torch.tensor([[128]]), Crossbar()), "weight must be whole"),
        (lambda: cells_of(torch.tensor([[0.5]]), Crossbar()), "weight must be whole"),
        (lambda: noisy_cells(torch.ones(1), -1.0), "sigma must be 0 or more"),
        (lambda: product(torch.tensor([[256, 0]])), "x must be whole numbers from 0"),
        (lambda: product(torch.tensor([[-1, 0]])), "x must be whole numbers from 0"),
        (lambda: product(torch.tensor([[1, 2, 3]])), "must have 2 inputs"),
        (lambda: product(torch.tensor([1, 2])), "use cells_of"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def product(x):
    return multiply(x, cells_of(torch.ones(1, 2), Crossbar()), Crossbar())
