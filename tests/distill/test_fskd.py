"""FSKD: the 1 x 1 convolution in closed form, merged, block by block."""

import copy

import pytest
import torch
from torch import nn

from effdl.blocks import plain_net
from effdl.compress.channels import largest_filters, remove_channels
from effdl.distill.fskd import aligning_matrix, fskd, merge_
from effdl.distill.layer_errors import relative_errors, seen_at
from effdl.measure.macs import count_macs
from effdl.quant.graph import fold_batch_norm

CONVOLUTIONS = [f"{i}.0" for i in range(5)]


def used_net(width=4):
    """Return a network whose batch norm has seen something, in eval mode."""
    net = plain_net(width)
    for layer in net.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.weight, 0.5, 1.5)
            nn.init.normal_(layer.bias)
    net(torch.randn(30, 1, 8, 8))
    return net.eval()


def with_names(net, share=0.5):
    """Return a pruned copy and what it kept; the last block keeps its outputs."""
    names = frozenset(CONVOLUTIONS[:-1])
    keep = largest_filters(net, share, names=names)
    return remove_channels(net, keep).eval(), keep


def test_the_matrix_is_the_formula_of_the_paper():
    x, y = torch.randn(2, 10, 4, 3, 3, dtype=torch.float64)
    columns = [z.movedim(1, 0).flatten(1) for z in (x, y)]
    expected = columns[1] @ columns[0].T @ torch.linalg.inv(columns[0] @ columns[0].T)
    torch.testing.assert_close(aligning_matrix(x, y), expected)


def test_the_matrix_is_torchs_least_squares():
    x, y = torch.randn(2, 10, 4, 3, 3)
    rows = [z.permute(0, 2, 3, 1).reshape(-1, 4) for z in (x, y)]
    expected = torch.linalg.lstsq(*rows).solution.T
    torch.testing.assert_close(aligning_matrix(x, y), expected, atol=1e-5, rtol=1e-4)


def test_by_hand():
    """Outputs swapped and doubled: Q has 2 beside the diagonal."""
    x = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    expected = torch.tensor([[0.0, 2.0], [2.0, 0.0]])
    torch.testing.assert_close(aligning_matrix(x, 2 * x.flip(1)), expected)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("make", [nn.Conv2d, None])
def test_merging_is_the_layer_followed_by_a_1x1_convolution(make, bias):
    q = torch.randn(4, 4)
    if make is None:
        layer, x, behind = nn.Linear(3, 4, bias=bias), torch.randn(5, 3), q
        expected = layer(x) @ behind.T
    else:
        layer = make(3, 4, 3, stride=2, padding=1, bias=bias)
        x, behind = torch.randn(5, 3, 6, 6), nn.Conv2d(4, 4, 1, bias=False)
        behind.weight.data = q[:, :, None, None]
        expected = behind(layer(x))
    count = sum(p.numel() for p in layer.parameters())
    merge_(layer, q)
    torch.testing.assert_close(layer(x), expected)
    assert sum(p.numel() for p in layer.parameters()) == count


def test_a_student_that_is_its_teacher_gets_the_identity():
    net, x = used_net(), torch.randn(1, 1, 8, 8)  # fewer pixels than channels at last
    aligned = fskd(net, net, x, CONVOLUTIONS)
    before = fold_batch_norm(net)
    for name, parameter in aligned.named_parameters():
        assert torch.equal(parameter, before.get_parameter(name))
    features = seen_at(before, "4.0", x)[1]
    assert torch.equal(aligning_matrix(features, features), torch.eye(16))


def test_the_error_of_every_block_falls_on_the_images_it_was_fitted_to():
    teacher, x = used_net(), torch.randn(20, 1, 8, 8)
    student, keep = with_names(teacher)
    before = fold_batch_norm(student)
    whole = fold_batch_norm(teacher)
    for block in CONVOLUTIONS[1:]:
        # One block alone: what comes before it is the same in both.
        alone = fskd(student, teacher, x, [block], keep=keep)
        old, new = (
            relative_errors(m, whole, x, [block], keep=keep)[block]
            for m in (before, alone)
        )
        assert new < old
    aligned = fskd(student, teacher, x, CONVOLUTIONS, keep=keep)
    first, last = (
        relative_errors(m, whole, x, ["4.0"], keep=keep)["4.0"]
        for m in (before, aligned)
    )
    assert last < first


def test_later_blocks_see_what_earlier_ones_have_become():
    """The matrix of the second block is that of the mended first one's outputs."""
    teacher, x = used_net(), torch.randn(20, 1, 8, 8)
    student, keep = with_names(teacher)
    names = ["1.0", "2.0"]
    aligned = fskd(student, teacher, x, names, keep=keep)
    first = fskd(student, teacher, x, names[:1], keep=keep)
    whole = fold_batch_norm(teacher)
    wanted = seen_at(whole, "2.0", x)[1][:, keep["2.0"]]
    q = aligning_matrix(seen_at(first, "2.0", x)[1], wanted)
    merge_(first.get_submodule("2.0"), q)
    torch.testing.assert_close(first(x), aligned(x))


def test_a_mixed_student_is_mended_entirely():
    """Outputs of the first layer, mixed by an invertible matrix, are found again."""
    teacher = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Conv2d(4, 3, 1)).eval()
    student = copy.deepcopy(teacher)
    merge_(student[0], torch.randn(4, 4) + 2 * torch.eye(4))
    x = torch.randn(10, 2, 5, 5)
    aligned = fskd(student, teacher, x, ["0"])
    assert not torch.allclose(student(x), teacher(x), atol=0.01)
    torch.testing.assert_close(aligned(x), teacher(x), atol=1e-4, rtol=1e-4)


def test_the_merged_network_costs_what_the_student_costs():
    teacher, x = used_net(), torch.randn(4, 1, 8, 8)
    student, keep = with_names(teacher)
    folded = fold_batch_norm(student)
    aligned = fskd(student, teacher, x, CONVOLUTIONS, keep=keep)
    shapes = {n: p.shape for n, p in aligned.named_parameters()}
    assert shapes == {n: p.shape for n, p in folded.named_parameters()}
    macs = [count_macs(net, x[:1]).total for net in (aligned, folded, student)]
    assert macs[0] == macs[1] == macs[2]


def test_a_strong_pull_leaves_the_student():
    teacher, x = used_net(), torch.randn(4, 1, 8, 8)
    student, keep = with_names(teacher)
    held = fskd(student, teacher, x, CONVOLUTIONS, keep=keep, ridge=1e9)
    torch.testing.assert_close(held(x), student(x), atol=1e-4, rtol=1e-4)


def test_both_networks_stay_as_they_are():
    teacher, x = used_net(), torch.randn(4, 1, 8, 8)
    student, keep = with_names(teacher)
    before = [copy.deepcopy(net.state_dict()) for net in (student, teacher)]
    fskd(student, teacher, x, CONVOLUTIONS, keep=keep)
    for net, state in zip((student, teacher), before, strict=True):
        assert all(torch.equal(v, state[n]) for n, v in net.state_dict().items())


def test_bad_input_is_refused():
    teacher, x = used_net(), torch.randn(4, 1, 8, 8)
    student, keep = with_names(teacher)
    with pytest.raises(ValueError, match="align blocks of equal outputs"):
        fskd(student, teacher, x, CONVOLUTIONS)
    with pytest.raises(ValueError, match=r"'4\.1' is no convolution"):
        fskd(student, teacher, x, ["4.1"], keep=keep)
    with pytest.raises(ValueError, match="training mode"):
        fskd(student.train(), teacher, x, ["4.0"], keep=keep)
    with pytest.raises(ValueError, match="layer has 2 groups, and no channel of"):
        merge_(nn.Conv2d(2, 2, 1, groups=2), torch.eye(2))
