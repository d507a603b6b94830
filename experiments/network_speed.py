"""The time of every network of Fig. 3, and of those that the survey compares them with.

One image of 224 x 224, one thread, 32-bit floats, random weights, all networks in turn,
so that a busy moment of the machine hits all of them. Multiply-adds over the median is
the effective rate: FLOPS in the words of the FasterNet paper. CondenseNets run as
deployed. Run it alone.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial

import torch
from torch import nn
from torchvision import models

from _results import Case, fill_table, seeds_from_command_line
from effdl.conv.condensing import condense_fully_, deploy
from effdl.measure.count import parameter_count
from effdl.measure.latency import Latency, latency
from effdl.measure.macs import count_macs
from effdl.nets.condensenet_v1 import condensenet_v1
from effdl.nets.condensenet_v2 import condensenet_v2
from effdl.nets.densenet import densenet121
from effdl.nets.fasternet import T0, T1, fasternet
from effdl.nets.ghostnet_v1 import ghostnet_v1
from effdl.nets.ghostnet_v2 import ghostnet_v2
from effdl.nets.mobilenet_v1 import mobilenet_v1
from effdl.nets.mobilenet_v2 import mobilenet_v2
from effdl.nets.mobilenext import mobilenext
from effdl.nets.resnet import resnet50
from effdl.nets.shufflenet_v1 import shufflenet_v1
from effdl.nets.shufflenet_v2 import shufflenet_v2
from effdl.nets.squeezenet import squeezenet
from effdl.seed import seeded


def deployed(build: Callable[[], nn.Module]) -> nn.Module:
    """Return a CondenseNet as it runs after training, with arbitrary connections."""
    net = build()
    condense_fully_(net)
    return deploy(net)


NETWORKS: dict[str, Callable[[], nn.Module]] = {  # by the key in networks.csv
    "alexnet": models.alexnet,
    "resnet50": resnet50,
    "densenet121": densenet121,
    "squeezenet": squeezenet,
    "mobilenet_v1": mobilenet_v1,
    "mobilenet_v2": mobilenet_v2,
    "mobilenext": mobilenext,
    "shufflenet_v1": partial(shufflenet_v1, 1.5),
    "shufflenet_v2": partial(shufflenet_v2, 1.5),
    "condensenet_v1": partial(deployed, condensenet_v1),
    "condensenet_v2": partial(deployed, condensenet_v2),
    "ghostnet_v1": ghostnet_v1,
    "ghostnet_v2": ghostnet_v2,
    "ghostnet_v1_13": partial(ghostnet_v1, 1.3),
    "fasternet_t0": partial(fasternet, T0),
    "fasternet_t1": partial(fasternet, T1),
}


@cache
def network(key: str) -> nn.Module:
    """Return a network with random weights, in evaluation mode."""
    with seeded(0):
        return NETWORKS[key]().eval()


@cache
def timings() -> dict[str, Latency]:
    """Return the latency of all networks, measured once, in turn."""
    nets = {key: network(key) for key in NETWORKS}
    with seeded(0):
        image = torch.randn(1, 3, 224, 224)
    return latency(nets, image, threads=1, repeats=40, warmup=5)


def measure(key: str, seed: int) -> Case:
    """Return counts and times of one network; the seed plays no part."""
    del seed
    macs = count_macs(network(key), torch.zeros(1, 3, 224, 224)).total
    time = timings()[key]
    return {
        "params": parameter_count(network(key)),
        "macs": macs,
        "milliseconds": 1e3 * time.median,
        "low": 1e3 * time.low,
        "high": 1e3 * time.high,
        "gmacs_per_second": macs / time.median / 1e9,
    }


if __name__ == "__main__":
    seeds_from_command_line(__doc__)  # accepted as everywhere; nothing here is random
    fill_table(__file__, [{"key": key, "seed": 0} for key in NETWORKS], measure)
