"""How long a compressed network takes, in a program that computes with bytes.

Paper: Jacob et al., "Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference", CVPR 2018, https://arxiv.org/abs/1712.05877,
section 4, who measure rather than count.

    float network      batch norm folded      ->  ONNX Runtime, in float32
    rounding network   its own grids          ->  ONNX Runtime, in INT8

All networks are measured in turn, one thread, as :mod:`effdl.measure.latency` does.

Before trusting it: weights of 4 or 2 bits are stored in bytes here and are no faster
than those of 8. A small network spends much of its time on calls, not on arithmetic;
there a quarter of the multiply-adds does not save three quarters of the time.
"""

from collections.abc import Mapping

from torch import Tensor, nn

from effdl.compress.rounding import deployed, weight_bits_of
from effdl.measure.latency import Latency, latency
from effdl.quant.onnx_files import OnnxNet, onnx_model
from effdl.quant.onnx_qdq import qdq_model


def runtime_net(network: nn.Module, images: Tensor) -> OnnxNet:
    """Return the network in ONNX Runtime: in INT8 if it rounds, else in float32.

    Raises ``ValueError`` if weights have more than 8 bits.

    Args:
        network: In floats, or from :func:`effdl.compress.rounding.rounded`.
        images: Two or more, (N, ...); only their shape matters.

    Example:
        >>> import torch
        >>> from effdl.blocks import plain_net
        >>> net, x = plain_net(2).eval(), torch.rand(4, 1, 16, 16)
        >>> torch.allclose(runtime_net(net, x)(x), net(x), atol=1e-4)
        True
    """
    net = deployed(network)
    if weight_bits_of(network) is None:
        return OnnxNet(onnx_model(net, images))
    return OnnxNet(qdq_model(net, images))


def runtimes(
    networks: Mapping[str, nn.Module], images: Tensor, *, repeats: int = 20
) -> dict[str, Latency]:
    """Return the seconds that each network takes for a batch, measured in turn.

    Raises ``ValueError`` if there is no network, or fewer than 2 repeats.

    Args:
        networks: By name; as in :func:`runtime_net`.
        images: The batch, (N, ...).
        repeats: Samples of each network.

    Example:
        >>> import torch
        >>> from effdl.blocks import plain_net
        >>> times = runtimes({"a": plain_net(2)}, torch.rand(1, 1, 16, 16), repeats=2)
        >>> times["a"].median > 0
        True
    """
    two = images.new_zeros(2, *images.shape[1:])
    nets = {name: runtime_net(network, two) for name, network in networks.items()}
    return latency(nets, images, repeats=repeats)
