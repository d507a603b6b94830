"""Networks as ONNX models, written whole and run by ONNX Runtime.

ONNX is a file format for networks: a list of operations with their weights. ONNX
Runtime computes such a file, on every system and without PyTorch:

    network -> onnx_model -> write_onnx -> a file
               onnx_model -> OnnxNet    -> called like the network

The three packages onnx, onnxscript and onnxruntime are an extra of the library. Without
it this module and those that need it cannot be imported; all others can.

The number of images in a batch stays free. Notes of the exporter on where each
operation comes from, larger than a small network, are left out.
"""

import os
from pathlib import Path

import torch
from torch import Tensor, nn

from effdl.checks import check_positive
from effdl.measure.probe import evaluating

try:
    import onnx
    import onnxruntime
    import onnxscript
    from onnxruntime import quantization
except ImportError as error:
    raise ImportError(
        f"{error.name} is missing; install the extra: pip install 'effdl[onnx]'"
    ) from error

__all__ = ["OnnxNet", "onnx", "onnx_model", "quantization", "write_onnx"]

INPUT, OUTPUT = "input", "output"
EXPORTER = onnxscript.__name__  # torch.onnx.export needs it


def onnx_model(model: nn.Module, example: Tensor) -> onnx.ModelProto:
    """Return a network as a checked ONNX model that takes any number of images.

    Args:
        model: Exported as in eval mode; its modes are put back.
        example: Inputs (N, ...) with N of at least 2: the exporter takes 1 for a
            fixed size. Only the shape of the other dimensions matters.

    Raises:
        ValueError: If there are fewer than two examples.

    Example:
        >>> found = onnx_model(nn.Sequential(nn.ReLU()), torch.zeros(2, 3))
        >>> [node.op_type for node in found.graph.node]
        ['Relu']
    """
    if example.ndim < 1 or len(example) < 2:
        raise ValueError(
            "example must be a batch of 2 or more, got shape "
            f"{tuple(example.shape)}; repeat it"
        )
    with evaluating(model):
        program = torch.onnx.export(
            model,
            (example,),
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            dynamo=True,
            verbose=False,
        )
    if program is None:
        raise ValueError(f"{type(model).__name__} cannot be exported")
    found = program.model_proto
    for part in (found, found.graph, *found.graph.node, *found.graph.value_info):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    for part in (*found.graph.input, *found.graph.output, *found.graph.initializer):
        part.ClearField("metadata_props")
    onnx.checker.check_model(found, full_check=True)
    return found


def write_onnx(model: onnx.ModelProto, path: str | os.PathLike[str]) -> Path:
    """Return the path of a file after writing a model to it, all of it or nothing.

    A model that breaks the rules of ONNX raises an error of ``onnx.checker``, and the
    file stays as it was.

    Args:
        model: Below 2 GB, with its weights.
        path: Replaced if it exists; its folder must.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     model = onnx_model(nn.Linear(4, 2), torch.zeros(2, 4))
        ...     size = write_onnx(model, f"{folder}/net.onnx").stat().st_size
        >>> size == len(model.SerializeToString())
        True
    """
    onnx.checker.check_model(model, full_check=True)
    place = Path(path)
    partial = place.with_name(f"{place.name}.part")
    partial.write_bytes(model.SerializeToString())
    return partial.replace(place)


class OnnxNet(nn.Module):
    """An ONNX model, called like a network; ONNX Runtime computes it on the CPU.

    It has no parameters, and no gradient passes.

    Args:
        model: With one input and one output.
        threads: Of one operation.

    Raises:
        ValueError: If it has several inputs or outputs.

    Example:
        >>> layer, x = nn.Linear(4, 2), torch.rand(3, 4)
        >>> net = OnnxNet(onnx_model(layer, torch.zeros(2, 4)))
        >>> torch.allclose(net(x), layer(x), atol=1e-6)
        True
    """

    def __init__(self, model: onnx.ModelProto, *, threads: int = 1) -> None:
        super().__init__()
        check_positive(threads=threads)
        counts = len(model.graph.input), len(model.graph.output)
        if counts != (1, 1):
            raise ValueError(
                f"model has {counts[0]} inputs and {counts[1]} outputs, 1 and 1 needed"
            )
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3  # errors only
        self.name = model.graph.input[0].name
        self.session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs for inputs (N, ...), float32."""
        inputs = {self.name: x.detach().contiguous().numpy()}
        return torch.from_numpy(self.session.run(None, inputs)[0])
