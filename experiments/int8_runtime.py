"""The same network in floats, in our integers and in ONNX Runtime, several seeds.

Three networks are trained, folded and calibrated on 512 training images. Test accuracy
and the relative error of the logits against the network in floats:

    fake, engine     our quantized network, and our integer engine
    ours             ONNX Runtime with our grids
    static_...       ONNX Runtime's own static quantization, one scale for each channel
                     or for the whole weight, with 8 bits for weights or with 7
                     (reduce_range)

How many steps of the last grid ONNX Runtime with our grids is away from our engine and
from our fake quantization: shares of logits that differ at all, by 2 or more, and the
most. Bytes are those of the ONNX files. What the processor can multiply decides whether
16 bits saturate: its flags are a column.
"""

from __future__ import annotations

import platform
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, fx, nn

from _results import Case, fill_table, seeds_from_command_line
from effdl.blocks import plain_mlp, plain_net
from effdl.data.digits import Split, moved_digits
from effdl.nets.mobilenet_v2 import small_mobilenet_v2
from effdl.quant.fake import dequantize, quantize
from effdl.quant.graph import fold_batch_norm
from effdl.quant.grid import Grid
from effdl.quant.insert import calibrate_, insert_quantizers
from effdl.quant.integer_net import to_integers
from effdl.quant.observers import Extremes
from effdl.quant.onnx_files import OnnxNet, onnx_model
from effdl.quant.onnx_qdq import qdq_model, steps_apart
from effdl.quant.onnx_static import static_int8
from effdl.quant.quantizers import ActivationQuantizer, WeightQuantizer
from effdl.seed import seeded
from effdl.train import train_classifier

EPOCHS, CALIBRATION = 8, 512
NETS: dict[str, Callable[[], nn.Module]] = {
    "plain_net(8)": lambda: plain_net(8),
    "small_mobilenet_v2": small_mobilenet_v2,
    "plain_mlp": plain_mlp,
}
TELLING = ("avx2", "avx512bw", "avx_vnni", "avx512_vnni", "asimddp", "i8mm")


def processor_flags() -> str:
    """Return which instructions for bytes the processor has, as Linux names them."""
    path = Path("/proc/cpuinfo")
    words = set(path.read_text(encoding="utf-8").split()) if path.is_file() else set()
    found = [flag for flag in TELLING if flag in words]
    return " ".join([platform.machine(), *found])


def quantized_net(folded: nn.Module, seen: Split) -> fx.GraphModule:
    """Return the network with 8 bits everywhere, a scale for each channel."""
    quantized = insert_quantizers(
        folded,
        weight=lambda _name, _w: WeightQuantizer(8),
        activation=lambda _name: ActivationQuantizer(Extremes(), 8),
    )
    calibrate_(quantized, seen.batches(CALIBRATION))
    return quantized.eval()


def scores(logits: Tensor, exact: Tensor, test: Split) -> tuple[float, float]:
    """Return the accuracy, and the relative error against the logits in floats."""
    accuracy = (logits.argmax(1) == test.targets).float().mean()
    return accuracy.item(), ((logits - exact).norm() / exact.norm()).item()


def spread(first: Tensor, second: Tensor, grid: Grid) -> tuple[float, float, int]:
    """Return the shares that differ by 1 or more and 2 or more steps, and the most."""
    steps = steps_apart(first, second, grid)
    one, two = ((steps >= n).float().mean().item() for n in (1, 2))
    return one, two, int(steps.max())


@torch.no_grad()
def compare(folded: fx.GraphModule, seen: Split, test: Split) -> Case:
    """Return all columns for a trained network."""
    quantized, example = quantized_net(folded, seen), seen.inputs[:2]
    model, written = onnx_model(folded, example), qdq_model(quantized, example)
    engine = to_integers(quantized)
    grid = engine.target
    exact = folded(test.inputs)
    logits = {
        "float": exact,
        "fake": quantized(test.inputs),
        "engine": dequantize(engine(quantize(test.inputs, engine.source)), grid),
        "ours": OnnxNet(written)(test.inputs),
    }
    row: dict[str, str | int | float] = {
        "bytes_float": len(model.SerializeToString()),
        "bytes_ours": len(written.SerializeToString()),
    }
    for per_channel in (True, False):
        for bits in (8, 7):
            name = f"static_{'channel' if per_channel else 'tensor'}_{bits}"
            small = static_int8(
                model,
                seen.batches(CALIBRATION),
                per_channel=per_channel,
                reduce_range=bits == 7,
            )
            logits[name] = OnnxNet(small)(test.inputs)
            row[f"bytes_{name}"] = len(small.SerializeToString())
    for name, values in logits.items():
        accuracy, error = scores(values, exact, test)
        row |= {name: round(accuracy, 4), f"error_{name}": round(error, 5)}
    for name in ("engine", "fake"):
        one, two, most = spread(logits["ours"], logits[name], grid)
        row[f"{name}_apart"] = round(one, 5)
        row[f"{name}_two_apart"] = round(two, 6)
        row[f"{name}_most_apart"] = most
    return row


def measure(network: str, seed: int) -> Case:
    """Train a network and return what becomes of it in each arithmetic."""
    data = moved_digits()
    with seeded(seed):
        net = NETS[network]()
    train_classifier(net, data.train, epochs=EPOCHS, seed=seed)
    folded = fold_batch_norm(net.eval())
    inputs, targets = data.train.inputs, data.train.targets
    seen = Split(inputs[:CALIBRATION], targets[:CALIBRATION])
    columns = compare(folded, seen, data.test)
    return {**columns, "flags": processor_flags()}


if __name__ == "__main__":
    cases: list[Case] = [
        {"network": name, "seed": s}
        for s in seeds_from_command_line(__doc__)
        for name in NETS
    ]
    fill_table(__file__, cases, measure)
