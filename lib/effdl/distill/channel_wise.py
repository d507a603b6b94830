"""Channel-wise distillation: each channel is a distribution over the pixels.

Paper: Shu et al., "Channel-wise Knowledge Distillation for Dense Prediction",
ICCV 2021, https://arxiv.org/abs/2011.13256, section 3.

A softmax over the pixels of one channel says where the channel is strongest, and the
student is to say the same. With a temperature T, pixels i and channels c:

    phi(y)_ci = exp(y_ci / T) / sum_j exp(y_cj / T)
    loss      = T^2 / C  sum_c KL(phi(y^T)_c || phi(y^S)_c)      the mean over inputs

A number added to a whole channel changes nothing. As T grows the loss approaches half
the mean squared difference of what is left when each channel's mean is taken away:

    loss -> 1 / (2 C H W)  sum_ci ((y^T_ci - mean y^T_c) - (y^S_ci - mean y^S_c))^2

Channel c of the student stands against channel c of the teacher. With other channels a
1 x 1 convolution maps the student's; it is trained beside it and then dropped.

Before trusting it: made for segmentation, where each pixel has a label of its own. In a
classifier the maps of the last layers are a few pixels.
"""

import torch.nn.functional as F
from torch import Tensor

from effdl.distill.checks import check_temperature
from effdl.distill.features import check_maps, same_size


def channel_wise_loss(
    student: Tensor, teacher: Tensor, *, temperature: float = 4.0
) -> Tensor:
    """Return T^2 times the mean KL of a channel over all channels, a scalar.

    Maps of different sizes are averaged to the smaller one.

    Args:
        student: Maps, (N, C, H, W).
        teacher: Maps, (N, C, h, w). They take no gradient.
        temperature: T, above 0; small ones look at the strongest pixels only.

    Example:
        >>> import torch
        >>> maps = torch.arange(8.0).view(1, 2, 2, 2)
        >>> float(channel_wise_loss(maps, maps + 3))
        0.0
    """
    check_temperature(temperature)
    check_maps(student, teacher, same_channels=True)
    small, large = same_size(student, teacher.detach())
    q, p = (
        (maps.flatten(2) / temperature).log_softmax(dim=2) for maps in (small, large)
    )
    whole = F.kl_div(q, p, reduction="sum", log_target=True)
    return temperature**2 * whole / (len(q) * q.shape[1])
