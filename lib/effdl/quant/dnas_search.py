"""The search of DNAS for bits: draws that cool down, and a loss times a log of bits.

Paper: Wu et al., "Mixed Precision Quantization of ConvNets via Differentiable Neural
Architecture Search", 2018, https://arxiv.org/abs/1812.00090, sections 4 and 5.

    m_l = softmax((theta_l + Gumbel noise) / tau)        new noise in every step
    weights minimise  CE                                 on one part of the data
    theta minimises   CE * beta log(cost(m))^gamma       on another
    tau falls exponentially

While tau is large, all copies of a layer run alike and learn. Near 0 a draw is nearly
one-hot: what is trained comes close to what is kept. The product is that of
:func:`~effdl.nas.hardware.penalties.fbnet_product`, by the same authors. In the end
networks are drawn from softmax(theta), or its largest entries are taken.

What differs: the search starts from a trained network, and is short. It goes through
its temperatures in few epochs. beta and gamma are FBNet's unless given.

When not to trust it: log(cost) hardly changes over a space of bits. From 2 to 8 bits
everywhere it may go from 9.8 to 11.2. So the pull towards few bits is weak, and fades
with CE; gamma has to be tried, and no gamma is a budget.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, fx
from torch.optim import SGD, Adam

from effdl.data.digits import Split
from effdl.nas.gradient.architecture import Architecture
from effdl.nas.gradient.gumbel import ConcreteWeights, falling_exponentially
from effdl.nas.hardware.expected_cost import CostTable, expected_cost
from effdl.nas.hardware.penalties import ALPHA, BETA
from effdl.quant.bit_choices import Bits
from effdl.quant.dnas_bits import edges_of
from effdl.train import fit

START, END = 5.0, 0.1  # tau


def bits_architecture(model: fx.GraphModule) -> Architecture:
    """Return theta, even at first: one edge for each layer.

    Args:
        model: What :func:`~effdl.quant.dnas_bits.parallel_bits` returned.

    Example:
        >>> from torch import nn
        >>> from effdl.quant.dnas_bits import parallel_bits
        >>> net = parallel_bits(nn.Sequential(nn.Linear(4, 3)), [2, 8])
        >>> bits_architecture(net).candidates
        (('2', '8'),)
    """
    edges = edges_of(model).values()
    return Architecture([tuple(edge.mixed.candidates) for edge in edges], spread=0)


def bits_found(architecture: Architecture) -> Bits:
    """Return the bits with the largest theta in each layer.

    Args:
        architecture: What :func:`bits_architecture` returned.

    Example:
        >>> bits_found(Architecture([("2", "8")] * 3, spread=0))
        (2, 2, 2)
    """
    return tuple(map(int, architecture.strongest(never=())))


def bits_drawn(architecture: Architecture) -> Bits:
    """Return bits drawn from softmax(theta), with PyTorch's generator.

    Args:
        architecture: What :func:`bits_architecture` returned.

    Example:
        >>> found = Architecture([("2", "8")] * 3, spread=0)
        >>> _ = found.logits.data[:, 1].fill_(99.0)
        >>> bits_drawn(found)
        (8, 8, 8)
    """
    with torch.no_grad():
        places = architecture.masked_logits().softmax(dim=1).multinomial(1).flatten()
    names = zip(architecture.candidates, places.tolist(), strict=True)
    return tuple(int(layer[place]) for layer, place in names)


def set_shares_(model: fx.GraphModule, shares: Tensor) -> None:
    """Change how the edges of a network are weighted.

    Args:
        model: What :func:`~effdl.quant.dnas_bits.parallel_bits` returned.
        shares: m, (layers, K), or ``ValueError``.

    Example:
        >>> from torch import nn
        >>> from effdl.quant.dnas_bits import parallel_bits
        >>> net = parallel_bits(nn.Sequential(nn.Linear(4, 3)), [2, 8])
        >>> set_shares_(net, torch.tensor([[0.25, 0.75]]))
    """
    for edge, row in zip(edges_of(model).values(), shares.unbind(), strict=True):
        edge.shares = row


def search_parallel_(
    model: fx.GraphModule,
    architecture: Architecture,
    table: CostTable,
    *,
    train: Split,
    validation: Split,
    beta: float = ALPHA,
    gamma: float = BETA,
    epochs: int = 6,
) -> list[float]:
    """Return the mean loss of theta in every epoch of a search, done in place.

    The weights learn by SGD with momentum at a rate of 0.003, theta by Adam at 0.1, in
    batches of 100. In the first third of the epochs theta stands still.

    Args:
        model: What :func:`~effdl.quant.dnas_bits.parallel_bits` returned.
        architecture: Its theta.
        table: Costs of the same layers and bits, all above 1.
        train: For the weights.
        validation: For theta.
        beta: Scales the loss of theta, above 0: with Adam it changes next to nothing.
        gamma: How much bits count, 0 or larger. A large one needs a small ``beta``, or
            the gradients leave the range of floats.
        epochs: At least 2; of both in turn.

    Raises:
        ValueError: If ``beta``, ``gamma`` or ``epochs`` is out of range.

    Example:
        >>> from torch import nn
        >>> from effdl.quant.bit_choices import LayerSize
        >>> from effdl.quant.dnas_bits import bits_table, parallel_bits
        >>> net = parallel_bits(nn.Sequential(nn.Linear(2, 2)), [2, 8])
        >>> theta = bits_architecture(net)
        >>> split = Split(torch.eye(2).repeat(50, 1), torch.arange(2).repeat(50))
        >>> table = bits_table([LayerSize("0", 4, 4)], [2, 8])
        >>> losses = search_parallel_(
        ...     net, theta, table, train=split, validation=split, gamma=9.0
        ... )
        >>> len(losses), bool(theta.logits[0, 0] > theta.logits[0, 1])
        (4, True)
    """
    if not beta > 0 or not gamma >= 0 or epochs < 2:
        raise ValueError(
            "beta must be above 0, gamma 0 or larger and epochs at least 2, got "
            f"{beta}, {gamma} and {epochs}"
        )
    sgd = SGD(model.parameters(), 0.003, momentum=0.9)
    adam = Adam(architecture.parameters(), 0.1, (0.5, 0.999))
    relax = ConcreteWeights(falling_exponentially(START, END))
    progress = 0.0

    def weight_loss(inputs: Tensor, targets: Tensor) -> Tensor:
        set_shares_(model, relax(architecture, progress).detach())
        return F.cross_entropy(model(inputs), targets)

    def theta_loss(inputs: Tensor, targets: Tensor) -> Tensor:
        shares = relax(architecture, progress)
        set_shares_(model, shares)
        entropy = F.cross_entropy(model(inputs), targets)
        return entropy * beta * expected_cost(shares, table).log() ** gamma

    learning, held_out = train.batches(100, seed=0), validation.batches(100, seed=1)
    losses = []
    for epoch in range(epochs):
        progress = epoch / (epochs - 1)
        fit(model, weight_loss, learning, sgd, epochs=1)
        if epoch >= epochs // 3:
            losses += fit(model, theta_loss, held_out, adam, epochs=1)
    set_shares_(model, architecture.masked_logits().softmax(dim=1).detach())
    return losses
