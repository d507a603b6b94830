"""What the collapse hangs on: the setting of darts_collapse.py with one thing changed.

Always plain DARTS.

    falling rate    the weights' learning rate falls along half a cosine, as is usual
    slow alpha      the architecture moves with a tenth of the rate
    more images     four times as many, in a quarter of the epochs: about as many steps
    one cell        in every stage, instead of three

The columns are those of darts_collapse.py.
"""

from __future__ import annotations

from dataclasses import replace

from _results import Case, fill_table, seeds_from_command_line
from _searches import METHODS, Setting, looked_up
from darts_collapse import IMAGES, NONE, setting, skip_share
from effdl.data.digits import Split, small_digits
from effdl.nas.cell_space import OPERATIONS
from effdl.seed import seeded

TIMES = 4


def more_images() -> Setting:
    """Return the setting with more images and fewer passes."""
    scenes, count = small_digits().train, TIMES * IMAGES
    train, validation = (
        Split(scenes.inputs[a : a + count], scenes.targets[a : a + count])
        for a in (0, count)
    )
    usual = setting()
    epochs = usual.epochs // TIMES
    return replace(usual, train=train, validation=validation, epochs=epochs)


def changed(change: str) -> Setting:
    """Return the setting with one thing changed."""
    usual = setting()
    rates = usual.rates
    return {
        "falling rate": replace(usual, rates=replace(rates, weights_end=0.001)),
        "slow alpha": replace(usual, rates=replace(rates, architecture=0.003)),
        "more images": more_images(),
        "one cell": replace(usual, cells=1),
    }[change]


def measure(change: str, seed: int) -> Case:
    """Return what one search finds."""
    with seeded(seed):
        run, epochs, cell = METHODS["DARTS"](changed(change), seed)
    logits = epochs[-1].logits
    curve = [skip_share(epoch) for epoch in epochs]
    return {
        "skips": cell.count("skip_connect"),
        "nones": int((logits[:, : len(OPERATIONS)].argmax(dim=1) == NONE).sum()),
        "skip_weight": curve[-1],
        "validation": looked_up(cell, "validation"),
        "test": looked_up(cell, "test"),
        "loss": epochs[-1].loss,
        "search_seconds": run.seconds,
        "cell": str(cell),
        "curve": " ".join(f"{weight:.3f}" for weight in curve),
    }


if __name__ == "__main__":
    seeds = seeds_from_command_line(__doc__)
    names = ("falling rate", "slow alpha", "more images", "one cell")
    cases = [{"change": name, "seed": seed} for seed in seeds for name in names]
    fill_table(__file__, cases, measure)
