"""BinaryNet: thresholds for batch norm, and packed inference equal to the floats."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from effdl.quant.binarize import sign
from effdl.quant.binary_connect import clip_weights_, rate_groups
from effdl.quant.binary_net import (
    PackedNet,
    SignActivation,
    binary_mlp,
    fold_into_thresholds,
    pack_net,
)
from effdl.train import fit


def random_norm(channels):
    """Return a batch norm in eval mode; a third of the gammas are below 0."""
    norm = nn.BatchNorm1d(channels).eval()
    norm.running_mean.normal_(0, 20)
    norm.running_var.uniform_(1, 400)
    nn.init.normal_(norm.weight, 0.3)
    nn.init.normal_(norm.bias)
    return norm


def trained(widths=(20, 33, 70, 4)):
    """Return a net in eval mode with the images it was trained on."""
    net = binary_mlp(widths)
    images = torch.randint(0, 256, (300, widths[0])).float()
    targets = (images[:, :4] - 30).argmax(dim=1)
    adam = torch.optim.Adam(rate_groups(net, 0.01))
    losses = fit(
        net,
        lambda x, y: F.cross_entropy(net(x), y),
        [(images[i : i + 50], targets[i : i + 50]) for i in range(0, 300, 50)],
        adam,
        epochs=15,
        after_step=lambda: clip_weights_(net),
    )
    return net.eval(), images, losses


def test_thresholds_are_batch_norm_and_sign_for_every_whole_sum():
    norm = random_norm(200).double()
    sums = torch.arange(-300, 301)[:, None].expand(-1, 200)
    expected = sign(norm(sums.double()))
    assert torch.equal(fold_into_thresholds(norm).signs(sums).double(), expected)
    assert (norm.weight < 0).sum() > 20


def test_by_hand():
    """2 (y - 5) / 4 + 1 >= 0 from y = 3 on; with gamma = -2 and beta = 1 up to 7."""
    norm = nn.BatchNorm1d(4, eps=0)
    norm.running_mean.fill_(5), norm.running_var.fill_(16)
    norm.weight.data = torch.tensor([2.0, -2.0, 0.0, 0.0])
    norm.bias.data = torch.tensor([1.0, 1.0, 0.0, -0.1])
    found = fold_into_thresholds(norm)
    assert found.at[:2].tolist() == [3, 7]
    sums = torch.tensor([2, 3, 7, 8])[:, None].expand(-1, 4)
    assert found.signs(sums).T.tolist() == [
        [-1, 1, 1, 1],
        [1, 1, 1, -1],
        [1, 1, 1, 1],
        [-1, -1, -1, -1],
    ]


def test_a_threshold_between_two_sums_is_rounded_towards_those_that_pass():
    norm = nn.BatchNorm1d(2, eps=0)
    norm.running_mean.fill_(2.5)
    norm.weight.data = torch.tensor([1.0, -1.0])
    assert fold_into_thresholds(norm).at.tolist() == [3, 2]


def test_the_variance_is_not_yet_a_deviation_and_eps_counts():
    norm = nn.BatchNorm1d(1, eps=7)
    norm.running_var.fill_(9)
    norm.bias.data.fill_(-2.0)
    assert fold_into_thresholds(norm).at.tolist() == [8]  # 2 sqrt(9 + 7)


def test_packed_inference_equals_the_floats():
    net, images, _ = trained()
    with torch.no_grad():
        expected = net(images)
    found = pack_net(net)(images)
    assert torch.equal(found, expected)
    assert torch.equal(found.argmax(dim=1), expected.argmax(dim=1))


def test_it_does_so_for_any_gamma_and_image_shape():
    net = binary_mlp((12, 40, 50, 3))
    for i in (2, 5):
        net[i] = random_norm(net[i].num_features)
    images = torch.randint(0, 256, (50, 1, 3, 4)).float()
    with torch.no_grad():
        assert torch.equal(pack_net(net.eval())(images), net(images))


def test_the_slope_passes_signs_between_minus_1_and_1_only():
    x = torch.tensor([-1.5, -1.0, 0.2, 1.5], requires_grad=True)
    SignActivation()(x).sum().backward()
    assert x.grad.tolist() == [0, 1, 1, 0]


def test_hidden_layers_have_two_values_and_the_last_one_is_real():
    net = binary_mlp((6, 5, 4, 3))
    net(torch.randint(0, 256, (9, 6)).float())
    binary = [m for m in net if hasattr(m, "parametrizations")]
    assert [m.weight.abs().unique().tolist() for m in binary] == [[1], [1]]
    assert all(m.bias is None for m in binary)
    assert len(net[-1].weight.unique()) == 12
    assert net[-1].bias is not None
    values = net[:4](torch.randint(0, 256, (9, 6)).float())
    assert set(values.unique().tolist()) == {-1.0, 1.0}


def test_it_learns():
    _, _, losses = trained()
    assert losses[-1] < 0.6 * losses[0]
    assert losses[0] < 3 * math.log(4)


def test_all_parameters_get_a_slope():
    net = binary_mlp((6, 50, 40, 3))
    net(torch.randint(0, 256, (40, 6)).float()).square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in net.parameters())


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match=r"must have a hidden layer, got \(4, 2\)"):
        binary_mlp((4, 2))
    with pytest.raises(ValueError, match=r"widths\[1\]"):
        binary_mlp((4, 0, 2))
    with pytest.raises(ValueError, match=r"call net.eval\(\) before packing"):
        pack_net(binary_mlp((4, 3, 2)))
    with pytest.raises(ValueError, match=r"as binary_mlp makes it, got Flatten, Lin"):
        pack_net(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)).eval())
    with pytest.raises(ValueError, match=r"got Flatten, .*, ReLU, Linear"):
        pack_net(
            nn.Sequential(*binary_mlp((4, 3, 2))[:3], nn.ReLU(), nn.Linear(3, 2)).eval()
        )
    with pytest.raises(ValueError, match="running statistics and gamma"):
        fold_into_thresholds(nn.BatchNorm1d(3, affine=False))
    with pytest.raises(ValueError, match="running statistics and gamma"):
        fold_into_thresholds(nn.BatchNorm1d(3, track_running_stats=False))
    packed = pack_net(binary_mlp((4, 3, 2)).eval())
    assert isinstance(packed, PackedNet)
    with pytest.raises(ValueError, match="whole numbers from 0 to 255"):
        packed(torch.full((1, 4), 0.5))


def test_a_bias_that_would_be_lost_is_refused():
    net = binary_mlp((4, 8, 2)).eval()
    net[1].bias = nn.Parameter(torch.ones(8))
    with pytest.raises(ValueError, match="bias in a hidden layer"):
        pack_net(net)
