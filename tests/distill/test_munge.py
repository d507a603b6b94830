"""MUNGE: its rule written out slowly, its limits, and how far invented data are."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import stats
from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier

from effdl.blocks import plain_mlp
from effdl.data.digits import Split
from effdl.distill.munge import (
    energy_distance,
    independent_points,
    munge,
    uniform_points,
)
from effdl.distill.recipe import Recipe, train_student
from effdl.seed import seeded


def random(seed=0):
    return np.random.default_rng(seed)


def cloud(n=30, d=3, seed=1):
    return random(seed).normal(size=(n, d))


def slowly(data, generator, swap, sharpness):
    """One pass, element by element, with the random numbers in the same order."""
    points = [list(row) for row in data]
    for i in range(len(points)):
        far = [
            sum((a - b) ** 2 for a, b in zip(points[i], p, strict=True)) for p in points
        ]
        j = min((k for k in range(len(points)) if k != i), key=lambda k: far[k])
        d = len(points[i])
        chosen, noise = generator.random(d) < swap, generator.standard_normal((2, d))
        for a in range(d):
            if chosen[a]:
                mine, its = points[i][a], points[j][a]
                deviation = abs(mine - its) / sharpness
                points[i][a] = its + noise[0, a] * deviation
                points[j][a] = mine + noise[1, a] * deviation
    return np.array(points)


@pytest.mark.parametrize(("swap", "sharpness"), [(0.5, 1.0), (1.0, 4.0), (0.2, 2.0)])
def test_a_pass_is_the_rule_of_the_paper_written_out(swap, sharpness):
    data = cloud()
    found = munge(data, 1, random(), swap=swap, sharpness=sharpness)
    np.testing.assert_allclose(found, slowly(data, random(), swap, sharpness))


def test_by_hand():
    """0 and 1 exchange, and exchange again when it is the turn of 1; 9 takes from 1."""
    data = np.array([[0.0], [1.0], [9.0]])
    found = munge(data, 1, random(), swap=1.0, sharpness=np.inf)
    assert found.tolist() == [[0.0], [9.0], [1.0]]


def test_with_probability_0_nothing_is_invented():
    data = cloud()
    assert np.array_equal(munge(data, 2, random(), swap=0.0), np.tile(data, (2, 1)))


def test_with_probability_1_and_no_noise_examples_are_exchanged_as_wholes():
    data = cloud()
    found = munge(data, 1, random(), swap=1.0, sharpness=np.inf)
    assert not np.array_equal(found, data)
    assert sorted(map(tuple, found)) == sorted(map(tuple, data))


def test_without_noise_every_attribute_keeps_its_values():
    data = cloud()
    found = munge(data, 1, random(), swap=0.5, sharpness=np.inf)
    assert np.array_equal(np.sort(found, axis=0), np.sort(data, axis=0))
    assert sorted(map(tuple, found)) != sorted(map(tuple, data))


def test_a_larger_variance_parameter_means_less_noise():
    """Two examples and one exchange each: what is left of it is noise."""
    data = np.array([[0.0] * 500, [1.0] * 500])
    size = {}
    for sharpness in (2.0, 8.0):
        found = munge(data, 1, random(), swap=1.0, sharpness=sharpness)
        size[sharpness] = np.std(found - data)
    assert size[8.0] < 0.4 * size[2.0]


def test_every_pass_begins_with_the_data_again_and_leaves_them_alone():
    data = cloud()
    before, generator = data.copy(), random()
    both = munge(data, 2, generator)
    first = munge(data, 1, again := random())
    second = munge(data, 1, again)
    assert np.array_equal(both, np.concatenate([first, second]))
    assert np.array_equal(data, before)


def test_drawn_one_by_one_attributes_keep_their_values_and_forget_each_other():
    x = random(2).normal(size=300)
    points = independent_points(np.stack([x, x], 1), 5000, random())
    assert set(points[:, 0]) <= set(x)
    assert len(set(points[:, 1])) > 290
    assert abs(np.corrcoef(points.T)[0, 1]) < 0.05


def test_uniform_points_fill_the_box():
    points = uniform_points(np.array([[0.0, -5.0], [1.0, 5.0]]), 4000, random())
    np.testing.assert_allclose(points.min(0), [0, -5], atol=0.05)
    np.testing.assert_allclose(points.max(0), [1, 5], atol=0.05)
    np.testing.assert_allclose(points.mean(0), [0.5, 0], atol=0.2)


def test_in_one_dimension_the_energy_distance_is_the_square_of_scipys():
    a, b = cloud(20, 1), cloud(35, 1, seed=2) + 1
    expected = stats.energy_distance(a[:, 0], b[:, 0]) ** 2
    assert energy_distance(a, b) == pytest.approx(expected)


def test_the_energy_distance_written_out():
    a, b = cloud(4, 2), cloud(6, 2, seed=2)

    def mean(p, q):
        return np.mean([np.linalg.norm(x - y) for x in p for y in q])

    expected = 2 * mean(a, b) - mean(a, a) - mean(b, b)
    assert energy_distance(a, b) == pytest.approx(expected)
    assert energy_distance(a, a) == pytest.approx(0)
    assert energy_distance(a, b) == pytest.approx(energy_distance(b, a))


def digits():
    table = load_digits()
    return table.data / 16, table.target


def test_munge_keeps_closer_to_digits_than_random_points_do():
    """Attribute by attribute, too; but there the paper's own control is as close."""
    data, held_out = digits()[0][:300], digits()[0][1287:]
    sets = {
        "munge": munge(data, 1, random()),
        "independent": independent_points(data, 300, random()),
        "uniform": uniform_points(data, 300, random()),
    }
    whole = {name: energy_distance(p, held_out) for name, p in sets.items()}
    assert whole["munge"] < whole["independent"] < 0.5 * whole["uniform"]
    one = {
        name: np.mean([energy_distance(p[:, [j]], held_out[:, [j]]) for j in range(64)])
        for name, p in sets.items()
    }
    assert one["munge"] < 0.5 * one["uniform"]
    assert one["munge"] == pytest.approx(one["independent"], rel=0.3)


def test_the_student_agrees_more_with_the_ensemble_the_more_is_invented():
    x, y = digits()
    forest = RandomForestClassifier(30, random_state=0).fit(x[:150], y[:150])
    held_out = x[1287:]
    invented, agreement = munge(x[:150], 20, random()), []
    for count in (150, 3000):
        taught = torch.tensor(forest.predict_proba(invented[:count])).float()
        inputs = torch.tensor(invented[:count]).float()
        with seeded(0):
            net = plain_mlp((64, 32, 10))
        train_student(
            net,
            Split(inputs, taught),
            lambda a, b, net=net: F.cross_entropy(net(a), b),
            Recipe(epochs=40_000 // count, batch_size=100, weight_decay=0.0),
        )
        said = net(torch.tensor(held_out).float()).argmax(1).numpy()
        agreement.append(np.mean(said == forest.predict(held_out)))
    assert agreement[1] > agreement[0] + 0.02


def test_bad_input_is_refused():
    data = cloud()
    with pytest.raises(ValueError, match="swap must be from 0 to 1, got 2"):
        munge(data, 1, random(), swap=2)
    for sharpness in (0, float("nan")):
        with pytest.raises(ValueError, match="sharpness must be above 0, got"):
            munge(data, 1, random(), sharpness=sharpness)
    with pytest.raises(ValueError, match="passes must be at least 1, got 0"):
        munge(data, 0, random())
    with pytest.raises(ValueError, match="neighbours must be at least 1, got 0"):
        munge(data[:1], 1, random())
    with pytest.raises(ValueError, match=r"data must be points \(n, d\), not empty"):
        munge(data[0], 1, random())
    with pytest.raises(ValueError, match="data has values that are not finite"):
        uniform_points(np.array([[np.nan]]), 1, random())
    with pytest.raises(ValueError, match="n must be at least 1, got 0"):
        independent_points(data, 0, random())
    with pytest.raises(ValueError, match="n must be at least 1, got 0"):
        uniform_points(data, 0, random())
    with pytest.raises(ValueError, match="a has 3 columns and b 2"):
        energy_distance(data, data[:, :2])
