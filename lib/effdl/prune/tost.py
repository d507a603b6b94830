"""ToST: ghosts that help a sparse network to start, and are gone at the end.

Paper: Jaiswal et al., "Training Your Sparse Neural Network Better with Any Mask", ICML
2022, https://arxiv.org/abs/2206.12755.

A sparse ReLU network passes little gradient. So three things are softened at first, by
one strength s that falls from 1 to 0 along a line:

    neuron    x sigmoid(x / s)                 instead of ReLU; at s = 0 it is ReLU
    skip      layer(x) + s resized(x)          around layers; at s = 0 the layer alone
    labels    smoothed by s / 10               at s = 0 hard

The neuron is Swish with slope 1 / s. It differs from ReLU by at most 0.2785 s, so the
last steps towards ReLU are as small as the first. When s is 0 the ghosts are taken out:
what is left is the plain network, parameter by parameter, and it costs nothing more.

The fourth part of the method, an initialisation, is :mod:`effdl.prune.rescaled`.

What differs. The paper's program has a script for each part. There the skips are 1 x 1
convolutions with batch norm that are learned, and stay; Swish or Mish stay, too, and
labels are smoothed by 0.1 to the end. Here, as the paper's name for them promises, all
of them disappear. Our skips have no weights: where the sizes differ, adaptive average
pooling over channels (and pixels) makes them fit.

Before trusting a gain: train the plain network equally long. The skips alone are an
easier network while they last; measure when s has been 0 for a while.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from effdl.checks import check_positive
from effdl.nas.proxies.weights import Connected


class GhostNeuron(nn.Module):
    """Swish that becomes ReLU: x sigmoid(x / s), shaped as x.

    Attributes:
        strength: s, from 1 to 0; at 0 it is ReLU, exactly.

    Example:
        >>> GhostNeuron()(torch.tensor([-1.0, 0.0, 1.0]))
        tensor([-0.2689,  0.0000,  0.7311])
    """

    def __init__(self) -> None:
        super().__init__()
        self.strength = 1.0

    def forward(self, x: Tensor) -> Tensor:
        """Return the activation, shaped as x."""
        return x * torch.sigmoid(x / self.strength) if self.strength else F.relu(x)


class GhostSkip(nn.Module):
    """A layer with a skip around it: layer(x) + s resized(x).

    Args:
        layer: Maps (N, F) to (N, F'), or (N, C, H, W) to (N, C', H', W').

    Attributes:
        strength: s, from 1 to 0; at 0 the layer alone is left.

    Example:
        >>> skip = GhostSkip(nn.Linear(4, 2, bias=False))
        >>> _ = nn.init.zeros_(skip.layer.weight)
        >>> skip(torch.tensor([[1.0, 2.0, 3.0, 4.0]]))
        tensor([[1.5000, 3.5000]], grad_fn=<AddBackward0>)
    """

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer
        self.strength = 1.0

    def forward(self, x: Tensor) -> Tensor:
        """Return what the layer returns, and more."""
        y: Tensor = self.layer(x)
        if not self.strength:
            return y
        return y + self.strength * resized(x, tuple(y.shape[1:]))


class Ghosts:
    """The ghosts of a network, from their arrival to their end.

    Every ``nn.ReLU`` becomes a :class:`GhostNeuron`, and every linear or convolutional
    layer but the last gets a :class:`GhostSkip`. ReLU as a function is not seen. While
    ghosts are there, parameters behind a skip have longer names; optimisers keep them.

        ghosts = Ghosts(net, steps=300)
        fit(net, lambda x, t: ghosts.loss(net(x), t), ..., after_step=ghosts.after_step)

    Args:
        model: Changed in place, pruned or not; a layer alone is left as it is.
        steps: After so many the network is the plain one again.
        smoothing: Share of a label that goes to all classes at the beginning.
        neurons: Whether activations are softened.
        skips: Whether there are skips.

    Attributes:
        strength: s.

    Raises:
        ValueError: If a number is out of range.

    Example:
        >>> net = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
        >>> ghosts = Ghosts(net, steps=2)
        >>> type(net[1]).__name__, len(list(net[0].children()))
        ('GhostNeuron', 1)
        >>> ghosts.after_step(), ghosts.strength, ghosts.after_step(), ghosts.strength
        (None, 0.5, None, 0.0)
        >>> type(net[1]).__name__, len(list(net[0].children()))
        ('ReLU', 0)
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        steps: int,
        smoothing: float = 0.1,
        neurons: bool = True,
        skips: bool = True,
    ) -> None:
        check_positive(steps=steps)
        if not 0 <= smoothing < 1:
            raise ValueError(
                f"smoothing must be at least 0 and below 1, got {smoothing}"
            )
        self.strength, self.steps, self.smoothing = 1.0, steps, smoothing
        self._model, self._done = model, 0
        self._plain: dict[str, nn.Module] = {}
        named = dict(model.named_modules(remove_duplicate=False))
        layers = [name for name, m in named.items() if isinstance(m, Connected)]
        soft = [name for name, m in named.items() if type(m) is nn.ReLU]
        self._ghosts: list[GhostNeuron | GhostSkip] = []
        for name in layers[:-1] if skips else []:
            self._replace(name, GhostSkip(named[name]))
        for name in soft if neurons else []:
            self._replace(name, GhostNeuron())

    def loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the cross-entropy with labels as smooth as the ghosts are strong.

        Args:
            logits: (N, classes).
            targets: Class indices (N,).
        """
        smoothing = self.strength * self.smoothing
        return F.cross_entropy(logits, targets, label_smoothing=smoothing)

    def after_step(self) -> None:
        """Weaken the ghosts; take them out when their steps are over."""
        self._done += 1
        self.strength = max(0.0, 1 - self._done / self.steps)
        for ghost in self._ghosts:
            ghost.strength = self.strength
        if not self.strength:
            for name, module in self._plain.items():
                self._model.set_submodule(name, module)
            self._plain, self._ghosts = {}, []

    def _replace(self, name: str, ghost: GhostNeuron | GhostSkip) -> None:
        self._plain[name] = self._model.get_submodule(name)
        self._model.set_submodule(name, ghost)
        self._ghosts.append(ghost)


def resized(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Return x with other sizes, by averaging or repeating neighbours.

    Args:
        x: (N, F) or (N, C, H, W).
        shape: (F',) or (C', H', W').

    Raises:
        ValueError: If x and the shape have different numbers of dimensions, or not one
            or three besides N.

    Example:
        >>> resized(torch.tensor([[1.0, 3.0, 5.0, 7.0]]), (2,))
        tensor([[2., 6.]])
    """
    if x.ndim != len(shape) + 1 or len(shape) not in (1, 3):
        raise ValueError(
            f"x must be (N, F) or (N, C, H, W), and shape without N, got "
            f"{tuple(x.shape)} and {shape}"
        )
    if tuple(x.shape[1:]) == shape:
        return x
    if len(shape) == 1:
        return F.adaptive_avg_pool1d(x[:, None], shape[0])[:, 0]
    channels, height, width = shape
    return F.adaptive_avg_pool3d(x[:, None], (channels, height, width))[:, 0]
