"""A cost table measured here: every operation alone, then added up.

Papers: Cai et al., "ProxylessNAS: Direct Neural Architecture Search on Target Task and
Hardware", ICLR 2019, https://arxiv.org/abs/1812.00332, appendix B, and Wu et al.,
"FBNet", CVPR 2019, https://arxiv.org/abs/1812.03443, section 3.3: both time the
operators of a chain one by one, and let the search add up.

    extra[e, k] = sum over stages of  seconds(k) + seconds(a sum of two maps)
    base        = seconds(network of one skip) - seconds(that skip) - 3 sums

A node with m edges that carry something takes m - 1 sums. In a cell of four nodes, all
reached, that makes (edges that carry) - 3 in a stage. So one sum is charged to every
edge, and three of them are taken back.

What differs from those papers: a cell has branches, and an edge may lead nowhere; see
:mod:`effdl.nas.hardware.cell_costs` for what that does.

When not to trust it: an operation that is timed alone, again and again, finds its
weights and maps in the cache. In the network something else has been there before it.
"""

import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from effdl.checks import check_images
from effdl.measure.latency import latency
from effdl.nas.candidate_tables import Table
from effdl.nas.cell_net import WIDTHS, operation, small_cell_net
from effdl.nas.cell_space import EDGES, OPERATIONS, Cell
from effdl.nas.hardware.expected_cost import CostTable

ONE_SKIP = Cell(("none", "none", "none", "skip_connect", "none", "none"))
NODES_THAT_SUM = 3  # all but the input


def operator_costs(
    x: Tensor,
    names: Sequence[str] = OPERATIONS,
    *,
    widths: tuple[int, ...] = WIDTHS,
    repeats: int = 20,
    clock: Callable[[], int] = time.perf_counter_ns,
) -> CostTable:
    """Return seconds of every operation, measured one by one on one thread.

    Args:
        x: Images as the small network takes them, (N, c, H, W).
        names: The operations to choose from, ``ValueError`` for an unknown one.
        widths: Channels of the network's stages.
        repeats: Samples of each operation, at least 2; the median counts.
        clock: Returns nanoseconds that only grow.

    Example:
        >>> costs = operator_costs(torch.zeros(1, 1, 12, 12), repeats=2)
        >>> costs.extra.shape, costs.extra[0, 0].item()
        (torch.Size([6, 5]), 0.0)
    """
    check_images(x)
    net = small_cell_net(ONE_SKIP, widths=widths, in_channels=x.shape[1])
    models: dict[str, nn.Module | Callable[..., object]] = {"net": net}
    inputs: dict[str, Tensor | tuple[Tensor, ...]] = {"net": x}
    height, width = x.shape[2:]
    for channels in widths:
        height, width = -(-height // 2), -(-width // 2)
        maps = torch.zeros(len(x), channels, height, width)
        for name in {"skip_connect", *names} - {"none"}:
            models[f"{name} {channels}"] = operation(name, channels)
            inputs[f"{name} {channels}"] = maps
        models[f"+ {channels}"] = torch.add
        inputs[f"+ {channels}"] = (maps, maps)
    taken = latency(models, inputs, repeats=repeats, sample_seconds=0.001, clock=clock)

    def seconds(name: str) -> float:
        return sum(taken[f"{name} {channels}"].median for channels in widths)

    row = [0.0 if n == "none" else seconds(n) + seconds("+") for n in names]
    base = taken["net"].median - seconds("skip_connect") - NODES_THAT_SUM * seconds("+")
    return CostTable(base, torch.tensor(row).repeat(len(EDGES), 1))


def chain_costs(table: Table, *, base: float = 0.0) -> CostTable:
    """Return the cost table of a chain from what its candidates cost.

    Args:
        table: Such as :func:`~effdl.nas.candidate_tables.candidate_seconds` returns.
            Layers with fewer candidates than others are filled up with zeros, which
            stand for nothing.
        base: Of stem and head, in the same unit.

    Raises:
        ValueError: If the table has no layer.

    Example:
        >>> chain_costs(({"3x3": 2.0, "5x5": 5.0}, {"skip": 0.5}), base=1.0).extra
        tensor([[2.0000, 5.0000],
                [0.5000, 0.0000]])
    """
    if not table:
        raise ValueError("table is empty; give one mapping of costs a layer")
    extra = torch.zeros(len(table), max(map(len, table)))
    for row, costs in zip(extra, table, strict=True):
        row[: len(costs)] = torch.tensor(list(costs.values()))
    return CostTable(base, extra)
