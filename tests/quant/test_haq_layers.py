"""Ten numbers of a layer."""

import pytest
import torch
from torch import nn

from effdl.blocks import plain_net
from effdl.nets.mobilenet_v2 import small_mobilenet_v2
from effdl.quant.graph import fold_batch_norm
from effdl.quant.haq_layers import layer_rows


def test_by_hand():
    """Number, c_in, c_out, kernel, stride, pixels, weights, depthwise, weight, before.

    Convolution: 0, 2, 4, 3, 2, 49, 72. Depthwise: 1, 4, 4, 1, 1, 9, 4. Linear: 2, 36,
    2, 1, 0, 1, 72. Stretched: pixels (49, 9, 1) are (1, 8/48, 0), and so on.
    """
    net = nn.Sequential(
        nn.Conv2d(2, 4, 3, stride=2),
        nn.Conv2d(4, 4, 1, groups=4),
        nn.Flatten(),
        nn.Linear(36, 2),
    )
    names, rows = layer_rows(net, torch.zeros(1, 2, 7, 7))
    assert names == ["0", "1", "3"]
    columns = [
        [0, 0.5, 1],
        [0, 2 / 34, 1],
        [1, 1, 0],
        [1, 0, 0],
        [1, 0.5, 0],
        [1, 8 / 48, 0],
        [1, 0, 1],
        [0, 1, 0],
        [0, 0, 0],
        [0, 0, 0],
    ]
    torch.testing.assert_close(rows, torch.tensor(columns).T.float())


def test_inputs_have_a_second_row_that_differs_in_one_number():
    net = fold_batch_norm(plain_net(4).eval())
    names, rows = layer_rows(net, torch.zeros(1, 1, 16, 16), inputs=True)
    assert rows.shape == (12, 10)
    assert names[::2] == names[1::2]
    difference = rows[::2] - rows[1::2]
    assert difference[:, 8].tolist() == [1.0] * 6
    assert difference.abs().sum() == 6
    alone = layer_rows(net, torch.zeros(1, 1, 16, 16))[1]
    assert torch.equal(alone[:, :8], rows[::2, :8])


def test_depthwise_layers_are_marked_and_all_numbers_are_0_to_1():
    net = fold_batch_norm(small_mobilenet_v2().eval())
    names, rows = layer_rows(net, torch.zeros(2, 1, 16, 16))
    layers = dict(net.named_modules())
    marked = [getattr(layers[n], "groups", 1) > 1 for n in names]
    assert any(marked)
    assert rows[:, 7].tolist() == [float(m) for m in marked]
    assert rows.min() == 0
    assert rows.max() == 1
    assert rows[:, 9].count_nonzero() == 0


def test_it_leaves_no_trace():
    net = nn.Sequential(nn.Linear(4, 2), nn.Dropout(0.5)).train()
    layer_rows(net, torch.zeros(3, 4))
    assert net.training
    assert not net[0]._forward_pre_hooks
    with pytest.raises(RuntimeError):
        layer_rows(net, torch.zeros(3, 5))
    assert not net[0]._forward_pre_hooks
