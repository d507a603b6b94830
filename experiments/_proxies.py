"""Every zero-cost proxy of one cell, as the experiments on them ask for it.

The proxies of an untrained network depend on its first weights and on a batch. All get
the same here: weights from the seed, one batch for all cells.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import log

import torch
from torch import Tensor, nn

from effdl.nas.cell_net import CellNet
from effdl.nas.proxies.epe import epe_score
from effdl.nas.proxies.fisher import fisher_score
from effdl.nas.proxies.grad_norm import grad_norm_score
from effdl.nas.proxies.grasp import grasp_score
from effdl.nas.proxies.jacov import jacov_score
from effdl.nas.proxies.linear_regions import linear_region_count
from effdl.nas.proxies.naswot import naswot_score
from effdl.nas.proxies.ntk import ntk_condition_number
from effdl.nas.proxies.snip import snip_score
from effdl.nas.proxies.synflow import synflow_score
from effdl.nas.proxies.zen import zen_score
from effdl.seed import seeded

ZEN_DRAWS, ZEN_IMAGES = 4, 16

Proxy = Callable[[], float]


def proxies(
    net: CellNet, images: Tensor, labels: Tensor, seed: int
) -> dict[str, Proxy]:
    """Return what to call for each proxy of a network; a higher score is better."""
    size = tuple(images.shape[1:])
    maps = nn.Sequential(net.features, net.last, nn.ReLU())
    return {
        "snip": lambda: snip_score(net, images, labels),
        "grad_norm": lambda: grad_norm_score(net, images, labels),
        "grasp": lambda: grasp_score(net, images, labels),
        "fisher": lambda: fisher_score(net, images, labels),
        "synflow": lambda: synflow_score(net, size),
        "jacov": lambda: jacov_score(net, images),
        "epe": lambda: epe_score(net, images, labels),
        "naswot": lambda: naswot_score(net, images),
        "zen": lambda: zen_score(
            maps, size, repeats=ZEN_DRAWS, batch_size=ZEN_IMAGES, seed=seed
        ),
    }


def theory(
    net: CellNet, thin: CellNet, images: Tensor, crops: Tensor
) -> dict[str, Proxy]:
    """Return the two proxies of TE-NAS; the kernel's is minus the log of kappa."""
    return {
        "ntk": lambda: -log(ntk_condition_number(net, images)),
        "regions": lambda: float(linear_region_count(thin, crops)),
    }


def drawn_(net: CellNet, mode: str, seed: int) -> CellNet:
    """Draw a network's convolutions anew, from fan_in or fan_out, as TE-NAS does."""
    with seeded(seed):
        for module in net.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode=mode)
    return net


def scores(all_of: Iterable[dict[str, Proxy]]) -> dict[str, float]:
    """Return every score; what runs is seeded by what it was built with."""
    torch.set_num_threads(1)
    return {name: call() for part in all_of for name, call in part.items()}
