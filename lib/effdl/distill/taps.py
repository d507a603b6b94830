"""What layers inside a network put out, while it runs as usual."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle


class Taps:
    """The outputs of some layers at the last run, looked up by the layer's name.

    Made by :func:`tapped`.

    Example:
        >>> import torch
        >>> net = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
        >>> with tapped(net, ["0"]) as taps:
        ...     y = net(torch.zeros(5, 2))
        >>> taps["0"].shape
        torch.Size([5, 3])
    """

    def __init__(self) -> None:
        self._outputs: dict[str, tuple[Tensor, int]] = {}

    def keep(self, name: str, output: Tensor) -> None:
        """Remember a layer's output.

        Args:
            name: The layer's.
            output: What it put out, any shape.

        Raises:
            ValueError: If it is not a tensor.
        """
        if not isinstance(output, Tensor):
            raise ValueError(
                f"layer {name!r} puts out a {type(output).__name__}, not a tensor; "
                "tap a layer inside it"
            )
        self._outputs[name] = (output, output._version)

    def __getitem__(self, name: str) -> Tensor:
        """Return the output of a layer at the last run, with its gradient.

        Args:
            name: The layer's.

        Raises:
            ValueError: If the layer has not run, or what follows it, such as a ReLU
                that works in place, has overwritten its output.
        """
        if name not in self._outputs:
            raise ValueError(
                f"layer {name!r} has not run; it is not tapped, or the network was "
                "not called inside the block"
            )
        output, version = self._outputs[name]
        if output._version != version:
            raise ValueError(
                f"the output of layer {name!r} was overwritten in place by what "
                "follows; tap the layer after it"
            )
        return output


@contextmanager
def tapped(model: nn.Module, names: Sequence[str]) -> Iterator[Taps]:
    """Keep the outputs of layers while the block runs; the model is left as it was.

    A layer that runs more than once is known by its last output.

    Args:
        model: The network; runs as usual, gradients included.
        names: Of layers, as in ``model.named_modules()``.

    Yields:
        The outputs, by name.

    Raises:
        ValueError: If the model has no layer of a name.

    Example:
        >>> import torch
        >>> net = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
        >>> with tapped(net, ["9"]) as taps:
        ...     pass
        Traceback (most recent call last):
        ValueError: names has '9', which is no layer of the model; it has 0, 1
    """
    layers = dict(model.named_modules())
    for name in names:
        if name not in layers:
            known = ", ".join(key for key in layers if key)
            raise ValueError(
                f"names has {name!r}, which is no layer of the model; it has {known}"
            )
    taps = Taps()

    def keep(name: str) -> None:
        def hook(_layer: nn.Module, _inputs: object, output: Tensor) -> None:
            taps.keep(name, output)

        handles.append(layers[name].register_forward_hook(hook))

    handles: list[RemovableHandle] = []
    try:
        for name in names:
            keep(name)
        yield taps
    finally:
        for handle in handles:
            handle.remove()
