"""Cross distillation: refit a pruned network by layers, with both networks' inputs.

Paper: Bai et al., "Few Shot Network Compression via Cross Distillation", AAAI 2020,
https://arxiv.org/abs/1911.09450, section 3.

Channels are removed, and every layer is refitted to what its teacher puts out on a few
images. But what does it get to see? Let T and S be the layer of the teacher and of the
student, t and s what reaches it in its own network.

    estimation    ||S(s) - T(t)||^2      what is wanted in the end
    correction    ||S(t) - T(t)||^2      on the teacher's inputs: the right answers
    imitation     ||S(s) - T(s)||^2      on the student's inputs: do as T would
    loss  =  mu correction + (1 - mu) imitation

With mu = 1 the layer has never seen the errors of the layers before it; with mu = 0 it
sees them, and its target T(s) repeats them. All are quadratic in the weights of S, so
they are solved exactly, layer after layer from the first on.

What differs: the formulas are those of the authors' program, where ``mu`` is 0.6 or
0.9. It finds the channels that a layer reads, by proximal steps, together with the
weights; here the channels are given. Batch norm is folded first, and ``ridge`` may
hold weights near the teacher's. The paper also mixes inputs instead of losses; that is
left out.

Before trusting it: a kernel of 3 x 3 on c channels has 9 c + 1 unknowns for each
output, and few images have few independent pixels: a fit can be exact and useless.
"""

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from effdl.distill.checks import check_share
from effdl.distill.layer_errors import layer_at, seen_at
from effdl.distill.least_squares import Equations, Layer, refit_
from effdl.quant.graph import fold_batch_norm


def cross_loss(
    student: nn.Module,
    teacher: nn.Module,
    seen_by_student: Tensor,
    seen_by_teacher: Tensor,
    *,
    mu: float = 0.6,
) -> Tensor:
    """Return mu correction + (1 - mu) imitation, means over all elements, a scalar.

    Args:
        student: The layer S.
        teacher: The layer T, of the same outputs.
        seen_by_student: Its inputs s in the student, (N, c, ...).
        seen_by_teacher: Its inputs t in the teacher, (N, c, ...).
        mu: The share of the correction, 0 to 1.

    Example:
        >>> layer = nn.Linear(2, 3)
        >>> cross_loss(layer, layer, torch.ones(1, 2), torch.zeros(1, 2)).item()
        0.0
    """
    check_share(mu=mu)
    s, t = seen_by_student, seen_by_teacher
    correction = F.mse_loss(student(t), teacher(t).detach())
    imitation = F.mse_loss(student(s), teacher(s).detach())
    return mu * correction + (1 - mu) * imitation


def cross_distil(
    teacher: nn.Module,
    keep: Mapping[str, Tensor],
    inputs: Tensor,
    *,
    mu: float = 0.6,
    ridge: float = 0.0,
) -> fx.GraphModule:
    """Return a copy that does not read the channels that go, refitted by both losses.

    The copy has all channels still: what nobody reads is taken out, without effect on
    the logits, by :func:`effdl.compress.channels.remove_channels`. It has no batch
    norm. Raises ``ValueError`` if a batch norm cannot be folded, and as
    :func:`effdl.distill.least_squares.refit_` does.

    Args:
        teacher: A chain of layers, in eval mode; left as it is.
        keep: From layer name to True for a channel that stays, bool, (out,).
        inputs: The few images, (N, ...).
        mu: The share of the correction, 0 to 1.
        ridge: The pull of the weights towards the teacher's, at least 0.

    Example:
        >>> net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1)).eval()
        >>> keep = {"0": torch.tensor([True, False])}
        >>> student = cross_distil(net, keep, torch.eye(2))
        >>> student.get_submodule("1").weight[0, 1].item()
        0.0
    """
    check_share(mu=mu)

    def both(layer: Layer, s: Tensor, t: Tensor) -> Equations:
        pairs = [(mu, t, layer(t)), (1 - mu, s, layer(s))]
        return [pair for pair in pairs if pair[0] > 0]

    return _layer_by_layer(teacher, keep, inputs, both, ridge)


def estimate_layers(
    teacher: nn.Module,
    keep: Mapping[str, Tensor],
    inputs: Tensor,
    *,
    ridge: float = 0.0,
) -> fx.GraphModule:
    """Return a copy as :func:`cross_distil` does, refitted by the estimation alone.

    This is what the paper compares with.

    Args:
        teacher: A chain of layers, in eval mode; left as it is.
        keep: From layer name to True for a channel that stays, bool, (out,).
        inputs: The few images, (N, ...).
        ridge: The pull of the weights towards the teacher's, at least 0.

    Example:
        >>> net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1)).eval()
        >>> keep = {"0": torch.tensor([True, False])}
        >>> x = torch.tensor([[1.0, 2.0]])
        >>> torch.allclose(estimate_layers(net, keep, x)(x), net(x), atol=1e-5)
        True
    """

    def mixed(layer: Layer, s: Tensor, t: Tensor) -> Equations:
        return [(1.0, s, layer(t))]

    return _layer_by_layer(teacher, keep, inputs, mixed, ridge)


def _layer_by_layer(
    teacher: nn.Module,
    keep: Mapping[str, Tensor],
    inputs: Tensor,
    equations_of: Callable[[Layer, Tensor, Tensor], Equations],
    ridge: float,
) -> fx.GraphModule:
    whole, refitted = fold_batch_norm(teacher), fold_batch_norm(teacher)
    layers = {n: m for n, m in refitted.named_modules() if isinstance(m, Layer)}
    unknown = sorted(keep.keys() - {*[*layers][:-1]})
    if unknown:
        raise ValueError(
            f"keep has {unknown}, behind which no layer reads; choose of {[*layers]}"
        )
    for before, name in zip(layers, [*layers][1:], strict=False):
        if before in keep:
            t, _ = seen_at(whole, name, inputs)
            s, _ = seen_at(refitted, name, inputs)
            with torch.no_grad():
                equations = equations_of(layer_at(whole, name), s, t)
            refit_(layers[name], equations, keep[before], ridge)
    return refitted
