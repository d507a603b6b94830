"""Zen-score: how strongly a network of random weights reacts to a small change.

Paper: Lin et al., "Zen-NAS: A Zero-Shot NAS for High-Performance Deep Image
Recognition", ICCV 2021, https://arxiv.org/abs/2102.01063.

No data, no gradient. All weights are drawn from N(0, 1), a batch of noise images x and
a second one, e, too. f is the network up to its global pooling:

    D = mean over images of sum over c, h, w of |f(x) - f(x + 0.01 e)|
    S = log D + sum over batch norms of log sqrt(mean over channels of s^2)

s^2 are the variances by which a batch norm divides. Without batch norm a network of
large gradients would have a large D; but it would overflow. Batch norm keeps f at one
scale and hides how much each layer amplifies; the sum puts that back. Multiply the
weights of a convolution before a batch norm by a: f stays, and S grows by log a, as it
would without batch norm. The mean over several draws is reported: 32 by default, as in
the authors' program; their search makes do with one. Higher is better.

Which s^2? The paper: those of the batch (``momentum=1``, the default). The authors'
code reads ``running_var`` at PyTorch's momentum of 0.1: after two passes from 1 this is
0.81 + 0.19 s^2, and later draws go on from there. The public scores of NAS-Bench-201
are of that kind, one draw: ``zen_score(..., momentum=0.1, repeats=1)``. They also count
batch norms behind convolutions that nothing reads, which do not run here.

Residual links: the authors' search builds every candidate a second time *without* its
residual links, and scores that. This function scores the module that it is given. In
NAS-Bench-201 a link is an operation, and the public scores keep it. Branches side by
side all add their log s, though amplification multiplies only along a path.

Before trusting S: it grows with depth and width, since every batch norm adds a term of
about half the logarithm of what the convolution before it sums up (k^2 c products).
Links and pooling have no term of their own.
"""

import copy
import math

import torch
from torch import Tensor, nn

from effdl.checks import check_positive
from effdl.seed import seeded

WEIGHTED = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)
NORMS = (nn.BatchNorm2d, nn.GroupNorm)


def zen_score(
    features: nn.Module,
    size: tuple[int, int, int],
    *,
    repeats: int = 32,
    batch_size: int = 16,
    momentum: float = 1.0,
    seed: int = 0,
) -> float:
    """Return S, from two forward passes for every draw; no data.

    Works on a copy, in training mode, and restores the random state. Parameters other
    than those of convolutions, linear layers, batch and group norm stay as they are.

    Args:
        features: The network up to its global pooling, as one module: of a
            :class:`~effdl.nas.cell_net.CellNet`, for instance,
            ``nn.Sequential(net.features, net.last, nn.ReLU())``. Its batch norms are
            those that count. Maps (N, C, H, W) to feature maps (N, c, h, w).
        size: Of one image, (C, H, W).
        repeats: Draws of weights and noise.
        batch_size: Images N.
        momentum: With how much of a batch's variance a batch norm replaces what it
            had before, 1 at first; in (0, 1].
        seed: Of weights and noise. Give every candidate the same.

    Returns:
        S, or -infinity if the features do not depend on the image.

    Raises:
        ValueError: If ``momentum`` is outside of (0, 1], ``size`` is not (C, H, W), or
            a number is below 1; or the features are not maps or overflow, or a batch
            norm keeps no variance.

    Example:
        >>> round(zen_score(nn.Identity(), (3, 8, 8)), 2)  # log(0.01 * 192 * 0.798)
        0.43
    """
    if len(size) != 3:
        raise ValueError(f"size must be (C, H, W), got {size}")
    channels, height, width = size
    check_positive(channels=channels, height=height, width=width)
    check_positive(repeats=repeats, batch_size=batch_size)
    if not 0 < momentum <= 1:
        raise ValueError(f"momentum must be above 0 and at most 1, got {momentum}")
    shape = (batch_size, *size)
    drawn = copy.deepcopy(features).train()
    with seeded(seed), torch.no_grad():
        scores = [_one_draw(drawn, shape, momentum) for _ in range(repeats)]
    return math.fsum(scores) / repeats


def draw_weights_(module: nn.Module) -> None:
    """Draw all weights from N(0, 1), in place; norms get weight 1, biases are 0.

    Args:
        module: Whatever holds convolutions, linear layers and norms.

    Example:
        >>> layer = nn.Conv2d(64, 64, 3)
        >>> draw_weights_(layer)
        >>> round(layer.weight.std().item(), 1), layer.bias.any().item()
        (1.0, False)
    """
    for layer in module.modules():
        if isinstance(layer, WEIGHTED):
            nn.init.normal_(layer.weight)
        elif isinstance(layer, NORMS) and layer.weight is not None:
            nn.init.ones_(layer.weight)
        else:
            continue
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


def _one_draw(
    features: nn.Module, shape: tuple[int, ...], momentum: float, change: float = 0.01
) -> float:
    draw_weights_(features)
    norms = [m for m in features.modules() if isinstance(m, nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = momentum
    like = next(features.parameters(), torch.empty(0))
    x = torch.randn(shape, dtype=like.dtype, device=like.device)
    near = x + change * torch.randn_like(x)
    distance = _distance(features(x), features(near))
    return math.fsum((distance, *map(_log_deviation, norms)))


def _distance(one: Tensor, other: Tensor) -> float:
    """Return log D.

    Raises:
        ValueError: If the features are not maps, or D overflows.
    """
    if one.ndim != 4:
        raise ValueError(
            f"features must return maps (N, c, h, w), got {tuple(one.shape)}; "
            "leave out the global pooling and what follows"
        )
    distance = (one - other).abs().double().sum(dim=(1, 2, 3)).mean()
    if not distance.isfinite():
        raise ValueError(
            f"features overflow with weights from N(0, 1), D is {distance}; "
            "the score needs batch norm in deep networks"
        )
    return distance.log().item()


def _log_deviation(norm: nn.BatchNorm2d) -> float:
    """Return log sqrt(mean of s^2): 0 if the norm did not run.

    Raises:
        ValueError: If the norm keeps no variance.
    """
    if norm.running_var is None:
        raise ValueError(
            f"{norm} keeps no variance to read; use track_running_stats=True"
        )
    return norm.running_var.double().mean().log().item() / 2
