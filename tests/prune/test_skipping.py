"""Multiply-adds that count, product by product, and the table of machines."""

import re

import pytest
import torch
from torch import nn

from effdl.blocks import plain_mlp, plain_net
from effdl.measure.macs import count_macs
from effdl.prune.magnitude import magnitude_scores
from effdl.prune.masks import masks_of, prune_
from effdl.prune.skipping import (
    ACCELERATORS,
    Macs,
    layer_macs,
    model_macs,
    total_macs,
)
from effdl.prune.thresholds import layer_masks


def with_zeros(layer, sparsity=0.5):
    """Change a layer: take weights away at random."""
    with torch.no_grad():
        layer.weight.mul_(torch.rand_like(layer.weight) > sparsity)
    return layer


def test_a_linear_layer_product_by_product():
    layer, x = with_zeros(nn.Linear(6, 5)), torch.relu(torch.randn(4, 6))
    products = [
        (layer.weight[i, j] != 0, x[n, j] != 0)
        for n in range(4)
        for i in range(5)
        for j in range(6)
    ]
    expected = Macs(
        len(products),
        sum(bool(w) for w, _ in products),
        sum(bool(a) for _, a in products),
        sum(bool(w and a) for w, a in products),
    )
    assert layer_macs(layer, x) == expected


def test_a_convolution_patch_by_patch():
    layer = with_zeros(nn.Conv2d(2, 3, 3, stride=2, padding=1))
    x = torch.relu(torch.randn(2, 2, 7, 7))
    patches = nn.functional.unfold(x, 3, padding=1, stride=2)  # (N, c k k, places)
    alive, left = patches.ne(0), layer.weight.flatten(1).ne(0)
    found = layer_macs(layer, x)
    assert found.dense == 2 * 16 * 3 * 18
    assert found.weights == 2 * 16 * left.sum()
    assert found.activations == 3 * alive.sum()
    assert found.both == (left.double() @ alive.double()).sum()


def test_counts_by_hand():
    """Weights (0 3; 1 1) on (5 0): 4 products, 3 by weights, 2 by x, one by both."""
    layer = nn.Linear(2, 2)
    layer.weight.data.copy_(torch.tensor([[0.0, 3], [1, 1]]))
    assert layer_macs(layer, torch.tensor([[5.0, 0]])) == Macs(4, 3, 2, 1)
    assert layer_macs(layer, torch.zeros(1, 2)) == Macs(4, 3, 0, 0)
    assert layer_macs(layer, torch.tensor([[-5.0, 2]])) == Macs(4, 3, 4, 3)


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_groups_count_their_own_channels(groups):
    layer = nn.Conv2d(4, 8, 3, groups=groups)
    found = layer_macs(layer, torch.ones(2, 4, 5, 5))
    assert set(found) == {2 * 9 * 8 * (4 // groups) * 9}


def test_all_multiply_adds_are_those_that_the_counter_counts():
    for net, shape in ((plain_mlp(), (3, 1, 16, 16)), (plain_net(4), (3, 1, 16, 16))):
        x = torch.randn(shape)
        found = total_macs(model_macs(net, x).values())
        assert found.dense == count_macs(net, x).total


def test_both_is_least_and_one_side_less_than_all():
    net = plain_net(4)
    prune_(net, layer_masks(magnitude_scores(net), 0.8))
    for name, macs in model_macs(net, torch.relu(torch.randn(2, 1, 16, 16))).items():
        assert macs.both <= min(macs.weights, macs.activations), name
        assert max(macs.weights, macs.activations) < macs.dense, name
    total = total_macs(model_macs(net, torch.ones(2, 1, 16, 16)).values())
    assert total.both < min(total.weights, total.activations)


def test_masks_decide_which_weights_count():
    net = plain_mlp((256, 20, 10))
    prune_(net, layer_masks(magnitude_scores(net), 0.75))
    x = torch.randn(4, 1, 16, 16)
    for name, macs in model_macs(net, x).items():
        kept = masks_of(net)[f"{name}.weight"].sum()
        assert macs.weights == 4 * kept


def test_independent_zeros_leave_the_product_of_the_shares():
    layer = with_zeros(nn.Linear(300, 300, bias=False), 0.7)
    x = torch.randn(50, 300) * (torch.rand(50, 300) < 0.4)
    macs = layer_macs(layer, x)
    product = macs.weights / macs.dense * macs.activations / macs.dense
    assert macs.both / macs.dense == pytest.approx(product, rel=0.02)


def test_a_bias_adds_no_products():
    layer = nn.Linear(4, 3)
    nn.init.constant_(layer.bias, 7.0)
    assert layer_macs(layer, torch.zeros(2, 4)) == Macs(24, 24, 0, 0)


def test_counting_leaves_the_network_as_it_is():
    net = plain_net(4).train()
    prune_(net, layer_masks(magnitude_scores(net), 0.5))
    before = {name: value.clone() for name, value in net.state_dict().items()}
    model_macs(net, torch.randn(2, 1, 16, 16))
    assert net.training
    assert all(torch.equal(before[n], value) for n, value in net.state_dict().items())
    assert not any(module._forward_pre_hooks for module in net.modules())
    layer, x = nn.Linear(3, 2), torch.ones(1, 3)
    weight, bias = layer.weight.clone(), layer.bias.clone()
    layer_macs(layer, x)
    assert torch.equal(layer.weight, weight)
    assert torch.equal(layer.bias, bias)
    assert layer.weight.dtype == torch.float32


def test_dropout_is_off_and_a_layer_that_runs_twice_counts_twice():
    layer = nn.Linear(4, 4)
    net = nn.Sequential(nn.Dropout(0.9), layer, nn.Identity(), layer)
    (macs,) = model_macs(net, torch.ones(1, 4)).values()
    assert macs.dense == 32
    assert macs.activations == 32


class Late(nn.Module):
    """A layer whose input is changed in place after it."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 2)

    def forward(self, x):
        """Return the layer's output, and leave zeros in its input."""
        y = self.layer(x)
        x.zero_()
        return y


def test_what_a_layer_was_given_counts_whatever_happens_to_it_later():
    x = torch.ones(1, 4)
    assert model_macs(Late(), x)["layer"].activations == 8
    assert torch.equal(x, torch.ones(1, 4))
    early = nn.Sequential(nn.ReLU(inplace=True), nn.Linear(4, 2))
    assert model_macs(early, -x)["1"].activations == 0


def test_every_machine_has_a_paper_and_a_factor_and_says_what_it_skips():
    assert len({machine.name for machine in ACCELERATORS}) == len(ACCELERATORS) == 8
    for machine in ACCELERATORS:
        assert re.fullmatch(rf"[a-z]+{machine.where.split()[-1]}[a-z]+", machine.cite)
        assert machine.skips in Macs._fields[1:]
        assert machine.speedup > 1
        assert machine.over


def test_machines_of_each_kind_leave_what_their_kind_can():
    """The order that the kinds promise, on a pruned network: both below either."""
    net = plain_mlp()
    prune_(net, layer_masks(magnitude_scores(net), 0.9))
    total = total_macs(model_macs(net, torch.relu(torch.randn(8, 1, 16, 16))).values())
    left = {m.name: getattr(total, m.skips) for m in ACCELERATORS}
    assert left["EIE"] == left["SCNN"] < left["Cambricon-X"] < left["Cnvlutin"]


def test_a_layer_with_a_mask_is_refused():
    layer = nn.Linear(4, 2)
    prune_(layer, {"weight": torch.ones(2, 4) > 0})
    with pytest.raises(ValueError, match="plain_copy"):
        layer_macs(layer, torch.randn(3, 4))
