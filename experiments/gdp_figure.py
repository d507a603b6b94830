"""Draw how gates part, and how gammas under an L1 price do not, as SVG.

    python experiments/gdp_figure.py

figure-18.svg is the survey's Fig. 18, from two trainings that are run here: polarized
gates before every layer but the first, and batch norm's gammas of the same channels.
The same code draws the same bytes on one machine.
"""

from __future__ import annotations

from collections.abc import Callable

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor, nn

from _figures import save_svg
from _gates import (
    BATCH,
    NET_EPOCHS,
    WIDTH,
    all_gammas,
    all_gates,
    digits,
    gdp_net,
    plain_training,
)
from effdl.blocks import plain_net
from effdl.plot import COLOURS, use_style
from effdl.prune.gdp import with_gates
from effdl.seed import seeded

STRENGTH, L1 = 0.5, 0.01  # of GDP's price, and of the L1 price on each gamma
BINS = np.arange(0.0, 1.01, 0.05)
Seen = dict[str, Tensor]
Watch = Callable[[nn.Module, int], None]


def main() -> None:
    """Train twice, draw, and tell what can be read off."""
    torch.set_num_threads(1)
    use_style()
    gates, gammas = seen_gates(), seen_gammas()
    save_svg(drawing(gates, gammas), "04-network-compression/figure-18.svg")
    for name, values in (
        ("gates", gates["at the end"]),
        ("gammas", gammas["at the end"]),
    ):
        zero, high = (values == 0).float().mean(), (values > 0.9).float().mean()
        between = ((values > 0.05) & (values < 0.5)).float().mean()
        print(f"{name}: {zero:.0%} 0, {high:.0%} above .9, {between:.0%} in .05 to .5")


def seen_gates(strength: float = STRENGTH, seed: int = 0) -> Seen:
    """Return the gates at the start, after an epoch and at the end of a training."""
    seen = {"at the start": all_gates(with_gates(plain_net(WIDTH)))}
    gdp_net(digits(), strength, seed, noting(seen, all_gates))
    return seen


def seen_gammas(strength: float = L1, seed: int = 0) -> Seen:
    """Return the same of the gammas under an L1 price."""
    with seeded(seed):
        net = plain_net(WIDTH)
    seen = {"at the start": all_gammas(net)}
    plain_training(net, digits(), seed, strength, noting(seen, all_gammas))
    return seen


def noting(seen: Seen, values_of: Callable[[nn.Module], Tensor]) -> Watch:
    """Return what to call after every step: it keeps two moments."""
    steps = NET_EPOCHS * len(digits().train.batches(BATCH))
    moments = {steps // NET_EPOCHS: "after an epoch", steps: "at the end"}

    def watch(net: nn.Module, count: int) -> None:
        if count in moments:
            seen[moments[count]] = values_of(net)

    return watch


def drawing(gates: Seen, gammas: Seen) -> Figure:
    """Return two rows of three histograms; exact zeros have a colour of their own."""
    fig, axes = plt.subplots(2, 3, figsize=(7.2, 3.8), sharex=True, sharey=True)
    for row, name, seen in zip(axes, ("gate", "|gamma|"), (gates, gammas), strict=True):
        for ax, (moment, values) in zip(row, seen.items(), strict=True):
            draw(ax, values)
            ax.set_xlabel(name)
            ax.set_title(f"{'GDP' if name == 'gate' else 'L1'}, {moment}")
        row[0].set_ylabel("channels")
    return fig


def draw(ax: Axes, values: Tensor) -> None:
    """Draw one histogram; what is above 1 goes into the last bin."""
    zero = int((values == 0).sum())
    rest = values[values != 0].clamp(max=1).numpy()
    ax.hist(rest, BINS, color=COLOURS.blue)
    ax.bar(-0.04, zero, 0.05, color=COLOURS.vermillion)
    if zero:
        label = f"{zero} exactly 0"
        ax.text(-0.06, zero + 4, label, color=COLOURS.vermillion, va="bottom")
    ax.set_xlim(-0.08, 1.02)


if __name__ == "__main__":
    main()
