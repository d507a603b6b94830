"""The search of EdMIPS: what is priced, what is trained, what comes out."""

import pytest
import torch
from torch import nn

from effdl.blocks import plain_net
from effdl.data.digits import Split
from effdl.nets.mobilenet_v2 import small_mobilenet_v2
from effdl.quant.bit_choices import bit_operations, layer_sizes
from effdl.quant.edmips import MixedActivation, MixedWeight
from effdl.quant.edmips_search import (
    Mixed,
    complexity,
    likeliest,
    mixed_bits,
    mixtures_of,
    search_bits_,
)
from effdl.quant.graph import fold_batch_norm
from effdl.quant.insert import calibrate_, insert_quantizers, quantizers_of
from effdl.quant.observers import Extremes
from effdl.quant.set_bits import weight_rounding

IMAGES = torch.rand(4, 1, 16, 16)


def small():
    folded = fold_batch_norm(plain_net(2).eval())
    net = mixed_bits(folded, (2, 4, 8))
    calibrate_(net, [(IMAGES, None)])
    return net, layer_sizes(folded, IMAGES)


def test_the_complexity_is_the_sum_of_products_of_means():
    net, sizes = small()
    pairs = mixtures_of(net, sizes)
    bits, expected = torch.tensor([2.0, 4.0, 8.0]), 0.0
    for size, (w, a) in zip(sizes, pairs, strict=True):
        p, q = torch.randn(2, 3)
        w.logits.data, a.logits.data = p, q
        expected += size.macs * float(p.softmax(0) @ bits) * float(q.softmax(0) @ bits)
    assert complexity(net, sizes).item() == pytest.approx(expected, rel=1e-5)


def test_with_one_hot_mixtures_it_is_the_bit_operations_of_the_likeliest():
    net, sizes = small()
    for mixed in (m for m in net.modules() if isinstance(m, Mixed)):
        mixed.logits.data = torch.full((3,), -1e4)
        mixed.logits.data[torch.randint(3, ())] = 0
    weights, inputs = zip(*likeliest(net, sizes), strict=True)
    assert len(set(weights + inputs)) > 1
    assert complexity(net, sizes).item() == bit_operations(weights, inputs, sizes)


def test_its_gradient_is_the_closed_form():
    net, sizes = small()
    pairs = mixtures_of(net, sizes)
    w, a = pairs[2]
    w.logits.data, bits = torch.randn(3), torch.tensor([2.0, 4.0, 8.0])
    (found,) = torch.autograd.grad(complexity(net, sizes), w.logits)
    p = w.logits.detach().softmax(0)
    slope = sizes[2].macs * a.expected().item() * p * (bits - p @ bits)
    torch.testing.assert_close(found, slope)


def test_each_layer_is_paired_with_what_it_reads():
    net, sizes = small()
    reads = quantizers_of(net)
    pairs = mixtures_of(net, sizes)
    before = ["input", "0.2", "1.2", "2.2", "3.2", "5"]
    assert [a for _, a in pairs] == [reads[name] for name in before]
    for size, (w, _) in zip(sizes, pairs, strict=True):
        assert w is weight_rounding(net.get_submodule(size.name))


def test_shortcuts_do_not_confuse_the_pairing():
    folded = fold_batch_norm(small_mobilenet_v2().eval())
    net, sizes = mixed_bits(folded, (4, 8)), layer_sizes(folded, IMAGES)
    reads, pairs = quantizers_of(net), mixtures_of(net, sizes)
    assert len(pairs) == len(sizes)
    sums = {name for name in reads if name.startswith("add")}
    assert sums
    assert {id(reads[name]) for name in sums} <= {id(a) for _, a in pairs}


def test_the_likeliest_bits_of_a_weight_and_of_its_input_come_in_this_order():
    net, sizes = small()
    w, a = mixtures_of(net, sizes)[2]
    w.logits.data, a.logits.data = torch.tensor([[0.0, 0.1, 0.9], [0.2, 0.3, 0.1]])
    assert likeliest(net, sizes)[2] == (8, 4)
    assert likeliest(net, sizes)[1] == (2, 2)


def task():
    """Return a split whose first input decides, for which few bits are enough."""
    inputs = torch.randn(400, 2)
    return Split(inputs, (inputs[:, 0] > 0).long())


def searched(rate, epochs=4):
    split = task()
    folded = nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 2))
    net = mixed_bits(folded, (2, 4, 8))
    calibrate_(net, split.batches(100))
    sizes = layer_sizes(folded, split.inputs[:1])
    losses = search_bits_(net, split, sizes, rate=rate, epochs=epochs)
    return net, sizes, losses


def test_a_high_price_ends_at_the_fewest_bits_and_none_does_not():
    net, sizes, _ = searched(20.0)
    assert likeliest(net, sizes) == [(2, 2), (2, 2)]
    free, sizes, _ = searched(0.0)
    assert complexity(free, sizes).item() > 1.5 * complexity(net, sizes).item()


def test_the_loss_holds_the_price_as_a_share_of_most_bits_everywhere():
    """All bits equally likely: mean 14/3 of 8 in both, so a share of (14/24)^2."""
    split = task()
    folded = nn.Sequential(nn.Linear(2, 2))
    seen = []
    for rate in (0.0, 10.0):
        net = mixed_bits(folded, (2, 4, 8))
        calibrate_(net, split.batches(400))
        sizes = layer_sizes(folded, split.inputs[:1])
        rates = {"learning_rate": 1e-9, "bits_learning_rate": 1e-9}
        seen += search_bits_(net, split, sizes, rate=rate, epochs=1, **rates)
    assert seen[1] - seen[0] == pytest.approx(10 * (14 / 24) ** 2, rel=1e-4)


def test_weights_and_bits_learn_with_rates_of_their_own():
    split = task()
    folded = nn.Sequential(nn.Linear(2, 2))
    sizes = layer_sizes(folded, split.inputs[:1])
    for frozen in ("learning_rate", "bits_learning_rate"):
        net = mixed_bits(folded, (2, 8))
        calibrate_(net, split.batches(400))
        search_bits_(net, split, sizes, rate=1.0, epochs=1, **{frozen: 1e-12})
        [(w, _)] = mixtures_of(net, sizes)
        moved = net.get_submodule("0").parametrizations.weight.original
        still = torch.allclose(moved, folded[0].weight, atol=1e-9)
        assert still == (frozen == "learning_rate")
        assert torch.allclose(w.logits, torch.zeros(2), atol=1e-9) != still


def test_bad_input_is_refused():
    net, sizes = small()
    split = Split(IMAGES, torch.arange(4))
    with pytest.raises(ValueError, match="rate must be 0 or larger, got nan"):
        search_bits_(net, split, sizes, rate=float("nan"))
    folded = fold_batch_norm(plain_net(2).eval())
    with pytest.raises(ValueError, match="must have a MixedWeight and read a Mixed"):
        mixtures_of(folded, sizes)
    for kinds in ((None, MixedActivation(Extremes(), [2])), (MixedWeight([2]), None)):
        half = insert_quantizers(
            nn.Sequential(nn.Linear(2, 2)),
            weight=lambda name, w, kinds=kinds: kinds[0],
            activation=lambda name, kinds=kinds: kinds[1],
        )
        with pytest.raises(ValueError, match="must have a MixedWeight and read a Mix"):
            mixtures_of(half, layer_sizes(half, torch.zeros(1, 2)))
