"""What four devices would keep of a block space, and what free choice gains on a fifth.

The latencies of four devices (Raspberry Pi 4, Pixel 3, Eyeriss, an FPGA) in the space
of FBNet are published as sums; the operators' own follow by least squares. Work per
second is multiply-adds over the time beyond a skip, for kernels 3 and 5, expansions 3
and 6.

For the Pixel 1 there is a table of 22 layers with the same four operations. The value
of an operation is made up: bits of kernel area times expansion, equal in all layers.

Both need published files in the folder EFFDL_CACHE; effdl.data.download says which. The
times are theirs; nothing is measured here.
"""

from __future__ import annotations

import math
from functools import cache

from _results import Case, fill_table, seeds_from_command_line
from effdl.nas.block_space import ChoiceStage, layer_shapes
from effdl.nas.choice_front import choice_front, uniform_points
from effdl.nas.fbnet_table import OPERATIONS, fit_additive, load_fbnet
from effdl.nas.hardware.pixel1_table import load_pixel1
from effdl.nas.public_files import MILLISECOND

DEVICES = ("raspi4", "pixel3", "eyeriss", "fpga")
KERNEL_EXPANSION = {
    "k3_e3": (3, 3),
    "k3_e6": (3, 6),
    "k5_e3": (5, 3),
    "k5_e6": (5, 6),
}
STAGES = (
    ChoiceStage(16, 1, 1),
    *(ChoiceStage(width, 4, 2) for width in (24, 32, 64)),
    ChoiceStage(112, 4, 1),
    ChoiceStage(184, 4, 2),
    ChoiceStage(352, 1, 1),
)
TICKS = 100  # in a millisecond


@cache
def scores(device: str) -> list[dict[str, float]]:
    """Return the multiply-adds per second of the operations of each layer."""
    extra = fit_additive(*load_fbnet(device)).extra
    rows, side = [], 112
    for (c, n, stride), row in zip(layer_shapes(16, STAGES), extra, strict=True):
        seconds = dict(zip(OPERATIONS, row, strict=True))
        wide, narrow = side**2, (side // stride) ** 2
        rows.append({
            name: (wide * t * c * c + narrow * t * c * (k * k + n)) / seconds[name]
            for name, (k, t) in KERNEL_EXPANSION.items()
        })
        side //= stride
    return rows


def best_two(device: str) -> list[set[str]]:
    """Return what each layer would keep."""
    return [set(sorted(row, key=row.__getitem__)[-2:]) for row in scores(device)]


def of_device(device: str) -> Case:
    """Return in how many layers a device prefers 5x5, and differs from the FPGA."""
    kept, others = best_two(device), best_two("fpga")
    return {
        "layers": len(kept),
        "prefer_5x5": sum(row["k5_e6"] > row["k3_e6"] for row in scores(device)),
        "differ_from_fpga": sum(a != b for a, b in zip(kept, others, strict=True)),
    }


def of_pixel_1() -> Case:
    """Return how many points the front has, and what uniform networks could save."""
    seconds = load_pixel1().extra.tolist()
    costs = [[round(TICKS * s / MILLISECOND) for s in layer] for layer in seconds]
    worth = [math.log2(k * k * t) for k, t in KERNEL_EXPANSION.values()]
    front = choice_front(costs, [worth] * len(costs))
    found: dict[str, float] = {"layers": len(costs), "front": len(front)}
    uniform = uniform_points(costs, [worth] * len(costs))
    for name, point in zip(KERNEL_EXPANSION, uniform, strict=True):
        enough = min(p.cost for p in front if p.value >= point.value - 1e-9)
        found[f"{name}_ms"] = point.cost / TICKS
        found[f"{name}_enough_ms"] = enough / TICKS
    return found


def measure(key: str, seed: int) -> Case:
    """Return one number; the seed plays no part."""
    del seed
    device, _, column = key.partition(".")
    found = of_pixel_1() if device == "pixel1" else of_device(device)
    return {"value": found[column]}


def keys() -> list[str]:
    """Return device and name of each number."""
    columns = ("layers", "prefer_5x5", "differ_from_fpga")
    pixel = ["layers", "front"]
    pixel += [f"{n}_{what}" for n in KERNEL_EXPANSION for what in ("ms", "enough_ms")]
    return [
        *(f"{device}.{column}" for device in DEVICES for column in columns),
        *(f"pixel1.{column}" for column in pixel),
    ]


if __name__ == "__main__":
    seeds_from_command_line(__doc__)  # accepted as everywhere; nothing here is random
    fill_table(__file__, [{"key": key, "seed": 0} for key in keys()], measure)
