"""Stacked cells: who has which weights; the arithmetic is held in test_together."""

import torch
import torch.nn.functional as F

from effdl.nas.cell_net import small_cell_net
from effdl.nas.cell_space import Cell
from effdl.nas.stacked_nets import StackedNets, average_pool
from effdl.seed import seeded

CELLS = [
    Cell(("nor_conv_3x3",) * 6),
    Cell(("skip_connect",) * 5 + ("nor_conv_1x1",)),
    Cell(("none", "nor_conv_1x1", "nor_conv_3x3", "skip_connect", "none", "none")),
    Cell(("avg_pool_3x3",) * 6),
]


def logits_alone(images: torch.Tensor) -> torch.Tensor:
    outputs = []
    for cell, own in zip(CELLS, images, strict=True):
        with seeded(5):
            net = small_cell_net(cell)
        outputs.append(net(own[:, None]))
    return torch.stack(outputs)


def test_all_kinds_of_cells_together_in_training_mode():
    images = torch.randn(len(CELLS), 7, 12, 12)
    nets = StackedNets(CELLS, [5] * len(CELLS))
    torch.testing.assert_close(nets(images), logits_alone(images))


def test_only_what_a_cell_has_is_stacked():
    """Dead convolutions, those of the third cell, are left out."""
    nets = StackedNets(CELLS, [5] * len(CELLS))
    live = {
        name: layer.conv.weight.shape[0] for name, layer in nets.first.layers.items()
    }
    assert live == {f"{edge}_nor_conv_3x3": 1 for edge in range(6)} | {
        "5_nor_conv_1x1": 1
    }


def test_the_loss_of_one_network_moves_only_its_weights():
    nets = StackedNets(CELLS, [5] * len(CELLS))
    nets(torch.randn(len(CELLS), 7, 12, 12))[1].square().sum().backward()
    assert nets.stem.weight.grad[1].abs().sum() > 0
    assert nets.stem.weight.grad[[0, 2, 3]].abs().sum() == 0
    assert nets.first.layers["0_nor_conv_3x3"].conv.weight.grad.abs().sum() == 0
    assert nets.second.layers["5_nor_conv_1x1"].conv.weight.grad.abs().sum() > 0


def test_pooling_leaves_out_what_is_outside():
    x = torch.randn(2, 3, 5, 4, 6, dtype=torch.float64, requires_grad=True)
    maps = x.flatten(0, 1).permute(0, 3, 1, 2).contiguous()
    alone = F.avg_pool2d(maps, 3, 1, 1, count_include_pad=False).permute(0, 2, 3, 1)
    seen = torch.randn_like(x)
    expected = torch.autograd.grad((alone.reshape_as(x) * seen).sum(), x)
    torch.testing.assert_close(average_pool(x), alone.reshape_as(x))
    torch.testing.assert_close(
        torch.autograd.grad((average_pool(x) * seen).sum(), x), expected
    )


def test_pooling_has_the_right_gradient():
    x = torch.randn(1, 1, 3, 2, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(average_pool, (x,))
