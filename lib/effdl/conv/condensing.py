"""Condensing a network while it trains, and taking the zeros out afterwards.

Paper: Huang et al., "CondenseNet: An Efficient DenseNet using Learned Group
Convolutions", CVPR 2018, https://arxiv.org/abs/1711.09224, section 3 and figure 4.

Training M steps spends its first half on the C - 1 condensing stages of each layer,
and its second half on the connections that are left:

    stage s = 1..C-1 ends after s M / (2 (C - 1)) steps, and with it a share s / C of
    the weights is gone

with one cosine of the learning rate over both halves. In the training loop of
:mod:`effdl.train` the stages are what happens after a step:

    fit(net, loss, batches, sgd, epochs=10, after_step=condense_on_schedule(net, steps))

or, for a classifier, ``train_classifier(net, split, after_step=...)``. Every
:class:`~effdl.conv.learned_group.LearnedGroupConv2d` of the network takes part, the
layers of :mod:`effdl.conv.feature_reactivation` included.

The authors' code condenses in the forward pass, when a global progress says so. The
moments are the same: the first step at or after each s M / (2 (C - 1)).
"""

import copy
from collections.abc import Callable
from itertools import count

import torch
from torch import Tensor, nn

from effdl.checks import check_positive
from effdl.conv.learned_group import LearnedGroupConv2d, group_lasso


def condensing_steps(steps: int, condensation: int) -> tuple[int, ...]:
    """Return how many training steps are done when each stage happens, C - 1 numbers.

    Args:
        steps: Steps M of the whole training; epochs will do as well.
        condensation: Factor C of the layer.

    Raises:
        ValueError: If a number is below 1, or M is below 2 (C - 1), so that two stages
            would fall on one step.

    Example:
        >>> condensing_steps(600, 4), condensing_steps(600, 1)
        ((100, 200, 300), ())
    """
    check_positive(steps=steps, condensation=condensation)
    half = 2 * (condensation - 1)
    if steps < half:
        raise ValueError(
            f"steps must be at least {half} for condensation={condensation}, "
            f"got {steps}; train longer or condense less"
        )
    return tuple(-(-stage * steps // half) for stage in range(1, condensation))


def condense_on_schedule(net: nn.Module, steps: int) -> Callable[[], None]:
    """Return a function to be called after every training step: it runs the stages.

    Each call counts as one step and changes ``net`` where a stage is due. Make a new
    function for a new training.

    Args:
        net: Network with layers that have all their stages to come.
        steps: Steps M of the whole training: epochs times batches.

    Raises ``ValueError`` if there is no such layer, or too few steps for a stage each.

    Example:
        >>> layer = LearnedGroupConv2d(4, 4, groups=2, condensation=2)
        >>> after_step = condense_on_schedule(layer, steps=4)
        >>> left = []
        >>> for _ in range(4):
        ...     after_step()
        ...     left.append(layer.stages_left)
        >>> left
        [1, 0, 0, 0]
    """
    layers = _layers(net)
    due = [condensing_steps(steps, layer.condensation) for layer in layers]
    done = count(1)

    def after_step() -> None:
        step = next(done)
        for layer, stages in zip(layers, due, strict=True):
            if step in stages:
                layer.condense_()

    return after_step


def condense_fully_(net: nn.Module) -> None:
    """Change the masks: run all stages that are left, at once.

    For a network whose size is of interest, not its weights: what is dropped from an
    untrained network is arbitrary, how much is not.

    Raises ``ValueError`` if no layer of the network can condense.

    Example:
        >>> layer = LearnedGroupConv2d(8, 8, groups=4, condensation=4)
        >>> condense_fully_(layer)
        >>> layer.mask.mean().item()
        0.25
    """
    for layer in _layers(net):
        for _ in range(layer.stages_left):
            layer.condense_()


def lasso_penalty(net: nn.Module) -> Tensor:
    """Return the group lasso of all layers with a stage to come, a scalar.

    Times 1e-5, and added to the loss, it makes ready what the next stage drops. When
    all stages are done it is 0: there is nothing left to make ready.

    Raises ``ValueError`` if no layer of the network can condense.

    Example:
        >>> layer = LearnedGroupConv2d(2, 1, groups=1, condensation=2)
        >>> _ = nn.init.constant_(layer.weight, -3.0)
        >>> lasso_penalty(nn.Sequential(layer)).item()
        6.0
    """
    layers = _layers(net)
    terms = [
        group_lasso(layer.table(layer.weight * layer.mask), layer.learned_groups)
        for layer in layers
        if layer.stages_left
    ]
    return torch.stack(terms).sum() if terms else layers[0].weight.new_zeros(())


def deploy(net: nn.Module) -> nn.Module:
    """Return a copy of the network without its zeros: gathers and group convolutions.

    It computes the same as ``net``, which is not changed, after whatever stage. The
    MACs of a layer are those of the dense one times the share of weights left.

    Raises ``ValueError`` if no layer of the network can condense.

    Example:
        >>> net = nn.Sequential(LearnedGroupConv2d(16, 8, groups=4, condensation=4))
        >>> condense_fully_(net)
        >>> deploy(net)[0][1]
        Conv2d(16, 8, kernel_size=(1, 1), stride=(1, 1), groups=4, bias=False)
    """
    _layers(net)
    root = nn.Sequential(copy.deepcopy(net))
    for module in list(root.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, LearnedGroupConv2d):
                setattr(module, name, child.standard_form().train(child.training))
    return root[0]


def _layers(net: nn.Module) -> list[LearnedGroupConv2d]:
    """Return the layers that condense.

    Raises:
        ValueError: If there is none.
    """
    layers = [m for m in net.modules() if isinstance(m, LearnedGroupConv2d)]
    if not layers:
        raise ValueError("net has no LearnedGroupConv2d; deployed already?")
    return layers
