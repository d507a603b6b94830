"""A convolution with its batch norm folded in, which still learns.

Paper: Jacob et al., "Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference", CVPR 2018, https://arxiv.org/abs/1712.05877,
section 3.2.

An integer network has batch norm folded into its weights, and rounds the product. If
training rounds w and folds afterwards, it has seen other numbers than those in use.
Here the layer's ``weight`` is k w, and a quantizer that is registered on it rounds k w.

    k       = gamma / sqrt(running variance + eps)      for each output channel
    weight  = quantizer(k w)                            what is convolved
    y       = convolution(x, weight) / k                what batch norm would see

    training        batch norm of y with its own statistics; running ones move
    frozen, eval    convolution(x, weight) + beta - k running mean

k comes from the running variance in both, so that weights do not jump from batch to
batch. Freeze late in training, when the running statistics are good: from then on the
network trains on exactly what it will compute.

With one scale a channel and no zero point, rounding k w is rounding w, and folding
early changes nothing. With one scale for all it decides who shares that scale.

What differs: the paper divides by nothing, and runs a second convolution, with weights
that are not rounded, for the statistics. Here it is one, of rounded weights, as in
PyTorch's ConvBn2d. A convolution only; a channel with gamma 0 is refused.
"""

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize


class ChannelNorm(nn.Module):
    """Gamma, beta and statistics of a batch norm, and the factor k as a layer.

    Args:
        norm: With running statistics, gamma and beta; copied.

    Attributes:
        frozen: Whether training uses running statistics, too.

    Raises:
        ValueError: If it has none of them, no momentum, or a gamma is 0.

    Example:
        >>> import torch
        >>> norm = nn.BatchNorm2d(1, eps=0)
        >>> norm.running_var.fill_(4.0)
        tensor([4.])
        >>> ChannelNorm(norm)(torch.ones(1, 1, 1, 1)).item()
        0.5
    """

    mean: Tensor
    var: Tensor

    def __init__(self, norm: nn.BatchNorm2d) -> None:
        super().__init__()
        if norm.running_mean is None or norm.running_var is None or not norm.affine:
            raise ValueError(
                "norm must have running statistics, gamma and beta; got "
                f"{norm}; make it with affine=True and track_running_stats=True"
            )
        if norm.momentum is None:
            raise ValueError("momentum must be a number, got None; 0.1 is usual")
        if not bool(norm.weight.all()):
            zeros = (norm.weight == 0).nonzero().flatten().tolist()
            raise ValueError(f"gamma is 0 in channels {zeros}; remove them first")
        self.gamma = nn.Parameter(norm.weight.detach().clone())
        self.beta = nn.Parameter(norm.bias.detach().clone())
        self.register_buffer("mean", norm.running_mean.clone())
        self.register_buffer("var", norm.running_var.clone())
        self.eps, self.momentum, self.frozen = norm.eps, norm.momentum, False

    def factor(self) -> Tensor:
        """Return k, (channels,)."""
        return self.gamma / (self.var + self.eps).sqrt()

    def forward(self, weight: Tensor) -> Tensor:
        """Return k w for weights (channels, ...)."""
        return self.factor().reshape(-1, *[1] * (weight.ndim - 1)) * weight


class FoldedConv2d(nn.Conv2d):
    """A convolution and its batch norm; its ``weight`` is k w, and what rounds follows.

    Args:
        conv: Copied.
        norm: What follows it; copied.

    Attributes:
        norm: Gamma, beta and statistics.

    Example:
        >>> import torch
        >>> conv, norm = nn.Conv2d(1, 2, 3, bias=False), nn.BatchNorm2d(2)
        >>> folded, x = FoldedConv2d(conv, norm), torch.rand(4, 1, 5, 5)
        >>> torch.allclose(folded(x), norm(conv(x)), atol=1e-5)
        True
    """

    def __init__(self, conv: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
        super().__init__(
            conv.in_channels,
            conv.out_channels,
            conv.kernel_size,  # type: ignore[arg-type]
            conv.stride,  # type: ignore[arg-type]
            conv.padding,  # type: ignore[arg-type]
            conv.dilation,  # type: ignore[arg-type]
            conv.groups,
            conv.bias is not None,
        )
        self.padding_mode = conv.padding_mode
        self._reversed_padding_repeated_twice = conv._reversed_padding_repeated_twice
        self.load_state_dict(conv.state_dict())
        self.norm = ChannelNorm(norm)
        parametrize.register_parametrization(self, "weight", self.norm, unsafe=True)

    def forward(self, x: Tensor) -> Tensor:
        """Return what batch norm would put out, (N, channels, H, W)."""
        norm = self.norm
        scaled = self._conv_forward(x, self.weight, None)
        if norm.frozen or not self.training:
            return scaled + self.folded_bias()[:, None, None]
        y = scaled / norm.factor()[:, None, None]
        if self.bias is not None:
            y = y + self.bias[:, None, None]
        return F.batch_norm(
            y,
            norm.mean,
            norm.var,
            norm.gamma,
            norm.beta,
            training=True,
            momentum=norm.momentum,
            eps=norm.eps,
        )

    def folded_bias(self) -> Tensor:
        """Return beta + k (bias - running mean), (channels,)."""
        before = 0 if self.bias is None else self.bias
        return self.norm.beta + self.norm.factor() * (before - self.norm.mean)
