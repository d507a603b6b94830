"""ONNX Runtime's own post-training quantization, calibrated on our images.

Paper: Krishnamoorthi, "Quantizing Deep Convolutional Networks for Efficient Inference:
A Whitepaper", 2018, https://arxiv.org/abs/1806.08342, whose recommendation it follows:
symmetric weights, one scale for each channel, affine activations.

Each tensor is rounded and made a float again by a pair of operations, QuantizeLinear
and DequantizeLinear (QDQ). When ONNX Runtime loads the model, it replaces

    DequantizeLinear -> operation in floats -> QuantizeLinear

by the operation in integers. Weights are signed (s8), activations unsigned (u8).

On x86 processors without VNNI the kernel adds pairs of products u8 * s8 in 16 bits,

    255 * 127 * 2 = 64770  >  32767,

and stops at 32767: it saturates, and the result is wrong. ``reduce_range`` takes 7 bits
for the weights, -64 to 64: 255 * 64 * 2 = 32640 fits. With VNNI or on ARM processors
nothing saturates, and the lost bit is a loss.

Which operations are done in integers is ONNX Runtime's choice, and so are the ranges
of activations: the extremes of the calibration.
"""

import tempfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from effdl.quant.checks import check_finite
from effdl.quant.onnx_files import onnx, quantization

PREPARED = "onnx.quant.pre_process"  # shapes are inferred: no warning that they are not


class _Reader(quantization.CalibrationDataReader):  # type: ignore[misc]
    """Hands over one batch after another."""

    def __init__(self, name: str, batches: Iterable[Tensor]) -> None:
        self.name = name
        self.batches = iter(batches)

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        inputs = next(self.batches, None)
        return None if inputs is None else {self.name: inputs.numpy()}


def static_int8(
    model: onnx.ModelProto,
    batches: Iterable[tuple[Tensor, object]],
    *,
    per_channel: bool = True,
    reduce_range: bool = False,
) -> onnx.ModelProto:
    """Return a model that ONNX Runtime computes in INT8.

    Args:
        model: In floats, with one input; left as it is.
        batches: Inputs (N, ...) with anything, to calibrate; a few hundred inputs.
        per_channel: One scale for each output channel of a weight, else one in all.
        reduce_range: 7 bits for weights, where 16 bits would saturate.

    Raises:
        ValueError: If there is no batch. NaN and infinity are refused, too.

    Example:
        >>> import torch
        >>> from effdl.quant.onnx_files import OnnxNet, onnx_model
        >>> layer, x = torch.nn.Linear(8, 4), torch.rand(64, 8)
        >>> small = static_int8(onnx_model(layer, x), [(x, None)], reduce_range=True)
        >>> bool((OnnxNet(small)(x) - layer(x)).abs().max() < 0.05)
        True
    """
    seen = [inputs.detach() for inputs, _ in batches]
    if not seen:
        raise ValueError("batches is empty; calibrate with a few hundred inputs")
    for inputs in seen:
        check_finite(inputs=inputs)
    copied = onnx.ModelProto()
    copied.CopyFrom(model)
    copied.metadata_props.add(key=PREPARED, value="onnxruntime.quant")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "int8.onnx"
        quantization.quantize_static(
            copied,
            path,
            _Reader(model.graph.input[0].name, seen),
            quant_format=quantization.QuantFormat.QDQ,
            per_channel=per_channel,
            reduce_range=reduce_range,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
        )
        found = onnx.load(path)
    del found.metadata_props[:]
    return found
