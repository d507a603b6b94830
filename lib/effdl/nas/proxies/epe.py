"""EPE-NAS: jacov class by class, for how differently images of one class are treated.

Paper: Lopes et al., "EPE-NAS: Efficient Performance Estimation Without Training for
Neural Architecture Search", ICANN 2021, https://arxiv.org/abs/2102.08099.

J_n is the gradient of the summed logits with respect to image n, C the correlation
matrix of these gradients. The images of class c, N_c of them, give a block of C:

    s_c = sum over i, j of class c of log(|C_ij| + k)         k = 1e-5
    S   = sum over c of |s_c|                                 up to 100 classes

    s_c as above, divided by N_c                              above 100 classes
    S   = sum over c, c' of |s_c - s_c'|, divided by the number of classes seen

A pair of equal gradients adds log(1 + k), about 0, to s_c, and a pair without any
correlation log k = -11.5. So with few classes S is large where the images of a class
are treated *differently*, as in jacov, but bounded for every pair. Higher is better.

Before trusting S: a class with N_c images has N_c^2 terms, so S grows with the size of
the batch and with how unequal the classes are; compare networks on one batch. A class
with one image adds next to nothing. Labels matter only by grouping the images.

What differs: this is the authors' code, equation by equation, but for one thing. Above
100 classes it leaves out a class with one image, by way of an error that it swallows;
here the class counts, with s_c = log(1 + k).
"""

from collections.abc import Sequence

from torch import Tensor, nn

from effdl.nas.proxies.jacobian import correlation, input_gradients

OFFSET = 1e-5  # k
MANY = 100  # up to so many classes their scores are added, above compared


def epe_score(model: nn.Module, inputs: Tensor, targets: Tensor) -> float:
    """Return S for a network and a batch; one forward and one backward pass.

    Raises the errors of :func:`~effdl.nas.proxies.jacobian.input_gradients`, and
    ``ValueError`` if an image has the same gradient in every pixel. The model comes
    back as it was.

    Args:
        model: Maps images (N, ...) to logits (N, K). K decides between the two forms.
        inputs: One batch, (N, ...). Do not split it: pairs of images are compared.
        targets: The class of every image, (N,), whole numbers.

    Raises:
        ValueError: If there is not one whole number for every image.

    Example:
        >>> import torch
        >>> net = nn.Linear(3, 2)  # the same gradient everywhere
        >>> x = torch.zeros(4, 3)
        >>> round(epe_score(net, x, torch.tensor([0, 0, 1, 1])), 6)  # 8 log(1 + k)
        8e-05
    """
    if targets.shape != inputs.shape[:1] or targets.is_floating_point():
        raise ValueError(
            f"targets must be {len(inputs)} whole numbers, one for every image, got "
            f"{targets.dtype} of shape {tuple(targets.shape)}"
        )
    gradients, logits = input_gradients(model, inputs)
    alike = correlation(gradients)  # (N, N)
    scores = class_scores(alike, targets.cpu())
    if logits.shape[1] <= MANY:
        return sum(abs(score) for score in scores)
    sizes = targets.unique(return_counts=True)[1].tolist()  # N_c
    return mean_contrast([s / n for s, n in zip(scores, sizes, strict=True)])


def class_scores(alike: Tensor, targets: Tensor) -> list[float]:
    """Return s_c of every class that occurs, in the order of the classes.

    Args:
        alike: The correlation matrix C, (N, N).
        targets: The class of every row, (N,).

    Example:
        >>> import torch
        >>> class_scores(torch.eye(3, dtype=torch.float64), torch.tensor([0, 0, 7]))
        [-23.02583..., 9.99995...e-06]
    """
    logs = (alike.abs() + OFFSET).log()  # (N, N)
    classes = (targets == c for c in targets.unique())
    return [logs[members][:, members].sum().item() for members in classes]


def mean_contrast(scores: Sequence[float]) -> float:
    """Return the sum of |s_c - s_c'| over all c and c', divided by how many there are.

    Args:
        scores: s_c of every class, at least one.

    Example:
        >>> mean_contrast([1.0, 2.0, 4.0])  # 2 * (1 + 3 + 2) / 3
        4.0
    """
    return sum(abs(a - b) for a in scores for b in scores) / len(scores)
