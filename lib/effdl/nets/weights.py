"""Weights from another implementation of the same network, matched by their order.

Libraries name the same layer differently, but nearly all of them register layers in
the order in which they compute. If both networks do, weights can move by position.
"""

from collections.abc import Mapping

from torch import Tensor, nn


def load_in_order_(net: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Overwrite the state of ``net`` with another one of the same order and shapes.

    The shapes must agree one by one, and nothing is written unless all of them do.
    Two layers of one shape in another order would not be noticed: compare an output
    of the two networks afterwards.

    Args:
        net: Network to fill; changed.
        state: ``state_dict()`` of the other implementation, such as timm's.

    Raises:
        ValueError: If the numbers of tensors differ, or a shape does.

    Example:
        >>> source, target = nn.Linear(2, 3), nn.Sequential(nn.Linear(2, 3))
        >>> load_in_order_(target, source.state_dict())
        >>> bool((target[0].weight == source.weight).all())
        True
    """
    own = net.state_dict()
    if len(own) != len(state):
        raise ValueError(
            f"state must have {len(own)} tensors, got {len(state)}; "
            "is it the same network, of the same width?"
        )
    for (name, ours), (other, theirs) in zip(own.items(), state.items(), strict=True):
        if ours.shape != theirs.shape:
            raise ValueError(
                f"state[{other!r}] must have shape {tuple(ours.shape)} like {name}, "
                f"got {tuple(theirs.shape)}; is it the same network, of the same width?"
            )
    net.load_state_dict(dict(zip(own, state.values(), strict=True)))
