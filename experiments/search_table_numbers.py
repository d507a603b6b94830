"""The numbers that the page on search strategies prints about the survey's Table 1.

A page prints {{ key }}. The multiply-adds are counted here, on the networks of timm
with random weights, because no count depends on them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial

import numpy as np
import timm
import torch

from _numbers import Answer, fill_numbers
from _results import seeds_from_command_line
from effdl.measure.macs import MacCount, count_macs
from effdl.nas.ranking import spearman
from effdl.tables import SearchMethod, load_search_methods

SOURCES = ("survey/table1.csv",)
NETWORKS = {  # rows of the table whose network timm has, by the start of their keys
    "mnasnet": ("MnasNet", "semnasnet_100"),
    "mobilenetv3": ("MobileNetV3", "mobilenetv3_large_100"),
    "fbnet": ("FBNet", "fbnetc_100"),
}
SUBSET = ("FBNet", "TF-NAS", "LightNAS")  # searched on 100 classes
WITHOUT_SE = "mnasnet_100"  # MnasNet without squeeze-and-excitation
SIDE, LAST_CHANNELS = 224, 100
APART = ("SNAS", "EH-DNAS")  # rows far above and far below all others


@cache
def counted(network: str) -> MacCount:
    """Return the multiply-adds of one picture."""
    return count_macs(timm.create_model(network), torch.zeros(1, 3, SIDE, SIDE))


def mega(value: float) -> Answer:
    """Return 384960160 as 385.0 million."""
    return value, f"{value / 1e6:.1f} million"


def digits(value: float) -> Answer:
    """Return 21 as 21, 40000 as 40,000."""
    return value, f"{value:,.0f}"


def decimal(value: float) -> Answer:
    """Return 0.1234 as 0.12."""
    return value, f"{value:.2f}"


def row(method: str) -> SearchMethod:
    """Return the row of a method."""
    return next(m for m in load_search_methods() if m.method == method)


def off(method: str, network: str) -> Answer:
    """Return by how much our count exceeds the table's, in per cent."""
    share = counted(network).total / (1e6 * (row(method).mega_macs or 1)) - 1
    return share, f"{100 * share:+.1f} %"


def of_last_channels() -> float:
    """Return what so many channels of FBNet-C's last convolution cost."""
    net = timm.create_model("fbnetc_100")
    side = SIDE // net.feature_info[-1]["reduction"]
    each = net.conv_head.in_channels * side**2 + net.num_classes
    return LAST_CHANNELS * each


def with_both(cost: str, *, all_rows: bool = True) -> list[SearchMethod]:
    """Return the rows that have this cost and an accuracy on ImageNet."""
    rows = (m for m in load_search_methods() if all_rows or m.method not in APART)
    return [m for m in rows if getattr(m, cost) and m.top1]


def agreement(cost: str, *, all_rows: bool) -> float:
    """Return the rank correlation of accuracy with a cost."""
    rows = with_both(cost, all_rows=all_rows)
    costs = np.array([getattr(m, cost) for m in rows])
    return spearman(costs, np.array([m.top1 for m in rows]))


def strategies(name: str) -> int:
    """Return how many rows have a strategy."""
    return sum(m.strategy == name for m in load_search_methods())


def subset_hours() -> Answer:
    """Return the hours of the rows that searched on a part of ImageNet."""
    *most, last = hours = [row(name).hours or 0 for name in SUBSET]
    return sum(hours), f"{', '.join(f'{h:.0f}' for h in most)} and {last:.0f}"


COUNTED: dict[str, Callable[[], Answer]] = {
    "page_mnasnet_plain_macs": lambda: mega(counted(WITHOUT_SE).total),
    "page_spnas_macs": lambda: mega(counted("spnasnet_100").total),
    "page_fbnet_last_channels": lambda: mega(of_last_channels()),
    "page_fbnet_norms": lambda: mega(counted("fbnetc_100").fvcore_total or 0),
}
for key, (method, network) in NETWORKS.items():
    COUNTED |= {
        f"page_{key}_macs": lambda n=network: mega(counted(n).total),
        f"page_{key}_table": lambda m=method: digits(row(m).mega_macs or 0),
        f"page_{key}_off": partial(off, method, network),
    }

TABLE: dict[str, Callable[[], Answer]] = {
    "page_gradient": lambda: digits(strategies("Gradient")),
    "page_evolution": lambda: digits(strategies("Evolution")),
    "page_reinforce": lambda: digits(strategies("Reinforce")),
    "page_proxyless_hours": lambda: digits(row("ProxylessNAS").hours or 0),
    "page_subset_hours": subset_hours,
}
for cost in ("hours", "mega_macs"):
    TABLE |= {
        f"page_{cost}_rows": lambda c=cost: digits(len(with_both(c))),
        f"page_{cost}_rank": lambda c=cost: decimal(agreement(c, all_rows=True)),
        f"page_{cost}_rank_inner": lambda c=cost: decimal(agreement(c, all_rows=False)),
    }

NUMBERS = COUNTED | TABLE


if __name__ == "__main__":
    seeds_from_command_line(__doc__)  # accepted as everywhere; nothing here is random
    fill_numbers(__file__, NUMBERS, SOURCES)
