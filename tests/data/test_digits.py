"""The digits: where the parts are cut, what a seed decides, how batches come."""

import time

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from effdl.data import digits
from effdl.data.digits import (
    TEST_STARTS,
    VALIDATION_STARTS,
    Split,
    cluttered_digits,
    moved_digits,
    raw_digits,
    small_digits,
)

# Digits 31 to 47 of the form that every writer filled; rare enough to find a form by.
LANDMARK, OFFSET = "09556509898417735", 30
SCENES = {"moved": moved_digits, "cluttered": cluttered_digits, "small": small_digits}
FEW = {"n_train": 40, "n_validation": 30, "n_test": 20}


def test_parts_are_cut_where_the_labels_of_the_form_start_again():
    """A form begins with 0 to 9 three times; some other forms lack one of these."""
    labels = "".join(map(str, load_digits().target))
    found = [at for at in range(len(labels)) if labels.startswith(LANDMARK, at)]
    assert len(found) == 14
    forms = [sum(at < cut for at in found) for cut in (VALIDATION_STARTS, TEST_STARTS)]
    assert forms == [8, 10]
    for cut in (VALIDATION_STARTS, TEST_STARTS):
        assert labels[cut : cut + OFFSET] == "0123456789" * 3
        assert cut + OFFSET in found
        assert labels[:cut].endswith("490898")  # how the form ends


def test_raw_digits_are_those_of_scikit_learn_in_their_order():
    bundle, parts = load_digits(), raw_digits()
    images = torch.cat([part.inputs for part in parts])
    ink = torch.from_numpy(bundle.images).float() / 16
    torch.testing.assert_close(images, ((ink - 0.25) / 0.35)[:, None])
    targets = torch.cat([part.targets for part in parts])
    assert torch.equal(targets, torch.from_numpy(bundle.target).long())
    assert [len(part) for part in parts] == [1029, 258, 510]


@pytest.mark.parametrize(
    ("name", "size"), [("moved", 16), ("cluttered", 16), ("small", 12)]
)
def test_shapes_and_types_are_what_a_network_takes(name, size):
    parts = SCENES[name](**FEW)
    for part, count in zip(parts, (40, 30, 20), strict=True):
        assert part.inputs.shape == (count, 1, size, size)
        assert part.inputs.dtype == torch.float32
        assert part.targets.shape == (count,)
        assert part.targets.dtype == torch.int64
        assert set(part.targets.tolist()) <= set(range(10))


def test_default_sizes():
    assert [len(part) for part in moved_digits()] == [6000, 1000, 2000]
    assert [len(part) for part in small_digits()] == [3000, 1000, 2000]


@pytest.mark.parametrize("name", SCENES)
def test_the_same_seed_gives_the_same_scenes_and_another_seed_others(name):
    once, again, other = (SCENES[name](seed=s, **FEW) for s in (3, 3, 4))
    for a, b, c in zip(once, again, other, strict=True):
        assert torch.equal(a.inputs, b.inputs)
        assert torch.equal(a.targets, b.targets)
        assert not torch.equal(a.inputs, c.inputs)
        assert not torch.equal(a.targets, c.targets)


def test_scenes_stay_what_they_were_when_the_stored_results_were_made():
    """Sums of the first scenes, noted down once: results/ is worthless if they move."""
    sums = {
        name: scene(**FEW).train.inputs.sum().item() for name, scene in SCENES.items()
    }
    assert sums == pytest.approx(
        {"moved": -3900.2, "cluttered": -3396.1, "small": -2070.5}, abs=0.5
    )


def test_each_part_shows_digits_of_its_own_only(monkeypatch):
    """Every source digit of a part is replaced by one square of that part's ink."""
    ink = (0.3, 0.6, 0.9)
    sources = [
        (np.full((5, 8, 8), level, dtype=np.float32), np.full(5, part))
        for part, level in enumerate(ink)
    ]
    monkeypatch.setattr(digits, "_sources", lambda: sources)
    parts = cluttered_digits(**FEW)
    for part, (split, level) in enumerate(zip(parts, ink, strict=True)):
        assert set(split.targets.tolist()) == {part}
        strongest = split.inputs.quantile(0.95).item() * 0.35 + 0.25
        assert 0.75 * level < strongest < level + 0.2


def test_the_number_of_training_scenes_does_not_move_the_others():
    few, many = moved_digits(**FEW), moved_digits(**FEW | {"n_train": 400})
    assert torch.equal(few.test.inputs, many.test.inputs)


def test_a_fragment_adds_ink():
    moved, cluttered = moved_digits(), cluttered_digits()
    gain = cluttered.train.inputs.mean() - moved.train.inputs.mean()
    assert 0.02 < gain < 0.10


def test_all_classes_occur_about_equally_often():
    counts = torch.bincount(moved_digits().train.targets, minlength=10)
    assert counts.min() > 500
    assert counts.max() < 700


def test_it_takes_less_than_a_second_of_processor_time():
    seconds = []
    for _ in range(3):
        start = time.process_time()
        cluttered_digits()
        seconds.append(time.process_time() - start)
    assert min(seconds) < 1.0


def ten() -> Split:
    return Split(torch.arange(10.0)[:, None], torch.arange(10))


def test_batches_without_a_seed_keep_the_order():
    batches = ten().batches(4)
    assert len(batches) == len(list(batches)) == 3
    assert [y.tolist() for _, y in batches] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


def test_batches_with_a_seed_are_shuffled_anew_in_every_pass():
    batches = ten().batches(4, seed=0)
    first, second = ([int(i) for _, y in batches for i in y] for _ in range(2))
    assert sorted(first) == sorted(second) == list(range(10))
    assert first != second
    assert first != list(range(10))


def test_batches_with_the_same_seed_repeat_their_passes():
    def passes(seed: int) -> list[list[int]]:
        batches = ten().batches(4, seed=seed)
        return [[int(i) for _, y in batches for i in y] for _ in range(3)]

    assert passes(1) == passes(1)
    assert passes(1) != passes(2)


def test_inputs_and_targets_stay_together():
    for x, y in ten().batches(3, seed=5):
        assert torch.equal(x[:, 0], y.float())


def test_shuffling_leaves_the_global_random_state_alone():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    list(ten().batches(3, seed=5))
    moved_digits(**FEW)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_train": 0}, "n_train must be at least 1, got 0"),
        ({"n_validation": -1}, "n_validation must be at least 1, got -1"),
        ({"n_test": 0}, "n_test must be at least 1, got 0"),
        ({"seed": -1}, "seed must be 0 or larger, got -1"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        moved_digits(**arguments)


def test_a_batch_needs_a_size():
    with pytest.raises(ValueError, match="size must be at least 1, got 0"):
        ten().batches(0)


def test_an_empty_split_has_no_batches():
    with pytest.raises(ValueError, match=r"the split is empty.*give it inputs"):
        Split(torch.zeros(0, 1), torch.zeros(0)).batches(2)


def test_inputs_and_targets_are_equally_many():
    with pytest.raises(ValueError, match="targets must be 5, got 4; one per input"):
        Split(torch.zeros(5, 1), torch.arange(4))


@pytest.mark.parametrize("seed", [1.5, -1])
def test_batches_need_a_seed_that_is_one(seed):
    with pytest.raises(ValueError, match=f"seed must be .*got {seed}"):
        ten().batches(2, seed=seed)
    with pytest.raises(ValueError, match=f"seed must be .*got {seed}"):
        moved_digits(seed=seed)
