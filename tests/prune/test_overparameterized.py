"""Weights predicted from a few, against scikit-learn's kernel ridge regression."""

import math

import pytest
import torch
from torch import nn

from effdl.blocks import plain_mlp
from effdl.data.digits import moved_digits
from effdl.prune.overparameterized import (
    PredictedLinear,
    gaussian_kernel,
    pixel_positions,
    predict_weight,
    prediction_dictionary,
)
from effdl.seed import seeded
from effdl.train import accuracy, train_classifier


def dictionaries(count, known, *, side=6, width=1.5, ridge=0.1):
    """Return dictionaries of random pixels of a square image."""
    kernel = gaussian_kernel(pixel_positions(side, side), width=width)
    chosen = [torch.randperm(side**2)[:known] for _ in range(count)]
    return torch.stack([prediction_dictionary(kernel, c, ridge=ridge) for c in chosen])


def test_the_kernel_is_its_formula_for_every_pair_of_pixels():
    places = [(row, column) for row in range(3) for column in range(4)]
    expected = [
        [math.exp(-((a - c) ** 2 + (b - d) ** 2) / (2 * 1.5**2)) for c, d in places]
        for a, b in places
    ]
    positions = pixel_positions(3, 4)
    assert positions.tolist() == [[float(a), float(b)] for a, b in places]
    found = gaussian_kernel(positions, width=1.5)
    torch.testing.assert_close(found, torch.tensor(expected))


def test_three_pixels_by_hand():
    """The middle of 1 and 1: 2 exp(-1/2) / (1 + exp(-2)) = 1.068."""
    kernel = gaussian_kernel(pixel_positions(1, 3), width=1.0)
    chosen = torch.tensor([0, 2])
    dictionary = prediction_dictionary(kernel, chosen, ridge=0)
    found = predict_weight(torch.tensor([[1.0, 9.0, 1.0]]), chosen, dictionary)
    middle = 2 * math.exp(-0.5) / (1 + math.exp(-2))
    assert found[0].tolist() == pytest.approx([1, middle, 1])


@pytest.mark.parametrize("ridge", [0.01, 0.5])
def test_predictions_are_those_of_kernel_ridge_regression(ridge):
    """Each unit is a regression of its own, from places to weights."""
    kernel_ridge = pytest.importorskip("sklearn.kernel_ridge")
    places, weight = pixel_positions(5, 6), torch.randn(4, 30)
    chosen = torch.randperm(30)[:9]
    dictionary = prediction_dictionary(
        gaussian_kernel(places, width=1.3), chosen, ridge=ridge
    )
    regression = kernel_ridge.KernelRidge(
        alpha=ridge, kernel="rbf", gamma=1 / (2 * 1.3**2)
    )
    regression.fit(places[chosen].numpy(), weight[:, chosen].T.numpy())
    expected = torch.from_numpy(regression.predict(places.numpy())).T.float()
    found = weight[:, chosen] @ dictionary.T
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    kept = predict_weight(weight, chosen, dictionary)
    others = torch.ones(30, dtype=torch.bool)
    others[chosen] = False
    torch.testing.assert_close(
        kept[:, others], expected[:, others], rtol=1e-4, atol=1e-5
    )
    assert torch.equal(kept[:, chosen], weight[:, chosen])


def test_only_the_chosen_weights_are_looked_at_and_nothing_is_changed():
    dictionary = dictionaries(1, 5)[0]
    chosen, weight = torch.arange(5), torch.randn(3, 36)
    other = weight.clone()
    other[:, 5:] = 99
    before = weight.clone()
    found = predict_weight(weight, chosen, dictionary)
    assert torch.equal(found, predict_weight(other, chosen, dictionary))
    assert torch.equal(weight, before)


def test_without_a_ridge_known_values_are_met_and_with_a_huge_one_nothing_is_left():
    kernel = gaussian_kernel(pixel_positions(6, 6), width=1.0)
    chosen = torch.randperm(36)[:8]
    exact = prediction_dictionary(kernel, chosen, ridge=0)
    torch.testing.assert_close(exact[chosen], torch.eye(8))
    assert prediction_dictionary(kernel, chosen, ridge=1e6).abs().max() < 1e-5


def test_smooth_weights_are_predicted_and_noise_is_not():
    """A twentieth of a bump of deviation 4 on 16 x 16 pixels; error as a share."""
    places = pixel_positions(16, 16)
    centres = 4 + 8 * torch.rand(20, 1, 2)
    bumps = torch.exp(-(places - centres).square().sum(dim=2) / (2 * 4.0**2))
    kernel, chosen = gaussian_kernel(places, width=4.0), torch.randperm(256)[:13]
    dictionary = prediction_dictionary(kernel, chosen, ridge=1e-3)
    for weight, low, high in ((bumps, 0, 0.1), (torch.randn(20, 256), 0.8, 9)):
        error = predict_weight(weight, chosen, dictionary) - weight
        assert low <= error.square().mean() / weight.square().mean() < high


@pytest.mark.parametrize("groups", [1, 2, 6])
def test_the_layer_is_a_linear_one_with_predicted_weights(groups):
    given = dictionaries(groups, 5)
    layer, x = PredictedLinear(given, 6), torch.randn(4, 36)
    nn.init.normal_(layer.bias)
    rows = [layer.weight[u] @ given[u // (6 // groups)].T for u in range(6)]
    expected = x @ torch.stack(rows).T + layer.bias
    torch.testing.assert_close(layer(x), expected)
    assert layer(x).shape == (4, 6)


def test_it_learns_k_weights_a_unit_and_the_dictionaries_stay():
    given = dictionaries(2, 5)
    layer = PredictedLinear(given, 6)
    assert {n: p.shape for n, p in layer.named_parameters()} == {
        "weight": (6, 5),
        "bias": (6,),
    }
    layer(torch.randn(4, 36)).square().sum().backward()
    assert all(p.grad.ne(0).all() for p in layer.parameters())
    given.fill_(0)  # the caller's tensor does not lead into the layer
    assert layer.dictionaries.any()
    assert "dictionaries" in layer.state_dict()


def test_its_weights_begin_with_the_deviation_of_an_ordinary_layer():
    given = dictionaries(3, 7) * torch.tensor([1.0, 5.0, 0.2])[:, None, None]
    layer = PredictedLinear(given, 3000)
    rows = layer.weight.unflatten(0, (3, 1000)) @ given.transpose(1, 2)
    ordinary = nn.Linear(36, 3000).weight
    for group in rows:
        assert group.square().mean().sqrt().item() == pytest.approx(
            ordinary.square().mean().sqrt().item(), rel=0.05
        )


def test_a_twentieth_of_the_first_layer_learns_digits_as_well_within_a_few_points():
    """Predicted by place, far better than the same pixels alone."""
    data = moved_digits(n_train=3000, n_validation=1000)
    kernel = gaussian_kernel(pixel_positions(16, 16), width=1.0)
    with seeded(1):
        chosen = [torch.randperm(256)[:13] for _ in range(20)]
    predicted = torch.stack([
        prediction_dictionary(kernel, c, ridge=0.1) for c in chosen
    ])
    alone = torch.stack([torch.eye(256)[:, c] for c in chosen])
    found = []
    for given in (None, predicted, alone):
        with seeded(0):
            net = plain_mlp((256, 100, 10))
            if given is not None:
                net[1] = PredictedLinear(given, 100)
        train_classifier(net, data.train, epochs=6, learning_rate=0.05)
        found.append(accuracy(net, data.validation.batches(1000)))
    assert found[1] > found[0] - 0.05
    assert found[1] > found[2] + 0.03


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: pixel_positions(0, 3), "height must be at least 1, got 0"),
        (lambda: gaussian_kernel(torch.ones(2, 1), width=0), "width must be above 0"),
        (
            lambda: prediction_dictionary(torch.eye(3), torch.tensor([1, 1]), ridge=1),
            r"chosen has an index twice, got \[1, 1\]",
        ),
        (
            lambda: prediction_dictionary(torch.eye(3), torch.tensor([1]), ridge=-1),
            "ridge must be 0 or more, got -1",
        ),
        (
            lambda: PredictedLinear(torch.ones(2, 4, 3), 5),
            "the number of dictionaries=2 must divide units, got 5; use 4 or 6",
        ),
    ],
)
def test_bad_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
