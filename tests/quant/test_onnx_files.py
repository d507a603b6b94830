"""Networks as ONNX models: written whole, run by ONNX Runtime, needed by nobody."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

pytest.importorskip("onnxruntime")

import effdl
from effdl.blocks import plain_mlp, plain_net
from effdl.measure.count import parameter_count
from effdl.measure.latency import latency
from effdl.nets.mobilenet_v2 import MobileNetV2, Stage
from effdl.quant.graph import fold_batch_norm
from effdl.quant.onnx_files import OnnxNet, onnx, onnx_model, write_onnx
from effdl.train import accuracy

IMAGES = torch.rand(7, 1, 16, 16)


def test_the_runtime_computes_what_the_network_computes():
    shortcut = MobileNetV2([Stage(2, 4, 2, 2)], stem=4, head=8, in_channels=1)
    net = nn.Sequential(shortcut, plain_mlp((1000, 10))).eval()
    theirs = OnnxNet(onnx_model(net, IMAGES[:2]))
    for count in (1, 2, 7):
        found = theirs(IMAGES[:count])
        torch.testing.assert_close(found, net(IMAGES[:count]), atol=1e-5, rtol=1e-4)


def test_by_hand():
    """The sums 1 + 2 * 3 = 7 and 1 - 2 * 3 = -5, then ReLU."""
    net = nn.Sequential(nn.Linear(1, 2), nn.ReLU())
    net[0].weight.data.copy_(torch.tensor([[2.0], [-2.0]]))
    net[0].bias.data.fill_(1.0)
    model = onnx_model(net, torch.zeros(2, 1))
    assert OnnxNet(model)(torch.tensor([[3.0]])).tolist() == [[7, 0]]


def test_the_reference_implementation_of_onnx_agrees():
    from onnx.reference import ReferenceEvaluator

    model = onnx_model(fold_batch_norm(plain_net(2).eval()), IMAGES[:2])
    (expected,) = ReferenceEvaluator(model).run(None, {"input": IMAGES.numpy()})
    torch.testing.assert_close(OnnxNet(model)(IMAGES), torch.from_numpy(expected))


def test_the_network_stays_as_it_was_and_is_exported_in_eval_mode(capsys):
    net = nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.9), nn.BatchNorm1d(3)).train()
    net[1].eval()
    before = {name: t.clone() for name, t in net.state_dict().items()}
    model = onnx_model(net, torch.rand(4, 3))
    assert [m.training for m in net.modules()] == [True, True, False, True]
    assert all(torch.equal(before[n], t) for n, t in net.state_dict().items())
    x = torch.rand(5, 3)
    torch.testing.assert_close(OnnxNet(model)(x), net.eval()(x))
    assert capsys.readouterr() == ("", "")


def test_the_model_holds_the_weights_and_nothing_about_where_it_came_from():
    net = fold_batch_norm(plain_net(8).eval())
    model = onnx_model(net, IMAGES[:2])
    size, weights = len(model.SerializeToString()), 4 * parameter_count(net)
    assert weights < size < weights + 4000
    for note in (b".py", b"aten"):
        assert note not in model.SerializeToString()
    assert [i.name for i in model.graph.input] == ["input"]
    assert [o.name for o in model.graph.output] == ["output"]


def test_a_file_is_written_whole_and_replaced(tmp_path):
    place, layer = tmp_path / "net.onnx", nn.Linear(3, 2)
    place.write_text("older")
    model = onnx_model(layer, torch.zeros(2, 3))
    assert write_onnx(model, place) == place
    assert [p.name for p in tmp_path.iterdir()] == ["net.onnx"]
    again, x = OnnxNet(onnx.load(place)), torch.rand(4, 3)
    torch.testing.assert_close(again(x), layer(x))


def test_a_broken_model_is_not_written(tmp_path):
    place = tmp_path / "net.onnx"
    place.write_text("older")
    model = onnx_model(nn.Linear(3, 2), torch.zeros(2, 3))
    model.graph.node[0].input[0] = "nowhere"
    with pytest.raises(onnx.checker.ValidationError, match="nowhere"):
        write_onnx(model, str(place))
    assert [p.read_text() for p in tmp_path.iterdir()] == ["older"]


def test_it_can_be_timed_and_scored_like_a_network():
    net = OnnxNet(onnx_model(nn.Linear(3, 2), torch.zeros(2, 3)))
    x = torch.rand(6, 3, requires_grad=True)
    times = latency({"net": net}, x, repeats=2, sample_seconds=1e-4)
    assert times["net"].median > 0
    found = net(x.T.contiguous().T)  # laid out in another order
    assert not found.requires_grad
    assert accuracy(net, [(x.detach(), found.argmax(1))]) == 1


def test_threads_are_those_asked_for():
    model = onnx_model(nn.Linear(3, 2), torch.zeros(2, 3))
    for threads in (1, 2):
        options = OnnxNet(model, threads=threads).session.get_session_options()
        assert options.intra_op_num_threads == threads
        assert options.inter_op_num_threads == 1
    assert OnnxNet(model).session.get_session_options().intra_op_num_threads == 1


def test_without_the_extra_the_error_names_it():
    program = """
import sys
import effdl.quant.insert
before = dict(sys.modules)
for missing in ("onnx", "onnxruntime", "onnxscript"):
    for name in ("files", "graph", "qdq", "static"):
        sys.modules[missing] = None
        try:
            __import__("effdl.quant.onnx_" + name)
        except ImportError as error:
            print(error)
        sys.modules.pop(missing)
    assert before.keys() - sys.modules.keys() == set()
"""
    command = [sys.executable, "-c", program]
    env = {**os.environ, "PYTHONPATH": str(Path(effdl.__file__).parents[1])}
    run = subprocess.run(command, capture_output=True, text=True, check=True, env=env)
    wanted = [
        f"{missing} is missing; install the extra: pip install 'effdl[onnx]'"
        for missing in ("onnx", "onnxruntime", "onnxscript")
    ]
    assert run.stdout.splitlines() == [text for text in wanted for _ in range(4)]


def test_bad_input_is_refused():
    for example in (torch.zeros(1, 3), torch.zeros(())):
        with pytest.raises(ValueError, match="must be a batch of 2 or more, got shape"):
            onnx_model(nn.Linear(3, 2), example)
    model = onnx_model(nn.Linear(3, 2), torch.zeros(2, 3))
    with pytest.raises(ValueError, match="threads must be at least 1, got 0"):
        OnnxNet(model, threads=0)
    model.graph.input.append(model.graph.input[0])
    with pytest.raises(ValueError, match="model has 2 inputs and 1 outputs, 1 and 1"):
        OnnxNet(model)
