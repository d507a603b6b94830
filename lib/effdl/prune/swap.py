"""Put other modules in the place of all modules of a kind, in a copy of a network.

Gates and noise come as layers that wrap an ordinary one, and go again when they have
decided: hard-concrete gates of Louizos et al., "Learning Sparse Neural Networks through
L0 Regularization", ICLR 2018, https://arxiv.org/abs/1712.01312, and what the other
modules here learn beside the weights.
"""

import copy
from collections.abc import Callable
from types import UnionType
from typing import Any

from torch import nn


def swapped(
    model: nn.Module,
    kind: type[nn.Module] | UnionType,
    make: Callable[[Any], nn.Module],
) -> nn.Module:
    """Return a copy of a network with other modules in the place of some.

    What stands at two places is replaced once, and stands at both again. Nothing is
    sought inside a module that is replaced.

    Args:
        model: The network; it is left as it is.
        kind: Which modules; may be the network itself.
        make: Gets such a module, of the copy, and returns what takes its place.

    Example:
        >>> net = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
        >>> swapped(net, nn.ReLU, lambda _: nn.Tanh())[1]
        Tanh()
    """
    done: dict[nn.Module, nn.Module] = {}

    def put(module: nn.Module) -> nn.Module:
        if module in done:
            return done[module]
        if isinstance(module, kind):
            done[module] = make(module)
            return done[module]
        done[module] = module
        for name, child in list(module._modules.items()):  # shared ones each time
            if child is not None:
                setattr(module, name, put(child))
        return module

    return put(copy.deepcopy(model))
