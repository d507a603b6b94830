"""Eq. (19): temperatures, from probabilities too, and the entropy that never falls."""

import math

import pytest
import torch

from effdl.distill.kd import softened
from effdl.distill.softening import (
    entropy,
    entropy_slope,
    softened_probabilities,
    temperature_for,
)

PRINTED = torch.tensor([0.02, 0.95, 0.01, 0.01, 0.01], dtype=torch.float64)


def test_it_is_the_power_divided_by_its_sum():
    for temperature in (0.5, 2.0, 5.0):
        power = [p ** (1 / temperature) for p in PRINTED.tolist()]
        literal = torch.tensor([p / sum(power) for p in power], dtype=torch.float64)
        found = softened_probabilities(PRINTED, temperature)
        torch.testing.assert_close(found, literal)


def test_probabilities_suffice_as_the_constant_of_the_logits_drops_out():
    y = torch.randn(4, 7, dtype=torch.float64) * 3 + 100
    from_p = softened_probabilities(y.softmax(dim=1), 5.0)
    torch.testing.assert_close(from_p, softened(y, 5.0))


def test_the_entropy_is_its_definition():
    y = torch.randn(3, 5, dtype=torch.float64)
    for row, found in zip(y, entropy(y, 2.0), strict=True):
        z = [math.exp(v / 2) for v in row.tolist()]
        literal = -sum(v / sum(z) * math.log(v / sum(z)) for v in z)
        assert found.item() == pytest.approx(literal)


def test_the_survey_s_example_by_hand():
    """0.95^0.2 = 0.98979, 0.02^0.2 = 0.45731, 0.01^0.2 = 0.39811; sum 2.64142."""
    found = softened_probabilities(PRINTED, 5.0)
    by_hand = [0.17313, 0.37472, 0.15072, 0.15072, 0.15072]
    torch.testing.assert_close(found, found.new_tensor(by_hand), atol=1e-4, rtol=0)
    printed = found.new_tensor([0.1, 0.6, 0.1, 0.1, 0.1])
    assert (found - printed).abs().max() > 0.2


def test_the_survey_s_maximum_belongs_to_a_temperature_of_2_4():
    temperature = temperature_for(PRINTED, 0.6)
    assert temperature == pytest.approx(2.434, abs=0.001)
    found = softened_probabilities(PRINTED, 2.4)
    by_hand = found.new_tensor([0.121, 0.606, 0.091, 0.091, 0.091])
    torch.testing.assert_close(found, by_hand, atol=1e-3, rtol=0)


def test_the_temperature_found_gives_the_maximum_asked_for():
    p = torch.rand(6, dtype=torch.float64).softmax(dim=0)
    for largest in (0.2, 0.5, 0.999):
        z = softened_probabilities(p, temperature_for(p, largest))
        assert float(z.max()) == pytest.approx(largest, abs=1e-9)


def test_limits_are_the_argmax_and_the_uniform_distribution():
    y = torch.tensor([[1.0, 3.0, 2.0]])
    assert softened(y, 1e-3).tolist() == [[0.0, 1.0, 0.0]]
    torch.testing.assert_close(softened(y, 1e9), torch.full((1, 3), 1 / 3))
    p = y.softmax(dim=1)
    torch.testing.assert_close(softened_probabilities(p, 1.0), p)
    assert entropy(y, 1e-3).tolist() == [0.0]
    torch.testing.assert_close(entropy(y, 1e9), torch.tensor([math.log(3)]))


def test_a_probability_of_zero_stays_zero():
    z = softened_probabilities(torch.tensor([0.5, 0.5, 0.0]), 8.0)
    assert z.tolist() == [0.5, 0.5, 0.0]


def test_the_slope_of_the_entropy_is_that_of_autograd_and_of_differences():
    y = torch.randn(4, 6, dtype=torch.float64) * 2
    temperature = torch.tensor(1.7, dtype=torch.float64, requires_grad=True)
    z = (y / temperature).softmax(dim=1)
    h = -(z * z.log()).sum(dim=1)
    by_autograd = [torch.autograd.grad(v, temperature, retain_graph=True)[0] for v in h]
    torch.testing.assert_close(entropy_slope(y, 1.7), torch.stack(by_autograd))
    differences = (entropy(y, 1.701) - entropy(y, 1.699)) / 0.002
    torch.testing.assert_close(entropy_slope(y, 1.7), differences, rtol=1e-4, atol=1e-6)


def test_the_entropy_never_falls_with_the_temperature():
    y = torch.randn(20, 10, dtype=torch.float64) * 5
    h = torch.stack([entropy(y, t) for t in (0.1, 0.5, 1.0, 2.0, 5.0, 20.0, 100.0)])
    assert (h.diff(dim=0) >= 0).all()
    assert (entropy_slope(y, 3.0) > 0).all()
    assert entropy_slope(torch.full((1, 4), 7.0), 3.0).tolist() == [0.0]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: softened_probabilities(torch.tensor([0.5, 0.6]), 2.0), "sum to 1"),
        (lambda: softened_probabilities(torch.tensor([1.5, -0.5]), 2.0), "at least 0"),
        (lambda: softened_probabilities(PRINTED, 0.0), "temperature must be finite"),
        (lambda: entropy(PRINTED, -1.0), "temperature must be finite"),
        (lambda: entropy_slope(PRINTED, float("nan")), "temperature must be finite"),
        (lambda: temperature_for(PRINTED, 0.2), "largest must be between"),
        (lambda: temperature_for(PRINTED, 1.0), "largest must be between"),
        (lambda: temperature_for(PRINTED, float("nan")), "largest must be between"),
        (lambda: temperature_for(PRINTED[None], 0.6), "give one distribution"),
        (lambda: temperature_for(torch.full((4,), 0.25), 0.3), "not uniform"),
        (lambda: temperature_for(torch.tensor([2.0, 1.0]), 0.9), "sum to 1"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
