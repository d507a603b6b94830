"""Compressed networks in ONNX Runtime: what they compute, and that time is taken."""

import pytest
import torch

pytest.importorskip("onnxruntime")

from effdl.blocks import plain_net
from effdl.compress.channels import remove_channels
from effdl.compress.rounding import deployed, rounded
from effdl.compress.speed import runtime_net, runtimes
from effdl.quant.insert import quantizers_of
from effdl.quant.onnx_qdq import steps_apart

IMAGES = torch.rand(30, 1, 16, 16)


@pytest.fixture(scope="module")
def net():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = plain_net(4)
        for _ in range(40):
            model(IMAGES)
    return model.eval()


def test_a_float_network_computes_the_same_with_or_without_channels(net):
    for model in (net, remove_channels(net, 0.5).eval()):
        found = runtime_net(model, IMAGES)(IMAGES)
        torch.testing.assert_close(found, model(IMAGES), atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("bits", [6, 4, 2])
def test_a_rounding_network_computes_what_it_was_trained_for(net, bits):
    small = rounded(net, bits, IMAGES).eval()
    grid = quantizers_of(deployed(small))["7"].grid()
    apart = steps_apart(small(IMAGES), runtime_net(small, IMAGES)(IMAGES), grid)
    assert int(apart.max()) <= 20  # of 255; a step apart early grows to several
    assert float(apart.float().mean()) < 3


def test_it_runs_on_one_thread_and_takes_any_batch(net):
    for model in (net, rounded(net, 8, IMAGES)):
        found = runtime_net(model, IMAGES)
        assert found.session.get_session_options().intra_op_num_threads == 1
        assert [len(found(IMAGES[:n])) for n in (1, 7)] == [1, 7]


def test_every_network_gets_its_time(net):
    models = {"float": net, "both": rounded(remove_channels(net, 0.5), 8, IMAGES)}
    times = runtimes(models, IMAGES[:1], repeats=3)
    assert [*times] == ["float", "both"]
    for found in times.values():
        assert len(found.samples) == 3
        assert 0 < found.low <= found.median <= found.high


def test_bad_input_is_refused(net):
    with pytest.raises(ValueError, match="models is empty"):
        runtimes({}, IMAGES)
    with pytest.raises(ValueError, match="repeats must be at least 2"):
        runtimes({"net": net}, IMAGES, repeats=1)
    with pytest.raises(ValueError, match="example must be a batch of 2 or more"):
        runtime_net(net, IMAGES[:1])
