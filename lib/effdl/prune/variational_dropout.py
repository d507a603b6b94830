"""Sparse variational dropout: each weight learns its own noise; the noisiest go.

Paper: Molchanov et al., "Variational Dropout Sparsifies Deep Neural Networks", ICML
2017, https://arxiv.org/abs/1701.05369.

    w ~ N(theta, sigma^2)            sigma^2 = alpha theta^2, both learned
    log alpha = log sigma^2 - log(theta^2 + 1e-8),  kept within -8 and 8
    y ~ N(theta x, sigma^2 x^2)      drawn instead of w: one draw for each output
    minimise  mean loss + factor * KL / (number of training inputs)

KL is the distance of N(theta, sigma^2) from a prior that is flat in log |w|. It depends
on alpha alone, falls as alpha grows, and has no closed form. With k = 0.63576, 1.87320
and 1.48695 the paper fits

    KL(alpha) = k1 - k1 sigmoid(k2 + k3 log alpha) + log(1 + 1 / alpha) / 2

The true one is (log 2 + Euler's constant) / 2 - (log alpha) / 2 + E log |e| with e from
N(1, alpha); the tests compute it. The two differ by 0.0094 at most.

A weight with log alpha > 3 is noise by 95 %, alpha / (1 + alpha), and is taken out.

What differs: noise is drawn with sigma as it is, where public code takes it back from
the clipped alpha. ``factor`` should rise from 0 to 1 during the first epochs, which is
the caller's part.

Before trusting it: KL / N is strong when weights are many and inputs few. The prior
cannot be normalised, so no true posterior is behind it (Hron et al., "Variational
Bayesian dropout: pitfalls and fixes", ICML 2018, https://arxiv.org/abs/1807.01969).
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from effdl.nas.proxies.weights import Connected, connected_layers
from effdl.prune.swap import swapped

K1, K2, K3 = 0.63576, 1.87320, 1.48695
TINY, LIMIT = 1e-8, 8.0


def log_alpha(theta: Tensor, log_variance: Tensor) -> Tensor:
    """Return log alpha, within -8 and 8, shaped like the weights.

    Args:
        theta: Means, any shape.
        log_variance: log sigma^2, of the same shape.

    Example:
        >>> log_alpha(torch.tensor([1.0, 0.0]), torch.tensor([-2.0, -2.0]))
        tensor([-2.,  8.])
    """
    return (log_variance - (theta.square() + TINY).log()).clamp(-LIMIT, LIMIT)


def kl_divergence(log_alpha: Tensor) -> Tensor:
    """Return the fit of KL, at least 0, for each weight alone.

    Args:
        log_alpha: Any shape.

    Example:
        >>> kl_divergence(torch.tensor([-4.0, 0.0, 2.0]))
        tensor([2.6342, 0.4312, 0.0684])
    """
    fit = K1 * (K2 + K3 * log_alpha).sigmoid()
    return K1 - fit + 0.5 * F.softplus(-log_alpha)  # log(1 + 1 / alpha)


class NoisyLayer(nn.Module):
    """A linear or convolutional layer with a learned variance for every weight.

    In training its outputs are drawn, with PyTorch's generator. In evaluation it is the
    layer with its means, where log alpha is above the threshold with 0.

    Args:
        layer: Its weights are the means; its bias has no noise.
        log_variance: Where log sigma^2 begins.
        threshold: log alpha above which a weight is gone.

    Example:
        >>> NoisyLayer(nn.Linear(3, 2))(torch.ones(5, 3)).shape
        torch.Size([5, 2])
    """

    def __init__(
        self, layer: Connected, *, log_variance: float = -10.0, threshold: float = 3.0
    ) -> None:
        super().__init__()
        self.layer = layer
        start = torch.full_like(layer.weight, float(log_variance))
        self.log_variance = nn.Parameter(start.detach())
        self.threshold = threshold

    def forward(self, x: Tensor) -> Tensor:
        """Return a draw of the outputs, or in evaluation the sparse layer's."""
        if not self.training:
            weight = torch.where(self.mask(), self.layer.weight, 0)
            return functional_call(self.layer, {"weight": weight}, (x,))
        mean = self.layer(x)
        noise = {"weight": self.log_variance.exp()}
        if self.layer.bias is not None:
            noise["bias"] = torch.zeros_like(self.layer.bias)
        variance = functional_call(self.layer, noise, (x.square(),))
        # without the tiny term the root has no slope where an input is all 0
        return mean + (variance + TINY).sqrt() * torch.randn_like(mean)

    def log_alpha(self) -> Tensor:
        """Return log alpha, shaped like the weight."""
        return log_alpha(self.layer.weight, self.log_variance)

    def mask(self) -> Tensor:
        """Return where a weight is left, bool, shaped like the weight."""
        return self.log_alpha().detach() <= self.threshold

    def settled(self) -> Connected:
        """Return the layer alone, changed: weights that are gone are 0."""
        self.layer.weight = nn.Parameter(self.layer.weight.detach() * self.mask())
        return self.layer


def noisy(
    model: nn.Module, *, log_variance: float = -10.0, threshold: float = 3.0
) -> nn.Module:
    """Return a copy in which linear and convolutional layers are noisy.

    Raises ``ValueError`` as :func:`effdl.nas.proxies.weights.connected_layers` does.

    Args:
        model: The network; it is left as it is.
        log_variance: Where log sigma^2 begins.
        threshold: log alpha above which a weight is gone.

    Raises:
        ValueError: If the network is noisy already.

    Example:
        >>> net = noisy(nn.Sequential(nn.Linear(2, 2), nn.ReLU()))
        >>> type(net[0]).__name__
        'NoisyLayer'
    """
    if any(isinstance(module, NoisyLayer) for module in model.modules()):
        raise ValueError("model is noisy already; use without_noise first")
    connected_layers(model)
    start = {"log_variance": log_variance, "threshold": threshold}
    return swapped(model, Connected, lambda layer: NoisyLayer(layer, **start))


def without_noise(model: nn.Module) -> nn.Module:
    """Return a copy with ordinary layers, in which the weights that are gone are 0.

    It computes what the network computes in evaluation.

    Args:
        model: The network; it is left as it is.

    Example:
        >>> type(without_noise(noisy(nn.Linear(2, 2)))).__name__
        'Linear'
    """
    return swapped(model, NoisyLayer, lambda layer: layer.settled())


def noise_masks(model: nn.Module) -> dict[str, Tensor]:
    """Return which weights are left.

    Args:
        model: A network from :func:`noisy`.

    Returns:
        From the names of the weights in :func:`without_noise` to bool tensors.

    Example:
        >>> layer = nn.Linear(2, 1)
        >>> _ = layer.weight.data.copy_(torch.tensor([[1.0, 1e-3]]))
        >>> noise_masks(noisy(layer))
        {'weight': tensor([[ True, False]])}
    """
    layers = {n: m for n, m in model.named_modules() if isinstance(m, NoisyLayer)}
    return {f"{n}.weight".removeprefix("."): m.mask() for n, m in layers.items()}


def kl_of(model: nn.Module) -> Tensor:
    """Return the sum of KL over all noisy weights, a scalar.

    Args:
        model: A network from :func:`noisy`.

    Raises:
        ValueError: If it has no noisy layer.

    Example:
        >>> kl_of(noisy(nn.Linear(2, 2))).shape
        torch.Size([])
    """
    layers = [m for m in model.modules() if isinstance(m, NoisyLayer)]
    if not layers:
        raise ValueError("model has no noisy layer; make a copy that has, by noisy")
    return torch.stack([kl_divergence(m.log_alpha()).sum() for m in layers]).sum()
