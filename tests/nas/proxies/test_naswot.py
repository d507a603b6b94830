"""NASWOT against loops over pairs of codes, by hand, and where K is singular."""

import copy
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from effdl.nas.cell_net import small_cell_net
from effdl.nas.cell_space import Cell
from effdl.nas.proxies import naswot
from effdl.nas.proxies.naswot import code_kernel, log_determinant, naswot_score

CELL = Cell.parse(
    "|nor_conv_3x3~0|+|skip_connect~0|nor_conv_1x1~1|"
    "+|avg_pool_3x3~0|none~1|nor_conv_3x3~2|"
)


def codes_of(net: nn.Module, x: torch.Tensor) -> list[list[bool]]:
    """Collect by hooks what every nn.ReLU puts out, and the last ReLU by hand."""
    net, found = copy.deepcopy(net).train(), []
    for module in net.modules():
        if isinstance(module, nn.ReLU):
            module.register_forward_hook(lambda _m, _x, y: found.append(y.flatten(1)))
    last = net.last.register_forward_hook(
        lambda _m, _x, y: found.append(F.relu(y).flatten(1))
    )
    net(x)
    last.remove()
    return (torch.cat(found, dim=1) > 0).tolist()


def test_score_is_the_definition_written_out():
    """N_A minus the Hamming distance of every pair, and numpy's slogdet."""
    net, x = small_cell_net(CELL), torch.randn(5, 1, 12, 12)
    codes = codes_of(net, x)
    kernel = np.zeros((5, 5))
    for i, one in enumerate(codes):
        for j, other in enumerate(codes):
            hamming = sum(a != b for a, b in zip(one, other, strict=True))
            kernel[i, j] = len(one) - hamming
    sign, expected = np.linalg.slogdet(kernel)
    assert sign == 1
    assert naswot_score(net, x) == pytest.approx(expected, rel=1e-9)


def test_three_codes_by_hand():
    """1100, 1010, 1111 agree on 2, 2 and 2 of 4: det = 4^3 + 2 * 2^3 - 3 * 4 * 2^2."""
    codes = torch.tensor([[1, 1, 0, 0], [1, 0, 1, 0], [1, 1, 1, 1]]).bool()
    kernel = code_kernel(codes)
    assert kernel.tolist() == [[4, 2, 2], [2, 4, 2], [2, 2, 4]]
    assert log_determinant(kernel) == pytest.approx(math.log(32))


def test_kernel_is_the_sum_of_both_products():
    c = torch.rand(5, 40) > 0.5
    on, off = c.double(), 1 - c.double()
    torch.testing.assert_close(code_kernel(c), on @ on.T + off @ off.T)


def test_many_units_are_counted_exactly(monkeypatch):
    assert naswot.EXACT <= 2**24  # the last whole number that float32 reaches by ones
    codes = torch.rand(3, 50) > 0.5
    whole = code_kernel(codes)
    monkeypatch.setattr(naswot, "EXACT", 7)
    assert torch.equal(code_kernel(codes), whole)


@pytest.mark.parametrize("inplace", [True, False])
def test_layers_and_functions_count_alike(inplace):
    class Calls(nn.Module):
        def forward(self, x):
            return F.relu(x.clone(), inplace=inplace)

    x = torch.randn(4, 10)
    layer = nn.ReLU(inplace=inplace)
    assert naswot_score(Calls(), x) == naswot_score(layer, x) != 0


def test_a_layer_that_runs_twice_counts_twice():
    x = torch.randn(4, 10)
    relu = nn.ReLU()  # the same code again: every entry of K doubles
    expected = naswot_score(relu, x) + 4 * math.log(2)
    assert naswot_score(nn.Sequential(relu, relu), x) == pytest.approx(expected)


def test_convolutions_that_nothing_reads_do_not_count():
    """Edge 0 feeds node 1, which leads nowhere."""
    dead = Cell(("nor_conv_3x3", "skip_connect", *["none"] * 3, "nor_conv_1x1"))
    x = torch.randn(6, 1, 12, 12)
    alive = Cell(("none", *dead.operations[1:]))
    net, other = small_cell_net(dead), small_cell_net(alive)
    other.load_state_dict(net.state_dict(), strict=False)
    assert naswot_score(net, x) == naswot_score(other, x)


def test_one_unit_of_ten_millions_is_enough():
    """All of n units but one agree: det = n^2 - (n - 1)^2 = 2 n - 1."""
    n = 10_000_000
    kernel = torch.tensor([[n, n - 1], [n - 1, n]], dtype=torch.float64)
    assert log_determinant(kernel) == pytest.approx(math.log(2 * n - 1))


def test_equal_images_make_it_singular():
    net, x = small_cell_net(CELL), torch.randn(6, 1, 12, 12)
    assert math.isfinite(naswot_score(net, x))
    x[4] = x[1]
    assert naswot_score(net, x) == -math.inf


def test_too_few_units_make_it_singular():
    """Codes 00, 01, 10, 11: no two are equal, but the rows of K are dependent."""
    x = torch.tensor([[-1.0, -1], [-1, 1], [1, -1], [1, 1]])
    assert naswot_score(nn.ReLU(), x) == -math.inf


def test_the_less_two_codes_agree_the_higher_they_score():
    """Two images, 6 units, Hamming distance d: S = log(6^2 - (6 - d)^2)."""
    scores = []
    for d in range(1, 7):
        codes = torch.zeros(2, 6, dtype=torch.bool)
        codes[1, :d] = True
        scores.append(log_determinant(code_kernel(codes)))
        assert scores[-1] == pytest.approx(math.log(36 - (6 - d) ** 2))
    assert scores == sorted(scores)


def test_the_order_of_the_images_does_not_matter():
    net, x = small_cell_net(CELL).double(), torch.randn(6, 1, 12, 12).double()
    assert naswot_score(net, x.flip(0)) == pytest.approx(naswot_score(net, x))


def test_weights_before_a_batch_norm_have_no_scale():
    net, x = small_cell_net(CELL).double(), torch.randn(6, 1, 12, 12).double()
    before = naswot_score(net, x)
    for conv in net.modules():
        if isinstance(conv, nn.Conv2d):
            conv.weight.data *= 4
    assert naswot_score(net, x) == pytest.approx(before)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("fails", [True, False])
def test_the_model_comes_back_as_it_was(training, fails):
    net = small_cell_net(CELL).train(training)
    model = nn.Sequential(net, nn.Dropout(), nn.Linear(9 if fails else 10, 2))
    before = copy.deepcopy(model.state_dict())
    modes = [m.training for m in model.modules()]
    x, state = torch.randn(4, 1, 12, 12), torch.get_rng_state()
    same = x.clone()
    if fails:
        with pytest.raises(RuntimeError, match="shapes"):
            naswot_score(model, x)
    else:
        assert math.isfinite(naswot_score(model, x))
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)
    assert [m.training for m in model.modules()] == modes
    assert all(p.grad is None for p in model.parameters())
    assert torch.equal(x, same)
    assert torch.equal(torch.get_rng_state(), state)
    assert not any(m._forward_hooks for m in model.modules())


def test_it_runs_on_batch_statistics_whatever_the_mode():
    net, x = small_cell_net(CELL), torch.randn(4, 1, 12, 12)
    assert naswot_score(net.eval(), x) == naswot_score(net.train(), x)


@pytest.mark.parametrize(
    ("model", "inputs", "message"),
    [
        (nn.Linear(2, 1), torch.zeros(2, 2), "ran no ReLU"),
        (nn.Sequential(nn.Linear(2, 1), nn.SiLU()), torch.zeros(2, 2), "ran no ReLU"),
        (nn.ReLU(), torch.zeros(0, 2), "empty batch"),
    ],
)
def test_what_has_no_codes_is_named(model, inputs, message):
    with pytest.raises(ValueError, match=message):
        naswot_score(model, inputs)
