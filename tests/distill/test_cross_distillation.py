"""Cross distillation: correction, imitation, and layers solved one after the other."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from effdl.blocks import plain_net
from effdl.compress.channels import largest_filters, remove_channels
from effdl.distill.cross_distillation import cross_distil, cross_loss, estimate_layers
from effdl.distill.layer_errors import relative_errors, seen_at
from effdl.quant.graph import fold_batch_norm

NAMES = frozenset({"0.0", "1.0", "2.0", "3.0"})


def used_net(width=4):
    """Return a network whose batch norm has seen something, in eval mode."""
    net = plain_net(width)
    net(torch.randn(30, 1, 8, 8))
    return net.eval()


def weight_of(net, name):
    return net.get_submodule(name).weight


def regressed(layer, given, wanted, reads):
    """Return a 3 x 3 kernel and bias by lstsq on patches, written out."""
    n, _, height, width = given.shape
    stride = layer.stride[0]
    padded = F.pad(given[:, reads], (1, 1, 1, 1))
    rows, targets = [], []
    for i in range(n):
        for y in range(0, height, stride):
            for x in range(0, width, stride):
                patch = padded[i, :, y : y + 3, x : x + 3].flatten()
                rows.append(torch.cat([patch, torch.ones(1)]))
                targets.append(wanted[i, :, y // stride, x // stride])
    design, target = torch.stack(rows).double(), torch.stack(targets).double()
    solution = torch.linalg.lstsq(design, target).solution.float()
    return solution[:-1].T.reshape(len(layer.weight), -1, 3, 3), solution[-1]


def test_the_loss_is_the_mix_of_correction_and_imitation():
    student, teacher = nn.Conv2d(2, 3, 1), nn.Conv2d(2, 3, 1)
    s, t = torch.randn(2, 4, 2, 5, 5)
    correction = (student(t) - teacher(t)).square().mean()
    imitation = (student(s) - teacher(s)).square().mean()
    loss = cross_loss(student, teacher, s, t, mu=0.3)
    torch.testing.assert_close(loss, 0.3 * correction + 0.7 * imitation)
    loss.backward()
    assert student.weight.grad.any()
    assert teacher.weight.grad is None


def test_by_hand():
    """S = 2, T = 1, s = 3, t = 1: mu 1 has (2 - 1)^2, mu 0 has (6 - 3)^2."""
    student, teacher = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)
    student.weight.data.fill_(2)
    teacher.weight.data.fill_(1)
    s, t = torch.tensor([[3.0]]), torch.tensor([[1.0]])
    losses = [cross_loss(student, teacher, s, t, mu=mu).item() for mu in (1, 0, 0.5)]
    assert losses == [1, 9, 5]


@pytest.mark.parametrize("mu", [0.0, 1.0, None])
def test_a_layer_is_regression_on_the_inputs_that_mu_says(mu):
    """1 is on the teacher's inputs, 0 on the student's, None is the estimation."""
    net, x = used_net(2), torch.randn(16, 1, 8, 8)
    keep = largest_filters(net, 0.5, names=frozenset({"0.0", "1.0"}))
    if mu is None:
        student = estimate_layers(net, keep, x)
    else:
        student = cross_distil(net, keep, x, mu=mu)
    whole = fold_batch_norm(net)
    layer = whole.get_submodule("2.0")
    t, s = (seen_at(m, "2.0", x)[0] for m in (whole, student))
    with torch.no_grad():
        wanted = layer(s) if mu == 0 else layer(t)
    given = t if mu == 1 else s
    kernel, bias = regressed(layer, given, wanted, keep["1.0"])
    found = student.get_submodule("2.0")
    torch.testing.assert_close(
        found.weight[:, keep["1.0"]], kernel, atol=1e-3, rtol=1e-3
    )
    torch.testing.assert_close(found.bias, bias, atol=1e-3, rtol=1e-3)
    assert found.weight[:, ~keep["1.0"]].count_nonzero() == 0


def test_no_layer_has_a_better_neighbour_for_its_loss():
    net, x = used_net(), torch.randn(40, 1, 8, 8)
    keep = largest_filters(net, 0.5, names=NAMES)
    student, whole = cross_distil(net, keep, x, mu=0.3), fold_batch_norm(net)
    for before, name in (("0.0", "1.0"), ("2.0", "3.0")):
        s, t = (seen_at(m, name, x)[0] for m in (student, whole))
        layer = student.get_submodule(name)
        cross_loss(layer, whole.get_submodule(name), s, t, mu=0.3).backward()
        assert layer.weight.grad[:, keep[before]].abs().max() < 1e-5


def test_what_nobody_reads_can_be_removed_without_effect():
    net, x = used_net(), torch.randn(10, 1, 8, 8)
    keep = largest_filters(net, 0.5, names=NAMES)
    student = cross_distil(net, keep, x, ridge=0.01)
    smaller = remove_channels(student, keep)
    torch.testing.assert_close(smaller(x), student(x), atol=1e-5, rtol=1e-4)
    count = sum(p.numel() for p in smaller.parameters())
    assert count == sum(
        p.numel() for p in fold_batch_norm(remove_channels(net, keep)).parameters()
    )


def test_if_nothing_goes_nothing_changes():
    net, x = used_net(), torch.randn(100, 1, 8, 8)
    folded = fold_batch_norm(net)
    all_of_them = {n: k | True for n, k in largest_filters(net, 0.5).items()}
    for keep in ({}, all_of_them):
        for student in (cross_distil(net, keep, x), estimate_layers(net, keep, x)):
            for name, parameter in student.named_parameters():
                torch.testing.assert_close(parameter, folded.get_parameter(name))


def test_refitted_layers_are_nearer_to_the_teacher_than_pruned_ones():
    net, x = used_net(), torch.randn(60, 1, 8, 8)
    keep = largest_filters(net, 0.5, names=NAMES)
    whole, other = fold_batch_norm(net), torch.randn(60, 1, 8, 8)
    errors = [
        relative_errors(m, whole, other, ["4.0"], keep=keep)["4.0"]
        for m in (
            fold_batch_norm(remove_channels(net, keep)),
            cross_distil(net, keep, x, ridge=0.01),
            estimate_layers(net, keep, x, ridge=0.01),
        )
    ]
    assert errors[1] < errors[0]
    assert errors[2] < errors[0]


def test_errors_accumulate_when_layers_only_see_the_teachers_inputs():
    """Each fits well alone, on t, and all of them in a row are worse than that."""
    net, x = used_net(), torch.randn(60, 1, 8, 8)
    keep = largest_filters(net, 0.5, names=NAMES)
    student, whole = cross_distil(net, keep, x, mu=1.0), fold_batch_norm(net)
    t, wanted = seen_at(whole, "4.0", x)
    with torch.no_grad():
        alone = student.get_submodule("4.0")(t) - wanted
    in_a_row = relative_errors(student, whole, x, ["4.0"])["4.0"]
    assert in_a_row > float(alone.norm() / wanted.norm())


def test_a_strong_pull_only_removes():
    net, x = used_net(), torch.randn(10, 1, 8, 8)
    keep = largest_filters(net, 0.5, names=NAMES)
    held, folded = cross_distil(net, keep, x, ridge=1e9), fold_batch_norm(net)
    expected = weight_of(folded, "2.0")[:, keep["1.0"]]
    found = weight_of(held, "2.0")[:, keep["1.0"]]
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


def test_the_teacher_stays_as_it_is():
    net, x = used_net(), torch.randn(10, 1, 8, 8)
    before = copy.deepcopy(net.state_dict())
    cross_distil(net, largest_filters(net, 0.5, names=NAMES), x)
    assert all(torch.equal(v, before[n]) for n, v in net.state_dict().items())


def test_bad_input_is_refused():
    net, x = used_net(), torch.randn(4, 1, 8, 8)
    with pytest.raises(ValueError, match="mu must be from 0 to 1, got 2"):
        cross_distil(net, {}, x, mu=2)
    with pytest.raises(ValueError, match="mu must be from 0 to 1, got -1"):
        cross_loss(net, net, x, x, mu=-1)
    with pytest.raises(ValueError, match=r"keep has \['7'\], behind which no layer"):
        cross_distil(net, {"7": torch.ones(10) > 0}, x)
    with pytest.raises(ValueError, match=r"reads must be bool of shape \(4,\), got"):
        estimate_layers(net, {"0.0": torch.ones(3) > 0}, x)
    with pytest.raises(ValueError, match="training mode"):
        estimate_layers(net.train(), {}, x)
