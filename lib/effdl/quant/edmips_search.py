"""The search of EdMIPS: weights and bits learn together, and bits have a price.

Paper: Cai and Vasconcelos, "Rethinking Differentiable Search for Mixed-Precision Neural
Networks", CVPR 2020, https://arxiv.org/abs/2004.05795, section 4.

    loss       CE + rate * complexity / largest complexity
    complexity = sum over l of  MACs_l E[b_l] E[a_l]      a_l: of what layer l reads

All learn together from the same data, in one loop. In the end every layer takes its
likeliest bits, and the network is trained again with them.

What differs: the price is a share of the complexity at most bits everywhere, so that a
rate of 1 adds 1 to the loss there. The paper adds rate times operations. Bits have an
optimizer of their own, SGD without weight decay; the authors' program decays them, too.

When not to trust it: a rate is no budget. Which cost comes out is known afterwards, and
the softmax may still be even when the search ends: look at it.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn
from torch.optim import SGD

from effdl.data.digits import Split
from effdl.quant.bit_choices import LayerSize
from effdl.quant.edmips import MixedActivation, MixedWeight
from effdl.quant.insert import insert_quantizers
from effdl.quant.observers import Extremes
from effdl.quant.set_bits import weight_rounding
from effdl.train import fit

Mixed = MixedWeight | MixedActivation


def mixed_bits(model: nn.Module, candidates: Sequence[int]) -> fx.GraphModule:
    """Return a copy with a mixture at every weight and every activation.

    Calibrate it with :func:`~effdl.quant.insert.calibrate_`.

    Args:
        model: Without batch norm, or ``ValueError``; left as it is.
        candidates: Bits, 2 to 16 each, of all mixtures.

    Example:
        >>> net = mixed_bits(nn.Sequential(nn.Linear(2, 1)), [2, 4])
        >>> sum(isinstance(module, Mixed) for module in net.modules())
        3
    """
    return insert_quantizers(
        model,
        weight=lambda _name, _weight: MixedWeight(candidates),
        activation=lambda _name: MixedActivation(Extremes(), candidates),
    )


def mixtures_of(
    model: fx.GraphModule, sizes: Sequence[LayerSize]
) -> list[tuple[MixedWeight, MixedActivation]]:
    """Return the mixtures of each layer: of its weight, and of what it reads.

    Args:
        model: With mixtures at all weights and activations, see :func:`mixed_bits`.
        sizes: Of its layers.

    Raises:
        ValueError: If a weight or an input of a layer has no mixture.

    Example:
        >>> net = mixed_bits(nn.Sequential(nn.Linear(2, 1)), [2, 4])
        >>> [(w, a)] = mixtures_of(net, [LayerSize("0", 2, 2)])
        >>> w.candidates, a.candidates
        ((2, 4), (2, 4))
    """
    found = []
    for name, _, _ in sizes:
        weight = weight_rounding(model.get_submodule(name))
        reads = _read_by(model, name)
        if isinstance(weight, MixedWeight) and isinstance(reads, MixedActivation):
            found.append((weight, reads))
        else:
            raise ValueError(
                f"layer {name} must have a MixedWeight and read a MixedActivation, got "
                f"{type(weight).__name__} and {type(reads).__name__}"
            )
    return found


def complexity(model: fx.GraphModule, sizes: Sequence[LayerSize]) -> Tensor:
    """Return the bit operations with the mean bits of each layer, ().

    Takes the arguments of :func:`mixtures_of` and raises its errors.

    Args:
        model: With mixtures.
        sizes: Of its layers.

    Example:
        >>> net = mixed_bits(nn.Sequential(nn.Linear(2, 1)), [2, 4])
        >>> complexity(net, [LayerSize("0", 2, 2)]).item()  # 2 * 3 * 3
        18.0
    """
    pairs = zip(mixtures_of(model, sizes), sizes, strict=True)
    terms = [size.macs * w.expected() * a.expected() for (w, a), size in pairs]
    return torch.stack(terms).sum()


def likeliest(
    model: fx.GraphModule, sizes: Sequence[LayerSize]
) -> list[tuple[int, int]]:
    """Return the likeliest bits of each layer: of its weight, and of what it reads.

    Takes the arguments of :func:`mixtures_of` and raises its errors. Of equally likely
    bits the first.

    Args:
        model: With mixtures.
        sizes: Of its layers.

    Example:
        >>> net = mixed_bits(nn.Sequential(nn.Linear(2, 1)), [4, 8])
        >>> likeliest(net, [LayerSize("0", 2, 2)])
        [(4, 4)]
    """
    return [(_argmax(w), _argmax(a)) for w, a in mixtures_of(model, sizes)]


def search_bits_(
    model: fx.GraphModule,
    split: Split,
    sizes: Sequence[LayerSize],
    *,
    rate: float,
    epochs: int = 3,
    learning_rate: float = 0.003,
    bits_learning_rate: float = 0.1,
    seed: int = 0,
) -> list[float]:
    """Return the mean loss of every epoch of training weights and bits in place.

    Args:
        model: With mixtures, calibrated.
        split: What to train on, in batches of 100.
        sizes: Of the layers, as in :func:`mixtures_of`.
        rate: Loss for the complexity of most bits everywhere, 0 or larger.
        epochs: Passes over the split.
        learning_rate: Of the weights.
        bits_learning_rate: Of alpha and beta.
        seed: Decides on the order of the inputs.

    Raises:
        ValueError: If ``rate`` is negative or not a number.

    Example:
        >>> from effdl.quant.insert import calibrate_
        >>> net = mixed_bits(nn.Sequential(nn.Linear(2, 2)), [2, 8])
        >>> split = Split(torch.eye(2).repeat(50, 1), torch.arange(2).repeat(50))
        >>> calibrate_(net, split.batches(100))
        >>> sizes = [LayerSize("0", 4, 4)]
        >>> _ = search_bits_(net, split, sizes, rate=9.0, epochs=20)
        >>> likeliest(net, sizes)
        [(2, 2)]
    """
    if not rate >= 0:  # nan is not either
        raise ValueError(f"rate must be 0 or larger, got {rate}")
    pairs = mixtures_of(model, sizes)
    most = sum(
        size.macs * max(w.candidates) * max(a.candidates)
        for (w, a), size in zip(pairs, sizes, strict=True)
    )
    logits = [m.logits for m in model.modules() if isinstance(m, Mixed)]
    others = [p for p in model.parameters() if not any(p is each for each in logits)]
    sgd = SGD(others, learning_rate, momentum=0.9)
    sgd.add_param_group({"params": logits, "lr": bits_learning_rate})

    def loss_of(inputs: Tensor, targets: Tensor) -> Tensor:
        price = rate * complexity(model, sizes) / most
        return F.cross_entropy(model(inputs), targets) + price

    return fit(model, loss_of, split.batches(100, seed=seed), sgd, epochs=epochs)


def _argmax(mixed: Mixed) -> int:
    return mixed.candidates[int(mixed.logits.argmax())]


def _read_by(model: fx.GraphModule, name: str) -> nn.Module | None:
    """Return the nearest quantizer before a layer, past what moves data only."""
    [node] = [n for n in model.graph.nodes if n.target == name]
    while node.args and isinstance(node.args[0], fx.Node):
        node = node.args[0]
        target = str(node.target)
        if node.op == "call_module" and target.startswith("quantizer."):
            return model.get_submodule(target)
    return None
