"""What a step keeps for its backward pass: elements of activations, counted.

Paper: Cai et al., "ProxylessNAS: Direct Neural Architecture Search on Target Task and
Hardware", ICLR 2019, https://arxiv.org/abs/1812.00332, whose claim is examined with it:
memory that does not grow with the number of candidates.

Every differentiable operator stores what its derivative needs: a convolution its input,
a ReLU its output, a product both factors. These wait until the backward pass has come
by, and are most of the memory of training. For one path of P elements, K candidates:

    all candidates run    about K P         one     P         two     2 P

Only what is still kept when the forward pass is over counts; not what was freed on the
way. Memory that is stored twice counts once. Parameters do not count: they are there
anyway. It is a count of elements, not what an allocator reports; for the most that
lives at one time see :func:`effdl.measure.memory.peak_activation_bytes`.
"""

from __future__ import annotations

from collections.abc import Callable
from weakref import WeakSet

from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks


def saved_elements(forward: Callable[[], Tensor]) -> int:
    """Return how many elements a forward pass leaves for the backward pass.

    Args:
        forward: Called once, without arguments; returns the loss or the outputs.

    Example:
        >>> import torch
        >>> net = torch.nn.Sequential(torch.nn.Linear(5, 3), torch.nn.Tanh())
        >>> saved_elements(lambda: net(torch.zeros(2, 5)))  # input 2 x 5, output 2 x 3
        16
    """
    kept: WeakSet[_Kept] = WeakSet()  # forgets what the graph lets go of

    def pack(tensor: Tensor) -> Tensor | _Kept:
        if tensor.is_leaf and tensor.requires_grad:
            return tensor  # a parameter
        one = _Kept(tensor.detach())
        kept.add(one)
        return one

    def unpack(packed: Tensor | _Kept) -> Tensor:
        return packed.tensor if isinstance(packed, _Kept) else packed

    with saved_tensors_hooks(pack, unpack):
        result = forward()
    sizes = {}
    for one in kept:
        storage = one.tensor.untyped_storage()
        sizes[storage.data_ptr()] = storage.nbytes() // one.tensor.element_size()
    del result  # not before: the graph hangs on it
    return sum(sizes.values())


class _Kept:
    """A tensor in the graph, and nowhere else."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor
