"""Three steps in any order: what each of them does, and what all orders end with."""

from functools import partial
from itertools import permutations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from effdl.blocks import conv_bn, mean_linear
from effdl.compress.channels import largest_filters, remove_channels
from effdl.compress.orders import (
    FOUR_EPOCHS,
    distilled,
    in_order,
    pruned,
    quantized,
    without_channels,
)
from effdl.compress.report import bytes_of, macs_of
from effdl.compress.rounding import rounded, unwrapped, weight_bits_of
from effdl.data.digits import Split
from effdl.distill.kd import distil
from effdl.distill.recipe import Recipe
from effdl.quant.insert import quantizers_of
from effdl.train import train_classifier

ONE = Recipe(epochs=1, learning_rate=0.05, batch_size=20)


@pytest.fixture
def split():
    """Two classes: bright above, or bright below."""
    images, labels = 0.3 * torch.rand(80, 1, 8, 8), torch.arange(80) % 2
    images[labels == 0, :, :4] += 1
    images[labels == 1, :, 4:] += 0.5
    return Split(images, labels)


@pytest.fixture
def net(split):
    model = nn.Sequential(conv_bn(1, 4, 3), conv_bn(4, 6, 3), *mean_linear(6, 2))
    for _ in range(40):
        model(split.inputs)
    return model.eval()


def state(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def equal(one, other):
    return one.keys() == other.keys() and all(
        torch.equal(v, other[k]) for k, v in one.items()
    )


def test_pruning_is_removing_the_smallest_filters_and_training_on_labels(net, split):
    expected = remove_channels(net, 0.5)
    train_classifier(expected, split, epochs=1, learning_rate=0.05, batch_size=20)
    found = pruned(net, split, ONE, keep=0.5)
    assert equal(state(found), state(expected))


def test_distilling_is_training_with_the_answers(net, split):
    taught = torch.randn(80, 2)

    class Answers(nn.Module):
        def forward(self, _inputs):
            return taught

    expected = remove_channels(net, 1.0)
    distil(expected, Answers().eval(), split, ONE, temperature=3.0, alpha=0.7)
    found = distilled(net, split, ONE, taught=taught, temperature=3.0, alpha=0.7)
    torch.testing.assert_close(state(found), state(expected))


def test_with_alpha_0_the_teacher_plays_no_part(net, split):
    by_labels = pruned(net, split, ONE, keep=1.0)
    found = distilled(net, split, ONE, taught=torch.randn(80, 2), alpha=0.0)
    torch.testing.assert_close(state(found), state(by_labels))


def test_quantizing_trains_on_the_labels_with_rounding(net, split):
    found = quantized(net, split, Recipe(5, 0.05, 20), bits=3)
    assert weight_bits_of(found) == 3
    start = rounded(net, 3, split.inputs)
    weight = "4.parametrizations.weight.original"
    assert not torch.equal(state(found)[weight], state(start)[weight])
    losses = [F.cross_entropy(m(split.inputs), split.targets) for m in (start, found)]
    assert losses[1] < losses[0]


def test_ranges_move_while_a_rounding_network_trains_and_stand_still_after(net, split):
    start = quantizers_of(rounded(net, 4, split.inputs))["1.2"].observer.limits()
    found = quantized(net, split, ONE, bits=4)
    layer = quantizers_of(found)["1.2"]
    assert layer.observer.limits()[1] != start[1]
    assert (layer.observing, layer.quantizing) == (False, True)
    before = layer.observer.limits()
    found(9 * split.inputs)
    assert layer.observer.limits() == before


def test_a_rounding_network_is_pruned_by_the_weights_behind_the_rounding(net, split):
    small = quantized(net, split, ONE, bits=2)
    keep = largest_filters(unwrapped(small), 0.5)
    found = without_channels(small, 0.5, split.inputs)
    whole = unwrapped(small).get_submodule("0.0").weight
    cut = unwrapped(found).get_submodule("0.0").weight
    assert torch.equal(cut, whole[keep["0.0"]])
    assert weight_bits_of(found) == 2


def test_pruning_a_rounding_network_leaves_other_channels_as_they_were(net, split):
    """Set the outgoing weights of the small filters to 0: then nothing is lost."""
    small = quantized(net, split, ONE, bits=8)
    floats = unwrapped(small)
    keep = largest_filters(floats, 0.5)
    silent = remove_channels(floats, 1.0)
    for name, behind in (("0.0", "1.0"), ("1.0", "4")):
        silent.get_submodule(behind).weight.data[:, ~keep[name]] = 0
    found = unwrapped(without_channels(small, 0.5, split.inputs))
    torch.testing.assert_close(found(split.inputs), silent(split.inputs))


@pytest.mark.parametrize("order", list(permutations("PDQ")))
def test_all_orders_end_with_the_same_shapes_bits_and_costs(net, split, order):
    taught = torch.randn(80, 2)
    steps = {
        "P": partial(pruned, split=split, recipe=ONE, keep=0.5),
        "D": partial(distilled, split=split, recipe=ONE, taught=taught),
        "Q": partial(quantized, split=split, recipe=ONE, bits=4),
    }
    networks = in_order(net, [steps[name] for name in order])
    assert networks[0] is net and len(networks) == 4
    last = networks[-1]
    assert weight_bits_of(last) == 4 and not last.training
    assert macs_of(last, split.inputs[:1]) == 64 * 9 * (2 + 2 * 3) + 3 * 2
    # weights of half a byte, outputs with a bias of 4 and a factor of 5, the mean of 5
    assert bytes_of(last) == (18 + 54 + 6) // 2 + 9 * (2 + 3 + 2) + 5


def test_a_step_takes_nothing_from_the_network_before_it(net, split):
    small = quantized(net, split, ONE, bits=4)
    for model in (net, small):
        before, answers = state(model), model(split.inputs)
        pruned(model, split, ONE, keep=0.5)
        distilled(model, split, ONE, taught=torch.randn(80, 2))
        assert equal(state(model), before)
        assert torch.equal(model(split.inputs), answers)


def test_every_step_trains_for_as_many_epochs_unless_told_otherwise():
    assert (FOUR_EPOCHS.epochs, FOUR_EPOCHS.learning_rate) == (4, 0.03)


def test_distilling_a_rounding_network_trains_it_with_rounding(net, split):
    small = quantized(net, split, ONE, bits=2)
    found = distilled(small, split, ONE, taught=torch.randn(80, 2))
    assert weight_bits_of(found) == 2
    assert not equal(state(found), state(small))


def test_bad_input_is_refused(net, split):
    with pytest.raises(ValueError, match="taught must have 80 answers, one per input"):
        distilled(net, split, ONE, taught=torch.zeros(79, 2))
    with pytest.raises(ValueError, match="has 2 classes and teacher 3"):
        distilled(net, split, ONE, taught=torch.zeros(80, 3))
    with pytest.raises(ValueError, match="temperature must be finite and above 0"):
        distilled(net, split, ONE, taught=torch.zeros(80, 2), temperature=0)
    with pytest.raises(ValueError, match="alpha must be from 0 to 1"):
        distilled(net, split, ONE, taught=torch.zeros(80, 2), alpha=2)
    with pytest.raises(ValueError, match="share must be above 0"):
        pruned(net, split, ONE, keep=0)
    with pytest.raises(ValueError, match="rounds to 4 bits already"):
        quantized(quantized(net, split, ONE, bits=4), split, ONE, bits=4)
