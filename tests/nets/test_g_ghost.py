"""The G-Ghost stage against its equations, its count, and what reaches what."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from effdl.blocks import conv_bn
from effdl.measure.macs import count_macs
from effdl.nets.g_ghost import GGhostStage, complicated_channels, stage_weights


def stage(channels: int = 10, blocks: int = 3, share: float = 0.4) -> GGhostStage:
    width = complicated_channels(channels, share)
    layers = [conv_bn(width, width, 3) for _ in range(blocks)]
    return GGhostStage(layers, channels, share=share)


def test_output_is_the_equations_written_out():
    """Ten channels, 0.4 of them ghosts: 6 go through the blocks, 4 are derived."""
    module = stage().eval()
    norm = module.cheap[1]
    nn.init.normal_(norm.bias)
    nn.init.uniform_(norm.running_var, 0.5, 1.5)
    x = torch.randn(2, 10, 5, 4)

    features = [x[:, :6]]
    for block in module.blocks:
        features.append(block(features[-1]))
    for n in range(2):
        parts = [x[n], *(f[n] for f in features[1:])]  # Y_0 whole, then Yc_1 to Yc_3
        z = torch.cat([part.sum(dim=(1, 2)) / 20 for part in parts])
        mixed = module.mix.weight @ z + module.mix.bias
        cheap = torch.einsum(
            "gi,ihw->ghw", module.cheap[0].weight[:, :, 0, 0], x[n, 6:]
        )
        scale = norm.weight / (norm.running_var + norm.eps).sqrt()
        cheap = (cheap - norm.running_mean[:, None, None]) * scale[:, None, None]
        ghosts = cheap + norm.bias[:, None, None] + mixed[:, None, None]
        ghosts = torch.where(ghosts > 0, ghosts, 0)
        expected = torch.cat((features[-1][n], ghosts))
        torch.testing.assert_close(module(x)[n], expected)


def test_weights_by_hand():
    """Ten channels, 3 blocks of 3 x 3: 27 * 36 + 4 * 4 + 4 * (10 + 3 * 6) = 1100."""
    assert stage_weights(10, blocks=3) == (2700, 1100)


@pytest.mark.parametrize(
    ("channels", "blocks", "kernel_size", "share"),
    [(10, 3, 3, 0.4), (16, 2, 1, 0.5), (15, 4, 5, 0.3), (64, 3, 3, 0.4)],
)
def test_weights_are_those_that_the_modules_have(channels, blocks, kernel_size, share):
    width = complicated_channels(channels, share)
    layers = [conv_bn(width, width, kernel_size) for _ in range(blocks)]
    ordinary = [conv_bn(channels, channels, kernel_size) for _ in range(blocks)]
    assert stage_weights(channels, blocks, kernel_size, share=share) == (
        _matrices(nn.Sequential(*ordinary)),
        _matrices(GGhostStage(layers, channels, share=share)),
    )


@pytest.mark.parametrize("share", [0.25, 0.4, 0.5])
def test_blocks_keep_the_square_of_their_share_of_the_channels(share):
    """Of convolutions c to c: (1 - l)^2 of the weights and of the multiply-adds."""
    width = complicated_channels(40, share)
    assert width == (1 - share) * 40
    blocks = nn.Sequential(*(conv_bn(width, width, 3) for _ in range(2)))
    ordinary = nn.Sequential(*(conv_bn(40, 40, 3) for _ in range(2)))
    assert _matrices(blocks) / _matrices(ordinary) == pytest.approx((1 - share) ** 2)
    macs = [
        count_macs(net, torch.zeros(1, c, 6, 6)).total
        for net, c in ((blocks, width), (ordinary, 40))
    ]
    assert macs[0] / macs[1] == pytest.approx((1 - share) ** 2)


def test_the_saving_is_the_closed_form_and_tends_to_the_square():
    for kernel_size, blocks, share in ((3, 3, 0.4), (1, 2, 0.5), (31, 9, 0.4)):
        ordinary, ours = stage_weights(1000, blocks, kernel_size, share=share)
        dense, kept = blocks * kernel_size**2, 1 - share
        extra = share**2 + share + blocks * share * kept
        assert ordinary / ours == pytest.approx(dense / (dense * kept**2 + extra))
    assert ordinary / ours == pytest.approx(1 / 0.36, rel=2e-3)


def test_the_mix_costs_weights_but_hardly_a_multiply_add():
    module, x = stage(40, 3), torch.zeros(1, 40, 14, 14)
    by_operator = count_macs(module, x).by_operator
    assert module.mix.weight.numel() == 16 * (40 + 3 * 24)
    assert by_operator["linear"] == module.mix.weight.numel()
    assert by_operator["conv"] == 196 * (3 * 9 * 24 * 24 + 16 * 16)


def test_nothing_is_depthwise_or_grouped():
    convs = [m for m in stage().modules() if isinstance(m, nn.Conv2d)]
    assert {m.groups for m in convs} == {1}


def test_the_blocks_never_see_the_ghosts():
    module, x = stage().eval(), torch.randn(1, 10, 5, 5, requires_grad=True)
    module(x)[:, :6].sum().backward()
    assert x.grad.any(dim=(0, 2, 3)).tolist() == [True] * 6 + [False] * 4


def test_ghosts_without_a_mix_depend_on_their_own_input_at_their_own_place():
    module, x = stage().eval(), torch.randn(1, 10, 5, 5, requires_grad=True)
    nn.init.zeros_(module.mix.weight)
    nn.init.constant_(module.mix.bias, 100.0)  # beyond the ReLU
    module(x)[0, 6:, 2, 3].sum().backward()
    reached = x.grad[0].any(dim=(1, 2)).tolist()
    assert reached == [False] * 6 + [True] * 4
    assert x.grad[0].any(dim=0).nonzero().tolist() == [[2, 3]]


def test_the_mix_is_one_number_a_ghost_from_every_block():
    """Moving pixels about changes nothing, another block output does."""
    identity = nn.ModuleList([nn.Identity(), nn.Identity()])
    module = GGhostStage(list(identity), 10).eval()
    nn.init.constant_(module.mix.bias, 100.0)
    x = torch.randn(1, 10, 5, 5)
    x[:, 6:] = 1.0  # so that cheap sees no difference
    moved = x.flatten(2)[:, :, torch.randperm(25)].unflatten(2, (5, 5))
    ghosts = module(x)[:, 6:]
    torch.testing.assert_close(module(moved)[:, 6:], ghosts)
    for number in range(2):
        doubled = GGhostStage([nn.Identity(), nn.Identity()], 10).eval()
        doubled.load_state_dict(module.state_dict())
        doubled.blocks[number] = Doubled()
        assert not torch.allclose(doubled(x)[:, 6:], ghosts)


def test_it_fits_around_blocks_of_any_kind():
    width = complicated_channels(10)
    blocks = [nn.Sequential(nn.Conv2d(width, 3, 1), nn.Conv2d(3, width, 3, padding=1))]
    assert GGhostStage(blocks, 10)(torch.zeros(2, 10, 5, 7)).shape == (2, 10, 5, 7)


@pytest.mark.parametrize(
    ("channels", "share", "kept"),
    [(64, 0.4, 38), (10, 0.9, 1), (10, 0.1, 9), (3, 0.5, 1), (100, 0.71, 29)],
)
def test_channels_are_rounded_down(channels, share, kept):
    assert complicated_channels(channels, share) == kept


def test_the_default_share_is_that_of_the_paper():
    assert complicated_channels(100) == 60
    assert GGhostStage([nn.Identity()], 100).complicated == 60
    assert stage_weights(100, 2) == stage_weights(100, 2, 3, share=0.4)


def test_every_parameter_learns():
    module = stage()
    out = module(torch.randn(8, 10, 6, 6))
    F.mse_loss(out, torch.randn_like(out)).backward()
    assert all(p.grad is not None and p.grad.any() for p in module.parameters())


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: GGhostStage([], 10), "blocks must be at least 1, got 0"),
        (lambda: GGhostStage([nn.Identity()], 0), "channels must be at least 1, got 0"),
        (lambda: stage_weights(10, 0), "blocks must be at least 1, got 0"),
        (lambda: stage_weights(10, 1, 0), "kernel_size must be at least 1, got 0"),
        *[
            (
                lambda share=share: complicated_channels(10, share),
                "share must leave some",
            )
            for share in (0.0, 1.0, 0.95, 1e-12, -1.0, float("nan"), float("inf"))
        ],
    ],
)
def test_bad_arguments_are_named(build, message):
    with pytest.raises(ValueError, match=message):
        build()


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((10, 5, 5), r"must be \(N, C, H, W\), got shape \(10, 5, 5\)"),
        ((2, 6, 5, 5), "x must have 10 channels in dimension 1, got 6"),
    ],
)
def test_bad_inputs_are_named(shape, message):
    with pytest.raises(ValueError, match=message):
        stage()(torch.zeros(shape))


def test_a_block_that_changes_the_shape_is_named():
    module = GGhostStage([conv_bn(6, 6, 3, stride=2)], 10)
    message = (
        r"blocks must keep the shape \(2, 6, 5, 5\), got \(2, 6, 3, 3\); use stride"
    )
    with pytest.raises(ValueError, match=message):
        module(torch.zeros(2, 10, 5, 5))


class Doubled(nn.Module):
    """Twice its input."""

    def forward(self, x):
        """Return 2 x."""
        return 2 * x


def _matrices(net: nn.Module) -> int:
    """Return the weights of convolutions and linear layers: no bias, no batch norm."""
    return sum(p.numel() for p in net.parameters() if p.ndim > 1)
