"""What automatic mixed precision casts: which operation runs in which precision.

Papers: Micikevicius et al., "Mixed Precision Training", ICLR 2018,
https://arxiv.org/abs/1710.03740, section 3, and Paszke et al., "PyTorch: An Imperative
Style, High-Performance Deep Learning Library", NeurIPS 2019,
https://arxiv.org/abs/1912.01703, for the program; the rules are those of
``torch.autocast``.

The weights of a network stay float32. There is no second set of them. While a block
under autocast runs, every operation is looked up:

    products and convolutions      operands are copied to 16 bits; so is the result
    losses such as cross-entropy   operands are copied to 32 bits
    the rest                       runs in what it gets; batch norm gets 16-bit inputs
                                   and its float32 weights and averages

The copies last as long as the graph. In the backward pass the gradient of a weight is
computed in 16 bits and copied to float32, before the optimiser sees it. So what master
weights are in training with halves (:mod:`effdl.quant.loss_scaling`) the weights are
here, and bfloat16 needs no loss scaling: its range is that of float32.

:func:`operations` watches the operations as they are executed, below autocast and
autograd, so the copies are among them. :func:`output_types` asks layers only.

Before trusting it: the rules differ between kinds of devices and change with the
version: softmax by itself runs in 16 bits on a CPU, and in 32 on a GPU. Speed comes
from units for 16-bit products; where a processor has none, the copies are all one gets.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode

from effdl.measure.probe import Inputs, as_inputs, clones, evaluating, tensor_leaves


@dataclass(frozen=True)
class Operation:
    """An operation that was executed.

    Attributes:
        name: As in ``convolution``; ``_to_copy`` is a cast.
        inputs: Type of every tensor that it got.
        outputs: Type of every tensor that it returned.
    """

    name: str
    inputs: tuple[torch.dtype, ...]
    outputs: tuple[torch.dtype, ...]

    @property
    def is_cast(self) -> bool:
        """Whether this copies to another floating-point type."""
        return self.name == "_to_copy" and self.inputs != self.outputs


def operations(call: Callable[[], object]) -> list[Operation]:
    """Return what is executed, in order, while ``call`` runs.

    Put autocast inside of ``call``. Operations without tensors are left out.

    Args:
        call: Takes and returns whatever it likes.

    Example:
        >>> layer, x = nn.Linear(2, 3, bias=False), torch.ones(1, 2)
        >>> def call():
        ...     with torch.autocast("cpu", dtype=torch.bfloat16):
        ...         layer(x)
        >>> [op.name for op in operations(call)]
        ['_to_copy', '_to_copy', 't', 'mm']
    """
    with _Watch() as watch:
        call()
    return watch.seen


def output_types(
    model: nn.Module, inputs: Inputs, dtype: torch.dtype = torch.bfloat16
) -> dict[str, torch.dtype]:
    """Return the type of what every layer without layers inside puts out.

    One pass in evaluation mode under autocast on the CPU; the model is left as it was.
    A layer that runs more than once is known by its last output.

    Args:
        model: Takes the inputs.
        inputs: One batch, or several tensors for a model that takes several.
        dtype: The lower precision.

    Returns:
        From the layer's name to the type of its first output, in order of execution.

    Example:
        >>> net = nn.Sequential(nn.LayerNorm(2), nn.Linear(2, 3))
        >>> output_types(net, torch.ones(1, 2))
        {'0': torch.float32, '1': torch.bfloat16}
    """
    found: dict[str, torch.dtype] = {}

    def watch(name: str) -> Callable[..., None]:
        def hook(_layer: nn.Module, _inputs: object, output: object) -> None:
            found[name] = tensor_leaves(output)[0].dtype

        return hook

    layers = [(n, m) for n, m in model.named_modules() if not any(m.children())]
    handles = [m.register_forward_hook(watch(name)) for name, m in layers]
    try:
        with evaluating(model), torch.no_grad(), torch.autocast("cpu", dtype=dtype):
            model(*clones(as_inputs(inputs)))
    finally:
        for handle in handles:
            handle.remove()
    return found


class _Watch(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.seen: list[Operation] = []

    def __torch_dispatch__(
        self,
        func: OpOverload,
        types: object,
        args: tuple[object, ...] = (),
        kwargs: dict[str, object] | None = None,
    ) -> object:
        del types
        result = func(*args, **(kwargs or {}))
        given = tuple(x.dtype for x in tensor_leaves((args, kwargs)))
        made = tuple(x.dtype for x in tensor_leaves(result))
        if given:
            self.seen.append(Operation(func.overloadpacket.__name__, given, made))
        return result
