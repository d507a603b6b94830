"""BinaryConnect: compute with one-bit weights, learn real ones behind them.

Paper: Courbariaux et al., "BinaryConnect: Training Deep Neural Networks with Binary
Weights during Propagations", NeurIPS 2015, https://arxiv.org/abs/1511.00363.

    forward, backward    with B = sign(W), or B = coin(W), drawn anew every time
    step                 W <- max(-1, min(1, W - rate dL/dB))

The gradient for B goes to W as it is, and small steps add up there until a sign turns.
W beyond 1 would no longer change the coin, so it is clipped; biases and batch norm stay
real. A product with +1 and -1 is a sum of some inputs minus the sum of the others.

    binarize_weights_(net, ["1.weight", "4.weight"], straight_sign)
    sgd = SGD(rate_groups(net, 0.01))
    fit(..., after_step=lambda: clip_weights_(net))

Three weights can be tried after training: the signs, which take one bit each; W itself,
which takes 32; coins. The paper tests with signs where it trained with signs, and with
W where it trained with coins: the second is no one-bit network.

Batch norm knows the statistics of the weights it was trained with. Before others are
tried, let it see data again: ``torch.optim.swa_utils.update_bn``.

Rates: with weights drawn after Glorot, a step that is right for W would take very long
to turn the sign. The authors divide the rate of W by c = sqrt(1.5 / (in + out)) with
Adam, and by its square with SGD: :func:`rate_groups`.

What differs: the paper has a squared hinge loss; the loss here is the caller's.

Before trusting it: layers need a batch norm behind them, since B is far larger than W.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from math import prod, sqrt

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from effdl.quant.straight_signs import straight_sign

How = Callable[[Tensor], Tensor]  # from the real weight to the one to compute with


class BinaryWeight(nn.Module):
    """Makes the weight to compute with from the real one: a parametrization.

    It may also be what a weight factory of :mod:`effdl.quant.insert` returns.

    Args:
        how: From a weight to one of that shape, such as ``straight_sign``.

    Example:
        >>> BinaryWeight()(torch.tensor([0.3, -0.2]))
        tensor([ 1., -1.])
    """

    def __init__(self, how: How = straight_sign) -> None:
        super().__init__()
        self.how = how

    def forward(self, weight: Tensor) -> Tensor:
        """Return the weight to compute with."""
        return self.how(weight)


def binarize_weights_(
    model: nn.Module, names: Iterable[str], how: How = straight_sign
) -> None:
    """Change the network: from now on it computes with one-bit weights.

    Args:
        model: The network. The real weights are its parameters still.
        names: Of weights, such as "1.weight".
        how: ``straight_sign`` or ``clipped_coin``.

    Raises:
        ValueError: If there are no names, or one of them is no parameter; then nothing
            has changed.

    Example:
        >>> net = nn.Sequential(nn.Linear(4, 2))
        >>> binarize_weights_(net, ["0.weight"])
        >>> net[0].weight.abs().tolist()
        [[1.0, 1.0, 1.0, 1.0], [1.0, 1.0, 1.0, 1.0]]
    """
    chosen, there = list(names), dict(model.named_parameters())
    if not chosen or (unknown := [name for name in chosen if name not in there]):
        what = f"{unknown}, which the model does not have" if chosen else "nothing"
        raise ValueError(f"names has {what}; it has {', '.join(there)}")
    for name in chosen:
        path, _, parameter = name.rpartition(".")
        layer = model.get_submodule(path)
        parametrize.register_parametrization(layer, parameter, BinaryWeight(how))


def clip_weights_(model: nn.Module) -> None:
    """Clip the real weights behind binary ones to -1 to 1: call it after every step.

    Args:
        model: The network. Its other parameters stay as they are.

    Example:
        >>> net = nn.Linear(1, 1)
        >>> binarize_weights_(net, ["weight"])
        >>> real = net.parametrizations.weight.original
        >>> _ = real.data.fill_(-7.0)
        >>> clip_weights_(net)
        >>> real.item()
        -1.0
    """
    with torch.no_grad():
        for real in _real_weights(model):
            real.clamp_(-1, 1)


def rate_groups(
    model: nn.Module, rate: float, *, power: int = 1
) -> list[dict[str, object]]:
    """Return groups for an optimiser: real weights behind binary ones are faster.

    Args:
        model: The network.
        rate: Of all other parameters.
        power: Of c, by which the rate is divided: 1 for Adam, 2 for SGD.

    Example:
        >>> net = nn.Linear(4, 2)
        >>> binarize_weights_(net, ["weight"])
        >>> [group["lr"] for group in rate_groups(net, 0.01)]
        [0.01, 0.02]
    """
    behind = list(_real_weights(model))
    known = {id(real) for real in behind}
    others = [p for p in model.parameters() if id(p) not in known]
    groups: list[dict[str, object]] = [{"params": others, "lr": rate}]
    for real in behind:
        area = prod(real.shape[2:])
        c = sqrt(1.5 / (area * (real.shape[0] + real.shape[1])))
        groups.append({"params": [real], "lr": rate / c**power})
    return groups


@contextmanager
def weights_as(model: nn.Module, how: How) -> Iterator[None]:
    """Let the network compute with other weights for a while.

    Args:
        model: The network; afterwards it is as before.
        how: Such as ``sign``, ``coin_sign`` or, for the real weights, ``torch.clone``.

    Example:
        >>> net = nn.Linear(1, 1)
        >>> binarize_weights_(net, ["weight"])
        >>> real = net.parametrizations.weight.original
        >>> with weights_as(net, torch.clone):
        ...     bool(net.weight == real)
        True
    """
    found = [layer for layer in model.modules() if isinstance(layer, BinaryWeight)]
    before = [layer.how for layer in found]
    try:
        for layer in found:
            layer.how = how
        yield
    finally:
        for layer, old in zip(found, before, strict=True):
            layer.how = old


def sums_minus_sums(x: Tensor, signs: Tensor) -> Tensor:
    """Return x @ signs.T without a product: what meets +1, minus what meets -1.

    It shows what the product needs. It is not fast, and takes N * out * in numbers of
    memory.

    Args:
        x: Inputs (N, in), floats or integers.
        signs: +1 and -1, (out, in).

    Raises:
        ValueError: If there is something else among the signs.

    Example:
        >>> sums_minus_sums(torch.tensor([[5, 3]]), torch.tensor([[1, -1], [-1, -1]]))
        tensor([[ 2, -8]])
    """
    if not bool((signs.abs() == 1).all()):
        raise ValueError("signs must hold +1 and -1 only; take sign() of the weights")
    inputs, plus = x[:, None], signs > 0
    return torch.where(plus, inputs, 0).sum(-1) - torch.where(plus, 0, inputs).sum(-1)


def _real_weights(model: nn.Module) -> Iterator[Tensor]:
    for layer in model.modules():
        if not isinstance(layer, parametrize.ParametrizationList):
            continue
        if any(isinstance(step, BinaryWeight) for step in layer):
            yield layer.original
