"""NxMTransformer: train towards N:M by ADMM, then cut.

Paper: Holmes et al., "NxMTransformer: Semi-Structured Sparsification for Natural
Language Understanding via ADMM", NeurIPS 2021, https://arxiv.org/abs/2110.15766.

Wanted is the least loss among all weights that are N:M. Split it: W minimises, Z is
N:M, U adds up what keeps them apart.

    W    steps of an optimiser on    L(W) + rho / 2  ||W - Z + U||^2
    Z    = P(W + U)                  the nearest N:M weights: the N largest of a group
    U    = U + W - Z

then W = P(W), and fine-tuning under that mask. All weights learn until then; those that
are to go are drawn to 0 softly, and may be given up for others.

P is exact, group by group: among all C(M, N) masks no other leaves W closer.

What ADMM promises holds for convex sets, and the N:M weights are none. For a loss with
H = diag(h), take a fixed point that keeps a set S:

    W = Z = the optimum a on S, 0 elsewhere        U = h a / rho elsewhere, 0 on S

P confirms it if every |a| of S is at least h |a| / rho of every other in its group. The
larger rho, the more sets are confirmed, up to the mask by magnitude with which Z begins
at W = a. The smaller, the fewer: then W and Z may never meet. With h the same
everywhere and rho = h, the best S is the only one.

What differs: the paper fine-tunes a network that was trained before. Here whatever
comes in is the start. rho has no default, as it has to match the curvature.
"""

import math
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from effdl.checks import check_positive
from effdl.prune.nm import nm_mask


def project(weight: Tensor, keep: int = 2, group: int = 4) -> Tensor:
    """Return the nearest weights that are N:M, P(W).

    Args:
        weight: (out, in) or (out, in, k, k).
        keep: Weights N that stay in each group.
        group: Weights M of a group, a divisor of in.

    Example:
        >>> project(torch.tensor([[3.0, -1.0, 4.0, 2.0]]))
        tensor([[3., 0., 4., 0.]])
    """
    return torch.where(nm_mask(weight.abs(), keep, group), weight, 0)


class Admm:
    """Holds Z and U of some weights while their network trains.

    Args:
        model: The network, not pruned.
        names: Of parameters; M divides the inputs of each.
        keep: Weights N that stay in each group.
        group: Weights M of a group.
        rho: Strength of the penalty, above 0.

    Raises:
        ValueError: If a name is no parameter, there is none, or ``rho`` is out of
            range.

    Example:
        >>> layer = nn.Linear(2, 1)
        >>> _ = layer.weight.data.copy_(torch.tensor([[3.0, 1.0]]))
        >>> admm = Admm(layer, ["weight"], keep=1, group=2, rho=2.0)
        >>> admm.penalty().item()
        1.0
        >>> admm.update()
        >>> admm.target["weight"], admm.dual["weight"]
        (tensor([[3., 0.]]), tensor([[0., 1.]]))
    """

    def __init__(
        self,
        model: nn.Module,
        names: Iterable[str],
        keep: int = 2,
        group: int = 4,
        *,
        rho: float,
    ) -> None:
        parameters, chosen = dict(model.named_parameters()), list(names)
        if not chosen or not set(chosen) <= parameters.keys():
            raise ValueError(f"names must be some of {[*parameters]}, got {chosen}")
        if not 0 < rho < float("inf"):
            raise ValueError(f"rho must be above 0 and finite, got {rho}")
        self.weights = {name: parameters[name] for name in chosen}
        self.keep, self.group, self.rho = keep, group, rho
        self.target = {n: self._nearest(w.detach()) for n, w in self.weights.items()}
        self.dual = {n: torch.zeros_like(w.detach()) for n, w in self.weights.items()}

    def penalty(self) -> Tensor:
        """Return ``rho / 2 ||W - Z + U||^2`` over all weights, to add to the loss."""
        parts = [
            (weight - self.target[name] + self.dual[name]).square().sum()
            for name, weight in self.weights.items()
        ]
        return self.rho / 2 * torch.stack(parts).sum()

    @torch.no_grad()
    def update(self) -> None:
        """Take a Z-step and a U-step."""
        for name, weight in self.weights.items():
            self.target[name] = self._nearest(weight + self.dual[name])
            self.dual[name] = self.dual[name] + weight - self.target[name]

    def updates(self, every: int) -> Callable[[], None]:
        """Return what to call after every step: it updates once in ``every`` calls.

        Args:
            every: Steps of the optimiser for one of Z and U.
        """
        check_positive(every=every)
        done = 0

        def after_step() -> None:
            nonlocal done
            done += 1
            if done % every == 0:
                self.update()

        return after_step

    @torch.no_grad()
    def residual(self) -> float:
        """Return how far W is from Z, ``||W - Z|| / ||W||``, over all weights."""
        apart, size = 0.0, 0.0
        for name, weight in self.weights.items():
            apart += float((weight - self.target[name]).square().sum())
            size += float(weight.square().sum())
        return math.sqrt(apart / size)

    def masks(self) -> dict[str, Tensor]:
        """Return the masks of P(W), for :func:`effdl.prune.masks.prune_`."""
        return {
            name: nm_mask(weight.detach().abs(), self.keep, self.group)
            for name, weight in self.weights.items()
        }

    def _nearest(self, weight: Tensor) -> Tensor:
        return project(weight, self.keep, self.group)
