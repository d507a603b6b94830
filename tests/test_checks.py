"""The argument checks: what passes, what does not, and what the message says."""

import math

import numpy as np
import pytest
import torch

from effdl.checks import (
    check_divides,
    check_image_size,
    check_images,
    check_kernel,
    check_odd,
    check_positive,
    check_seed,
    check_share,
)


def test_good_values_pass():
    check_positive(a=1, b=10**9, c=np.int64(2))
    check_odd(a=1, b=3, c=101)
    check_divides("groups", 3, a=3, b=9, c=0)
    check_share(a=1, b=1.0, c=1e-9, d=0.5)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (0, "stride must be at least 1, got 0"),
        (-2, "stride must be at least 1, got -2"),
        (2.0, "stride must be a whole number, got 2.0; use int()"),
        ("2", "stride must be a whole number, got '2'; use int()"),
        ((2, 2), "stride must be a whole number, got (2, 2); use int()"),
        (math.nan, "stride must be a whole number, got nan; use int()"),
    ],
)
def test_counts_are_whole_and_at_least_1(value, message):
    assert error_of(check_positive, stride=value) == message


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (0, "kernel_size must be odd, got 0; use 1"),
        (2, "kernel_size must be odd, got 2; use 1 or 3"),
        (6, "kernel_size must be odd, got 6; use 5 or 7"),
    ],
)
def test_kernels_are_odd(value, message):
    assert error_of(check_odd, kernel_size=value) == message


@pytest.mark.parametrize(
    ("divisor", "value", "message"),
    [
        (3, 8, "groups=3 must divide channels, got 8; use 6 or 9"),
        (16, 8, "groups=16 must divide channels, got 8; use 16"),
        (4, 9, "groups=4 must divide channels, got 9; use 8 or 12"),
    ],
)
def test_the_nearest_multiples_are_the_way_out(divisor, value, message):
    assert error_of(check_divides, "groups", divisor, channels=value) == message


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (0.0, "share must be above 0 and at most 1, got 0.0"),
        (-0.5, "share must be above 0 and at most 1, got -0.5"),
        (25, "share must be above 0 and at most 1, got 25; 25 % is 0.25"),
        (100, "share must be above 0 and at most 1, got 100; 100 % is 1"),
        (101, "share must be above 0 and at most 1, got 101"),
        (math.nan, "share must be above 0 and at most 1, got nan"),
        (math.inf, "share must be above 0 and at most 1, got inf"),
    ],
)
def test_a_share_is_above_0_and_at_most_1(value, message):
    assert error_of(check_share, share=value) == message


@pytest.mark.parametrize(
    ("check", "bad"),
    [
        (check_positive, 0),
        (check_odd, 2),
        (check_share, 2.0),
        (lambda **values: check_divides("groups", 2, **values), 3),
    ],
)
def test_every_value_is_checked_and_the_bad_one_named(check, bad):
    good = 1.0 if check is check_share else 1
    values = {"first": good, "second": bad}
    if good == 1 and bad == 3:
        values["first"] = 2
    assert "second" in error_of(check, **values)
    assert "first" not in error_of(check, **values)


@pytest.mark.parametrize("channels", [None, 3])
def test_a_batch_of_images_passes(channels):
    check_images(torch.zeros(1, 3, 1, 1), channels)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((3, 8, 9), "x must be (N, C, H, W), got shape (3, 8, 9); use x.unsqueeze(0)"),
        ((8, 9), "x must be (N, C, H, W), got shape (8, 9)"),
        ((1, 3, 2, 8, 9), "x must be (N, C, H, W), got shape (1, 3, 2, 8, 9)"),
        ((), "x must be (N, C, H, W), got shape ()"),
    ],
)
def test_images_have_four_dimensions(shape, message):
    assert error_of(check_images, torch.zeros(shape)) == message


@pytest.mark.parametrize("shape", [(0, 3, 8, 9), (2, 0, 8, 9), (2, 3, 0, 9)])
def test_images_are_not_empty(shape):
    assert error_of(check_images, torch.zeros(shape)) == (
        f"x is empty, shape {shape}; drop empty batches before they come here"
    )


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((2, 4, 8, 9), "x must have 3 channels in dimension 1, got 4, "
                       "shape (2, 4, 8, 9)"),
        ((2, 8, 9, 3), "x must have 3 channels in dimension 1, got 8, "
                       "shape (2, 8, 9, 3); is it (N, H, W, C)? use "
                       "x.permute(0, 3, 1, 2)"),
    ],
)  # fmt: skip
def test_images_have_the_channels_of_the_layer(shape, message):
    assert error_of(check_images, torch.zeros(shape), 3) == message


def test_the_permutation_in_the_message_is_the_cure():
    check_images(torch.zeros(2, 8, 9, 3).permute(0, 3, 1, 2), 3)


@pytest.mark.parametrize("seed", [0, 7, np.int64(3)])
def test_a_good_seed_passes(seed):
    check_seed(seed)


@pytest.mark.parametrize(
    ("seed", "message"),
    [
        (1.5, "seed must be a whole number, got 1.5; use int()"),
        (None, "seed must be a whole number, got None; use int()"),
        (-1, "seed must be 0 or larger, got -1"),
    ],
)
def test_bad_seeds_are_named(seed, message):
    assert error_of(check_seed, seed) == message


@pytest.mark.parametrize("channels", [None, 3])
def test_a_kernel_passes(channels):
    check_kernel(torch.zeros(1, 3, 5, 5), channels)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((8, 4), "weight must be (n, c, k, k), got shape (8, 4); "
                 "use a Conv2d's weight"),
        ((), "weight must be (n, c, k, k), got shape (); use a Conv2d's weight"),
        ((8, 4, 3, 1), "weight must be (n, c, k, k), got shape (8, 4, 3, 1); "
                       "pad the shorter side with zeros"),
        ((0, 4, 3, 3), "weight is empty, shape (0, 4, 3, 3); "
                       "n, c and k are at least 1"),
        ((8, 0, 3, 3), "weight is empty, shape (8, 0, 3, 3); "
                       "n, c and k are at least 1"),
        ((8, 4, 0, 0), "weight is empty, shape (8, 4, 0, 0); "
                       "n, c and k are at least 1"),
        ((8, 4, 2, 2), "kernel_size must be odd, got 2; use 1 or 3"),
        ((8, 4, 3, 3), "weight must have 1 channels in dimension 1, got 4; "
                       "make it (8, 1, 3, 3)"),
    ],
)  # fmt: skip
def test_bad_kernels_are_named(shape, message):
    assert error_of(check_kernel, torch.zeros(shape), 1) == message


def error_of(check, *values, **named) -> str:
    with pytest.raises(ValueError) as caught:
        check(*values, **named)
    return str(caught.value)


@pytest.mark.parametrize("shape", [(1, 3, 31, 64), (1, 3, 64, 31)])
def test_images_smaller_than_the_strides_are_named(shape):
    height, width = shape[-2:]
    message = (
        f"x must have 32 x 32 pixels or more, got {height} x {width}; use larger images"
    )
    assert error_of(check_image_size, torch.zeros(shape), 32) == message


def test_images_of_just_the_right_size_pass():
    check_image_size(torch.zeros(1, 3, 32, 32), 32)
