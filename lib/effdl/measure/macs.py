"""Multiply-adds of a model, next to what two other counters call FLOPs.

One multiply-add (MAC) is one multiplication whose result is added to a running sum.
Published "FLOPs" of vision models are nearly always MACs. Counted here are exactly
the operators that are made of them:

    convolution    N * H_out * W_out * n * (c / groups) * k^2
    transposed     N * H_in * W_in * c * (n / groups) * k^2
    linear         rows * in_features * out_features
    matmul         batch * rows * inner * columns       and its relatives, einsum too
    attention      N * heads * L_q * L_k * (d_k + d_v)  the mask saves nothing
    LSTM, GRU      steps * N * (elements of the weight matrices)

Not counted: biases, normalisation, activations, pooling, additions.

Two other conventions, to compare with:

*   fvcore counts MACs too, but its total adds batch norm (2 per element, an
    estimate), other normalisation, average pooling and upsampling. It does not count
    ``scaled_dot_product_attention``, a convolution with ``padding="same"``, or
    recurrent layers. Its count of a matmul ignores broadcasting, and that of an
    einsum is rounded to four digits.
*   ``torch.utils.flop_counter`` counts additions and multiplications of the same
    operators: 2 FLOPs per MAC. It does not count a matrix times a vector, nor an
    LSTM on the CPU; the fused attention of the CPU is added here.

Before trusting the number: work whose result does not reach the output is not
counted (the tracer drops it), and a custom ``autograd.Function`` is a closed box.
It is listed in ``uncounted``.
"""

import warnings
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from effdl.measure.handles import HANDLES, attention_macs
from effdl.measure.probe import Inputs, as_inputs, clones, tensors_in, undisturbed

with warnings.catch_warnings():
    # fvcore compiles two loss functions when it is imported; we use neither.
    warnings.filterwarnings("ignore", message=r"`torch\.jit\.script`")
    from fvcore.nn import FlopCountAnalysis

# What fvcore's own handles raise on shapes that they were not written for.
FVCORE_FAILS = (AssertionError, IndexError, TypeError, ValueError, NotImplementedError)


@dataclass(frozen=True)
class MacCount:
    """What one run of a model costs.

    Attributes:
        total: Multiply-adds; the sum of ``by_operator``.
        fvcore_total: What fvcore calls FLOPs, its estimates for normalisation,
            pooling and upsampling included. None if fvcore fails on the model.
        by_operator: MACs by the name of the operator, such as "conv" or "linear".
        fvcore_by_operator: The same for fvcore's total; empty if it fails.
        uncounted: How often every other operator ran that is not a mere move of
            data. Arithmetic on shapes is among them.
    """

    total: int
    fvcore_total: int | None
    by_operator: dict[str, int]
    fvcore_by_operator: dict[str, int]
    uncounted: dict[str, int]


def count_macs(model: nn.Module, inputs: Inputs) -> MacCount:
    """Return the multiply-adds of one forward pass in evaluation mode.

    The model comes back as it was: mode, buffers, ``requires_grad``, random state.
    Inputs that are empty or no tensors, and outputs that may hide a tensor, are
    refused with the errors of :mod:`effdl.measure.probe`.

    Args:
        model: The model to count. A layer that is called twice counts twice.
        inputs: One batch, (N, ...), or a tuple of tensors. The count grows with N:
            pass a batch of one for the cost of one image.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8))
        >>> count = count_macs(net, torch.zeros(1, 3, 10, 10))
        >>> count.total, count.fvcore_total  # 8*8 positions * 8*3*9; + 2*8*8*8
        (13824, 14848)
        >>> count.uncounted
        {'batch_norm': 1}
    """
    arguments = as_inputs(inputs)
    with undisturbed(model):
        # A model at fault speaks up here: fvcore, interrupted, would leave its hooks.
        tensors_in(model(*clones(arguments)))
        try:
            theirs = _by_operator(_trace(model, arguments))
        except FVCORE_FAILS:
            theirs = None
        graph = _trace(model, arguments).clear_op_handles().set_op_handle(**HANDLES)
        ours = _by_operator(graph)
        others = graph.unsupported_ops()
    return MacCount(
        total=sum(ours.values()),
        fvcore_total=None if theirs is None else sum(theirs.values()),
        by_operator=ours,
        fvcore_by_operator=theirs or {},
        uncounted={name.removeprefix("aten::"): n for name, n in others.items()},
    )


def torch_flops(model: nn.Module, inputs: Inputs) -> int:
    """Return the FLOPs of one forward pass as PyTorch's own counter sees them.

    Additions and multiplications of convolutions and matrix products: 2 per MAC, so
    that half of it should be ``count_macs(...).total``. The two counters share no
    code: one reads a traced graph, this one watches the operators run.

    Args:
        model: The model to count, in evaluation mode. It comes back as it was.
        inputs: One batch, (N, ...), or a tuple of tensors.

    Example:
        >>> torch_flops(nn.Linear(10, 3), torch.zeros(1, 10))
        60
    """
    arguments = clones(as_inputs(inputs))
    with undisturbed(model), flop_counter() as counter:
        model(*arguments)
    return counter.get_total_flops()


def flop_counter() -> FlopCounterMode:
    """Return PyTorch's counter, quiet, and taught the attention kernel of the CPU.

    Example:
        >>> with flop_counter() as counter:
        ...     _ = torch.zeros(2, 3) @ torch.zeros(3, 4)
        >>> counter.get_total_flops()
        48
    """
    attention = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    mapping = {attention: _cpu_attention_flops}
    return FlopCounterMode(display=False, custom_mapping=mapping)


class _TensorsOnly(nn.Module):
    """Return the tensors in a model's output as a tuple, all that a tracer allows."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Return the tensors in the output of the model."""
        return tensors_in(self.model(*inputs))


def _trace(model: nn.Module, inputs: tuple[Tensor, ...]) -> FlopCountAnalysis:
    """Return fvcore's analysis, which runs when it is asked, without its log."""
    analysis = FlopCountAnalysis(_TensorsOnly(model), clones(inputs))
    return analysis.unsupported_ops_warnings(enabled=False).uncalled_modules_warnings(
        enabled=False
    )


def _by_operator(analysis: FlopCountAnalysis) -> dict[str, int]:
    """Return whole numbers, which fvcore does not for an einsum."""
    return {name: int(count) for name, count in analysis.by_operator().items()}


def _cpu_attention_flops(
    query: torch.Size, key: torch.Size, value: torch.Size, *_: object, **__: object
) -> int:
    """Return the FLOPs of the one attention kernel that PyTorch's counter lacks."""
    return 2 * attention_macs(query, key, value)
