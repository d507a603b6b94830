"""TBN: bit planes against integer products, thresholds for each input, gradients."""

from itertools import product

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from effdl.blocks import plain_net
from effdl.quant.binarize import sign
from effdl.quant.graph import fold_batch_norm
from effdl.quant.insert import insert_quantizers
from effdl.quant.packed_signs import multiply_signs, pack_signs
from effdl.quant.tbn import (
    TernaryInput,
    ternary_binary_product,
    ternary_planes,
)
from effdl.quant.xnor_net import ScaledSigns


def by_planes(t, b):
    return ternary_binary_product(ternary_planes(t), pack_signs(b))


@pytest.mark.parametrize("n", [1, 2, 4, 6])
def test_every_ternary_row_times_every_binary_row(n):
    t = torch.tensor(list(product((-1, 0, 1), repeat=n)))
    b = torch.tensor(list(product((-1, 1), repeat=n)))
    assert torch.equal(by_planes(t, b), t @ b.T)


@pytest.mark.parametrize("n", [7, 63, 64, 65, 576])
def test_long_rows_over_several_words(n):
    t, b = torch.randint(-1, 2, (5, n)), 2 * torch.randint(0, 2, (3, n)) - 1
    assert torch.equal(by_planes(t, b), t @ b.T)


def test_by_hand():
    """Let t = + 0 - -, b = + + + -: 1 + 0 - 1 + 1 = 1; m counts 3, 1 differs."""
    t, b = torch.tensor([[1, 0, -1, -1]]), torch.tensor([[1, 1, 1, -1]])
    planes = ternary_planes(t)
    assert planes.nonzero.tolist() == [[0b1101]]
    assert planes.positive.tolist() == [[0b0001]]
    assert pack_signs(b).words.tolist() == [[0b0111]]
    assert by_planes(t, b).tolist() == [[1]]


def test_without_zeros_it_is_the_product_of_xnor_net():
    x = torch.randn(4, 50)
    codes = TernaryInput(0.0)(x)
    assert torch.equal(codes, sign(x))
    b = sign(torch.randn(3, 50))
    binary = multiply_signs(pack_signs(codes), pack_signs(b))
    assert torch.equal(by_planes(codes, b), binary.long())


def test_a_convolution_with_zero_padding_by_planes():
    x, conv = torch.randn(2, 5, 6, 6), nn.Conv2d(5, 4, 3, padding=1, bias=False)
    weight = ScaledSigns()(conv.weight)
    expected = F.conv2d(TernaryInput()(x), weight, padding=1)
    patches = F.unfold(TernaryInput()(x), 3, padding=1).transpose(1, 2)  # (2, 36, 45)
    counted = by_planes(patches.reshape(72, 45), sign(weight).flatten(1))
    alpha = conv.weight.detach().abs().mean(dim=(1, 2, 3))
    image = (counted * alpha).view(2, 36, 4).transpose(1, 2).reshape(2, 4, 6, 6)
    torch.testing.assert_close(image, expected)


def test_each_input_has_a_threshold_of_its_own():
    x = torch.randn(3, 2, 4, 4) * torch.tensor([0.1, 1.0, 9.0]).view(3, 1, 1, 1)
    codes = TernaryInput()(x)
    for image, code in zip(x, codes, strict=True):
        limit = 0.4 * image.abs().mean()
        expected = (image > limit).float() - (image < -limit).float()
        assert torch.equal(code, expected)
        assert torch.equal(TernaryInput()(image[None])[0], expected)


def test_the_gradient_is_clipped():
    x = torch.tensor([[0.2, -0.9, 1.5, -1.0]], requires_grad=True)
    TernaryInput()(x).sum().backward()
    assert x.grad.tolist() == [[1, 1, 0, 1]]


def test_it_goes_where_quantizers_go():
    quantized = insert_quantizers(
        fold_batch_norm(plain_net(4).eval()),
        weight=lambda name, w: ScaledSigns() if name == "2.0" else None,
        activation=lambda name: TernaryInput() if name == "1.2" else None,
    )
    assert [len(row.unique()) for row in quantized.get_submodule("2.0").weight] == [
        2
    ] * 8
    quantized(torch.randn(2, 1, 16, 16)).sum().backward()
    original = quantized.get_submodule("2.0").parametrizations.weight.original
    assert original.grad.count_nonzero() > 0


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="codes must be -1, 0 and"):
        ternary_planes(torch.tensor([[0.5]]))
    with pytest.raises(ValueError, match="weights must have 65 signs a row, got 64"):
        by_planes(torch.ones(1, 65), torch.ones(1, 64))
    with pytest.raises(ValueError, match="rows holds 1 NaN"):
        TernaryInput()(torch.tensor([[float("nan")]]))
    with pytest.raises(ValueError, match="factor must be 0 or more"):
        TernaryInput(-1.0)(torch.ones(1, 2))
