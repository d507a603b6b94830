"""DFC attention against its sums, against timm, and with kernels that see it all."""

from itertools import product

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from effdl.conv.dfc_attention import DfcGate, decoupled_fc, dfc_cost, shared_weights
from effdl.conv.ghost import ghost_cost
from on_paper import randomised


def test_the_sums_are_the_equations_evaluated_pixel_by_pixel():
    """Each weight its own, h = 3 rows, w = 4 columns; first over h', then over w'."""
    z = torch.randn(2, 2, 3, 4)
    vertical, horizontal = torch.randn(2, 3, 3, 4), torch.randn(2, 4, 4, 3)
    result = decoupled_fc(z, vertical, horizontal)
    between = torch.zeros_like(z)
    for n, c, h, w in product(range(2), range(2), range(3), range(4)):
        for i in range(3):
            between[n, c, h, w] += vertical[c, h, i, w] * z[n, c, i, w]
    for n, c, h, w in product(range(2), range(2), range(3), range(4)):
        a = sum(horizontal[c, w, j, h] * between[n, c, h, j] for j in range(4))
        torch.testing.assert_close(result[n, c, h, w], a)


def test_the_gate_is_its_layers_evaluated_pixel_by_pixel():
    layer = DfcGate(3, 2, kernel_size=3).eval()
    randomised(layer)
    x = torch.randn(1, 3, 6, 8)

    pooled = torch.zeros(3, 3, 4)
    for h, w in product(range(3), range(4)):
        pooled[:, h, w] = x[0, :, 2 * h : 2 * h + 2, 2 * w : 2 * w + 2].mean((1, 2))
    z = torch.einsum("nc,chw->nhw", layer.project[0].weight[:, :, 0, 0], pooled)
    z = _normalised(layer.project[1], z)
    kernel, rows = layer.horizontal[0].weight[:, 0, 0], torch.zeros(2, 3, 4)
    for w, k in product(range(4), range(3)):
        if 0 <= w + k - 1 < 4:
            rows[:, :, w] += kernel[:, k, None] * z[:, :, w + k - 1]
    rows = _normalised(layer.horizontal[1], rows)
    kernel, a = layer.vertical[0].weight[:, 0, :, 0], torch.zeros(2, 3, 4)
    for h, k in product(range(3), range(3)):
        if 0 <= h + k - 1 < 3:
            a[:, h] += kernel[:, k, None] * rows[:, h + k - 1]
    small = 1 / (1 + torch.exp(-_normalised(layer.vertical[1], a)))
    gate = layer(x)[0]
    for h, w in product(range(6), range(8)):
        torch.testing.assert_close(gate[:, h, w], small[:, h // 2, w // 2])


def test_the_sums_by_hand():
    """Columns weighted 1 and 10: 1 + 30, 2 + 40; then rows 1 and 100: 31 + 4200."""
    z = torch.tensor([[1.0, 2.0], [3.0, 4.0]])[None, None]
    vertical = torch.tensor([[1.0, 10.0], [0.0, 1.0]])[None, :, :, None]
    horizontal = torch.tensor([[1.0, 100.0], [0.0, 1.0]])[None, :, :, None]
    result = decoupled_fc(z, vertical, horizontal)[0, 0]
    assert result.tolist() == [[4231.0, 42.0], [403.0, 4.0]]


@pytest.mark.parametrize("size", [(8, 8), (7, 9), (2, 3)])
def test_agrees_with_timm(size):
    ghostnet = pytest.importorskip("timm.models.ghostnet")
    theirs, ours = ghostnet.GhostModuleV2(6, 10).eval(), DfcGate(6, 10).eval()
    randomised(theirs)
    state = theirs.short_conv.state_dict()
    ours.load_state_dict(dict(zip(ours.state_dict(), state.values(), strict=True)))
    x = torch.randn(2, 6, *size)
    pooled = nn.functional.avg_pool2d(x, 2)
    gate = theirs.gate_fn(theirs.short_conv(pooled))
    expected = nn.functional.interpolate(gate, size=size, mode="nearest")
    torch.testing.assert_close(ours(x), expected)


@pytest.mark.parametrize(
    ("kernel_size", "tied"), [(3, False), (5, False), (11, True), (13, True)]
)
def test_long_kernels_are_the_decoupled_layers_with_shared_weights(kernel_size, tied):
    """Maps of 5 x 6: from K = 11 = 2 * 6 - 1 on, no weight of the sums is zero."""
    layer = DfcGate(2, 3, kernel_size=kernel_size)
    vertical = shared_weights(layer.vertical[0].weight[:, 0, :, 0], 5)
    horizontal = shared_weights(layer.horizontal[0].weight[:, 0, 0], 6)
    z = torch.randn(2, 3, 5, 6)
    convolved = layer.vertical[0](layer.horizontal[0](z))
    torch.testing.assert_close(convolved, decoupled_fc(z, vertical, horizontal))
    assert bool(horizontal.all()) == tied
    assert (vertical.expand(-1, -1, -1, 6).shape, horizontal.shape) == (
        (3, 5, 5, 6),
        (3, 6, 6, 1),
    )


def test_shared_weights_depend_on_the_distance_only():
    weights = shared_weights(torch.randn(2, 9), 5)[..., 0]
    for c in range(2):
        for distance in range(-4, 5):
            assert len(weights[c].diagonal(distance).unique()) == 1
        assert len(weights[c].unique()) == 9


def test_everything_reaches_everything_in_two_sums_but_not_in_one():
    z = torch.zeros(1, 1, 4, 5, requires_grad=True)
    vertical, horizontal = torch.ones(1, 4, 4, 1), torch.ones(1, 5, 5, 1)
    decoupled_fc(z, vertical, horizontal)[0, 0, 1, 2].backward()
    assert z.grad.all()
    z.grad = None
    decoupled_fc(z, vertical, torch.eye(5)[None, :, :, None])[0, 0, 1, 2].backward()
    assert z.grad[0, 0].any(dim=0).tolist() == [False, False, True, False, False]


def test_the_gate_reaches_ten_pixels():
    """Five at half resolution, in both directions; whole 2 x 2 squares."""
    x = torch.randn(1, 2, 20, 20, requires_grad=True)
    DfcGate(2, 3).eval()(x)[0, :, 9, 11].sum().backward()  # pixel 4, 5 of the small map
    reached = x.grad[0].any(dim=0)
    expected = torch.zeros(20, 20, dtype=torch.bool)
    expected[4:14, 6:16] = True
    assert torch.equal(reached, expected)


def test_weights_of_zero_open_the_gate_by_half():
    layer = DfcGate(3, 4).eval()
    nn.init.zeros_(layer.vertical[0].weight)
    assert torch.equal(layer(torch.randn(2, 3, 6, 6)), torch.full((2, 4, 6, 6), 0.5))


@pytest.mark.parametrize("size", [(6, 6), (7, 5), (2, 2), (3, 8)])
def test_the_gate_lies_between_0_and_1_and_has_the_size_of_the_input(size):
    gate = DfcGate(3, 4)(torch.randn(4, 3, *size))
    assert gate.shape == (4, 4, *size)
    assert ((gate > 0) & (gate < 1)).all()


def test_channels_do_not_meet_after_the_first_layer():
    layer = DfcGate(3, 4).eval()
    z = torch.randn(1, 4, 5, 5, requires_grad=True)
    layer.vertical(layer.horizontal(z))[0, 1].sum().backward()
    assert z.grad.any(dim=(2, 3)).tolist() == [[False, True, False, False]]


def test_defaults_are_those_of_ghostnet_v2():
    layer = DfcGate(3, 4)
    assert layer.horizontal[0].weight.shape == (4, 1, 1, 5)
    assert layer.vertical[0].weight.shape == (4, 1, 5, 1)
    assert dfc_cost(3, 4, 8) == dfc_cost(3, 4, 8, kernel_size=5)


@pytest.mark.parametrize("size", [(8, 6), (7, 9)])
@pytest.mark.parametrize("kernel_size", [3, 5])
def test_cost_is_what_torch_counts(size, kernel_size):
    layer, x = DfcGate(6, 10, kernel_size=kernel_size).eval(), torch.zeros(1, 6, *size)
    convs = [m for m in layer.modules() if isinstance(m, nn.Conv2d)]
    moved = []
    for conv in convs:
        conv.register_forward_hook(lambda m, x, y: moved.append(x[0].numel()))
        conv.register_forward_hook(lambda m, x, y: moved.append(y.numel()))
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        layer(x)
    cost = dfc_cost(6, 10, size, kernel_size=kernel_size)
    assert cost.parameters == sum(conv.weight.numel() for conv in convs)
    assert 2 * cost.macs == counter.get_total_flops()
    assert cost.memory_access == sum(moved) + cost.parameters
    assert dfc_cost(6, 10, 8) == dfc_cost(6, 10, (8, 8))


def test_a_gate_has_half_the_macs_of_its_ghost_convolution_and_twice_the_weights():
    gate, ghost = dfc_cost(80, 480, 14), ghost_cost(80, 480, 1, 14)
    assert 0.5 < gate.macs / ghost.macs < 0.51
    assert 2 < gate.parameters / ghost.parameters < 2.1


def test_every_parameter_learns():
    layer = DfcGate(3, 4)
    layer(torch.randn(8, 3, 8, 8)).square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in layer.parameters())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"in_channels": 0}, "in_channels must be at least 1, got 0"),
        ({"out_channels": 0}, "out_channels must be at least 1, got 0"),
        ({"kernel_size": 0}, "kernel_size must be at least 1, got 0"),
        ({"kernel_size": 4}, "kernel_size must be odd, got 4"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        DfcGate(**{"in_channels": 3, "out_channels": 4} | arguments)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((3, 5, 5), r"must be \(N, C, H, W\), got shape \(3, 5, 5\)"),
        ((2, 4, 5, 5), "x must have 3 channels in dimension 1, got 4"),
        ((2, 3, 1, 5), "x must have 2 x 2 pixels or more, got 1 x 5"),
    ],
)
def test_bad_inputs_are_named(shape, message):
    with pytest.raises(ValueError, match=message):
        DfcGate(3, 4)(torch.zeros(shape))


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ([(2, 4, 5), (2, 4, 4, 1), (2, 5, 5, 1)], r"x must be \(N, C, H, W\)"),
        (
            [(1, 2, 4, 5), (2, 5, 4, 1), (2, 5, 5, 1)],
            r"vertical must have shape \(2, 4, 4, 5\), or 1 in the last place",
        ),
        (
            [(1, 2, 4, 5), (2, 4, 4, 5), (1, 5, 5, 1)],
            r"horizontal must have shape \(2, 5, 5, 4\), or 1 in the last place",
        ),
    ],
)
def test_weights_that_do_not_fit_are_named(shapes, message):
    with pytest.raises(ValueError, match=message):
        decoupled_fc(*(torch.zeros(shape) for shape in shapes))


@pytest.mark.parametrize(
    ("taps", "size", "message"),
    [
        (3, 0, "size must be at least 1, got 0"),
        (4, 3, "kernel_size must be odd, got 4"),
    ],
)
def test_bad_kernels_are_named(taps, size, message):
    with pytest.raises(ValueError, match=message):
        shared_weights(torch.zeros(2, taps), size)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kernel_size": 0}, "kernel_size must be at least 1, got 0"),
        ({"in_channels": 0}, "in_channels must be at least 1, got 0"),
        ({"output_size": 1}, "output_size must be at least 2 x 2, got 1 x 1"),
    ],
)
def test_a_cost_needs_sensible_numbers(arguments, message):
    valid = {"in_channels": 3, "out_channels": 4, "output_size": 8}
    with pytest.raises(ValueError, match=message):
        dfc_cost(**valid | arguments)


def _normalised(norm: nn.BatchNorm2d, x: torch.Tensor) -> torch.Tensor:
    """Return batch norm of (C, H, W) by its formula."""
    mean, var, scale, shift = (
        v[:, None, None]
        for v in (norm.running_mean, norm.running_var, norm.weight, norm.bias)
    )
    return (x - mean) / (var + norm.eps).sqrt() * scale + shift
