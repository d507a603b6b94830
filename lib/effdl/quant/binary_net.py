"""BinaryNet: one bit for weights and hidden activations; inference by counting bits.

Paper: Courbariaux et al., "Binarized Neural Networks: Training Deep Neural Networks
with Weights and Activations Constrained to +1 or -1", 2016,
https://arxiv.org/abs/1602.02830; with Hubara as first author at NeurIPS 2016.

    training     a -> sign(a), backward g [|a| <= 1]; weights as in BinaryConnect
    inference    sums y of signs by XNOR and counting, then a threshold for each channel

Batch norm and the sign behind it only ask on which side of a threshold a sum lies:

    sign(gamma (y - mean) / s + beta) = +1     s = sqrt(variance + eps)
        if gamma > 0 and y >= t                t = mean - beta s / gamma
        if gamma < 0 and y <= t
        if gamma = 0 and beta >= 0

Sums are whole numbers, so t is rounded up, or down where gamma < 0: one integer and one
bit in place of four floats.

Not everything is a sign. The network's inputs are pixels of 8 bits, a sum of eight
planes of bits; the last layer here has float weights and puts out floats.

    net = binary_mlp()
    fit(net, ..., SGD(rate_groups(net, ...)), after_step=lambda: clip_weights_(net))
    packed = pack_net(net.eval())

What differs: the authors' nets have a one-bit last layer with batch norm, and may use a
batch norm of shifts. Dropout is left out.

Before trusting it: thresholds are those of exact arithmetic. Where a batch norm in
float32 puts out 0 up to rounding, its sign may be the other one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from effdl.checks import check_positive
from effdl.quant.binary_connect import binarize_weights_
from effdl.quant.packed_signs import (
    PackedSigns,
    multiply_pixels,
    multiply_signs,
    pack_signs,
)
from effdl.quant.straight_signs import clipped_sign

NEVER = 2**62  # a sum that no layer reaches


class SignActivation(nn.Module):
    """The sign, +1 at 0, with the clipped straight-through gradient.

    Example:
        >>> SignActivation()(torch.tensor([0.0, -0.1]))
        tensor([ 1., -1.])
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return signs, of the shape of ``x``."""
        return clipped_sign(x)


@dataclass(frozen=True)
class Thresholds:
    """What is left of batch norm and sign, for each channel.

    Attributes:
        at: Whole numbers, int64, (channels,).
        turned: Whether sums up to ``at`` are +1 rather than those from ``at`` on, bool.
    """

    at: Tensor
    turned: Tensor

    def signs(self, sums: Tensor) -> Tensor:
        """Return +1 and -1, int8, of the shape of the sums (N, channels), integers."""
        plus = torch.where(self.turned, sums <= self.at, sums >= self.at)
        return plus.to(torch.int8) * 2 - 1


@dataclass(frozen=True)
class PackedNet:
    """A trained network whose hidden layers count bits.

    Attributes:
        weights: Of each binary layer.
        thresholds: Behind each of them.
        last: The layer in floats.
    """

    weights: list[PackedSigns]
    thresholds: list[Thresholds]
    last: nn.Linear

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """Return the logits (N, classes) of images (N, ...) of whole 0 to 255."""
        sums = multiply_pixels(images.flatten(1), self.weights[0])
        signs = self.thresholds[0].signs(sums)
        for weight, threshold in zip(
            self.weights[1:], self.thresholds[1:], strict=True
        ):
            signs = threshold.signs(multiply_signs(pack_signs(signs), weight))
        logits: Tensor = self.last(signs.to(self.last.weight.dtype))
        return logits


def binary_mlp(widths: Sequence[int] = (256, 200, 100, 10)) -> nn.Sequential:
    """Return :func:`effdl.blocks.plain_mlp` with batch norm, and signs where it can.

    Its inputs are meant to be whole numbers from 0 to 255, as floats.

    Args:
        widths: Inputs, the outputs of every hidden layer, and logits; at least three.

    Raises:
        ValueError: If there are fewer than three, or one is below 1.

    Example:
        >>> net = binary_mlp((256, 64, 10))
        >>> [type(layer).__name__ for layer in net[2:]]
        ['BatchNorm1d', 'SignActivation', 'Linear']
        >>> net(torch.full((2, 1, 16, 16), 255.0)).shape
        torch.Size([2, 10])
    """
    if len(widths) < 3:
        raise ValueError(f"widths must have a hidden layer, got {widths}; add one")
    check_positive(**{f"widths[{i}]": width for i, width in enumerate(widths)})
    layers: list[nn.Module] = [nn.Flatten()]
    for inputs, outputs in pairwise(widths[:-1]):
        linear = nn.Linear(inputs, outputs, bias=False)
        binarize_weights_(linear, ["weight"])
        layers += [linear, nn.BatchNorm1d(outputs), SignActivation()]
    return nn.Sequential(*layers, nn.Linear(widths[-2], widths[-1]))


def fold_into_thresholds(norm: nn.BatchNorm1d) -> Thresholds:
    """Return what tells the sign of a batch norm's output, for sums that are whole.

    Args:
        norm: As it is in eval mode.

    Raises:
        ValueError: If it has no running statistics or no gamma and beta.

    Example:
        >>> norm = nn.BatchNorm1d(1, eps=0)
        >>> _ = norm.running_mean.fill_(2.5), norm.running_var.fill_(4.0)
        >>> fold_into_thresholds(norm).signs(torch.tensor([[2], [3]])).tolist()
        [[-1], [1]]
    """
    if norm.running_mean is None or norm.running_var is None or not norm.affine:
        raise ValueError(f"norm must have running statistics and gamma, got {norm}")
    gamma, beta = norm.weight.detach().double(), norm.bias.detach().double()
    deviation = (norm.running_var.double() + norm.eps).sqrt()
    t = norm.running_mean.double() - beta * deviation / gamma
    t = torch.where(gamma == 0, torch.where(beta >= 0, -NEVER, NEVER), t)
    turned = gamma < 0
    at = torch.where(turned, t.floor(), t.ceil()).clamp(-NEVER, NEVER)
    return Thresholds(at.long(), turned)


def pack_net(net: nn.Sequential) -> PackedNet:
    """Return a network that computes the same by counting bits.

    Args:
        net: What :func:`binary_mlp` returned, trained and in eval mode.

    Raises:
        ValueError: If it is in training mode, or a layer or a bias is none of those.

    Example:
        >>> net = binary_mlp((4, 8, 2)).eval()
        >>> images = torch.tensor([[0.0, 7.0, 255.0, 31.0]])
        >>> torch.equal(pack_net(net)(images), net(images))
        True
    """
    if net.training:
        raise ValueError("net is in training mode; call net.eval() before packing")
    layers = list(net)
    repeated = (nn.Linear, nn.BatchNorm1d, SignActivation)
    count = (len(layers) - 2) // 3
    wanted = (nn.Flatten, *repeated * count, nn.Linear)
    fits = len(layers) == len(wanted) > 2
    if not fits or not all(map(isinstance, layers, wanted)):
        found = ", ".join(type(layer).__name__ for layer in layers)
        raise ValueError(f"net must be as binary_mlp makes it, got {found}")
    *linears, last = [layer for layer in layers if isinstance(layer, nn.Linear)]
    if any(linear.bias is not None for linear in linears):
        raise ValueError("net has a bias in a hidden layer; make it with binary_mlp")
    norms = [layer for layer in layers if isinstance(layer, nn.BatchNorm1d)]
    return PackedNet(
        [pack_signs(linear.weight) for linear in linears],
        [fold_into_thresholds(norm) for norm in norms],
        last,
    )
