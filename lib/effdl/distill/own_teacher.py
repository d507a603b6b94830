"""Be your own teacher: early exits of a network, taught by its last one.

Paper: Zhang et al., "Be Your Own Teacher: Improve the Performance of Convolutional
Neural Networks via Self Distillation", ICCV 2019, https://arxiv.org/abs/1905.08094,
section 3.

Behind some inner layers stands an exit: a 1 x 1 convolution to as many channels as the
last features have, their mean over the pixels f_i, and a linear layer to logits z_i.
With the network's own features f and logits z, softened to p

    L   = CE(z, label) + sum_i L_i
    L_i = (1 - alpha) CE(z_i, label) + alpha T^2 KL(p || q_i) + hint |f_i - f|^2

z and f are constants in L_i: the exits learn from the end, the end does not move
towards them. What the end gains comes by another way: the exits send slopes into the
layers that they share with it. Afterwards they are dropped, and the network is as
large as before, or they stay, and an input that is easy can leave early.

Without exits this is plain training.

What differs: the paper's exits have as many convolutions as the layers they skip.

Before trusting it: two things change at once, exits with labels and a teacher for
them. alpha = hint = 0 is the first alone.
"""

from collections.abc import Mapping

import torch.nn.functional as F
from torch import Tensor, nn

from effdl.blocks import conv_bn
from effdl.checks import check_positive
from effdl.data.digits import Split
from effdl.distill.checks import check_share
from effdl.distill.kd import kd_loss
from effdl.distill.recipe import TEN_EPOCHS, Recipe, train_student
from effdl.distill.taps import tapped


class Exit(nn.Module):
    """A way out behind an inner layer: (N, c, H, W) to features (N, f).

    ``logits`` maps these features to logits (N, classes).

    Args:
        in_channels: Channels c of the layer.
        features: f, as many as the last features of the network.
        classes: Logits.

    Example:
        >>> import torch
        >>> leave = Exit(4, 16, 10)
        >>> f = leave(torch.zeros(2, 4, 8, 8))
        >>> f.shape, leave.logits(f).shape
        (torch.Size([2, 16]), torch.Size([2, 10]))
    """

    def __init__(self, in_channels: int, features: int, classes: int) -> None:
        super().__init__()
        check_positive(classes=classes)
        self.conv = conv_bn(in_channels, features, 1)
        self.logits = nn.Linear(features, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return features (N, f) for the output of a layer, (N, c, H, W)."""
        return self.conv(x).mean(dim=(2, 3))


def exit_loss(
    leave: Exit,
    layer: Tensor,
    end: tuple[Tensor, Tensor],
    targets: Tensor,
    *,
    temperature: float = 3.0,
    alpha: float = 0.3,
    hint: float = 0.03,
) -> Tensor:
    """Return L_i of an exit, the mean over inputs, a scalar.

    Args:
        leave: The exit.
        layer: Output of the layer it stands behind, (N, c, H, W).
        end: Last features f, (N, f), and logits z, (N, C). They take no gradient.
        targets: Class indices, (N,).
        temperature: T, above 0.
        alpha: Share of the last exit, 0 to 1.
        hint: Factor of the distance between features.

    Raises:
        ValueError: If the features are not as many as the exit's, or ``hint`` is
            below 0.

    Example:
        >>> import torch
        >>> end = torch.zeros(2, 16), torch.zeros(2, 10)
        >>> y = torch.tensor([0, 1])
        >>> exit_loss(Exit(4, 16, 10), torch.zeros(2, 4, 8, 8), end, y).shape
        torch.Size([])
    """
    if not hint >= 0:  # nan is not
        raise ValueError(f"hint must be at least 0, got {hint}; 0 is no hint")
    features, logits = leave(layer), end[1].detach()
    if features.shape != end[0].shape:
        raise ValueError(
            f"the last features must be {tuple(features.shape)}, as those of the exit, "
            f"got shape {tuple(end[0].shape)}; build the exit with as many"
        )
    taught = kd_loss(
        leave.logits(features), logits, targets, temperature=temperature, alpha=alpha
    )
    distance = (features - end[0].detach()).square().sum(dim=1).mean()
    return taught + hint * distance


def train_with_exits(
    student: nn.Module,
    exits: Mapping[str, Exit],
    split: Split,
    recipe: Recipe = TEN_EPOCHS,
    *,
    last: str,
    temperature: float = 3.0,
    alpha: float = 0.3,
    hint: float = 0.03,
) -> list[float]:
    """Return the mean loss of every epoch of a network that teaches its exits.

    Args:
        student: Maps (N, ...) to logits (N, C); trained in place.
        exits: By the name of the layer behind which each stands; trained along, in
            training mode.
        split: Inputs and targets.
        recipe: How long and how fast.
        last: Name of the layer that puts out the last features, (N, f).
        temperature: T, above 0.
        alpha: Share of the last exit in the others' loss, 0 to 1.
        hint: Factor of the distance between features.

    Example:
        >>> import torch
        >>> net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.AvgPool2d(2), nn.Flatten())
        >>> _ = net.append(nn.Linear(2, 2))
        >>> split = Split(torch.randn(20, 1, 4, 4), torch.arange(2).repeat(10))
        >>> losses = train_with_exits(net, {"0": Exit(2, 2, 2)}, split, last="2")
        >>> losses[-1] < losses[0]
        True
    """
    check_share(alpha=alpha)
    beside = nn.ModuleList(exits.values()).train()

    def loss_of(inputs: Tensor, targets: Tensor) -> Tensor:
        logits = student(inputs)
        loss = F.cross_entropy(logits, targets)
        for name, leave in exits.items():
            loss = loss + exit_loss(
                leave,
                taps[name],
                (taps[last], logits),
                targets,
                temperature=temperature,
                alpha=alpha,
                hint=hint,
            )
        return loss

    with tapped(student, [*exits, last]) as taps:
        return train_student(student, split, loss_of, recipe, beside=beside)
