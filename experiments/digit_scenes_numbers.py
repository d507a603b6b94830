"""What the page on the digit scenes says: examples, and accuracy by width.

Reads the table of width.py: run that first. Draws book/figures/digit-scenes.svg.
"""

from __future__ import annotations

import csv
from pathlib import Path
from statistics import mean, stdev

import matplotlib.pyplot as plt

from _results import DATA, Case, fill_table, seeds_from_command_line
from effdl.data.digits import cluttered_digits, moved_digits, small_digits
from effdl.data.files import data_path, read_sums
from effdl.plot import use_style

FIGURE = Path(__file__).resolve().parents[1] / "book/figures/digit-scenes.svg"
MAKERS = {"moved": moved_digits, "cluttered": cluttered_digits, "small": small_digits}
WIDTHS = (4, 8, 16, 24)
SHOWN = 10


def rows_of(data: str, width: int) -> list[dict[str, str]]:
    """Return the stored runs of one network on one kind of scenes, a row a seed."""
    with data_path("results/width.csv").open(encoding="utf-8", newline="") as file:
        table = list(csv.DictReader(file))
    return [r for r in table if r["data"] == data and r["width"] == str(width)]


def measure(key: str, width_table: str, seed: int) -> Case:
    """Return mean and deviation over seeds, in per cent, or a count."""
    del width_table, seed
    _, data, width, column = key.split("_")
    values = [float(row[column]) for row in rows_of(data, int(width))]
    if column in ("parameters", "macs"):
        return {"value": values[0], "text": f"{values[0]:,.0f}"}
    percent = [100 * value for value in values]
    text = f"{mean(percent):.1f} ± {stdev(percent):.1f}"
    return {"value": mean(percent), "text": text}


def draw(path: Path) -> None:
    """Draw the first training scenes of every kind."""
    use_style()
    fig, axes = plt.subplots(len(MAKERS), SHOWN, figsize=(6.4, 2.2))
    for row, (name, make) in zip(axes, MAKERS.items(), strict=True):
        for ax, picture in zip(row, make().train.inputs, strict=False):
            ax.imshow(picture[0], cmap="cividis")
            ax.set(xticks=[], yticks=[])
            ax.spines[:].set_visible(False)
        row[0].set_ylabel(name, rotation=0, ha="right", va="center")
    fig.savefig(path, transparent=True, metadata={"Date": None})


if __name__ == "__main__":
    seeds_from_command_line(__doc__)  # accepted as everywhere; nothing here is random
    columns = ("validation", "test", "parameters", "macs")
    keys = [f"scenes_{d}_{w}_{c}" for d in MAKERS for w in WIDTHS for c in columns]
    used = read_sums(DATA)["results/width.csv"][:8]
    cases = [{"key": key, "width_table": used, "seed": 0} for key in keys]
    fill_table(__file__, cases, measure)
    draw(FIGURE)
