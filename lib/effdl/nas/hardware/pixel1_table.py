"""What 22 layers of a mobile network cost on a Pixel 1, as it was published.

Paper: Stamoulis et al., "Single-Path NAS: Designing Hardware-Efficient ConvNets in less
than 4 Hours", ECML PKDD 2019, https://arxiv.org/abs/1904.02877. Its authors publish the
table that their search adds up.

    cost(a) = sum over 22 layers l of  extra[l, a_l]

with four inverted bottlenecks to choose from, of kernel 3 or 5 and expansion 3 or 6.
The cheapest network has 56.0 ms and the most expensive one 122.9 ms. Of stem and head
the file says nothing, so ``base`` is 0. (Their code adds 19.6 ms for stem, head, and
for the first and the last layer, which it does not search.)

When not to trust it: the phone is from 2016, each layer was measured once, and what a
sum leaves out (caches, clocks that fall as it gets warm) is not in it.
"""

import json
import math

import torch

from effdl.data.download import Download, cache_folder, fetch
from effdl.nas.hardware.expected_cost import CostTable
from effdl.nas.public_files import MILLISECOND, github_file

LAYERS = 22
OPERATIONS = ("k3_e3", "k3_e6", "k5_e3", "k5_e6")

PUBLISHED = github_file(
    "pixel1/runtime_model_published.json",
    1800,
    "59e0d2d1aea3a09b3e6d6fa9f3a0adb567b416e92cb093c769f557bea23b98f5",
    ("enyac-group/single-path-nas", "f3a84617e5a44cb527b4dad49409ae6e261f3057"),
    "nas-search/pixel1_runtime_model.json",
)
INDENTED = Download(  # the same numbers on lines of their own; at no address
    "pixel1/pixel1_runtime_model.json",
    2054,
    "285572e69668f73c82e3d0b8040507f4bba836b44545bbc10e16248156e2b8ad",
    (),
)


def load_pixel1(*, online: bool | None = None) -> CostTable:
    """Return the seconds of every operation in every layer, extra (22, 4).

    Args:
        online: Whether the network may be used; None asks EFFDL_ONLINE. The errors
            are those of :func:`effdl.data.download.fetch`, and those of
            :func:`read_runtime_model`.

    Example:
        >>> load_pixel1.__name__  # needs the file, or the network
        'load_pixel1'
    """
    has_copy = (cache_folder() / INDENTED.name).is_file()
    path = fetch(INDENTED if has_copy else PUBLISHED, online=online)
    return read_runtime_model(path.read_text(encoding="utf-8"))


def read_runtime_model(text: str, *, layers: int = LAYERS) -> CostTable:
    """Return the table that a text holds, in seconds.

    Args:
        text: JSON: an object with a key "0", "1", ... for each layer, whose value has a
            key "0" to "3" for each operation, with milliseconds.
        layers: How many there must be.

    Raises:
        ValueError: If it is not JSON, a layer or an operation is missing or unknown, or
            a latency is not a number above 0.

    Example:
        >>> text = '{"0": {"0": 1.5, "1": 2.5, "2": 2, "3": 4}}'
        >>> table = read_runtime_model(text, layers=1)
        >>> round(table.of([1]), 6)
        0.0025
    """
    try:
        table = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"the runtime model is no JSON ({error})") from None
    names = [str(k) for k in range(len(OPERATIONS))]
    wanted = {str(layer): set(names) for layer in range(layers)}
    if not isinstance(table, dict) or wanted != {
        layer: set(row) if isinstance(row, dict) else row
        for layer, row in table.items()
    }:
        raise ValueError(
            f"the runtime model must have layers 0 to {layers - 1}, each with the "
            f"operations {names}; the file is cut short or another one"
        )
    rows = [[table[str(layer)][k] for k in names] for layer in range(layers)]
    for layer, row in enumerate(rows):
        for ms in row:
            if not isinstance(ms, int | float) or not 0 < ms < math.inf:
                raise ValueError(
                    f"latencies must be numbers above 0, got {ms!r} in layer {layer}"
                )
    return CostTable(0.0, MILLISECOND * torch.tensor(rows, dtype=torch.float32))
