"""A generator of small images: what invents the inputs where there are no data.

Papers: Chen et al., "Data-Free Learning of Student Networks", ICCV 2019,
https://arxiv.org/abs/1904.01186, and Micaelli and Storkey, "Zero-shot Knowledge
Transfer via Adversarial Belief Matching", NeurIPS 2019,
https://arxiv.org/abs/1905.09768. Both use this kind of network.

    z ~ N(0, 1)^latent                        numbers without any meaning
    linear, to w maps of size / 4
    double the resolution, 3 x 3 convolution, batch norm, leaky ReLU      twice
    3 x 3 convolution to the channels of an image
    batch norm without weights                mean 0 and variance 1 over the batch

The last line is all that is known about the images: how they were normalised. Without
it, a generator can leave the range of images altogether.

What differs: sizes; the authors' have 128 maps and images of 32 x 32. DAFL's has a tanh
before the last batch norm.

Before trusting it: nothing here makes images look like anything. What they become is
decided by the loss, and no loss of a data-free method asks for looks.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from effdl.checks import check_divides, check_positive


class Generator(nn.Module):
    """Maps numbers (N, latent) to images (N, channels, size, size).

    Args:
        latent: Numbers per image.
        width: Maps w at the two lower resolutions; half of them at the highest.
        size: Height and width of an image, a multiple of 4.
        channels: Of an image.

    Example:
        >>> import torch
        >>> images = Generator(8, width=4)(torch.randn(5, 8))
        >>> images.shape, bool(images.mean().abs() < 1e-5)
        (torch.Size([5, 1, 16, 16]), True)
    """

    def __init__(
        self, latent: int = 64, *, width: int = 32, size: int = 16, channels: int = 1
    ) -> None:
        super().__init__()
        check_positive(latent=latent, width=width, size=size, channels=channels)
        check_divides("doublings", 4, size=size)
        check_divides("halves", 2, width=width)
        self.latent, self.width, self.start = latent, width, size // 4
        self.spread = nn.Linear(latent, width * self.start**2)
        self.norm = nn.BatchNorm2d(width)
        self.first = _block(width, width)
        self.second = _block(width, width // 2)
        self.to_image = nn.Conv2d(width // 2, channels, 3, padding=1)
        self.image_norm = nn.BatchNorm2d(channels, affine=False)

    def forward(self, z: Tensor) -> Tensor:
        """Return the images."""
        x = self.spread(z).view(-1, self.width, self.start, self.start)
        x = self.first(F.interpolate(self.norm(x), scale_factor=2))
        x = self.second(F.interpolate(x, scale_factor=2))
        return self.image_norm(self.to_image(x))

    def noise(self, count: int) -> Tensor:
        """Return numbers for so many images, (count, latent), from the global stream.

        Args:
            count: Images.
        """
        return self.spread.weight.new_empty(count, self.latent).normal_()


def _block(channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, out_channels, 3, padding=1, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.LeakyReLU(0.2, inplace=True),
    )
