"""Mixed-precision training: half precision computes, single precision remembers.

Paper: Micikevicius et al., "Mixed Precision Training", ICLR 2018,
https://arxiv.org/abs/1710.03740, section 3.

A float16 has 11 significant bits and no positive value below 2^-24. What is lost:

    gradients up to 2^-25           become 0
    updates below 2^-12 |w|         round back to w: the weight never moves

Cures, together:

    master weights      the optimiser changes a float32 copy; halves are copied from it
    loss scaling        the backward pass starts from S, not from 1, so all gradients
                        are S times as large; they are divided by S in float32

S is a power of two, so it changes no digit. Too large an S makes gradients infinite:
then the step is left out and S halved. After 2000 steps in a row without that, S is
doubled. This is the rule of ``torch.amp.GradScaler``.

    half = copy.deepcopy(net).half()
    scaler = LossScaler()
    optimizer = MasterWeights(half.parameters(), lambda ps: SGD(ps, 0.1), scaler)
    loss_of = lambda x, y: scaler.scaled(F.cross_entropy(half(x.half()).float(), y))
    fit(half, loss_of, batches, optimizer, epochs=3)

bfloat16 has the range of float32, and needs no scaling; it has 8 significant bits.

What differs: everything in the network is half here, so use it on networks without
batch norm; the paper keeps statistics and sums in float32.

Before trusting it: on a CPU this is slower than float32. It shows the arithmetic.
"""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from effdl.checks import check_positive
from effdl.nas.gradient.gumbel import straight_through


class LossScaler:
    """S, and when it changes.

    Args:
        scale: S at first.
        growth: Factor after many finite steps, above 1.
        backoff: Factor after a step that was not finite, above 0 and below 1.
        interval: Finite steps in a row until S grows.

    Attributes:
        scale: S.
        finite_steps: How many in a row since S changed.

    Raises:
        ValueError: If a factor is out of range.

    Example:
        >>> scaler = LossScaler(8.0, interval=2)
        >>> for finite in (False, True, True):
        ...     scaler.update(finite=finite)
        ...     print(scaler.scale)
        4.0
        4.0
        8.0
    """

    def __init__(
        self,
        scale: float = 2.0**16,
        *,
        growth: float = 2.0,
        backoff: float = 0.5,
        interval: int = 2000,
    ) -> None:
        check_positive(interval=interval)
        if not (scale > 0 and growth > 1 and 0 < backoff < 1):
            raise ValueError(
                "scale must be above 0, growth above 1 and backoff between 0 and 1, "
                f"got {scale}, {growth} and {backoff}; use powers of two"
            )
        self.scale, self.growth, self.backoff = scale, growth, backoff
        self.interval, self.finite_steps = interval, 0

    def scaled(self, loss: Tensor) -> Tensor:
        """Return the loss, with S times its gradient."""
        return straight_through(self.scale * loss, loss.detach())

    def update(self, *, finite: bool) -> None:
        """Change S after a step whose gradients were finite, or not."""
        self.finite_steps = self.finite_steps + 1 if finite else 0
        if not finite:
            self.scale *= self.backoff
        elif self.finite_steps == self.interval:
            self.scale, self.finite_steps = self.scale * self.growth, 0


class MasterWeights(Optimizer):
    """An optimiser that keeps float32 copies, divides by S and leaves out bad steps.

    Args:
        parameters: Of the half-precision network.
        make: Returns the optimiser of the copies that it is called with.
        scaler: Whose S the gradients hold; None for 1, and then no step is left out.

    Attributes:
        masters: The copies, float32.
        skipped: Number of steps left out.

    Example:
        >>> weight = nn.Parameter(torch.ones(1).half())
        >>> sgd = MasterWeights([weight], lambda copies: torch.optim.SGD(copies, 1.0))
        >>> for _ in range(4):
        ...     weight.grad = torch.full((1,), 2.0**-12).half()
        ...     sgd.step()
        >>> weight.item() == 1 - 2**-10
        True
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        make: Callable[[list[nn.Parameter]], Optimizer],
        scaler: LossScaler | None = None,
    ) -> None:
        self.halves = list(parameters)
        super().__init__(self.halves, {})
        self.masters = [nn.Parameter(p.detach().float()) for p in self.halves]
        self.inner, self.scaler, self.skipped = make(self.masters), scaler, 0

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Unscale, step if all is finite, copy into the halves, and change S.

        Args:
            closure: Not supported.

        Raises:
            ValueError: If a closure is given.
        """
        if closure is not None:
            raise ValueError("closure must be None; compute gradients before the step")
        scale = 1.0 if self.scaler is None else self.scaler.scale
        for half, master in zip(self.halves, self.masters, strict=True):
            master.grad = None if half.grad is None else half.grad.float() / scale
        finite = all(
            bool(m.grad.isfinite().all()) for m in self.masters if m.grad is not None
        )
        if finite or self.scaler is None:
            self.inner.step()
            for half, master in zip(self.halves, self.masters, strict=True):
                half.copy_(master)
        else:
            self.skipped += 1
        if self.scaler is not None:
            self.scaler.update(finite=finite)


def flushed_to_zero(gradient: Tensor, scale: float = 1.0) -> float:
    """Return the share of values other than 0 that float16 takes for 0.

    Args:
        gradient: Float32, not all 0.
        scale: S, which they are multiplied by first.

    Raises:
        ValueError: If all of them are 0.

    Example:
        >>> flushed_to_zero(torch.tensor([0.0, 2.0**-26, 2.0**-20, 1.0]))
        0.3333333333333333
        >>> flushed_to_zero(torch.tensor([2.0**-26]), scale=1024)
        0.0
    """
    values = gradient[gradient != 0]
    if len(values) == 0:
        raise ValueError("gradient is 0 everywhere; run a backward pass first")
    return int(((scale * values).half() == 0).sum()) / len(values)
