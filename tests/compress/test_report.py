"""Accuracy, multiply-adds and bytes: counted by hand and by others."""

import pytest
import torch
from torch import nn

from effdl.blocks import conv_bn, mean_linear, plain_net
from effdl.compress.channels import remove_channels
from effdl.compress.report import Report, bytes_of, macs_of, report
from effdl.compress.rounding import deployed, rounded
from effdl.data.digits import Split
from effdl.measure.macs import torch_flops
from effdl.quant.integer_net import stored_bytes, to_integers

IMAGES = torch.rand(20, 1, 16, 16)


def counted(width, bits):
    """Bytes of plain_net(width) that rounds, as in the module's text."""
    outputs = [width, width, 2 * width, 2 * width, 4 * width, 10]
    inputs = [1, *outputs[:-1]]
    total = 5  # the mean
    for number, (n, c) in enumerate(zip(outputs, inputs, strict=True)):
        weights = n * c * (9 if number < 5 else 1)
        total += -(-weights * bits // 8) + n * (4 + 5)
    return total


@pytest.mark.parametrize(("width", "bits"), [(2, 4), (3, 3), (4, 2), (4, 8)])
def test_bytes_of_a_rounding_network_are_as_counted(width, bits):
    small = rounded(plain_net(width), bits, IMAGES)
    assert bytes_of(small) == counted(width, bits)


def test_bytes_in_float_are_four_for_each_weight_and_bias():
    weights = 9 * (3 + 9 + 18 + 36 + 72) + 120
    assert bytes_of(plain_net(3)) == 4 * (weights + 3 + 3 + 6 + 6 + 12 + 10)


def test_with_eight_bits_nothing_has_to_be_packed():
    small = rounded(plain_net(2), 8, IMAGES)
    assert bytes_of(small) == stored_bytes(to_integers(deployed(small)))


def test_by_hand():
    """A linear layer of 5 and 2: 4 (10 + 2) bytes; 3 bits: 4 for 30 bits, and 18."""
    net = nn.Sequential(nn.Linear(5, 2))
    assert bytes_of(net) == 48
    assert bytes_of(rounded(net, 3, torch.rand(9, 5))) == 4 + 2 * 9
    assert macs_of(net, torch.zeros(1, 5)) == 10


def test_multiply_adds_are_half_of_what_torch_counts_rounding_or_not():
    net = plain_net(3).eval()
    expected = torch_flops(net, IMAGES[:1]) // 2
    assert macs_of(net, IMAGES[:1]) == expected
    assert macs_of(rounded(net, 2, IMAGES), IMAGES[:1]) == expected


def test_removing_channels_saves_both_and_rounding_saves_bytes_only():
    net = plain_net(4).eval()
    smaller, coarse = remove_channels(net, 0.5), rounded(net, 4, IMAGES)
    whole, cut, few = (
        (macs_of(m, IMAGES[:1]), bytes_of(m)) for m in (net, smaller, coarse)
    )
    assert cut[0] < whole[0] / 3 and cut[1] < whole[1] / 3
    assert few[0] == whole[0] and few[1] < whole[1] / 3


def test_a_report_is_all_three_of_the_network_as_it_rounds():
    net = nn.Sequential(conv_bn(1, 2, 3), *mean_linear(2, 10)).eval()
    for model in (net, rounded(net, 2, IMAGES).eval()):
        labels = model(IMAGES).argmax(1)
        labels[:5] = (labels[:5] + 1) % 10
        found = report(model, Split(IMAGES, labels))
        assert found == Report(0.75, macs_of(net, IMAGES[:1]), bytes_of(model))


def test_the_accuracy_is_that_of_the_rounded_weights():
    """Logits 1.1 and 1.3 of an input of ones; in 2 bits 1.0 and 0.9."""
    net = nn.Sequential(nn.Linear(2, 2, bias=False))
    net[0].weight.data = torch.tensor([[1.0, 0.1], [0.9, 0.4]])
    split = Split(torch.ones(4, 2), torch.zeros(4, dtype=torch.int64))
    assert report(net, split).accuracy == 0
    assert report(rounded(net, 2, split.inputs), split).accuracy == 1


def test_the_network_stays_as_it_is():
    small = rounded(plain_net(2), 4, IMAGES).train()
    before = {name: tensor.clone() for name, tensor in small.state_dict().items()}
    report(small, Split(IMAGES, torch.zeros(20, dtype=torch.int64)))
    assert small.training
    assert all(torch.equal(small.state_dict()[k], v) for k, v in before.items())


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="the split is empty"):
        report(plain_net(2), Split(IMAGES[:0], torch.zeros(0)))
