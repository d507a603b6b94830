"""Frank-Wolfe over blocks: its step, its gap, and where projections end, too."""

import math

import numpy as np
import pytest
import torch

from effdl.nas.hardware.frank_wolfe import (
    block_frank_wolfe,
    duality_gap,
    simplex_corner,
    step_size,
)

BLOCKS, SIZE = 3, 4


def quadratic(seed=0):
    """Return a positive definite matrix and a vector: f(x) = x' A x / 2 - b' x."""
    random = np.random.default_rng(seed)
    root = random.normal(size=(BLOCKS * SIZE, BLOCKS * SIZE))
    matrix = root @ root.T / len(root) + 0.1 * np.eye(len(root))
    return matrix, random.normal(size=len(root))


def value(x, matrix, vector):
    return x @ matrix @ x / 2 - vector @ x


def project(rows):
    """Return the nearest points of the simplex, by sorting."""
    ordered = -np.sort(-rows, axis=1)
    excess = (ordered.cumsum(axis=1) - 1) / np.arange(1, rows.shape[1] + 1)
    count = (ordered > excess).sum(axis=1)
    return np.maximum(rows - excess[range(len(rows)), count - 1][:, None], 0)


def projected_gradient(matrix, vector, steps=2000):
    x = np.full((BLOCKS, SIZE), 1 / SIZE)
    rate = 1 / np.linalg.eigvalsh(matrix)[-1]
    for _ in range(steps):
        slope = (matrix @ x.ravel() - vector).reshape(x.shape)
        x = project(x - rate * slope)
    return x.ravel()


def run(steps, seed=0, noise=0.0, momentum=0.0):
    matrix, vector = quadratic(seed)
    random = np.random.default_rng(seed)

    def gradient(points):
        x = torch.cat(list(points)).numpy()
        slope = matrix @ x - vector + noise * random.normal(size=len(x))
        return list(torch.from_numpy(slope).split(SIZE))

    start = [torch.eye(SIZE, dtype=torch.float64)[0]] * BLOCKS
    oracles = [simplex_corner] * BLOCKS
    done = block_frank_wolfe(start, gradient, oracles, steps=steps, momentum=momentum)
    values = [value(torch.cat(step.points).numpy(), matrix, vector) for step in done]
    best = value(projected_gradient(matrix, vector), matrix, vector)
    first = value(torch.cat(start).numpy(), matrix, vector)
    return done, [first, *values], best


@pytest.mark.parametrize("seed", range(3))
def test_it_reaches_the_optimum_of_projected_gradients(seed):
    _, values, best = run(1500, seed)
    assert 0 <= values[-1] - best < 5e-3 * (values[0] - best)


@pytest.mark.parametrize("seed", range(3))
def test_the_gap_bounds_the_error_at_every_step(seed):
    done, values, best = run(300, seed)
    for step, now in zip(done, values, strict=False):
        assert step.gap >= now - best - 1e-9
    assert done[-1].gap < 0.2 * done[0].gap


def test_every_iterate_is_in_its_simplex():
    for step in run(100, noise=5.0, momentum=0.9)[0]:
        for block in step.points:
            assert block.min() >= 0
            assert block.sum().item() == pytest.approx(1.0)


def test_the_error_falls_like_one_over_k():
    _, values, best = run(1600)
    errors = [values[k] - best for k in (50, 300, 1600)]
    assert errors[1] < errors[0] / 2
    assert errors[2] < errors[1] / 2


def test_one_step_moves_one_block_by_gamma_towards_its_corner():
    """Two blocks: gamma is 1 at step 0 and 4 / 5 at step 1."""
    slopes = [torch.tensor([3.0, 1.0]), torch.tensor([-2.0, 5.0])]
    start = [torch.tensor([0.5, 0.5]), torch.tensor([0.5, 0.5])]
    done = block_frank_wolfe(start, lambda _: slopes, [simplex_corner] * 2, steps=2)
    wanted = [[0.0, 1.0], [1.0, 0.0]]
    first = done[0].block
    assert done[0].points[first].tolist() == wanted[first]
    assert done[0].points[1 - first].tolist() == [0.5, 0.5]
    assert done[0].gap == pytest.approx((2 - 1) + (1.5 + 2))
    assert start[0].tolist() == [0.5, 0.5]  # the start is the caller's

    second = done[1].block
    moved = done[0].points[second].lerp(torch.tensor(wanted[second]), 0.8)
    torch.testing.assert_close(done[1].points[second], moved)
    assert torch.equal(done[1].points[1 - second], done[0].points[1 - second])


@pytest.mark.parametrize("blocks", [1, 3])
def test_the_step_size_is_two_n_over_k_plus_two_n(blocks):
    for k in range(10):
        assert step_size(k, blocks) == pytest.approx(1 / (1 + k / (2 * blocks)))


def test_for_a_linear_function_the_first_step_of_one_block_is_the_answer():
    slope = torch.tensor([0.3, -0.2, 0.1])
    done = block_frank_wolfe(
        [torch.full((3,), 1 / 3)], lambda _: [slope], [simplex_corner], steps=3
    )
    assert all(step.points[0].tolist() == [0, 1, 0] for step in done)
    assert done[1].gap == 0


def test_blocks_are_drawn_about_equally_often_from_the_global_generator():
    done, _, _ = run(300)
    counts = [sum(step.block == b for step in done) for b in range(BLOCKS)]
    assert min(counts) > 70


def test_momentum_averages_the_gradients_of_a_block():
    """Gradients alternate: the mean of 0.6 old and 0.4 new decides the corner."""
    seen, asked = iter([(0.0, 1.0), (0.5, 0.0), (1.0, 0.0)]), []

    def oracle(gradient):
        asked.append(gradient.tolist())
        return simplex_corner(gradient)

    block_frank_wolfe(
        [torch.tensor([0.5, 0.5])],
        lambda _: [torch.tensor(next(seen))],
        [oracle],
        steps=3,
        momentum=0.6,
    )
    means = asked[1::2]  # every other question is the gap's
    assert means[0] == [0.0, 1.0]
    assert means[1] == pytest.approx([0.2, 0.6])
    assert means[2] == pytest.approx([0.52, 0.36])


def test_a_corner_is_one_hot_for_each_row():
    rows = torch.tensor([[1.0, -math.inf, 0.0], [0.0, 0.0, -1.0]], dtype=torch.float64)
    assert simplex_corner(rows).tolist() == [[0, 1, 0], [0, 0, 1]]
    assert simplex_corner(rows).dtype == torch.float64
    assert duality_gap([], [], []) == 0


def test_what_cannot_be_is_named():
    point = torch.tensor([1.0, 0.0])
    for start, oracles in (([], []), ([point], []), ([point], [simplex_corner] * 2)):
        with pytest.raises(ValueError, match="one or more blocks and oracles one for"):
            block_frank_wolfe(start, lambda x: x, oracles, steps=1)
    for momentum in (-0.1, 1.0):
        with pytest.raises(
            ValueError, match="momentum must be 0 or larger and below 1"
        ):
            block_frank_wolfe(
                [point], lambda x: x, [simplex_corner], steps=1, momentum=momentum
            )
    with pytest.raises(ValueError, match="steps must be at least 1"):
        block_frank_wolfe([point], lambda x: x, [simplex_corner], steps=0)
