"""ABC-Net: several signs for a weight, and scales by least squares."""

from itertools import pairwise

import pytest
import torch

from effdl.quant.abc_net import (
    ManySigns,
    even_shifts,
    fitted_scales,
    shifted_signs,
)


def error(weight, shifts):
    """Return the sum of squares that the bases leave."""
    return (weight - ManySigns(shifts)(weight)).square().sum().item()


def test_bases_are_signs_of_the_shifted_standardized_weight():
    weight, shifts = torch.randn(4, 3), [-0.5, 0.0, 1.0]
    found = shifted_signs(weight, shifts)
    mean = weight.sum() / 12
    spread = ((weight - mean) ** 2).mean().sqrt()
    for base, u in zip(found, shifts, strict=True):
        assert base.tolist() == [
            [1.0 if w - mean + u * spread >= 0 else -1.0 for w in row] for row in weight
        ]


def test_by_hand():
    """-3, -1, 1, 3: mean 0, deviation 2.24; the bases cut at 2.24, 0 and -2.24.

    B_1 = - - - +, B_2 = - - + +, B_3 = - + + +, and B_1 + B_2 + B_3 is the weight.
    """
    weight = torch.tensor([-3.0, -1.0, 1.0, 3.0])
    bases = shifted_signs(weight, [-1.0, 0.0, 1.0])
    assert bases.sum(dim=0).tolist() == [-3, -1, 1, 3]
    # The deviation is sqrt(5); 1.25 times that is 2.8, and cuts below 3.
    assert shifted_signs(weight, [-1.25])[0].tolist() == [-1, -1, -1, 1]
    torch.testing.assert_close(fitted_scales(weight, bases), torch.ones(3))
    assert error(weight, [-1.0, 0.0, 1.0]) < 1e-10


def test_scales_are_those_of_least_squares():
    weight = torch.randn(5, 7)
    bases = shifted_signs(weight, even_shifts(4))
    columns = bases.flatten(1).T
    expected = torch.linalg.lstsq(columns, weight.flatten()[:, None]).solution
    torch.testing.assert_close(fitted_scales(weight, bases), expected[:, 0])


def test_equal_bases_share_a_scale():
    weight = torch.tensor([-2.0, 1.0, 1.0, 4.0])
    one = fitted_scales(weight, shifted_signs(weight, [0.0]))
    two = fitted_scales(weight, shifted_signs(weight, [0.0, 0.0]))
    torch.testing.assert_close(two, torch.stack([one[0] / 2, one[0] / 2]))


def test_one_base_of_centred_weights_is_the_binary_weight_network():
    """Least squares for one sign: alpha = mean of W sign(W) = mean |W|."""
    weight = torch.randn(6, 4)
    weight = weight - weight.mean()
    found = ManySigns(even_shifts(1))(weight)
    torch.testing.assert_close(found, weight.abs().mean() * weight.sign())


def test_the_error_does_not_rise_if_the_old_bases_are_kept():
    weight = torch.rand(64, 9) - 0.5
    errors = [error(weight, even_shifts(count)) for count in (1, 3, 5, 9, 17)]
    assert all(new <= old + 1e-3 for old, new in pairwise(errors))
    assert errors[-1] < 0.2 * errors[0]


def test_the_error_can_rise_with_the_number_of_bases():
    """Three shifts cut at 0 and tell -0.1 from 0.1; four do not."""
    weight = torch.tensor([-2.0, -0.1, 0.1, 2.0])
    assert error(weight, even_shifts(3)) < 1e-10
    torch.testing.assert_close(error(weight, even_shifts(4)), 0.02)


def test_there_are_at_most_one_value_more_than_bases():
    weight = torch.randn(500)
    for count in (1, 2, 5):
        assert len(ManySigns(even_shifts(count))(weight).unique()) <= count + 1


def test_the_slope_passes_through_every_sign():
    weight = torch.tensor([-3.0, -1.0, 1.0, 3.0], requires_grad=True)
    g = torch.tensor([1.0, 0.0, 2.0, -1.0])
    (ManySigns()(weight) * g).sum().backward()  # the scales are 1, 1, 1
    torch.testing.assert_close(weight.grad, 3 * g)


def test_the_default_is_that_of_three_bases():
    assert list(ManySigns().shifts) == even_shifts(3)
    assert even_shifts(5) == [-1, -0.5, 0, 0.5, 1]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: even_shifts(0), "count"),
        (lambda: shifted_signs(torch.ones(2), []), "shifts is empty"),
        (lambda: shifted_signs(torch.tensor([float("nan")]), [0.0]), "1 NaN"),
        (lambda: ManySigns([]), "shifts is empty"),
        (lambda: fitted_scales(torch.ones(2), torch.ones(1, 3)), r"shape \(2,\)"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
