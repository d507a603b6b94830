"""Networks without numbers, and batch norms that hide nothing: helpers of the tests."""

from collections.abc import Callable

import torch
from torch import nn


def on_paper(build: Callable[[], nn.Module]) -> nn.Module:
    """Return a network that has shapes only: no memory, no time."""
    with torch.device("meta"):
        return build().eval()


def counted_on_paper(
    build: Callable[[], nn.Module], size: int
) -> tuple[nn.Module, int]:
    """Return such a network, and the multiply-adds of one image.

    A layer takes as many as it has outputs, times the weights of each: another way than
    that of the library's counters, which watch the operators.
    """
    net, macs = on_paper(build), []
    layers = [m for m in net.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    for layer in layers:
        layer.register_forward_hook(
            lambda layer, _, y: macs.append(y.numel() * layer.weight[0].numel())
        )
    net(torch.zeros(1, layers[0].in_channels, size, size, device="meta"))
    return net, sum(macs)


def randomised(net: nn.Module) -> nn.Module:
    """Move batch norms off their first state, in which they hide a swapped channel."""
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias)
            nn.init.normal_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    return net.eval()
