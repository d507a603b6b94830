"""Prune, distil, quantize: three steps that can be done one after the other.

Paper: Zhou and Shen, "Prune-Quantize-Distill: An Ordered Pipeline for Efficient Neural
Network Compression", 2026, https://arxiv.org/abs/2604.04988, who compare orders.

Each step is a function from network to network, and each trains for the same time:

    pruned      a share of the channels of every layer goes, the smallest filters;
                then training on the labels
    distilled   nothing is removed; training on a teacher's answers and the labels
    quantized   weights of few bits, activations of 8; training on the labels, rounded

So all orders of the three spend equal time and end with the same shapes and bits.

**Once quantized, a network rounds for good.** Distilling it trains it with rounding.
Pruning it takes the quantizers off, removes channels by the weights behind them, and
puts quantizers of the same bits on again before training. Its batch norms learn all
the while, and are folded only when it is deployed.

**Only** ``distilled`` **knows the teacher.** A step that follows trains on the labels
alone, and may lose again what was learned.

What differs: Zhou and Shen remove single weights; their steps differ in length.

Before trusting an order: another share of channels, other bits or epochs may have
another one. Beside it stands :mod:`effdl.compress.at_once`, which has none.
"""

import copy
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from typing import cast

import torch.nn.functional as F
from torch import Tensor, fx, nn

from effdl.compress.channels import remove_channels
from effdl.compress.rounding import rounded, unwrapped, weight_bits_of
from effdl.data.digits import Split
from effdl.distill.kd import kd_loss
from effdl.distill.recipe import Loss, Recipe, train_student
from effdl.distill.teacher import numbered
from effdl.quant.moving_ranges import moving_ranges

Step = Callable[[nn.Module], nn.Module]
CALIBRATION = 500  # inputs that decide on the first ranges
FOUR_EPOCHS = Recipe(epochs=4, learning_rate=0.03)


def in_order(network: nn.Module, steps: Iterable[Step]) -> list[nn.Module]:
    """Return a network and what it was after each step, the network itself first.

    Args:
        network: Where to begin.
        steps: Such as :func:`pruned`, its other arguments given by a ``partial``.

    Example:
        >>> net = nn.Linear(2, 2)
        >>> found = in_order(net, [lambda n: nn.Sequential(n, nn.ReLU())] * 2)
        >>> found[0] is net, [len(list(n.modules())) for n in found]
        (True, [1, 3, 5])
    """
    networks = [network]
    for step in steps:
        networks.append(step(networks[-1]))
    return networks


def pruned(
    network: nn.Module, split: Split, recipe: Recipe = FOUR_EPOCHS, *, keep: float
) -> nn.Module:
    """Return a network with fewer channels, trained on the labels.

    Args:
        network: A chain; in floats, or from :func:`quantized`. It is left as it is.
        split: To train on.
        recipe: How long and how fast.
        keep: Share of channels that stays in every layer but the last, or
            ``ValueError``.

    Example:
        >>> import torch
        >>> from effdl.blocks import plain_net
        >>> split = Split(torch.rand(50, 1, 16, 16), torch.arange(50) % 10)
        >>> small = pruned(plain_net(4), split, Recipe(epochs=1), keep=0.5)
        >>> small[0][0].out_channels
        2
    """
    smaller = without_channels(network, keep, split.inputs)
    return _trained(smaller, split, _by_labels(smaller), recipe)


def distilled(
    network: nn.Module,
    split: Split,
    recipe: Recipe = FOUR_EPOCHS,
    *,
    taught: Tensor,
    temperature: float = 4.0,
    alpha: float = 0.9,
) -> nn.Module:
    """Return the network after training on a teacher's answers and the labels.

    Args:
        network: In floats, or from :func:`quantized`. It is left as it is.
        split: To train on.
        recipe: How long and how fast.
        taught: The teacher's logits for every input of the split, (N, C), such as from
            :func:`effdl.distill.teacher.answers`; ``ValueError`` if classes differ.
        temperature: T, above 0.
        alpha: The teacher's share, 0 to 1.

    Raises:
        ValueError: If there is not one answer for each input.

    Example:
        >>> import torch
        >>> split = Split(torch.eye(2).repeat(50, 1), torch.arange(2).repeat(50))
        >>> net = nn.Linear(2, 2)
        >>> recipe = Recipe(epochs=50, learning_rate=0.5)
        >>> better = distilled(net, split, recipe, taught=8 * split.inputs)
        >>> better is net, better(torch.eye(2)).argmax(1).tolist()
        (False, [0, 1])
    """
    if len(taught) != len(split):
        raise ValueError(
            f"taught must have {len(split)} answers, one per input, got {len(taught)}"
        )
    copied = copy.deepcopy(network)

    def loss_of(inputs: Tensor, which: Tensor) -> Tensor:
        return kd_loss(
            copied(inputs),
            taught[which],
            split.targets[which],
            temperature=temperature,
            alpha=alpha,
        )

    return _trained(copied, numbered(split), loss_of, recipe)


def quantized(
    network: nn.Module, split: Split, recipe: Recipe = FOUR_EPOCHS, *, bits: int
) -> nn.Module:
    """Return the network with rounded weights and activations, trained on the labels.

    Args:
        network: In floats, or ``ValueError``. It is left as it is.
        split: To train on; its first inputs decide on the first ranges.
        recipe: How long and how fast.
        bits: Of all weights, 2 to 16, or ``ValueError``; activations have 8.

    Example:
        >>> import torch
        >>> from effdl.blocks import plain_net
        >>> split = Split(torch.rand(50, 1, 16, 16), torch.arange(50) % 10)
        >>> weight_bits_of(quantized(plain_net(2), split, Recipe(epochs=1), bits=4))
        4
    """
    rounding = rounded(network, bits, split.inputs[:CALIBRATION])
    return _trained(rounding, split, _by_labels(rounding), recipe)


def without_channels(network: nn.Module, keep: float, images: Tensor) -> nn.Module:
    """Return a network with fewer channels, untrained; a rounding one rounds again.

    Args:
        network: As in :func:`pruned`.
        keep: Share of channels that stays, or ``ValueError``.
        images: The first of them decide on the first ranges, if it rounds.

    Example:
        >>> import torch
        >>> net = rounded(nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2)), 4,
        ...               torch.rand(9, 3))
        >>> small = without_channels(net, 0.5, torch.rand(9, 3))
        >>> weight_bits_of(small), small.get_submodule("0").weight.shape
        (4, torch.Size([2, 3]))
    """
    bits = weight_bits_of(network)
    if bits is None:
        return remove_channels(network, keep)
    smaller = remove_channels(unwrapped(network), keep)
    return rounded(smaller, bits, images[:CALIBRATION])


def _trained(
    network: nn.Module, split: Split, loss_of: Loss, recipe: Recipe
) -> nn.Module:
    """Return the network in eval mode; ranges of activations move while it trains."""
    graph = isinstance(network, fx.GraphModule)
    ranges = moving_ranges(cast(fx.GraphModule, network)) if graph else nullcontext()
    with ranges as after_step:
        train_student(network, split, loss_of, recipe, after_step=after_step)
    return network.eval()


def _by_labels(network: nn.Module) -> Loss:
    return lambda inputs, labels: F.cross_entropy(network(inputs), labels)
