"""DSD: prune, train what is left, then give back what was pruned.

Paper: Han et al., "DSD: Dense-Sparse-Dense Training for Deep Neural Networks", ICLR
2017, https://arxiv.org/abs/1607.04381, section 2 and algorithm 1.

Here pruning makes no network smaller. It is a detour of the training of a dense one:

    D    train all weights
    S    prune a share of every layer, the smallest |w|, and train the others
    D    take the masks off, the pruned weights from 0, and train all once more, with a
         tenth of the learning rate

The idea is that the smallest weights hold the others in a poor minimum: without them
the network finds a better one, and with their capacity back it improves on that.

What differs: the share is the same for every linear and convolutional layer, and the
caller's function trains, so schedules and their lengths are the caller's. The paper
takes 25 to 50 per cent of each layer.

Before trusting a gain: three phases train longer than one. Compare with a dense network
that is trained for as many steps in all, and whose learning rate ends as low.
"""

from collections.abc import Callable

from torch import Tensor, nn

from effdl.prune.magnitude import magnitude_scores
from effdl.prune.masks import make_permanent_, masks_of, prune_
from effdl.prune.thresholds import check_sparsity, layer_masks


def dense_sparse_dense_(
    model: nn.Module,
    train: Callable[[nn.Module, float], object],
    *,
    sparsity: float = 0.3,
    rates: tuple[float, float, float] = (1.0, 1.0, 0.1),
) -> dict[str, Tensor]:
    """Change a dense network by training it in the three phases; it ends dense.

    Args:
        model: Not pruned.
        train: Gets the network and the factor of the learning rate, and trains it in
            place. Each call has to make its optimiser anew: behind the masks, an old
            momentum would move weights that are to return as 0.
        sparsity: Share of every layer that is gone in the second phase.
        rates: Factor of the learning rate in each phase.

    Returns:
        The masks of the second phase.

    Raises:
        ValueError: If the sparsity or a rate is out of range, or the network is pruned
            already.

    Example:
        >>> net, rates = nn.Linear(4, 1), []
        >>> masks = dense_sparse_dense_(net, lambda _, r: rates.append(r), sparsity=0.5)
        >>> rates, int(masks["weight"].sum()), int(net.weight.count_nonzero())
        ([1.0, 1.0, 0.1], 2, 2)
    """
    check_sparsity(sparsity)
    if len(rates) != 3 or not all(rate > 0 for rate in rates):
        raise ValueError(f"rates must be three numbers above 0, got {rates}")
    if masks_of(model):
        raise ValueError("model is pruned already; use make_permanent_ first")
    first, second, third = rates
    train(model, first)
    masks = layer_masks(magnitude_scores(model), sparsity)
    prune_(model, masks)
    train(model, second)
    make_permanent_(model)  # what was pruned is 0, and no longer held there
    train(model, third)
    return masks
