"""Put the channels between two layers in another order: nothing changes but the place.

Paper: Pool and Yu, "Channel Permutations for N:M Sparsity", NeurIPS 2021 (in the
proceedings only), for the masks of Mishra et al., "Accelerating Sparse Deep Neural
Networks", 2021, https://arxiv.org/abs/2104.08378.

    W2 s(W1 x + b1) = (W2 P^T) s(P W1 x + P b1)       s acts on every channel alike

So the order costs nothing when the network runs: the first layer writes its outputs
where the second expects its inputs. Which order is wanted for N:M masks finds
:mod:`effdl.prune.channel_permutation`.

What differs: the authors' program follows the graph of the network and permutes
whatever it reaches. Here the caller names the two layers. If their channels are read
anywhere else, as those of a residual sum are, all that read or write them would need
the same order: this function does not see that.
"""

from collections.abc import Sequence

import torch
from torch import nn

Connected = nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d
BatchNorm = nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d


def permute_channels_(
    producer: Connected,
    consumer: Connected,
    order: Sequence[int],
    *,
    norm: BatchNorm | None = None,
) -> None:
    """Change two layers so that the second gets its inputs in another order.

    The network computes the same, up to the rounding of sums in another order, if
    nothing else reads what the first layer writes, and what lies between treats all
    channels alike.

    Args:
        producer: Its outputs are put in order.
        consumer: Its inputs are; as many, in one group.
        order: Which channel stands at each place, each once.
        norm: Batch norm between them, put in order, too.

    Raises:
        ValueError: If ``order`` does not name every channel once, or the layers do not
            fit together.

    Example:
        >>> first, second = nn.Linear(2, 2), nn.Linear(2, 2)
        >>> x = torch.rand(3, 2)
        >>> before = second(first(x))
        >>> permute_channels_(first, second, [1, 0])
        >>> torch.allclose(second(first(x)), before)
        True
    """
    channels = len(producer.weight)
    if sorted(order) != list(range(channels)):
        raise ValueError(f"order must name each of 0 to {channels - 1} once")
    if consumer.weight.shape[1] != channels:
        raise ValueError(
            f"consumer must have {channels} inputs in one group, as producer has "
            f"outputs, got {consumer.weight.shape[1]}"
        )
    if (groups := getattr(producer, "groups", 1)) != 1:
        raise ValueError(
            f"producer has groups={groups}: an output cannot leave its own"
        )
    if not all(isinstance(m.weight, nn.Parameter) for m in (producer, consumer)):
        raise ValueError("a layer is pruned already; permute first, or make_permanent_")
    outputs = [producer.weight, producer.bias]
    if norm is not None:
        outputs += [norm.weight, norm.bias, norm.running_mean, norm.running_var]
    with torch.no_grad():
        for tensor in outputs:
            if tensor is not None:
                tensor.copy_(tensor[list(order)])
        consumer.weight.copy_(consumer.weight[:, list(order)])
