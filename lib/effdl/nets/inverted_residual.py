"""Inverted residual block: narrow at the ends, wide in the middle, linear at the end.

Paper: Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks", CVPR
2018, https://arxiv.org/abs/1801.04381, sections 3.2 and 3.3.

A bottleneck of ResNet is wide at its ends and narrow in the middle. Here the ends are
narrow, and the shortcut joins them. The 3 x 3 convolution works in the middle, t times
as wide, and is affordable there because it is depthwise:

    h = relu6(bn(E x))         1 x 1, c to t c channels; left out if t = 1
    h = relu6(bn(w * h))       depthwise 3 x 3, stride s
    y = bn(P h)                1 x 1, t c to n channels: no ReLU
    y = x + y                  if s = 1 and n = c

    MACs    H W t c c + (H W / s^2) t c (9 + n)

Why no ReLU at the narrow end: it sets to zero what is negative. Among many channels
others still tell of it, among few it is lost. The paper shows this with points X of a
plane curve, (P, d), and a random matrix T, (n, d), with its pseudo-inverse T^+:

    back = relu(X T^T) (T^+)^T

The more dimensions n, the more ``back`` looks like X, in half its size: relu(z) is
(z + abs(z)) / 2, and the second part averages out. If -x is among the points with every
x, and T is normal with many rows, what is left of it is, beside X in the mean square,

    loss^2 = v / (1 + v),    v = (d + 2) / n

The loss is that of a linear way back from one random layer. It says nothing on trained
layers, and a cleverer way back finds more: each point that d independent rows of T see
as positive can be found exactly.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from effdl.blocks import conv_bn
from effdl.checks import check_images, check_positive


class InvertedResidual(nn.Module):
    """Expand, look at the neighbours, project; the shortcut joins the narrow ends.

    Raises ``ValueError`` if a number is below 1.

    Args:
        in_channels: Channels c of the input.
        out_channels: Channels n of the output.
        stride: Stride s of the depthwise step.
        expansion: Factor t from c to the channels of the middle, whole.

    Example:
        >>> InvertedResidual(16, 24, stride=2)(torch.zeros(1, 16, 9, 9)).shape
        torch.Size([1, 24, 5, 5])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        stride: int = 1,
        expansion: int = 6,
    ) -> None:
        super().__init__()
        check_positive(in_channels=in_channels, expansion=expansion)
        wide, relu = expansion * in_channels, nn.ReLU6
        self.in_channels = in_channels
        self.has_shortcut = stride == 1 and in_channels == out_channels
        self.layers = nn.Sequential(
            conv_bn(wide, wide, 3, stride=stride, groups=wide, activation=relu),
            conv_bn(wide, out_channels, 1, activation=None),
        )
        if expansion > 1:
            self.layers.insert(0, conv_bn(in_channels, wide, 1, activation=relu))

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, n, ceil(H / s), ceil(W / s)) for x of (N, c, H, W).

        Raises ``ValueError`` if ``x`` is not a batch of c feature maps.
        """
        check_images(x, self.in_channels)
        y = self.layers(x)
        return x + y if self.has_shortcut else y


def relu_round_trip(points: Tensor, matrix: Tensor) -> Tensor:
    """Return what is left of points after a linear map, ReLU, and the way back.

    Args:
        points: Points X, (P, d).
        matrix: The linear map T, (n, d), n at least d, drawn by the caller.

    Returns:
        The points ``back``, (P, d).

    Raises:
        ValueError: If the shapes are others, or n is below d.

    Example:
        >>> points, both_signs = torch.eye(2), torch.cat((torch.eye(2), -torch.eye(2)))
        >>> relu_round_trip(points, both_signs).tolist()  # nothing lost but the size
        [[0.5, 0.0], [0.0, 0.5]]
    """
    shapes = f"points {tuple(points.shape)} and matrix {tuple(matrix.shape)}"
    if points.ndim != 2 or matrix.ndim != 2 or points.shape[1] != matrix.shape[1]:
        raise ValueError(f"points must be (P, d) and matrix (n, d), got {shapes}")
    if len(matrix) < matrix.shape[1]:
        raise ValueError(f"matrix must have d rows or more, got {shapes}; draw more")
    return F.relu(points @ matrix.T) @ torch.linalg.pinv(matrix).T


def relu_information_loss(points: Tensor, matrix: Tensor) -> float:
    """Return how far the points are from what comes back, whatever its size: 0 to 1.

    The distance |X - a back| over |X|, with the factor a that makes it smallest.
    Raises ``ValueError`` like :func:`relu_round_trip`.

    Args:
        points: Points X, (P, d).
        matrix: The linear map T, (n, d), n at least d.

    Example:
        >>> points = torch.tensor([[3.0, 0.0], [0.0, -4.0]])
        >>> loss = relu_information_loss(points, torch.eye(2))
        >>> round(loss, 3)  # the second point is lost
        0.8
    """
    back = relu_round_trip(points, matrix)
    overlap = (points * back).sum() ** 2 / back.square().sum().clamp(min=1e-30)
    rest = 1 - overlap / points.square().sum()
    return rest.clamp(min=0).sqrt().item()
