"""Attention transfer: the student looks where the teacher looks.

Paper: Zagoruyko and Komodakis, "Paying More Attention to Attention: Improving the
Performance of Convolutional Neural Networks via Attention Transfer", ICLR 2017,
https://arxiv.org/abs/1612.03928, section 3.1.

A layer's maps A, (C, H, W), are summed up over channels to one map, which says how much
goes on at each pixel. It is made a vector of length 1, so only its shape counts:

    Q     = vec(sum_c |A_c|^2)                       H W numbers
    loss  = mean over pixels and inputs of (Q_S / ||Q_S|| - Q_T / ||Q_T||)^2

No channel has a partner: student and teacher may have other numbers of them, in any
order. Maps of different sizes are averaged to the smaller one.

What differs: the paper's equation has beta / 2 times the length of the difference, our
loss is its square divided by H W, as in the authors' program. The paper's beta of 1000
belongs to the program. The square has a slope of 0 where both agree; the length has
none there.

Before trusting it: a map without channels cannot say *what* is at a pixel. On inputs
where the object always fills the image there is little to transfer.
"""

import torch.nn.functional as F
from torch import Tensor

from effdl.distill.features import check_maps, same_size


def attention_map(features: Tensor) -> Tensor:
    """Return ``Q / ||Q||`` of every input, (N, H W), not negative, of length 1.

    Where all features are 0, so is Q.

    Args:
        features: Maps, (N, C, H, W).

    Example:
        >>> import torch
        >>> attention_map(torch.tensor([[[[3.0, 0.0]], [[0.0, 2.0]]]]) ** 0.5)
        tensor([[0.8321, 0.5547]])
    """
    return F.normalize(features.square().sum(dim=1).flatten(1))


def attention_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Return the mean squared difference of both attention maps, a scalar.

    Args:
        student: Maps, (N, C, H, W).
        teacher: Maps, (N, D, h, w). They take no gradient.

    Example:
        >>> import torch
        >>> maps = torch.rand(2, 3, 4, 4)
        >>> float(attention_loss(maps, maps))
        0.0
    """
    check_maps(student, teacher, same_channels=False)
    small, large = same_size(student, teacher.detach())
    return F.mse_loss(attention_map(small), attention_map(large))
