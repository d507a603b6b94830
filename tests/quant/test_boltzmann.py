"""A Boltzmann machine small enough to sum over all states."""

from itertools import product

import pytest
import torch

from effdl.quant.boltzmann import (
    BoltzmannMachine,
    all_pictures,
    bars_and_stripes,
    divergence,
    round_weights_,
)
from effdl.train import fit


def test_the_probability_is_that_of_the_joint_energy_summed_over_hidden_units():
    machine = BoltzmannMachine(3, 2)
    with torch.no_grad():
        machine.visible.normal_()
        machine.bias.normal_()
    w, b, c = (p.detach() for p in (machine.weight, machine.visible, machine.bias))
    joint = {}
    for v in product((0.0, 1.0), repeat=3):
        for h in product((0.0, 1.0), repeat=2):
            v_, h_ = torch.tensor(v), torch.tensor(h)
            joint[v, h] = torch.exp(b @ v_ + c @ h_ + h_ @ w @ v_).item()
    total = sum(joint.values())
    pictures = all_pictures(3)
    found = machine(pictures).exp().tolist()
    for v, p in zip(pictures.tolist(), found, strict=True):
        expected = sum(e for (seen, _), e in joint.items() if list(seen) == v) / total
        assert p == pytest.approx(expected, rel=1e-4)


def test_all_pictures_are_there_once():
    found = all_pictures(4)
    assert found.shape == (16, 4)
    assert len(torch.unique(found, dim=0)) == 16


def test_bars_and_stripes_are_those_that_the_definition_finds():
    every = all_pictures(9).reshape(-1, 3, 3)
    bars = equal_rows(every)
    stripes = equal_rows(every.transpose(1, 2))
    expected = {tuple(v) for v in every[bars | stripes].flatten(1).tolist()}
    assert {tuple(v) for v in bars_and_stripes(3).tolist()} == expected
    assert len(expected) == 14
    assert len(bars_and_stripes(4)) == 30


def equal_rows(pictures):
    return (pictures == pictures[:, :1]).flatten(1).all(dim=1)


def test_the_divergence_by_hand():
    """(1/2) log(2) + (1/2) log(2/3) = 0.1438; of p from itself it is 0."""
    p, q = torch.tensor([0.5, 0.5]).log(), torch.tensor([0.25, 0.75]).log()
    assert divergence(p, q) == pytest.approx(0.143841, abs=1e-5)
    assert divergence(p, p) == 0
    assert divergence(p, q) != pytest.approx(divergence(q, p))


def test_rounding_puts_weights_on_the_grid_and_leaves_the_biases():
    machine = BoltzmannMachine(6, 5)
    machine.visible.data.fill_(0.123)
    before = machine.weight.detach().clone()
    round_weights_(machine, 3)
    step = before.abs().max() / 3
    torch.testing.assert_close(machine.weight.detach(), (before / step).round() * step)
    assert torch.equal(machine.visible.detach(), torch.full((6,), 0.123))


def test_it_learns_and_more_bits_lie_nearer_to_it():
    data, every = bars_and_stripes(3), all_pictures(9)
    machine = BoltzmannMachine(9, 6)
    adam = torch.optim.Adam(machine.parameters(), 0.1)
    batches = [(data, data)]
    losses = fit(machine, lambda v, _: -machine(v).mean(), batches, adam, epochs=200)
    assert losses[-1] < 0.75 * losses[0]
    p, state = machine(every), machine.state_dict()
    gaps = []
    for bits in (2, 4, 8):
        rounded = BoltzmannMachine(9, 6)
        rounded.load_state_dict(state)
        round_weights_(rounded, bits)
        gaps.append(divergence(p, rounded(every)))
    assert gaps[0] > gaps[1] > gaps[2] > 0
    assert gaps[2] < 0.01


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: all_pictures(21), "at most 20"),
        (lambda: all_pictures(0), "pixels"),
        (lambda: BoltzmannMachine(4, 0), "hidden"),
        (lambda: divergence(torch.zeros(2), torch.zeros(3)), "2 pictures"),
        (lambda: round_weights_(BoltzmannMachine(2, 2), 1), "bits must be 2 to 16"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
