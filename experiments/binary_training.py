"""One-bit networks, three seeds: BinaryConnect with three weights, BinaryNet, XNOR-Net.

All are trained on the moved digits with Adam and one schedule, each with the best of
three rates on validation, seed 0. The perceptrons have batch norm and 20 epochs, the
convolutional networks of width 8 have 8 epochs.

    floats       a perceptron                        conv          plain_net(8)
    signs        BinaryConnect, trained with signs   bwn           four layers alpha B
    coins        BinaryConnect, trained with coins   xnor          their inputs, too
    binary net   hidden activations are signs, too   xnor no K     without K

The columns real, sign and coin are test accuracies with these weights, after batch norm
has seen the training images with them; real_before is without that. test is the
accuracy with the weights that the paper uses: W itself where coins were thrown.
"""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrize
from torch.optim import Adam
from torch.optim.lr_scheduler import LambdaLR
from torch.optim.swa_utils import update_bn

from _results import Case, fill_table, seeds_from_command_line
from effdl.blocks import plain_net
from effdl.data.digits import INK_DEVIATION, INK_MEAN, Digits, Split, moved_digits
from effdl.quant.binarize import coin_sign, sign
from effdl.quant.binary_connect import (
    binarize_weights_,
    clip_weights_,
    rate_groups,
    weights_as,
)
from effdl.quant.binary_net import binary_mlp, pack_net
from effdl.quant.straight_signs import clipped_coin, straight_sign
from effdl.quant.xnor_net import ScaledSigns, XnorConv2d, xnor_net
from effdl.seed import seeded
from effdl.train import accuracy, fit, warm_up_cosine

BATCH, WIDTH = 100, 8
EPOCHS = {"mlp": 20, "conv": 8}
HIDDEN = ("1.weight", "4.weight")
WEIGHTS = {"real": torch.clone, "sign": sign, "coin": coin_sign}
PERCEPTRONS = ("floats", "signs", "coins", "binary net")
CONVOLUTIONS = ("conv", "bwn", "xnor", "xnor no K")
RATES = dict.fromkeys([*PERCEPTRONS, "conv"], 0.01)
RATES |= dict.fromkeys(["bwn", "xnor", "xnor no K"], 0.03)


def perceptron() -> nn.Sequential:
    """Return 256-200-100-10 with batch norm and ReLU."""
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(256, 200, bias=False),
        nn.BatchNorm1d(200),
        nn.ReLU(),
        nn.Linear(200, 100, bias=False),
        nn.BatchNorm1d(100),
        nn.ReLU(),
        nn.Linear(100, 10),
    )


def made(method: str) -> nn.Module:
    """Return an untrained network of a method."""
    if method == "binary net":
        return binary_mlp()
    if method.startswith("xnor"):
        net = xnor_net(WIDTH)
        for layer in net:
            if isinstance(layer, XnorConv2d):
                layer.scaled_input = method == "xnor"
        return net
    if method in CONVOLUTIONS:
        net = plain_net(WIDTH)
        for block in net[1:5] if method == "bwn" else []:
            parametrize.register_parametrization(block[0], "weight", ScaledSigns())
        return net
    net = perceptron()
    if method != "floats":
        binarize_weights_(
            net, HIDDEN, clipped_coin if method == "coins" else straight_sign
        )
    return net


def pixels(split: Split) -> Split:
    """Return the images as whole numbers from 0 to 255."""
    ink = (split.inputs * INK_DEVIATION + INK_MEAN).clamp(0, 1)
    return Split((255 * ink).round(), split.targets)


def data_for(method: str) -> Digits:
    """Return the digits, of 8 bits for the network that wants them so."""
    digits = moved_digits()
    if method != "binary net":
        return digits
    return Digits(*(pixels(split) for split in digits))


def train(net: nn.Module, split: Split, epochs: int, rate: float, seed: int) -> float:
    """Train with clipped real weights; return the last epoch's loss."""
    batches = split.batches(BATCH, seed=seed)
    adam = Adam(rate_groups(net, rate))
    steps = epochs * len(batches)
    schedule = LambdaLR(adam, lambda step: warm_up_cosine(step, steps))

    def after_step() -> None:
        schedule.step()
        clip_weights_(net)

    def loss_of(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(net(x), y)

    return fit(net, loss_of, batches, adam, epochs=epochs, after_step=after_step)[-1]


def with_weights(net: nn.Module, name: str, digits: Digits, *, renew: bool) -> float:
    """Return the test accuracy with other weights."""
    other = copy.deepcopy(net)
    with weights_as(other, WEIGHTS[name]):
        if renew:
            update_bn(digits.train.batches(500), other)
        return accuracy(other, digits.test.batches(500))


def measure(method: str, seed: int) -> Case:
    """Return the accuracies of one training."""
    kind = "mlp" if method in PERCEPTRONS else "conv"
    digits = data_for(method)
    with seeded(seed):
        net = made(method)
        loss = train(net, digits.train, EPOCHS[kind], RATES[method], seed)
        used = "real" if method == "coins" else "sign"
        found: dict[str, float | str] = dict.fromkeys([*WEIGHTS, "real_before"], "")
        if method in ("signs", "coins"):
            for name in WEIGHTS:
                found[name] = with_weights(net, name, digits, renew=True)
            found["real_before"] = with_weights(net, "real", digits, renew=False)
        with weights_as(net, WEIGHTS[used]):
            validation, test = (
                accuracy(net, split.batches(500))
                for split in (digits.validation, digits.test)
            )
    if method == "binary net":
        inputs = digits.test.inputs
        with torch.no_grad():
            equal = torch.equal(pack_net(net.eval())(inputs), net(inputs))
        if not equal:
            raise RuntimeError("packed inference differs from the floats")
    return {"validation": validation, "test": test, **found, "loss": round(loss, 4)}


if __name__ == "__main__":
    seeds = seeds_from_command_line(__doc__)
    names = (*PERCEPTRONS, *CONVOLUTIONS)
    fill_table(
        __file__,
        [{"method": name, "seed": s} for s in seeds for name in names],
        measure,
    )
