"""Federated compression: a server that never sees the clients' images.

Papers: McMahan et al., "Communication-Efficient Learning of Deep Networks from
Decentralized Data", AISTATS 2017, https://arxiv.org/abs/1602.05629, and Lin et al.,
"Ensemble Distillation for Robust Model Fusion in Federated Learning", NeurIPS 2020,
https://arxiv.org/abs/2006.07242.

Each client k has n_k images of its own, starts from the server's weights w, trains,
and sends its weights w_k back. The server averages them (FedAvg):

    w  <-  sum over k of  n_k w_k  /  sum over k of  n_k

If clients prune, a client has no value where its mask m_k is 0. Then each entry is
averaged over the clients that kept it, and the server keeps its own where none did:

    w_i  <-  sum of n_k m_ki w_ki  /  sum of n_k m_ki

Averages of weights need equal networks; averages of logits do not. On public images
without labels the server's network, best begun with the averaged weights, learns

    softmax of  (mean over k of logits_k(x)) / T

What differs: the masks are ours, the simplest way for a pruned client to take part. Lin
et al. use Adam; here it is the training of all chapters. All clients take part.

Before trusting it: weights and logits tell about the images that they come from, so
nothing here is private by itself; and a client that lies is believed.
"""

import copy
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from effdl.checks import check_positive
from effdl.data.digits import Split
from effdl.distill.averaged_teachers import answers_of_all, mean_logits
from effdl.distill.kd import soft_loss
from effdl.distill.recipe import TEN_EPOCHS, Recipe, train_student
from effdl.prune.masks import make_permanent_, prune_

State = Mapping[str, Tensor]


def federated_average(
    states: Sequence[State], sizes: Sequence[int]
) -> dict[str, Tensor]:
    """Return the mean of all weights and statistics, weighed by the clients' images.

    Counters are those of the first client.

    Args:
        states: The clients' ``state_dict()``, of equal names and shapes.
        sizes: Images n_k of each client.

    Example:
        >>> two = [{"w": torch.tensor([1.0])}, {"w": torch.tensor([4.0])}]
        >>> federated_average(two, [2, 1])
        {'w': tensor([2.])}
    """
    return masked_average(states[0], states, [{} for _ in states], sizes)


def masked_average(
    server: State,
    states: Sequence[State],
    masks: Sequence[State],
    sizes: Sequence[int],
) -> dict[str, Tensor]:
    """Return the mean of every entry over the clients that kept it.

    Where no client kept it, the server's stays. With all masks True, or without, this
    is :func:`federated_average`.

    Args:
        server: The weights before the round.
        states: The clients' ``state_dict()``, with the names and shapes of ``server``.
        masks: For each client from names to True where an entry was kept, bool; a name
            that is missing was kept whole.
        sizes: Images n_k of each client.

    Raises:
        ValueError: If there are not equally many of all, or a mask is not bool or of
            another shape than the weight.

    Example:
        >>> two = [{"w": torch.tensor([1.0, 1.0])}, {"w": torch.tensor([4.0, 0.0])}]
        >>> kept = [{}, {"w": torch.tensor([True, False])}]
        >>> masked_average({"w": torch.zeros(2)}, two, kept, [2, 1])
        {'w': tensor([2., 1.])}
    """
    check_positive(clients=len(states))
    if not len(states) == len(masks) == len(sizes):
        raise ValueError(
            f"states, masks and sizes must be one per client, got {len(states)}, "
            f"{len(masks)} and {len(sizes)}; the mask {{}} keeps all"
        )
    for size in sizes:
        check_positive(size=size)
    for mask in masks:
        for name, kept in mask.items():
            if kept.dtype != torch.bool or kept.shape != server[name].shape:
                raise ValueError(
                    f"mask of {name} must be bool of shape "
                    f"{tuple(server[name].shape)}, got {kept.dtype} of shape "
                    f"{tuple(kept.shape)}; True for what was kept"
                )
    return {
        name: _mean_entry(
            old, [s[name] for s in states], [m.get(name) for m in masks], sizes
        )
        for name, old in server.items()
    }


def federated_round(
    server: nn.Module,
    clients: Sequence[Split],
    train: Callable[[nn.Module, Split, int], object],
    *,
    masks: Sequence[State] | None = None,
) -> list[nn.Module]:
    """Return the clients' networks after a round; change the server's to their mean.

    Args:
        server: Where all clients begin; changed in place at the end.
        clients: Their images.
        train: Trains a network in place on a client's images; also told its number.
        masks: For each client from names of weights to True for what it keeps, bool.
            It trains with them as :func:`effdl.prune.masks.prune_` does.

    Example:
        >>> server = nn.Linear(1, 1)
        >>> splits = [Split(torch.ones(2, 1), torch.zeros(2)) for _ in range(3)]
        >>> nets = federated_round(
        ...     server, splits, lambda net, split, k: net.weight.data.fill_(k))
        >>> server.weight.item()
        1.0
    """
    before = {name: value.clone() for name, value in server.state_dict().items()}
    given = [{} for _ in clients] if masks is None else masks
    nets = []
    for number, (split, mask) in enumerate(zip(clients, given, strict=True)):
        net = copy.deepcopy(server)
        prune_(net, mask)
        train(net, split, number)
        make_permanent_(net)
        nets.append(net)
    states, sizes = [net.state_dict() for net in nets], [len(c) for c in clients]
    server.load_state_dict(masked_average(before, states, given, sizes))
    return nets


def fuse(
    server: nn.Module,
    clients: Sequence[nn.Module],
    inputs: Tensor,
    recipe: Recipe = TEN_EPOCHS,
    *,
    temperature: float = 1.0,
) -> list[float]:
    """Return the mean loss of every epoch of distilling the clients into the server's.

    Args:
        server: Trained in place; of any architecture.
        clients: In eval mode, left as they are; of any architectures.
        inputs: Public images without labels, (N, ...).
        recipe: How long and how fast.
        temperature: T of :func:`effdl.distill.kd.soft_loss`, above 0.

    Example:
        >>> clients = [nn.Linear(2, 2).eval() for _ in range(3)]
        >>> losses = fuse(nn.Linear(2, 2), clients, torch.randn(200, 2))
        >>> losses[-1] < losses[0]
        True
    """
    taught = mean_logits(answers_of_all(clients, inputs))

    def loss_of(batch: Tensor, which: Tensor) -> Tensor:
        return soft_loss(server(batch), taught[which], temperature)

    numbers = Split(inputs, torch.arange(len(inputs)))
    return train_student(server, numbers, loss_of, recipe)


def _mean_entry(
    old: Tensor,
    values: Sequence[Tensor],
    masks: Sequence[Tensor | None],
    sizes: Sequence[int],
) -> Tensor:
    if not old.is_floating_point():
        return values[0].clone()
    total, weight = torch.zeros_like(old), torch.zeros_like(old)
    for value, mask, size in zip(values, masks, sizes, strict=True):
        kept = torch.ones_like(old) if mask is None else mask.to(old)
        total += size * kept * value
        weight += size * kept
    return torch.where(weight > 0, total / weight.clamp(min=1), old)
