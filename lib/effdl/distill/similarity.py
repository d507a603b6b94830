"""Similarity-preserving distillation: inputs that are alike stay alike.

Paper: Tung and Mori, "Similarity-Preserving Knowledge Distillation", ICCV 2019,
https://arxiv.org/abs/1907.09682, section 3.

The features of a batch of b inputs, flattened to Q (b, d), are compared with one
another, and every row of the result is made a vector of length 1:

    G~    = Q Q^T                                   b x b
    G_i   = G~_i / ||G~_i||                         row i
    loss  = 1 / b^2  ||G_T - G_S||_F^2

No feature of the student is compared with one of the teacher: d may differ. Turning all
features (Q R with R R^T = 1) or scaling them all changes nothing.

Before trusting it: G depends on what else is in the batch. With batches of a few inputs
there is little to be alike to. After ReLU all products are positive, and similarities
of inputs that have nothing in common look alike, too.
"""

import torch.nn.functional as F
from torch import Tensor

from effdl.distill.features import check_same_inputs


def similarity_matrix(features: Tensor) -> Tensor:
    """Return G, (b, b), the rows of length 1.

    Args:
        features: Of b inputs, (b, ...).

    Example:
        >>> import torch
        >>> similarity_matrix(torch.tensor([[1.0, 0.0], [1.0, 1.0]]))
        tensor([[0.7071, 0.7071],
                [0.4472, 0.8944]])
    """
    flat = features.flatten(1)
    return F.normalize(flat @ flat.T)


def similarity_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Return the mean squared difference of both similarity matrices, a scalar.

    Args:
        student: Features of b inputs, (b, ...).
        teacher: Features of the same inputs, (b, ...). They take no gradient.

    Example:
        >>> import torch
        >>> features = torch.rand(4, 3)
        >>> float(similarity_loss(features, features))
        0.0
    """
    check_same_inputs(student, teacher)
    return F.mse_loss(similarity_matrix(student), similarity_matrix(teacher.detach()))
