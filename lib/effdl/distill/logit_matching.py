"""Logit matching: a student that regresses what the teacher says before the softmax.

Paper: Ba and Caruana, "Do Deep Nets Really Need to be Deep?", NeurIPS 2014,
https://arxiv.org/abs/1312.6184, sections 2.2 and 2.3.

With logits s of the student and t of the teacher, over N inputs that need no labels,

    loss = 1 / (2 N)  sum_n || s(x_n) - t(x_n) ||^2

The softmax would flatten what the teacher distinguishes: logits (10, 20, 30) and
(-10, 0, 10) give the same probabilities, and so do, for all that floats can tell,
many with different small classes. The loss looks at the logits instead, their mean
included. Distillation at a high temperature has 1/C of its slope, with C classes, once
both sets of logits are centred.

The paper's students are shallow and very wide: a layer of H units on D inputs has H D
weights, and learns slowly. A linear layer of k units in front of it,

    W = U V,    U (H, k),    V (k, D)

has k (H + D) and can be multiplied out when training is over.

What differs: the learning rate. ``MATCHING`` has 0.1 / C for ten classes, with which
the slope of centred logits moves weights as at an infinite temperature and the book's
rate of 0.1. Weight decay, which goes with the rate, is ten times weaker.

Before trusting it: a logit far below the others decides nothing, yet costs as much as
one that decides. Small students may waste themselves on it.
"""

from torch import Tensor, nn

from effdl.checks import check_positive
from effdl.data.digits import Split
from effdl.distill.checks import check_logits
from effdl.distill.recipe import Recipe, train_student
from effdl.distill.teacher import answers, numbered

MATCHING = Recipe(learning_rate=0.01)


def logit_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Return half the squared distance of the logits, the mean over inputs, a scalar.

    Raises ``ValueError`` if the shapes differ.

    Args:
        student: Logits s, (N, C).
        teacher: Logits t, (N, C). They take no gradient.

    Example:
        >>> import torch
        >>> logit_loss(torch.zeros(2, 2), torch.tensor([[3.0, 4.0], [0.0, 0.0]]))
        tensor(6.2500)
    """
    check_logits(student, teacher)
    return (student - teacher.detach()).square().sum(dim=1).mean() / 2


def match_logits(
    student: nn.Module, teacher: nn.Module, split: Split, recipe: Recipe = MATCHING
) -> list[float]:
    """Return the mean loss of every epoch of matching the teacher's logits.

    The targets of the split play no part. The teacher answers once about every input,
    and stays exactly as it is. Raises ``ValueError`` if it is in training mode.

    Args:
        student: Maps (N, ...) to logits (N, C); trained in place.
        teacher: Maps the same inputs to logits of the same classes; in evaluation mode.
        split: Inputs; their targets may be anything.
        recipe: How long and how fast.

    Example:
        >>> import torch
        >>> split = Split(torch.eye(2).repeat(50, 1), torch.zeros(100))
        >>> losses = match_logits(nn.Linear(2, 3), nn.Linear(2, 3).eval(), split)
        >>> losses[-1] < losses[0]
        True
    """
    taught = answers(teacher, split.inputs)

    def loss_of(inputs: Tensor, which: Tensor) -> Tensor:
        return logit_loss(student(inputs), taught[which])

    return train_student(student, numbered(split), loss_of, recipe)


def bottleneck_linear(inputs: int, outputs: int, width: int) -> nn.Sequential:
    """Return two linear layers with nothing between: k (H + D) weights for H D.

    ``ValueError`` if a number is below 1.

    Args:
        inputs: D.
        outputs: H; they have the bias.
        width: k. The product has at most this rank.

    Example:
        >>> layer = bottleneck_linear(256, 1000, 20)
        >>> sum(w.numel() for w in layer.parameters()), 256 * 1000 + 1000
        (26120, 257000)
    """
    check_positive(inputs=inputs, outputs=outputs, width=width)
    return nn.Sequential(
        nn.Linear(inputs, width, bias=False), nn.Linear(width, outputs)
    )


def merged(bottleneck: nn.Sequential) -> nn.Linear:
    """Return the single linear layer that computes what the two do.

    Args:
        bottleneck: Two linear layers, of which the first has no bias; left as it is.

    Raises:
        ValueError: If it is anything else.

    Example:
        >>> merged(bottleneck_linear(256, 1000, 20))
        Linear(in_features=256, out_features=1000, bias=True)
    """
    layers = [*bottleneck]
    linear = [layer for layer in layers if isinstance(layer, nn.Linear)]
    if len(linear) != 2 or len(layers) != 2 or linear[0].bias is not None:
        raise ValueError(
            "bottleneck must be two linear layers, the first without bias, got "
            f"{[type(layer).__name__ for layer in layers]}; use bottleneck_linear"
        )
    first, second = linear
    weight = second.weight.detach() @ first.weight.detach()
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=second.bias is not None)
    layer = layer.to(weight)
    state = {"weight": weight}
    if second.bias is not None:
        state["bias"] = second.bias.detach()
    layer.load_state_dict(state)
    return layer
