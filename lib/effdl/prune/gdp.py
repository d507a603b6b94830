"""GDP: a gate before each layer's every input channel, driven to 0 or towards 1.

Paper: Guo et al., "GDP: Stabilized Neural Network Pruning via Gates with Differentiable
Polarization", ICCV 2021, https://arxiv.org/abs/2109.02220.

    y   = W * (g_c x_c)                             a gate g_c for each channel c
    g   = phi^2 / (phi^2 + eps)                     phi is learned and begins at 1
    R   = sum over layers of  cost * (mean g before the layer) * (mean g behind it)
    minimise  loss + strength * R

The gate is 0 at phi = 0 only, has no slope there and hardly any far away: a gate that
is open stays open, one that is 0 stays 0, and those between run to one of the sides.
As eps falls to 0, g becomes 1 for all phi but 0, and R the cost of the network that is
left. That would open again what is nearly closed; so after each step

    phi <- 0  if  |phi| <= sqrt(2 amount)           :mod:`effdl.prune.gdp_training`

In the end the zeros are removed, and the others multiplied into the weights behind
them: :mod:`effdl.prune.gate_removal`. The survey has it among the methods that
remove single weights. It removes channels: a network has as many gates as channels that
its layers read, and what is left is an ordinary, smaller network.

What differs: we could read the abstract, an outline and a figure's caption, not the
algorithm. That gates are a smoothed L0, costs bilinear and zeros exact is theirs; which
proximal step makes the zeros, and how eps falls, is ours.

Before trusting it: strength, amount and the fall of eps have to be found for a network.
With too much, a layer loses all of its channels.
"""

from collections.abc import Mapping

from torch import Tensor, nn

from effdl.nas.proxies.weights import Connected, connected_layers
from effdl.prune.swap import swapped


def smoothed_gate(phi: Tensor, eps: float) -> Tensor:
    """Return phi^2 / (phi^2 + eps), from 0 to 1, shaped like phi.

    Args:
        phi: Any shape.
        eps: Above 0.

    Raises:
        ValueError: If it is not.

    Example:
        >>> import torch
        >>> smoothed_gate(torch.tensor([0.0, 0.5, -2.0]), 0.25)
        tensor([0.0000, 0.5000, 0.9412])
    """
    if not eps > 0:
        raise ValueError(f"eps must be above 0, got {eps}; at 0 there is no slope")
    return phi.square() / (phi.square() + eps)


class PolarizedLayer(nn.Module):
    """A linear or convolutional layer with a gate before each of its input channels.

    Args:
        layer: Its parameters are used, not copied; without groups.
        eps: Where eps begins; the attribute of this name may be changed.

    Raises:
        ValueError: If the layer has groups.

    Example:
        >>> import torch
        >>> layer = nn.Linear(3, 1, bias=False)
        >>> _ = nn.init.ones_(layer.weight)
        >>> PolarizedLayer(layer, eps=1.0)(torch.ones(1, 3)).item()
        1.5
    """

    def __init__(self, layer: Connected, *, eps: float = 0.1) -> None:
        super().__init__()
        groups = getattr(layer, "groups", 1)
        if groups != 1:
            raise ValueError(f"layer has {groups} groups; its outputs share no inputs")
        self.layer = layer
        self.phi = nn.Parameter(layer.weight.new_ones(layer.weight.shape[1]))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Return what the layer makes of (N, c, ...) times the gates."""
        return self.layer(x * self.gates().view(-1, *(1,) * (x.ndim - 2)))

    def gates(self) -> Tensor:
        """Return the gates, (c,)."""
        return smoothed_gate(self.phi, self.eps)


def with_gates(model: nn.Module, *, eps: float = 0.1) -> nn.Module:
    """Return a copy with gates before every linear and convolutional layer but one.

    The first has none: its inputs are the network's. Raises ``ValueError`` as
    :class:`PolarizedLayer` and
    :func:`effdl.nas.proxies.weights.connected_layers` do.

    Args:
        model: The network; it is left as it is.
        eps: Where eps begins.

    Raises:
        ValueError: If the network has gates already.

    Example:
        >>> net = with_gates(nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)))
        >>> {name: len(gates) for name, gates in gates_of(net).items()}
        {'2': 3}
    """
    if any(isinstance(module, PolarizedLayer) for module in model.modules()):
        raise ValueError("model has gates already; use fold_gates or remove_closed")
    connected_layers(model)
    seen: list[Connected] = []

    def put_before(layer: Connected) -> nn.Module:
        seen.append(layer)
        return layer if len(seen) == 1 else PolarizedLayer(layer, eps=eps)

    return swapped(model, Connected, put_before)


def gates_of(model: nn.Module) -> dict[str, Tensor]:
    """Return the gates before each layer that has some, with their gradient.

    Args:
        model: A network from :func:`with_gates`.

    Returns:
        From the name that the layer has without gates to (c,).

    Example:
        >>> gates_of(nn.Linear(2, 2))
        {}
    """
    layers = {n: m for n, m in model.named_modules() if isinstance(m, PolarizedLayer)}
    return {name: layer.gates() for name, layer in layers.items()}


def gated_cost(gates: Mapping[str, Tensor], costs: Mapping[str, float]) -> Tensor:
    """Return R, the cost that the gates leave of a chain of layers, a scalar.

    With gates of 0 and 1 and multiply-adds for costs, it is what the network that is
    left takes: they are proportional to a layer's inputs and to its outputs.
    :func:`effdl.measure.roofline.layer_costs` counts them.

    Args:
        gates: From :func:`gates_of`.
        costs: Cost of each layer, in the order in which they run, from their names.

    Raises:
        ValueError: If there are no gates, or a gate's layer has no cost.

    Example:
        >>> import torch
        >>> gates = {"2": torch.tensor([1.0, 0.0])}
        >>> gated_cost(gates, {"0": 6.0, "2": 4.0})
        tensor(5.)
    """
    if not gates:
        raise ValueError("gates is empty; make a copy that has some, by with_gates")
    missing = sorted(set(gates) - set(costs))
    if missing:
        raise ValueError(f"costs must name every gated layer, and lacks {missing}")
    shares = [gates[name].mean() if name in gates else None for name in costs]
    total = next(iter(gates.values())).new_zeros(())
    for cost, before, behind in zip(
        costs.values(), shares, [*shares[1:], None], strict=True
    ):
        read = 1.0 if before is None else before
        total = total + cost * read * (1.0 if behind is None else behind)
    return total
