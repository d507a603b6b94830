"""Layers whose weights, or inputs, have a gate each, and back to ordinary layers.

Paper: Louizos et al., "Learning Sparse Neural Networks through L0 Regularization", ICLR
2018, https://arxiv.org/abs/1712.01312.

    y = (theta * z) x                   z: a gate for each weight, or shared by many
    minimise  mean loss + strength * E[number of weights whose gate is not 0]

The gates are those of :mod:`effdl.prune.hard_concrete`. A gate of shape (1, in) is
shared by all that a linear layer does with one input, (1, in, 1, 1) by all that a
convolution does with a channel. The expectation counts weights, not gates.

    net = gated(net)                                a copy; train it with the cost added
    loss = cross_entropy(net(x), y) + strength * expected_l0(net)
    plain = without_gates(net)                      ordinary layers, weights theta * z
    prune_(plain, gate_masks(net))                  to go on training what is left

What differs: the authors' program can draw a z for each image; here it is one for the
batch, their default. Its price on squared weights is left out: weight decay is near it,
but does not know of the gates. Its convolutions gate outputs, these may gate inputs.

Before trusting it: gates per weight do not make the network faster, see
:mod:`effdl.prune.masks`; gates per input only if their inputs are then taken out.
"""

from collections.abc import Callable

from torch import Tensor, nn
from torch.func import functional_call

from effdl.nas.proxies.weights import Connected, connected_layers
from effdl.prune.hard_concrete import HardConcreteGate
from effdl.prune.swap import swapped


class GatedLayer(nn.Module):
    """A linear or convolutional layer that computes with gated weights.

    Args:
        layer: Its parameters are used, not copied.
        gate: Of a shape that can be expanded to that of the weight.

    Raises:
        ValueError: If it cannot.

    Example:
        >>> import torch
        >>> layer = GatedLayer(nn.Linear(3, 2), HardConcreteGate((1, 3)))
        >>> layer(torch.ones(5, 3)).shape
        torch.Size([5, 2])
    """

    def __init__(self, layer: Connected, gate: HardConcreteGate) -> None:
        super().__init__()
        shape, wanted = tuple(gate.log_alpha.shape), tuple(layer.weight.shape)
        fits = len(shape) == len(wanted)
        if not fits or any(s not in (1, w) for s, w in zip(shape, wanted, strict=True)):
            raise ValueError(
                f"gate has shape {shape}, which does not expand to the weight's "
                f"{wanted}; every side must be that of the weight, or 1"
            )
        self.layer = layer
        self.gate = gate

    def forward(self, x: Tensor) -> Tensor:
        """Return what the layer returns, with its weights times the gates."""
        weight = self.layer.weight * self.gate()
        return functional_call(self.layer, {"weight": weight}, (x,))

    def expected_l0(self) -> Tensor:
        """Return how many weights have a gate that is not 0, in expectation."""
        shared_by = self.layer.weight.numel() / self.gate.log_alpha.numel()
        return shared_by * self.gate.expected_open()

    def mask(self) -> Tensor:
        """Return where the gates of evaluation are not 0, shaped like the weight."""
        return (self.gate.without_noise() > 0).expand_as(self.layer.weight).clone()

    def settled(self) -> Connected:
        """Return the layer alone, changed: its weights have the gates in them."""
        weight = self.layer.weight.detach() * self.gate.without_noise().detach()
        self.layer.weight = nn.Parameter(weight)  # a new one: others may share the old
        return self.layer


def weight_gate(layer: Connected) -> HardConcreteGate:
    """Return gates for single weights.

    Args:
        layer: Gives the shape.

    Example:
        >>> weight_gate(nn.Linear(3, 2)).log_alpha.shape
        torch.Size([2, 3])
    """
    return HardConcreteGate(layer.weight.shape)


def input_gate(layer: Connected) -> HardConcreteGate:
    """Return gates for input units or channels, shared by all that they lead to.

    Args:
        layer: Without groups: with them, a kernel's inputs are not the layer's.

    Raises:
        ValueError: If it has groups.

    Example:
        >>> input_gate(nn.Conv2d(3, 8, 5)).log_alpha.shape
        torch.Size([1, 3, 1, 1])
    """
    groups = getattr(layer, "groups", 1)
    if groups != 1:
        raise ValueError(f"layer has {groups} groups; gate its single weights instead")
    rest = (1,) * (layer.weight.ndim - 2)
    return HardConcreteGate((1, layer.weight.shape[1], *rest))


def gated(
    model: nn.Module, make_gate: Callable[[Connected], HardConcreteGate] = weight_gate
) -> nn.Module:
    """Return a copy with gates in all linear and convolutional layers.

    Raises ``ValueError`` as :func:`effdl.nas.proxies.weights.connected_layers` does.

    Args:
        model: The network; it is left as it is.
        make_gate: Makes the gates of a layer.

    Raises:
        ValueError: If the network has gates already.

    Example:
        >>> net = gated(nn.Sequential(nn.Linear(2, 2), nn.ReLU()))
        >>> type(net[0]).__name__
        'GatedLayer'
    """
    if any(isinstance(module, GatedLayer) for module in model.modules()):
        raise ValueError("model has gates already; use without_gates first")
    connected_layers(model)
    return swapped(model, Connected, lambda layer: GatedLayer(layer, make_gate(layer)))


def without_gates(model: nn.Module) -> nn.Module:
    """Return a copy with ordinary layers, whose weights have the gates multiplied in.

    It computes what the network computes in evaluation.

    Args:
        model: The network; it is left as it is.

    Example:
        >>> net = nn.Linear(2, 2)
        >>> type(without_gates(gated(net))).__name__
        'Linear'
    """
    return swapped(model, GatedLayer, lambda layer: layer.settled())


def gate_masks(model: nn.Module) -> dict[str, Tensor]:
    """Return which weights have a gate that is not 0 in evaluation.

    Args:
        model: A network from :func:`gated`.

    Returns:
        From the names of the weights in :func:`without_gates` to bool tensors.

    Example:
        >>> gate_masks(gated(nn.Linear(2, 1)))
        {'weight': tensor([[True, True]])}
    """
    layers = {n: m for n, m in model.named_modules() if isinstance(m, GatedLayer)}
    return {f"{n}.weight".removeprefix("."): m.mask() for n, m in layers.items()}


def expected_l0(model: nn.Module) -> Tensor:
    """Return how many weights have a gate that is not 0, in expectation, a scalar.

    Args:
        model: A network from :func:`gated`.

    Raises:
        ValueError: If it has no gates.

    Example:
        >>> round(expected_l0(gated(nn.Linear(5, 2))).item(), 3)
        8.318
    """
    layers = [m for m in model.modules() if isinstance(m, GatedLayer)]
    if not layers:
        raise ValueError("model has no gates; make a copy that has, by gated")
    total: Tensor = sum(layer.expected_l0() for layer in layers)  # type: ignore[assignment]
    return total
