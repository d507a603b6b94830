"""Many trainings in one loop: each is the training alone, and the data's own."""

import numpy as np
import pytest
import torch

from effdl.data.digits import small_digits
from effdl.nas.cell_net import small_cell_net
from effdl.nas.cell_space import Cell
from effdl.nas.stacked_nets import StackedNets
from effdl.nas.together import train_together
from effdl.seed import seeded
from effdl.train import accuracy, train_classifier

CELLS = [
    Cell.parse(
        "|nor_conv_3x3~0|+|avg_pool_3x3~0|skip_connect~1|"
        "+|skip_connect~0|nor_conv_1x1~1|nor_conv_3x3~2|"
    ),
    Cell.parse(
        "|none~0|+|nor_conv_1x1~0|nor_conv_3x3~1|+|skip_connect~0|none~1|avg_pool_3x3~2|"
    ),  # the convolution on edge 1-2 is dead
    Cell(("nor_conv_3x3",) * 6),
]
SEEDS = [0, 3, 0]


@pytest.fixture(scope="module")
def digits():
    return small_digits(n_train=400, n_validation=260, n_test=270)


def alone(cell, seed, digits, epochs):
    with seeded(seed):
        net = small_cell_net(cell)
    losses = train_classifier(net, digits.train, epochs=epochs, seed=seed)
    parts = (digits.validation, digits.test)
    return net, losses, [accuracy(net, part.batches(100)) for part in parts]


def test_stacked_networks_are_the_networks(digits):
    nets = StackedNets(CELLS, SEEDS).eval()
    images = digits.train.inputs[: 3 * 20].view(3, 20, 12, 12)
    logits = nets(images)
    for replica, (cell, seed) in enumerate(zip(CELLS, SEEDS, strict=True)):
        with seeded(seed):
            net = small_cell_net(cell).eval()
        torch.testing.assert_close(logits[replica], net(images[replica][:, None]))


def test_a_training_in_the_stack_is_the_training_alone(digits):
    made = train_together(CELLS, SEEDS, digits, epochs=3)
    for replica, (cell, seed) in enumerate(zip(CELLS, SEEDS, strict=True)):
        _, losses, (validation, test) = alone(cell, seed, digits, 3)
        assert made.losses[replica] == pytest.approx(losses, abs=2e-3)
        assert made.curves[replica, -1] == pytest.approx(validation, abs=0.012)
        assert made.test[replica] == pytest.approx(test, abs=0.012)


def test_the_first_epoch_agrees_to_rounding(digits):
    made = train_together(CELLS, SEEDS, digits, epochs=1)
    for replica, (cell, seed) in enumerate(zip(CELLS, SEEDS, strict=True)):
        _, losses, _ = alone(cell, seed, digits, 1)
        assert made.losses[replica] == pytest.approx(losses, abs=2e-5)


def test_curves_follow_the_epochs(digits):
    made = train_together(CELLS, SEEDS, digits, epochs=3)
    assert made.curves.shape == made.losses.shape == (3, 3)
    assert len(np.unique(made.curves)) > 3  # no epoch's accuracy stands for all
    assert (made.losses[:, 0] > made.losses[:, -1]).all()


def test_a_seed_decides_on_weights_and_order(digits):
    cell = CELLS[0]
    made = train_together([cell] * 3, [0, 1, 0], digits, epochs=1)
    assert made.losses[0] == pytest.approx(made.losses[2])
    assert abs(made.losses[0] - made.losses[1]).max() > 1e-3


def test_training_together_leaves_the_random_state_alone(digits):
    before = torch.random.get_rng_state()
    train_together(CELLS[:1], [0], digits, epochs=1)
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize(
    ("cells", "seeds", "message"),
    [
        ([], [], "at least one, got 0 seeds and 0 cells"),
        (CELLS[:2], [0], "as many seeds as cells.* got 1 seeds and 2 cells"),
        ([Cell(("none",) * 6)], [0], "is disconnected; leave it out"),
    ],
)
def test_bad_lists_are_refused(cells, seeds, message, digits):
    with pytest.raises(ValueError, match=message):
        train_together(cells, seeds, digits, epochs=1)


def test_no_epoch_is_refused(digits):
    with pytest.raises(ValueError, match="epochs"):
        train_together(CELLS, SEEDS, digits, epochs=0)
