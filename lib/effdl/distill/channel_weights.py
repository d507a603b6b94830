"""Channel distillation: how active each channel is, carried over.

Paper: Zhou et al., "Channel Distillation: Channel-Wise Attention for Knowledge
Distillation", 2020, https://arxiv.org/abs/2006.01683, section 3.

A channel's weight is its mean over all pixels, as at the start of squeeze and
excitation:

    w_c   = 1 / (H W)  sum_hw y_chw
    loss  = mean over inputs and channels of (w^S_c - w^T_c)^2

Where in the map the channel is active does not matter: moving pixels about changes
nothing, and maps may have other sizes.

What differs: the paper's training has two more parts, which we leave out. It takes soft
targets only of inputs that the teacher has right, and lets the teacher's share decay.

Before trusting it: channels must be as many, and c against c. With other channels the
student's are mapped, and it is the map that has learned the order.
"""

import torch.nn.functional as F
from torch import Tensor

from effdl.distill.features import check_maps


def channel_weights(features: Tensor) -> Tensor:
    """Return the mean of every channel of every input, (N, C).

    Args:
        features: Maps, (N, C, H, W).

    Example:
        >>> import torch
        >>> channel_weights(torch.arange(8.0).view(1, 2, 2, 2))
        tensor([[1.5000, 5.5000]])
    """
    return features.mean(dim=(2, 3))


def channel_weight_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Return the mean squared difference of both channel weights, a scalar.

    Args:
        student: Maps, (N, C, H, W).
        teacher: Maps, (N, C, h, w). They take no gradient.

    Example:
        >>> import torch
        >>> maps = torch.arange(8.0).view(1, 2, 2, 2)
        >>> float(channel_weight_loss(maps, maps.flip(2)))
        0.0
    """
    check_maps(student, teacher, same_channels=True)
    return F.mse_loss(channel_weights(student), channel_weights(teacher.detach()))
