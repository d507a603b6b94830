"""What HAQ's agent sees of a layer: ten numbers.

Paper: Wang et al., "HAQ: Hardware-Aware Automated Quantization with Mixed Precision",
CVPR 2019, https://arxiv.org/abs/1811.08886, section 3.1.

    number of the layer       k
    channels                  c_in, c_out
    kernel, stride            0 and 1 for a linear layer's stride and kernel
    feature map               input pixels
    weights                   n
    depthwise                 1 or 0
    weight or input           1 where the bits of the weight are decided on, 0 for the
                              input of the layer
    previous action           filled in while the agent goes on

Every column is stretched to 0 to 1 over all rows; one that is the same everywhere
becomes 0. (The authors' program leaves such a column as it is.)
"""

import torch
from torch import Tensor, nn

from effdl.measure.probe import evaluating
from effdl.quant.graph import Weighted


def layer_rows(
    model: nn.Module, images: Tensor, *, inputs: bool = False
) -> tuple[list[str], Tensor]:
    """Return the names of the layers as they run, and their numbers, (rows, 10).

    The last column is 0.

    Args:
        model: Every convolution and linear layer runs once. It comes back as it was.
        images: A batch that it can read, (N, ...).
        inputs: Whether each layer has a second row, for the bits of what it reads.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(36, 2))
        >>> names, rows = layer_rows(net, torch.zeros(5, 1, 5, 5))
        >>> names, rows[:, :3].tolist()
        (['0', '2'], [[0.0, 0.0, 1.0], [1.0, 1.0, 0.0]])
    """
    names: list[str] = []
    raw: list[list[float]] = []

    def note(layer: Weighted, name: str, x: Tensor) -> None:
        for decides in (1.0, 0.0) if inputs else (1.0,):
            names.append(name)
            raw.append([len(set(names)) - 1.0, *_numbers(layer, x), decides, 0.0])

    hooks = [
        layer.register_forward_pre_hook(
            lambda layer, x, name=name: note(layer, name, *x)
        )
        for name, layer in model.named_modules()
        if isinstance(layer, Weighted)
    ]
    try:
        with evaluating(model), torch.no_grad():
            model(images)
    finally:
        for hook in hooks:
            hook.remove()
    rows = torch.tensor(raw)
    low, high = rows.amin(dim=0), rows.amax(dim=0)
    return names, (rows - low) / torch.where(high > low, high - low, 1)


def _numbers(layer: Weighted, x: Tensor) -> list[float]:
    pixels, weights = float(x[0, 0].numel()), float(layer.weight.numel())
    if isinstance(layer, nn.Linear):
        return [layer.in_features, layer.out_features, 1, 0, pixels, weights, 0]
    return [
        layer.in_channels,
        layer.out_channels,
        layer.kernel_size[0],
        layer.stride[0],
        pixels,
        weights,
        float(layer.groups == layer.in_channels > 1),
    ]
