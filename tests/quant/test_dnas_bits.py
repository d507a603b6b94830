"""Parallel edges: copies with their own bits, weighted, counted and taken out."""

import itertools

import pytest
import torch
from torch import nn

from effdl.blocks import plain_net
from effdl.nas.gradient.gumbel import gumbel_noise, gumbel_softmax
from effdl.nas.hardware.expected_cost import expected_cost
from effdl.quant.bit_choices import LayerSize, layer_sizes, weight_bits
from effdl.quant.dnas_bits import (
    ParallelBits,
    bits_table,
    edges_of,
    parallel_bits,
    take_bits,
)
from effdl.quant.dnas_search import set_shares_
from effdl.quant.graph import fold_batch_norm
from effdl.quant.insert import insert_quantizers
from effdl.quant.quantizers import WeightQuantizer

BITS = (2, 4, 8)
SIZES = [LayerSize("a", 10, 0), LayerSize("b", 30, 0), LayerSize("c", 50, 0)]


def folded():
    return fold_batch_norm(plain_net(2).eval())


def rounded(net, bits):
    bits = iter(bits)
    return insert_quantizers(
        net,
        weight=lambda name, weight: WeightQuantizer(next(bits)),
        activation=lambda name: None,
    )


def test_the_output_is_the_weighted_sum_over_the_copies():
    layer, x = nn.Conv2d(3, 4, 3), torch.randn(2, 3, 6, 6)
    edges = ParallelBits(layer, BITS)
    edges.shares = torch.tensor([0.2, 0.3, 0.5])
    expected = 0
    for share, bits in zip((0.2, 0.3, 0.5), BITS, strict=True):
        weight = WeightQuantizer(bits)(layer.weight)
        expected = expected + share * nn.functional.conv2d(x, weight, layer.bias)
    torch.testing.assert_close(edges(x), expected)


@pytest.mark.parametrize("bits", [(2, 2, 4, 4, 8, 8), (8, 4, 2, 2, 4, 8)])
def test_with_one_hot_shares_it_is_the_network_with_these_bits(bits):
    net, x = folded(), torch.rand(3, 1, 16, 16)
    parallel, plain = parallel_bits(net, BITS), rounded(net, bits)
    shares = torch.tensor([[float(b == c) for c in BITS] for b in bits])
    set_shares_(parallel, shares)
    torch.testing.assert_close(parallel(x), plain(x))
    torch.testing.assert_close(take_bits(parallel, bits)(x), plain(x))


def test_every_copy_has_weights_of_its_own():
    net = folded()
    parallel = parallel_bits(net, BITS)
    count = sum(p.numel() for p in net.parameters())
    assert sum(p.numel() for p in parallel.parameters()) == 3 * count
    x = torch.rand(2, 1, 16, 16)
    parallel(x).square().sum().backward()
    originals = [
        layer.parametrizations.weight.original
        for edge in edges_of(parallel).values()
        for layer in edge.mixed.candidates.values()
    ]
    assert len({id(o) for o in originals}) == len(originals) == 18
    assert all(o.grad is not None for o in originals)


def test_the_mean_cost_of_drawn_networks_is_the_closed_form():
    theta = torch.randn(3, 3)
    table = bits_table(SIZES, BITS)
    total = 0.0
    draws = 20_000
    for row, cost in zip(theta, table.extra, strict=True):
        noise = gumbel_noise(row.expand(draws, 3))
        picked = (row + noise).argmax(dim=1)
        total += cost[picked].mean()
    closed = expected_cost(theta.softmax(dim=1), table)
    torch.testing.assert_close(total, closed, rtol=0.01, atol=0.0)
    # and exactly, as a sum over all 27 networks
    p, exact = theta.double().softmax(dim=1), 0.0
    for member in itertools.product(range(3), repeat=3):
        share = float(torch.stack([p[i, k] for i, k in enumerate(member)]).prod())
        exact += share * weight_bits([BITS[k] for k in member], SIZES)
    assert float(closed) == pytest.approx(exact, rel=1e-5)


def test_near_temperature_0_a_draw_is_one_hot():
    theta = torch.randn(50, 3)
    noise = gumbel_noise(theta)
    draw = gumbel_softmax(theta, noise, 1e-3)
    hot = nn.functional.one_hot((theta + noise).argmax(dim=1), 3).float()
    assert (draw - hot).abs().max(dim=1).values.median() < 1e-6


def test_the_table_holds_weight_bits_by_hand():
    """10 weights of 2, 4 and 8 bits, 30 of them, 50 of them."""
    table = bits_table(SIZES, BITS)
    assert table.extra.tolist() == [[20, 40, 80], [60, 120, 240], [100, 200, 400]]
    assert table.of((0, 1, 2)) == weight_bits((2, 4, 8), SIZES) == 540


def test_edges_have_the_names_and_the_order_of_the_layers():
    net = folded()
    parallel = parallel_bits(net, BITS)
    sizes = layer_sizes(net, torch.zeros(1, 1, 16, 16))
    assert list(edges_of(parallel)) == [size.name for size in sizes]
    assert list(edges_of(parallel)["7"].mixed.candidates) == ["2", "4", "8"]


def test_the_network_that_was_given_stays_as_it_was():
    net, x = folded(), torch.rand(2, 1, 16, 16)
    before = net(x)
    parallel = parallel_bits(net, BITS)
    taken = take_bits(parallel, (2,) * 6)
    for p in [*parallel.parameters(), *taken.parameters()]:
        p.data.add_(1.0)
    assert torch.equal(net(x), before)
    assert len(edges_of(parallel)) == 6
    assert not edges_of(taken)


def test_bad_input_is_refused():
    parallel = parallel_bits(folded(), BITS)
    with pytest.raises(ValueError, match=r"bits of layer 0\.0 must be one of .* got 3"):
        take_bits(parallel, (3,) * 6)
    with pytest.raises(ValueError, match=r"shorter|longer"):
        take_bits(parallel, (2,) * 5)
    with pytest.raises(ValueError, match="bits must be 2 to 16, got 1"):
        parallel_bits(folded(), (1, 2))
