"""Supernet: one network that owns every candidate of a block space, and runs one path.

Paper: Guo et al., "Single Path One-Shot Neural Architecture Search with Uniform
Sampling", ECCV 2020, https://arxiv.org/abs/1904.00420, sections 3.1 and 3.2.

    y = head(block_L[a_L](... block_1[a_1](stem(x))))        choices a_1 to a_L

All networks of the space share these blocks, so that one training of the supernet,
with other choices in every step, trains all of them a little. A step costs what one of
them costs, and leaves the gradients of all other blocks at None.

A network that is taken out has weights that were trained together with many others.
Its accuracy is not that of the same network trained alone, and the order of two such
accuracies may be wrong. Batch norms, too, saw the outputs of other paths: measure
their statistics again before you trust an accuracy. (The paper does.)
"""

import copy
from collections.abc import Sequence
from typing import cast

from torch import Tensor, nn

from effdl.nas.block_space import BlockSpace


class SuperNet(nn.Module):
    """Every candidate of every layer, between a stem and a head; one path runs.

    Args:
        stem: From images (N, c, H, W) to the input of the first layer.
        space: Whose candidates are made, once each.
        head: From the output of the last layer to logits (N, classes).

    Example:
        >>> import torch
        >>> space = BlockSpace(({"relu": nn.ReLU, "skip": nn.Identity},) * 2)
        >>> net = SuperNet(nn.Conv2d(1, 4, 3), space, nn.Flatten())
        >>> net(torch.zeros(2, 1, 5, 5), (1, 0)).shape
        torch.Size([2, 36])
    """

    def __init__(self, stem: nn.Module, space: BlockSpace, head: nn.Module) -> None:
        super().__init__()
        self.space = space
        self.stem = stem
        self.layers = nn.ModuleList(
            nn.ModuleList(make() for make in layer.values()) for layer in space.layers
        )
        self.head = head

    def forward(self, x: Tensor, choices: Sequence[int]) -> Tensor:
        """Return logits (N, classes) of one architecture; no other block runs.

        Args:
            x: Images, (N, c, H, W).
            choices: One number a layer, or ``ValueError``.
        """
        y = self.stem(x)
        for block in self.blocks(choices):
            y = block(y)
        return self.head(y)

    def blocks(self, choices: Sequence[int]) -> list[nn.Module]:
        """Return the chosen block of each layer itself, not a copy.

        Args:
            choices: One number a layer, or ``ValueError``.
        """
        checked = self.space.check(choices)
        return [self.candidates(layer)[choice] for layer, choice in enumerate(checked)]

    def candidates(self, layer: int) -> list[nn.Module]:
        """Return all blocks of one layer, in the order of the space.

        Args:
            layer: Its number, from 0.
        """
        return list(cast("nn.ModuleList", self.layers[layer]))

    def path(self, choices: Sequence[int]) -> nn.Sequential:
        """Return one architecture as a network of its own, with a copy of the weights.

        Args:
            choices: One number a layer, or ``ValueError``.
        """
        chain = nn.Sequential(self.stem, *self.blocks(choices), self.head)
        return copy.deepcopy(chain)
