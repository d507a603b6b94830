"""Argument checks of distillation."""

import math

import pytest
import torch
from torch import nn

from effdl.distill.checks import (
    check_logits,
    check_share,
    check_teacher,
    check_temperature,
)


@pytest.mark.parametrize("temperature", [0, -1, math.inf, math.nan])
def test_a_temperature_is_above_0_and_finite(temperature: float) -> None:
    with pytest.raises(ValueError, match=f"temperature .* got {temperature}"):
        check_temperature(temperature)


def test_small_and_large_temperatures_are_taken() -> None:
    check_temperature(1e-3)
    check_temperature(1e6)


@pytest.mark.parametrize("share", [-0.1, 1.1, math.nan])
def test_a_share_is_from_0_to_1(share: float) -> None:
    with pytest.raises(ValueError, match=f"alpha must be from 0 to 1, got {share}; 0"):
        check_share(alpha=share)
    with pytest.raises(ValueError, match=f"other must be from 0 to 1, got {share}$"):
        check_share(alpha=0.5, other=share)


def test_both_ends_are_shares() -> None:
    check_share(alpha=0, other=1.0)


@pytest.mark.parametrize(
    ("student", "teacher", "message"),
    [
        ((2, 10), (2, 100), "student has 10 classes and teacher 100"),
        ((2, 10), (3, 10), r"different inputs, got shapes \(2, 10\) and \(3, 10\)"),
        ((2, 10, 1), (2, 10, 1), r"must be logits \(N, C\)"),
        ((10,), (2, 10), r"must be logits \(N, C\)"),
        ((2, 10), (10,), r"must be logits \(N, C\)"),
        ((0, 10), (0, 10), "are empty"),
    ],
)
def test_logits_fit_each_other(
    student: tuple[int, ...], teacher: tuple[int, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        check_logits(torch.zeros(student), torch.zeros(teacher))


def test_one_layer_in_training_mode_is_found_and_named() -> None:
    teacher = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)).eval()
    check_teacher(teacher)
    teacher[1].train()
    with pytest.raises(ValueError, match=r"BatchNorm1d 1.*call teacher.eval\(\)"):
        check_teacher(teacher)
