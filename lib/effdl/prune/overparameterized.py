"""Over-parameterised: most weights of a layer can be predicted from a few of them.

Paper: Denil et al., "Predicting Parameters in Deep Learning", NeurIPS 2013,
https://arxiv.org/abs/1306.0543.

A unit of the first layer has one weight w(p) for each pixel p. Neighbouring pixels are
alike, so w is a smooth function of the place, and a smooth function is known from a few
of its values. Take k pixels A, the same for all units. Kernel ridge regression, with a
kernel that falls with the distance of two pixels, predicts the others:

    kernel(p, q) = exp(-|p - q|^2 / (2 width^2))

    W = W_A U^T                                            W_A (units, k)
    U = kernel(all, A) (kernel(A, A) + ridge I)^-1         (pixels, k)

U does not depend on W. So W has rank k at most, and there are two things to do:

    predict     train a layer as usual, keep W_A, replace W by W_A U^T
    learn few   train W_A only, from the start: :class:`PredictedLinear`

The second is what the paper is about. With one set A for all units it costs accuracy,
since k pixels are all that a network sees; the paper gives groups of units sets of
their own (its "columns"), and so does the class. It takes the kernel of later layers
from data; here the caller may pass any kernel.

Before trusting it: the first works only as far as trained weights are smooth, and those
of the small networks of this book are not smooth enough: with a twentieth of the
weights known, little of the accuracy is left. The second does not need that.
"""

import math

import torch
from torch import Tensor, nn

from effdl.checks import check_divides, check_positive


def pixel_positions(height: int, width: int) -> Tensor:
    """Return row and column of every pixel in the order of memory, (pixels, 2).

    Args:
        height: Rows of the image.
        width: Columns.

    Example:
        >>> pixel_positions(2, 2).tolist()
        [[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]
    """
    check_positive(height=height, width=width)
    rows, columns = torch.arange(float(height)), torch.arange(float(width))
    return torch.cartesian_prod(rows, columns)


def gaussian_kernel(positions: Tensor, *, width: float) -> Tensor:
    """Return how alike each two positions are, 0 to 1, (n, n).

    Args:
        positions: Places (n, d).
        width: Distance over which it falls to exp(-1/2), in their units.

    Raises:
        ValueError: If the width is not above 0.

    Example:
        >>> gaussian_kernel(torch.tensor([[0.0], [1.0]]), width=1.0)
        tensor([[1.0000, 0.6065],
                [0.6065, 1.0000]])
    """
    if not width > 0:
        raise ValueError(f"width must be above 0, got {width}")
    differences = positions[:, None] - positions[None]  # (n, n, d)
    return torch.exp(-differences.square().sum(dim=2) / (2 * width**2))


def prediction_dictionary(kernel: Tensor, chosen: Tensor, *, ridge: float) -> Tensor:
    """Return the matrix U that predicts n values from k of them, (n, k).

    Args:
        kernel: Of all inputs with all, symmetric, (n, n).
        chosen: Indices of the k inputs that are known.
        ridge: Added to the diagonal: the larger, the smoother, and the less closely
            the known values are met. At 0 they are met exactly.

    Raises:
        ValueError: If an index is given twice, or the ridge is below 0.

    Example:
        >>> kernel = gaussian_kernel(pixel_positions(1, 3), width=1.0)
        >>> u = prediction_dictionary(kernel, torch.tensor([0, 2]), ridge=0.0)
        >>> [round(x, 2) for x in u[1].tolist()]
        [0.53, 0.53]
    """
    if not 0 <= ridge < math.inf:
        raise ValueError(f"ridge must be 0 or more, got {ridge}")
    if len(chosen.unique()) < len(chosen):
        raise ValueError(f"chosen has an index twice, got {chosen.tolist()}")
    between = kernel[chosen][:, chosen].double()
    between.diagonal().add_(ridge)
    solved = torch.linalg.solve(between, kernel[chosen].double())  # (k, n)
    return solved.T.to(kernel.dtype)


def predict_weight(weight: Tensor, chosen: Tensor, dictionary: Tensor) -> Tensor:
    """Return a weight of which only the chosen columns were used, and kept.

    Args:
        weight: Of a linear layer, (units, n).
        chosen: Indices of the k columns that are known.
        dictionary: From :func:`prediction_dictionary`, (n, k).

    Returns:
        A new tensor (units, n): the chosen columns as they are, the others predicted.

    Example:
        >>> kernel = gaussian_kernel(pixel_positions(1, 3), width=1.0)
        >>> chosen = torch.tensor([0, 2])
        >>> u = prediction_dictionary(kernel, chosen, ridge=0.0)
        >>> weight = torch.tensor([[1.0, 99.0, 1.0]])
        >>> [round(x, 2) for x in predict_weight(weight, chosen, u)[0].tolist()]
        [1.0, 1.07, 1.0]
    """
    predicted = weight[:, chosen] @ dictionary.T
    predicted[:, chosen] = weight[:, chosen]
    return predicted


class PredictedLinear(nn.Module):
    """A linear layer that learns k of its n weights a unit; the others are predicted.

    Maps (N, n) to (N, units). Units share a dictionary in groups, one after another:
    the paper's columns. With one dictionary the rank of all weights is at most k, with
    c of them c k.

    Args:
        dictionaries: The matrices U, (c, n, k); a buffer, not learned.
        units: Outputs, a multiple of c.

    Attributes:
        weight: What is learned, W_A (units, k).
        bias: Learned, too, (units,).

    Example:
        >>> layer = PredictedLinear(torch.eye(4)[None, :, :2], 3)
        >>> layer(torch.zeros(5, 4)).shape, layer.weight.numel()
        (torch.Size([5, 3]), 6)
    """

    dictionaries: Tensor

    def __init__(self, dictionaries: Tensor, units: int) -> None:
        super().__init__()
        groups, _, known = dictionaries.shape
        check_divides("the number of dictionaries", groups, units=units)
        self.register_buffer("dictionaries", dictionaries.detach().clone())
        # so that W has the deviation 1 / sqrt(3 n) that nn.Linear gives it
        deviation = 1 / (math.sqrt(3) * dictionaries.norm(dim=(1, 2)))
        deviations = deviation.repeat_interleave(units // groups)
        self.weight = nn.Parameter(deviations[:, None] * torch.randn(units, known))
        self.bias = nn.Parameter(torch.zeros(units))

    def forward(self, x: Tensor) -> Tensor:
        """Return the layer's outputs, (N, units)."""
        weight = self.weight.unflatten(0, (len(self.dictionaries), -1))  # (c, u, k)
        outputs = x @ self.dictionaries @ weight.transpose(1, 2)  # (c, N, u)
        return outputs.transpose(0, 1).flatten(1) + self.bias
