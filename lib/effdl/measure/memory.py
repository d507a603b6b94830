"""Peak activation memory: the most bytes that the tensors of a model need at once.

On a microcontroller this number decides whether a model runs at all. The schedule is
the order in which PyTorch calls its operators. A tensor lives from the operator that
makes it to the last one that reads it; then its memory is free for others:

    live(t) = sum of bytes of tensors with  birth <= t <= last use
    peak    = max over operators t of live(t)

For a chain of layers with activations a_0 (the input), a_1, ..., a_L that is

    peak = max over l of (a_{l-1} + a_l)        inference
    peak ~ sum over l of a_l                    training: kept for the backward pass

What counts: the inputs, every intermediate result and the outputs, at the size of
their memory. Views share memory and count once, in-place operators need none of
their own, concatenation needs its inputs and its output together. In training, also
what the backward pass makes: gradients of activations, beginning with one of the
size of every output (as a loss would send).

What does not: parameters and buffers; gradients of parameters, always as large as
the trainable parameters; results that nothing reads (the positions of the maxima in
a max pooling, in inference); scratch memory inside one operator.

So this is a count, not what the allocator of this machine reports: Python keeps
tensors for as long as a variable names them, which is often longer.
"""

from collections.abc import Callable, Iterable
from itertools import accumulate

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode

from effdl.measure.probe import (
    Inputs,
    as_inputs,
    clones,
    tensor_leaves,
    tensors_in,
    undisturbed,
)


def peak_activation_bytes(
    model: nn.Module, inputs: Inputs, *, training: bool = False
) -> int:
    """Return the most bytes of activations alive at one time.

    The model comes back as it was: mode, buffers, gradients, random state. Refused
    with a ValueError are inputs that are empty or no tensors, outputs that may hide
    a tensor, and, in training, a model without a trainable parameter.

    Args:
        model: The model to run once.
        inputs: One batch, (N, ...), or a tuple of tensors. The result grows with N.
        training: Count a forward and a backward pass in training mode instead of a
            forward pass in evaluation mode. Frozen parameters stay frozen: what only
            their gradient needs is not kept.

    Example:
        >>> net = nn.Sequential(nn.Linear(100, 50), nn.Linear(50, 10))
        >>> peak_activation_bytes(net, torch.zeros(1, 100))  # 4 * (100 + 50)
        600
        >>> net = nn.Sequential(nn.Linear(100, 50), nn.ReLU(), nn.Linear(50, 10))
        >>> peak_activation_bytes(net, torch.zeros(1, 100), training=True)
        1000
    """
    arguments = clones(as_inputs(inputs))
    with undisturbed(model, training=training), _Lifetimes() as lives:
        lives.touch(arguments, new=True)
        outputs = tensors_in(model(*arguments))
        lives.touch(outputs)
        if training:
            lives.forget(_gradients(model, outputs))
    return lives.peak()


def _gradients(model: nn.Module, outputs: tuple[Tensor, ...]) -> list[Tensor]:
    """Return the gradients of the parameters, from a backward pass.

    Raises:
        ValueError: If no output depends on a trainable parameter.
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    ends = [y for y in outputs if y.requires_grad]
    if not parameters or not ends:
        raise ValueError(
            "no output of the model depends on a trainable parameter; "
            "there is no backward pass to measure"
        )
    starts = [torch.ones_like(y) for y in ends]
    found = torch.autograd.grad(ends, parameters, starts, allow_unused=True)
    return [gradient for gradient in found if gradient is not None]


class _Lifetimes(TorchDispatchMode):
    """Watch every operator, and note when each piece of memory is made and used.

    Memory is known by a weak reference: it keeps the identity, not the bytes, so
    that watching does not need the memory that is being counted.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.constants: set[StorageWeakRef] = set()
        self.bytes: dict[StorageWeakRef, int] = {}
        self.birth: dict[StorageWeakRef, int] = {}
        self.last: dict[StorageWeakRef, int] = {}
        self.step = 0

    def __torch_dispatch__(
        self,
        func: Callable[..., object],
        types: object,
        args: tuple[object, ...] = (),
        kwargs: dict[str, object] | None = None,
    ) -> object:
        """Return the result of an operator, having noted what it read and made."""
        result = func(*args, **(kwargs or {}))
        self.step += 1
        self.touch(tensor_leaves((args, kwargs)))
        self.touch(tensor_leaves(result), new=True)
        return result

    def touch(self, tensors: Iterable[Tensor], *, new: bool = False) -> None:
        """Note a use at this step, or, if new and not seen before, a birth."""
        for tensor in tensors:
            memory = _memory(tensor)
            if memory in self.birth:
                if not new:
                    self.last[memory] = self.step
            elif new and memory not in self.constants:
                self.birth[memory] = self.step
            elif not new:
                self.constants.add(memory)  # read first: it was there before
            self.bytes[memory] = tensor.untyped_storage().nbytes()

    def forget(self, tensors: Iterable[Tensor]) -> None:
        """Do not count these."""
        for tensor in tensors:
            self.last.pop(_memory(tensor), None)

    def peak(self) -> int:
        """Return the largest sum of bytes over what lives at one step."""
        change = [0] * (self.step + 2)
        for memory, last in self.last.items():
            change[self.birth[memory]] += self.bytes[memory]
            change[last + 1] -= self.bytes[memory]
        return max(accumulate(change))


def _memory(tensor: Tensor) -> StorageWeakRef:
    """Return what two tensors have in common exactly if they share memory."""
    return StorageWeakRef(tensor.untyped_storage())
