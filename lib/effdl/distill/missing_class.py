"""A class that the student never saw: what soft targets tell about it all the same.

Paper: Hinton et al., "Distilling the Knowledge in a Neural Network", 2015,
https://arxiv.org/abs/1503.02531, section 3.

A teacher knows all classes. The transfer set, on which the student learns from it,
lacks one of them. Every input of the other classes still carries a little of the
teacher's probability for the missing one, more where it looks like it. The student
learns this likeness. What it gets wrong is how frequent the class is, and to put that
right takes one number, added to its logit:

    s'_m = s_m + b

An input n goes to class m as soon as b exceeds the lead of its strongest other class,
max_{i != m} s_i - s_m. So the accuracy is a step function of b that changes at these
leads only, and the best b can be found exactly, by sorting.

What differs: the paper chooses the bias, 3.5 for the digit 3 of MNIST, by the test set.
Choose it on validation images. They have labels of the missing class, of course, though
one number is all that is learned from them.

Before trusting it: compare with a student that learned from labels without the class.
Its logit can be shifted, too, and whatever it then finds is not dark knowledge.
"""

import torch
from torch import Tensor

from effdl.data.digits import Split


def without_class(split: Split, missing: int) -> Split:
    """Return the inputs of all other classes, in their order.

    Args:
        split: Inputs and class indices.
        missing: The class to leave out.

    Raises:
        ValueError: If the split does not have it, or nothing else.

    Example:
        >>> split = Split(torch.eye(3), torch.tensor([0, 1, 2]))
        >>> without_class(split, 1).targets
        tensor([0, 2])
    """
    kept = split.targets != missing
    if bool(kept.all()) or not bool(kept.any()):
        raise ValueError(
            f"missing must be one of several classes of the split, got {missing}; it "
            f"has {sorted(set(split.targets.tolist()))}"
        )
    return Split(split.inputs[kept], split.targets[kept])


def shifted(logits: Tensor, missing: int, bias: float) -> Tensor:
    """Return logits with ``bias`` added to those of one class; the argument is kept.

    Raises ``ValueError`` if there is no such class.

    Args:
        logits: (N, C).
        missing: The class m.
        bias: b.

    Example:
        >>> shifted(torch.zeros(1, 3), 2, 3.5)
        tensor([[0.0000, 0.0000, 3.5000]])
    """
    _check_class(logits, missing)
    result = logits.clone()
    result[:, missing] += bias
    return result


def leads(logits: Tensor, missing: int) -> Tensor:
    """Return how far the strongest other class is ahead of class m, (N,).

    Raises ``ValueError`` if there is no such class.

    Args:
        logits: (N, C), C at least 2.
        missing: The class m.

    Example:
        >>> leads(torch.tensor([[1.0, 5.0, 2.0]]), 2)
        tensor([3.])
    """
    _check_class(logits, missing)
    others = logits.clone()
    others[:, missing] = -torch.inf
    return others.max(dim=1).values - logits[:, missing]


def best_bias(logits: Tensor, targets: Tensor, missing: int) -> float:
    """Return the bias of class m with the highest accuracy, found exactly.

    The middle of the interval of best biases; if several intervals are best, of the
    lowest one. Intervals without an end are taken to go on for 1.
    Raises ``ValueError`` if there is no such class or another number of targets.

    Args:
        logits: (N, C), of validation images.
        targets: Class indices, (N,).
        missing: The class m.

    Example:
        >>> logits = torch.tensor([[4.0, 0.0], [3.0, 0.0], [1.0, 0.0]])
        >>> best_bias(logits, torch.tensor([0, 0, 1]), 1)  # above 1, below 3
        2.0
    """
    ahead, order = leads(logits, missing).sort()
    _check_count(logits, targets)
    targets, others = targets[order], shifted(logits, missing, -torch.inf)
    was_right = others.argmax(dim=1)[order] == targets
    # With the first k inputs gone over to class m: what is won and what is lost.
    gain = (targets == missing).long() - was_right.long()
    right = torch.cat([gain.new_zeros(1), gain.cumsum(dim=0)])
    edges = torch.cat([ahead[:1] - 1, ahead, ahead[-1:] + 1])
    right[edges[1:] <= edges[:-1]] = right.min() - 1  # between equal leads is nothing
    k = int(right.argmax())
    return float(edges[k] + edges[k + 1]) / 2


def recall(logits: Tensor, targets: Tensor, cls: int) -> float:
    """Return the share of the inputs of a class that are recognised, 0 to 1.

    Args:
        logits: (N, C).
        targets: Class indices, (N,).
        cls: The class.

    Raises:
        ValueError: If no input is of this class, or there are other numbers of both.

    Example:
        >>> recall(torch.eye(3), torch.tensor([0, 1, 1]), 1)
        0.5
    """
    _check_count(logits, targets)
    of_class = targets == cls
    if not bool(of_class.any()):
        raise ValueError(f"cls must be a class that occurs, got {cls}")
    return float((logits[of_class].argmax(dim=1) == cls).double().mean())


def _check_class(logits: Tensor, missing: int) -> None:
    """Require logits (N, C) of at least two classes, and one of them.

    Raises:
        ValueError: If there are none, or no such class.
    """
    if logits.ndim != 2 or len(logits) == 0 or logits.shape[1] < 2:
        raise ValueError(
            f"logits must be (N, C) with two classes or more, got {tuple(logits.shape)}"
        )
    if not 0 <= missing < logits.shape[1]:
        raise ValueError(
            f"missing must be from 0 to {logits.shape[1] - 1}, got {missing}"
        )


def _check_count(logits: Tensor, targets: Tensor) -> None:
    """Require one target for every row of logits.

    Raises:
        ValueError: If there is another number of them.
    """
    if targets.shape != logits.shape[:1]:
        raise ValueError(
            f"targets must be ({len(logits)},), got {tuple(targets.shape)}; "
            "one per row of logits"
        )
