"""N:M training on a tiny transformer: when the mask comes, and what it lets through.

Digit scenes of 12 x 12 pixels, cut into nine patches of 4 x 4. Two encoder layers; all
their matrices become 2:4 or 1:8. One schedule for all: 10 epochs of AdamW, warm-up and
a cosine. What differs is what happens in the first two thirds (P steps); in the last
third everybody trains with hard masks.

    dense        no mask at all
    magnitude    dense for P steps, then cut and fine-tune
    STE          moving masks from the first step on; slopes pass straight through
    SR-STE       the same with the pull on what is gone, weak or strong
    ADMM         dense for P / 2 steps, drawn towards N:M for P / 2, then cut
    MdGf         moving masks that fade for P steps
    SdGf         moving masks whose N:M gets harder for P steps

Where a method has two settings, both are here; the pages choose on validation.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR

from _results import Case, fill_table, seeds_from_command_line
from effdl.data.digits import small_digits
from effdl.prune.admm import Admm
from effdl.prune.gradient_flow import (
    FadingMask,
    exponential_factor,
    fade,
    linear_factor,
)
from effdl.prune.masks import masks_of, prune_
from effdl.prune.nm import nm_masks
from effdl.prune.nm_moving import MovingMask, divisible_weights, move_masks_
from effdl.prune.pruned import count_kept
from effdl.prune.sr_ste import SrSte, architecture_divergence
from effdl.prune.structure_decay import (
    geometric_patterns,
    stepwise_patterns,
    tighten,
)
from effdl.seed import seeded
from effdl.train import accuracy, fit, warm_up_cosine

WIDTH, HIDDEN, HEADS, PATCH = 32, 64, 4, 4
EPOCHS, BATCH, RATE = 10, 100, 6e-3
PATTERNS = {"2:4": (2, 4), "1:8": (1, 8)}


class TinyTransformer(nn.Module):
    """Nine patches, two encoder layers, the mean over patches, ten classes."""

    def __init__(self) -> None:
        super().__init__()
        self.cut = nn.Unfold(PATCH, stride=PATCH)
        self.embed = nn.Linear(PATCH**2, WIDTH)
        self.place = nn.Parameter(0.02 * torch.randn(9, WIDTH))
        layers = [
            nn.TransformerEncoderLayer(
                WIDTH, HEADS, HIDDEN, 0.0, batch_first=True, norm_first=True
            )
            for _ in range(2)
        ]
        self.layers = nn.Sequential(*layers)
        self.head = nn.Linear(WIDTH, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (N, 10)."""
        tokens = self.embed(self.cut(x).transpose(1, 2)) + self.place
        return self.head(self.layers(tokens).mean(dim=1))


def matrices(net: nn.Module) -> list[str]:
    """Return the names of the weights that are pruned: all of the encoder layers."""
    names = [n for n in divisible_weights(net) if n.startswith("layers")]
    return names + [f"layers.{i}.self_attn.in_proj_weight" for i in range(2)]


def nothing() -> None:
    """Do nothing after a step."""


def no_penalty() -> float:
    """Add nothing to the loss."""
    return 0.0


def once(steps: int, act: Callable[[], None]) -> Callable[[], None]:
    """Return what acts after so many calls, once."""
    done = 0

    def after_step() -> None:
        nonlocal done
        done += 1
        if done == steps:
            act()

    return after_step


class Method:
    """What a method does to a network: before, in the loss, after every step."""

    def __init__(self, net: nn.Module, pattern: tuple[int, int], phase: int) -> None:
        self.net, self.pattern, self.phase = net, pattern, phase
        self.names = matrices(net)
        self.penalty: Callable[[], Tensor | float] = no_penalty
        self.after_step: Callable[[], None] = nothing

    def cut(self) -> None:
        """Prune by magnitude."""
        parameters = dict(self.net.named_parameters())
        sizes = {name: parameters[name].detach().abs() for name in self.names}
        prune_(self.net, nm_masks(sizes, *self.pattern))

    def move(self, make: Callable[..., MovingMask]) -> None:
        """Attach moving masks."""
        move_masks_(self.net, self.names, lambda w: make(w, *self.pattern))


def dense(method: Method) -> None:
    """Leave everything as it is."""


def magnitude(method: Method) -> None:
    """Cut when the first phase is over."""
    method.after_step = once(method.phase, method.cut)


def ste(method: Method, decay: float) -> None:
    """Let masks move from the first step on."""
    method.move(partial(SrSte, decay=decay))


def admm(method: Method, rho: float) -> None:
    """Train densely for half of the first phase, draw towards N:M, then cut."""
    done = 0
    pulling: list[Admm] = []

    def after_step() -> None:
        nonlocal done
        done += 1
        if done == method.phase // 2:
            pulling.append(Admm(method.net, method.names, *method.pattern, rho=rho))
            method.penalty = pulling[0].penalty
        elif done == method.phase:
            method.penalty = no_penalty
            prune_(method.net, pulling[0].masks())
        elif method.phase // 2 < done < method.phase and done % 5 == 0:
            pulling[0].update()

    method.after_step = after_step


def mask_decay(method: Method, factor_of: Callable[[float], float]) -> None:
    """Let what is going fade."""
    method.move(FadingMask)
    method.after_step = fade(method.net, factor_of, steps=method.phase)


def structure_decay(
    method: Method, patterns_of: Callable[..., list[tuple[int, int]]]
) -> None:
    """Make N:M harder from time to time."""
    method.move(MovingMask)
    patterns = patterns_of(*method.pattern)
    method.after_step = tighten(method.net, patterns, steps=method.phase)


METHODS: dict[str, Callable[[Method], None]] = {
    "magnitude": magnitude,
    "STE": partial(ste, decay=0.0),
    "SR-STE, 2e-4": partial(ste, decay=2e-4),
    "SR-STE, 2e-2": partial(ste, decay=2e-2),
    "ADMM, 1e-2": partial(admm, rho=1e-2),
    "ADMM, 1e-1": partial(admm, rho=1e-1),
    "MdGf, linear": partial(mask_decay, factor_of=linear_factor),
    "MdGf, exponential": partial(mask_decay, factor_of=exponential_factor),
    "SdGf, stepwise": partial(structure_decay, patterns_of=stepwise_patterns),
    "SdGf, geometric": partial(
        structure_decay, patterns_of=partial(geometric_patterns, times=4)
    ),
}


def measure(method: str, pattern: str, seed: int) -> Case:
    """Return accuracies of one training, and how many weights its masks changed."""
    digits = small_digits()
    batches = digits.train.batches(BATCH, seed=seed)
    steps = EPOCHS * len(batches)
    with seeded(seed):
        net = TinyTransformer()
    doing = Method(net, PATTERNS.get(pattern, (2, 4)), 2 * steps // 3)
    METHODS.get(method, dense)(doing)
    adamw = AdamW(net.parameters(), RATE, weight_decay=0.01)
    schedule = LambdaLR(adamw, lambda step: warm_up_cosine(step, steps))
    late: list[dict[str, Tensor]] = []

    def loss_of(inputs: Tensor, targets: Tensor) -> Tensor:
        return F.cross_entropy(net(inputs), targets) + doing.penalty()

    def after_step() -> None:
        schedule.step()
        doing.after_step()
        if schedule.last_epoch > steps - len(batches):
            late.append(masks_of(net))

    losses = fit(net, loss_of, batches, adamw, epochs=EPOCHS, after_step=after_step)
    validation, test = (accuracy(net, part.batches(500)) for part in digits[1:])
    masks = masks_of(net)
    flips = [architecture_divergence(a, b) for a, b in pairwise(late)]
    return {
        "validation": validation,
        "test": test,
        "loss": losses[-1],
        "kept": count_kept(masks).kept if masks else 0,
        "late_flips": sum(flips) / max(1, len(flips)),
    }


if __name__ == "__main__":
    seeds = seeds_from_command_line(__doc__)
    settings = [("dense", "none")]
    settings += [(name, pattern) for pattern in PATTERNS for name in METHODS]
    fill_table(
        __file__,
        [{"method": m, "pattern": p, "seed": s} for s in seeds for m, p in settings],
        measure,
    )
