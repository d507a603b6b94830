"""A whole network in integers: from those of the image to those of the logits.

Paper: Jacob et al., "Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference", CVPR 2018, https://arxiv.org/abs/1712.05877,
section 2.

    quantized = insert_quantizers(fold_batch_norm(net), weight=..., activation=...)
    calibrate_(quantized, batches)                        and train it, if you like
    integers = to_integers(quantized)
    q = integers(quantize(x, integers.source))            no float in here
    logits = dequantize(q, integers.target)

A layer and the ReLU after it are one step (:mod:`effdl.quant.integer_steps`), dropout
is none. Stored are weights in int8 (int16 above 8 bits), biases in int32, and M0 and
the shift of every channel in int32 and int8: a quarter of the floats, if channels have
many weights.

Fake quantization computes the same in floats, and differs where float32 rounds, in the
bias, which it leaves alone, and half-way between two integers. For the same input of a
layer that is one step at most, and seldom. Later layers add up what they are given.
"""

from collections.abc import Sequence

from torch import Tensor, fx, nn

from effdl.quant.graph import check_folded
from effdl.quant.grid import Grid
from effdl.quant.insert import INPUT
from effdl.quant.integer_layers import check_integers
from effdl.quant.integer_steps import Result, Step, step_of


class IntegerNet(nn.Module):
    """Integer layers, one after the other; :func:`to_integers` makes it.

    Args:
        source: Grid of the input.
        steps: In order; the result of the last one is the output.

    Attributes:
        source: Grid of the input.
        target: Grid of the output.
        grids: Grid of every result, by its name; that of the input is "input".
        layers: The integer layers, by the position of their step.

    Raises:
        ValueError: If there is no step, or two results have one name.

    Example:
        >>> import torch
        >>> from effdl.quant.integer_sums import IntegerRescale
        >>> grid = Grid(torch.tensor(1.0), torch.tensor(2), 0, 9)
        >>> relu = IntegerRescale(grid, grid, ceiling=6)
        >>> net = IntegerNet(grid, [Step("relu", relu, ("input",), grid)])
        >>> net(torch.tensor([0, 5, 9], dtype=torch.int32))
        tensor([2, 5, 8], dtype=torch.int32)
    """

    def __init__(self, source: Grid, steps: Sequence[Step]) -> None:
        super().__init__()
        self.grids = {INPUT: source} | {step.name: step.grid for step in steps}
        if not steps or len(self.grids) != len(steps) + 1:
            names = [INPUT, *(step.name for step in steps)]
            raise ValueError(f"steps must have results of different names, got {names}")
        self.source, self.target = source, steps[-1].grid
        self.inputs = {step.name: step.inputs for step in steps}
        self.layers = nn.ModuleList(step.layer for step in steps)

    def activations(self, q: Tensor) -> dict[str, Tensor]:
        """Return the integers of every result by its name, the input's first.

        Args:
            q: Integers (N, ...), int32, or ``ValueError``.

        Raises:
            ValueError: If an integer is not on the grid of the input.
        """
        check_integers(q)
        low, high = self.source.lowest, self.source.highest
        if q.numel() and not low <= int(q.min()) <= int(q.max()) <= high:
            raise ValueError(
                f"q must be {low} to {high}, got {int(q.min())} to {int(q.max())}; "
                "quantize with the grid `source` of the network"
            )
        results = {INPUT: q}
        for (name, inputs), layer in zip(self.inputs.items(), self.layers, strict=True):
            results[name] = layer(*(results[before] for before in inputs))
        return results

    def forward(self, q: Tensor) -> Tensor:
        """Return the integers of the logits (N, classes), int32; refuses floats."""
        return list(self.activations(q).values())[-1]


def to_integers(quantized: fx.GraphModule) -> IntegerNet:
    """Return a quantized network as one that computes with integers only.

    The network itself is left as it is. What is known and what is refused is told in
    :func:`effdl.quant.integer_steps.step_of`.

    Args:
        quantized: What :func:`~effdl.quant.insert.insert_quantizers` returned,
            calibrated; ``ValueError`` if it has a batch norm.

    Raises:
        ValueError: If there is more than one input.

    Example:
        >>> import torch
        >>> from effdl.quant.fake import quantize
        >>> from effdl.quant.insert import calibrate_, insert_quantizers
        >>> from effdl.quant.observers import Extremes
        >>> from effdl.quant.quantizers import ActivationQuantizer, WeightQuantizer
        >>> net = insert_quantizers(
        ...     nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2)),
        ...     weight=lambda name, w: WeightQuantizer(8),
        ...     activation=lambda name: ActivationQuantizer(Extremes(), 8),
        ... )
        >>> x = torch.rand(9, 4)
        >>> calibrate_(net, [(x, None)])
        >>> integers = to_integers(net)
        >>> q = integers(quantize(x, integers.source))
        >>> int((q - quantize(net(x), integers.target)).abs().max()) <= 1
        True
    """
    check_folded(quantized)
    done: dict[fx.Node, Result] = {}
    steps = []
    for node in quantized.graph.nodes:
        step = step_of(quantized, node, done)
        if step is not None:
            steps.append(step)
    inputs = [n for n in quantized.graph.nodes if n.op == "placeholder"]
    if len(inputs) != 1:
        raise ValueError(f"quantized must have one input, got {len(inputs)}")
    source = next(result.grid for result in done.values() if result.name == INPUT)
    return IntegerNet(source, steps)


def stored_bytes(model: nn.Module) -> int:
    """Return how many bytes parameters and buffers take, as they are.

    That is 4 for every number of a float network. Not counted are the names, and the
    grid of each activation: a scale and a zero point for a whole layer.

    Args:
        model: In floats or in integers.

    Example:
        >>> stored_bytes(nn.Linear(10, 3))
        132
    """
    tensors = [*model.parameters(), *model.buffers()]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
