"""CA-MKD: for every input, more weight to the teachers that are right about it.

Paper: Zhang et al., "Confidence-Aware Multi-Teacher Knowledge Distillation", ICASSP
2022, https://arxiv.org/abs/2201.00007, section 2.1.

Teacher k has the cross-entropy c_k with the label of an input. Its weight there is

    w_k  = (1 - exp(c_k) / sum_j exp(c_j)) / (K - 1)
    loss = (1 - alpha) CE(student, label) + alpha T^2 sum_k w_k KL(p_k || q)

The w_k sum to 1, and none exceeds 1 / (K - 1). As exp(c_k) = 1 / p_k[label], a weight
is one minus a share of the *inverse* probabilities of the label:

    all teachers alike                  1 / K each: the plain mean
    one teacher badly wrong             0 for it, 1 / (K - 1) for the others
    two teachers                        w_1 = p_1[label] / (p_1[label] + p_2[label])

So this gate can close for a teacher, but cannot choose one of many: no weight
exceeds 1 / (K - 1), and several that are equally wrong each keep a good part. Weights
depend on teachers and labels only, and

    sum_k w_k KL(p_k || q) = KL(sum_k w_k p_k || q) + a constant

so the weighted mean of probabilities is computed once, and training is that of one
teacher.

What differs: the paper adds a hint from inner layers, weighted in another way.

Before trusting it: weights use the labels, so this is no use without them; and where
teachers have learned the training images by heart, all c_k are near 0 and the weights
are the plain mean.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from effdl.data.digits import Split
from effdl.distill.averaged_teachers import answers_of_all, mean_probabilities
from effdl.distill.kd import learn_answers
from effdl.distill.recipe import TEN_EPOCHS, Recipe


def confidence_weights(logits: Tensor, targets: Tensor) -> Tensor:
    """Return w, the weight of every teacher for every input, (K, N).

    Args:
        logits: Of K teachers, two at least, (K, N, C).
        targets: Class indices, (N,).

    Raises:
        ValueError: If there are fewer than two teachers, or ``logits`` has another
            rank.

    Example:
        >>> right, torn = torch.tensor([[50.0, 0.0]]), torch.tensor([[0.0, 0.0]])
        >>> confidence_weights(torch.stack([right, torn]), torch.tensor([0]))
        tensor([[0.6667],
                [0.3333]])
    """
    if logits.ndim != 3 or len(logits) < 2:
        raise ValueError(
            "logits must be (K, N, C), those of two teachers at least, "
            f"got shape {tuple(logits.shape)}; one teacher needs no weight"
        )
    losses = torch.stack([
        F.cross_entropy(z, targets, reduction="none") for z in logits
    ])
    return (1 - losses.softmax(dim=0)) / (len(logits) - 1)  # (K, N)


def confident_answers(
    logits: Tensor, targets: Tensor, temperature: float = 4.0
) -> Tensor:
    """Return logits (N, C) whose softmax at T is the weighted mean of the teachers'.

    Args:
        logits: Of K teachers, two at least, (K, N, C).
        targets: Class indices, (N,).
        temperature: T, above 0, of the mean. The weights are taken at 1.

    Example:
        >>> z = torch.tensor([[[4.0, 0.0]], [[0.0, 4.0]]])
        >>> p = confident_answers(z, torch.tensor([0]), 4.0).div(4).softmax(dim=1)
        >>> [round(float(value), 3) for value in p[0]]
        [0.723, 0.277]
    """
    weights = confidence_weights(logits, targets)
    return mean_probabilities(logits, temperature, weights)


def distil_confident(
    student: nn.Module,
    teachers: Sequence[nn.Module],
    split: Split,
    recipe: Recipe = TEN_EPOCHS,
    *,
    temperature: float = 4.0,
    alpha: float = 0.9,
) -> list[float]:
    """Return the mean loss of every epoch of distilling weighted teachers.

    The loss is reported without the constant. Raises ``ValueError`` if a teacher is in
    training mode, or there are fewer than two.

    Args:
        student: Maps (N, ...) to logits (N, C); trained in place.
        teachers: K networks in evaluation mode, of the same classes.
        split: Inputs and targets.
        recipe: How long and how fast.
        temperature: T, above 0.
        alpha: The teachers' share, 0 to 1.

    Example:
        >>> split = Split(torch.eye(2).repeat(50, 1), torch.arange(2).repeat(50))
        >>> teachers = [nn.Linear(2, 2).eval() for _ in range(3)]
        >>> losses = distil_confident(nn.Linear(2, 2), teachers, split)
        >>> losses[-1] < losses[0]
        True
    """
    logits = answers_of_all(teachers, split.inputs)
    return learn_answers(
        student,
        confident_answers(logits, split.targets, temperature),
        split,
        recipe,
        temperature=temperature,
        alpha=alpha,
    )
