"""Small networks, batches, and a record of all that a proxy must leave alone."""

import copy
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from effdl.nas.cell_net import CellNet, small_cell_net
from effdl.nas.cell_space import Cell


def small_net() -> nn.Sequential:
    """Return a convolution (2 to 4 channels), batch norm, ReLU and a linear layer."""
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(4 * 4 * 4, 3),
    )


def smooth_net() -> nn.Sequential:
    """Return a network without batch norm and kinks, in float64, for small steps."""
    return nn.Sequential(
        nn.Conv2d(2, 3, 3), nn.Tanh(), nn.Flatten(), nn.Linear(12, 3)
    ).double()


def batch(samples: int = 6) -> tuple[Tensor, Tensor]:
    """Return images of 2 x 4 x 4 and labels below 3."""
    return torch.randn(samples, 2, 4, 4), torch.randint(3, (samples,))


def dead_edge_net() -> CellNet:
    """Return the network of a cell with a convolution that leads nowhere: edge 0."""
    nowhere = ("nor_conv_3x3", "none", "none", "nor_conv_1x1", "none", "none")
    return small_cell_net(Cell(nowhere))


def at_edge(scores: Mapping[str, Tensor], edge: int) -> Tensor:
    """Return the only entry that lies on this edge of the first cell."""
    (name,) = [n for n in scores if n.startswith(f"features.1.edges.{edge}.")]
    return scores[name]


def disconnected_net() -> CellNet:
    """Return the network of a cell whose output is 0: only the classifier is left."""
    return small_cell_net(Cell(("none",) * 6))


def state(model: nn.Module) -> dict[str, object]:
    """Return a copy of what a proxy must not change."""
    return {
        "tensors": copy.deepcopy(model.state_dict()),
        "gradients": {n: copy.copy(p.grad) for n, p in model.named_parameters()},
        "frozen": [p.requires_grad for p in model.parameters()],
        "addresses": [p.data_ptr() for p in model.parameters()],
        "modes": [m.training for m in model.modules()],
        "modules": [type(m) for m in model.modules()],
        "hooks": [len(m._forward_hooks) for m in model.modules()],
    }


def assert_leaves_no_trace(score: Callable[[nn.Module], object]) -> None:
    """Run a score on networks in all modes, frozen or not, after a backward pass."""
    for training in (True, False):
        for frozen in (True, False):
            model = small_net().train(training)
            model(batch()[0]).sum().backward()
            model[1].train(not training)
            model.requires_grad_(requires_grad=not frozen)
            before = state(model)
            score(model)
            assert_same(state(model), before)


def assert_same(after: dict[str, object], before: dict[str, object]) -> None:
    """Require two states to agree to the last bit."""
    for what in ("tensors", "gradients"):
        torch.testing.assert_close(after[what], before[what], rtol=0, atol=0)
    rest = {"frozen", "addresses", "modes", "modules", "hooks"}
    assert {k: after[k] for k in rest} == {k: before[k] for k in rest}
