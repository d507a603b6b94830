"""The exact numbers of chapter 2's pages on convolutions: counts and closed forms.

Each row is one number with the text that a page prints for {{ key }}. Nothing here is
random and nothing is timed; for the times see convolution_speed_numbers.py.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import cache

import timm
import torch
from timm.models.ghostnet import GhostModule
from torch import Tensor, nn
from torchvision.models import alexnet

from _results import Case, fill_table
from effdl.conv.channel_shuffle import channel_shuffle, shuffle_order
from effdl.conv.cost import conv_cost
from effdl.conv.depthwise import depthwise, depthwise_cost, separable_saving
from effdl.conv.dilated import DilatedConv2d, receptive_field, seen_pixels
from effdl.conv.ghost import ghost_saving
from effdl.conv.partial import partial_saving
from effdl.measure.count import parameter_count
from effdl.measure.macs import MacCount, count_macs
from effdl.seed import seeded

BUILDERS: dict[str, Callable[[], nn.Module]] = {
    "alexnet": alexnet,
    "resnet50": lambda: timm.create_model("resnet50"),
    "seresnet50": lambda: timm.create_model("seresnet50"),
    "ghostnet": lambda: timm.create_model("ghostnet_100"),
    "mobilenetv2": lambda: timm.create_model("mobilenetv2_100"),
}
SURVEY_LIST = "pointwise, groupwise, depthwise, dilated, Ghost, partial"  # bullets, 2.1


@cache
def model(name: str) -> nn.Module:
    """Return a network with random weights: no count depends on them."""
    return BUILDERS[name]().eval()


@cache
def count(name: str) -> MacCount:
    """Return the cost of one image of 224 x 224."""
    return count_macs(model(name), torch.zeros(1, 3, 224, 224))


def conv_parameters(name: str) -> int:
    """Return the parameters in convolutions."""
    convolutions = (m for m in model(name).modules() if isinstance(m, nn.Conv2d))
    return sum(parameter_count(conv) for conv in convolutions)


def conv_share(name: str) -> float:
    """Return the share of the MACs that convolutions do."""
    return count(name).by_operator["conv"] / count(name).total


def excess(name: str) -> float:
    """Return by what share fvcore's total is larger than the MACs."""
    return fvcore_total(name) / count(name).total - 1


def fvcore_total(name: str) -> int:
    """Return fvcore's total.

    Raises:
        RuntimeError: If fvcore could not count the network.
    """
    total = count(name).fvcore_total
    if total is None:
        raise RuntimeError(f"fvcore failed on {name}")
    return total


def field(rate: int) -> int:
    """Return the side of the square in which a 3 x 3 kernel sees pixels, measured."""
    layer = DilatedConv2d(1, 1, dilation=rate)
    nn.init.ones_(layer.weight)
    rows = seen_pixels(layer, torch.rand(1, 1, 15, 15)).any(dim=1).nonzero()
    return int(rows.max() - rows.min()) + 1


def dense_spatial(name: str) -> list[nn.Conv2d]:
    """Return the convolutions that mix channels and look at neighbours, too."""
    convolutions = [m for m in model(name).modules() if isinstance(m, nn.Conv2d)]
    return [m for m in convolutions if m.groups == 1 and m.kernel_size != (1, 1)]


def shuffle_difference() -> float:
    """Return how far depthwise before and after a shuffle are apart."""
    with seeded(0):
        x, kernels = torch.randn(2, 12, 9, 9), torch.randn(12, 1, 3, 3)
    order = shuffle_order(12, groups=3)
    after: Tensor = channel_shuffle(depthwise(x, kernels), groups=3)
    before = depthwise(channel_shuffle(x, groups=3), kernels[order])
    return float((after - before).abs().max())


def ghost_default(argument: str) -> int:
    """Return a default of the reference implementation in timm."""
    return int(inspect.signature(GhostModule).parameters[argument].default)


def plain(value: float) -> str:
    """Return 2359296 as 2,359,296."""
    return f"{value:,.0f}"


def times(value: float) -> str:
    """Return three digits: 1.28, 9, 113."""
    return f"{value:.3g}"


def million(value: float) -> str:
    """Return 4089184256 as 4,089.2 million."""
    return f"{value / 1e6:,.1f} million"


def percent(value: float) -> str:
    """Return 0.99950 as 99.95 %, 0.918 as 91.8 %."""
    return f"{100 * value:.4g} %" if value > 0.99 else f"{100 * value:.1f} %"


def small_percent(value: float) -> str:
    """Return 0.0006 as 0.06 %."""
    return f"{100 * value:.2g} %"


Number = tuple[Callable[[], float], Callable[[float], str]]
DENSE, DEPTHWISE = conv_cost(128, 128, 3, 28), depthwise_cost(128, 3, 28)
NUMBERS: dict[str, Number] = {
    "resnet50_macs": (lambda: count("resnet50").total, million),
    "resnet50_conv_macs": (lambda: count("resnet50").by_operator["conv"], million),
    "resnet50_conv_share": (lambda: conv_share("resnet50"), percent),
    "resnet50_conv_share_of_total": (
        lambda: count("resnet50").by_operator["conv"] / fvcore_total("resnet50"),
        percent,
    ),
    "resnet50_conv_parameter_share": (
        lambda: conv_parameters("resnet50") / parameter_count(model("resnet50")),
        percent,
    ),
    "alexnet_conv_share": (lambda: conv_share("alexnet"), percent),
    "alexnet_conv_parameter_share": (
        lambda: conv_parameters("alexnet") / parameter_count(model("alexnet")),
        percent,
    ),
    "ghostnet_macs": (lambda: count("ghostnet").total, million),
    "ghostnet_fvcore_total": (lambda: fvcore_total("ghostnet"), million),
    "ghostnet_fvcore_excess": (lambda: excess("ghostnet"), percent),
    "mobilenetv2_macs": (lambda: count("mobilenetv2").total, million),
    "mobilenetv2_fvcore_total": (lambda: fvcore_total("mobilenetv2"), million),
    "mobilenetv2_fvcore_excess": (lambda: excess("mobilenetv2"), percent),
    "ghostnet_dense_spatial": (lambda: len(dense_spatial("ghostnet")), plain),
    "ghostnet_dense_spatial_of": (
        lambda: sum(isinstance(m, nn.Conv2d) for m in model("ghostnet").modules()),
        plain,
    ),
    "ghost_primary_kernel": (lambda: ghost_default("kernel_size"), plain),
    "ghost_cheap_kernel": (lambda: ghost_default("dw_size"), plain),
    "ghost_saving_16": (lambda: ghost_saving(16, 1), times),
    "ghost_saving_512": (lambda: ghost_saving(512, 1), times),
    "se_resnet50_extra_parameters": (
        lambda: (
            parameter_count(model("seresnet50")) / parameter_count(model("resnet50"))
            - 1
        ),
        percent,
    ),
    "se_resnet50_extra_macs": (
        lambda: count("seresnet50").total / count("resnet50").total - 1,
        small_percent,
    ),
    "dense_layer_weights": (lambda: (16 * 32 * 32) ** 2, plain),
    "conv_layer_weights": (lambda: conv_cost(16, 16, 3, 32).parameters, plain),
    "dense_over_conv": (
        lambda: (16 * 32 * 32) ** 2 / conv_cost(16, 16, 3, 32).parameters,
        plain,
    ),
    "dense_intensity": (lambda: DENSE.intensity / 4, times),
    "depthwise_intensity": (lambda: DEPTHWISE.intensity / 4, times),
    "depthwise_macs_ratio": (lambda: DENSE.macs / DEPTHWISE.macs, times),
    "separable_share_512": (lambda: 1 / separable_saving(512, 3), times),
    "partial_macs_ratio": (lambda: partial_saving(0.25), times),
    "field_rate_1": (lambda: field(1), lambda side: f"{side:.0f} by {side:.0f}"),
    "field_rate_2": (lambda: field(2), lambda side: f"{side:.0f} by {side:.0f}"),
    "rate_for_five": (
        lambda: next(rate for rate in range(1, 9) if field(rate) == 5),
        plain,
    ),
    "field_stack_111": (lambda: receptive_field([1, 1, 1]), plain),
    "field_stack_124": (lambda: receptive_field([1, 2, 4]), plain),
    "shuffle_order_difference": (shuffle_difference, times),
    "operators_listed": (lambda: len(SURVEY_LIST.split(", ")), plain),
}


def measure(key: str, seed: int) -> Case:  # noqa: ARG001  (every table has a seed)
    """Return one number and its text."""
    value, text = NUMBERS[key.removeprefix("conv_")]
    number = value()
    return {"value": number, "text": text(number)}


if __name__ == "__main__":
    cases = [{"key": f"conv_{name}", "seed": 0} for name in NUMBERS]
    fill_table(__file__, cases, measure)
