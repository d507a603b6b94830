"""How alike are the feature maps of plain_net(16), trained and untrained?

For every layer and every map: the share of its variance that the best *other* map of
the layer explains through one 3 x 3 filter, fitted on 100 images and tested on 100.

    trained      after 4 epochs
    untrained    the same initial weights, batch norm adjusted to the data
    strangers    the trained net, but the other map comes from another image

The notebook ghost-convolution computes the same for one seed.
"""

from __future__ import annotations

from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from _results import Case, fill_table, seeds_from_command_line
from effdl.blocks import plain_net
from effdl.data.digits import Digits, moved_digits
from effdl.seed import seeded
from effdl.train import train_classifier


@cache
def digits() -> Digits:
    """Return the data, made once."""
    return moved_digits()


@cache
def network(*, trained: bool, seed: int) -> nn.Sequential:
    """Return the net, its batch norms adjusted to the training images."""
    with seeded(seed):
        net = plain_net(16)
    if trained:
        train_classifier(net, digits().train, epochs=4, seed=seed)
    else:
        with torch.no_grad():
            for images, _ in digits().train.batches(100):
                net(images)
    return net.eval()


def explained(source: Tensor, target: Tensor) -> Tensor:
    """Return the explained share of each target map, (C,), by its best other map.

    Args:
        source: Feature maps to predict from, (N, C, H, W).
        target: Feature maps to predict, the same shape.
    """
    images, maps = source.shape[:2]
    patches = F.unfold(source, 3, padding=1).view(images, maps, 9, -1)  # 9 taps, pixels
    values = target.flatten(2).transpose(1, 2)  # (N, pixels, C)
    half = images // 2
    fit, held = values[:half].flatten(0, 1), values[half:].flatten(0, 1)
    variance = (held - held.mean(0)).square().sum(0)
    shares = []
    for i in range(maps):
        taps = F.pad(patches[:, i].transpose(1, 2), (0, 1), value=1.0)  # and a constant
        known, unseen = taps[:half].flatten(0, 1), taps[half:].flatten(0, 1)
        error = held - unseen @ torch.linalg.lstsq(known, fit).solution
        share = 1 - error.square().sum(0) / variance
        share[i] = -1  # not from itself
        shares.append(share)
    return torch.stack(shares).amax(0)


def measure(kind: str, layer: int, seed: int) -> Case:
    """Return the median over the maps of a layer, and the share above 0.9."""
    net = network(trained=kind != "untrained", seed=seed)
    with torch.no_grad():
        maps = net[:layer](digits().validation.inputs[:200])
    source = maps.roll(1, 0) if kind == "strangers" else maps
    shares = explained(source, maps)
    return {
        "median": float(shares.median()),
        "above_90_percent": float((shares > 0.9).float().mean()),
        "maps": len(shares),
    }


if __name__ == "__main__":
    cases = [
        {"kind": kind, "layer": layer, "seed": seed}
        for seed in seeds_from_command_line(__doc__)
        for kind in ("trained", "untrained", "strangers")
        for layer in range(1, 6)
    ]
    fill_table(__file__, cases, measure)
