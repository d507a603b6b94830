"""ONNX graphs put together by hand: rounding, stored integers, limits of types."""

import numpy as np
import pytest
import torch

pytest.importorskip("onnxruntime")

from onnx.reference import ReferenceEvaluator

from effdl.quant.fake import fake_quantize
from effdl.quant.grid import affine_grid, symmetric_grid
from effdl.quant.onnx_files import INPUT, OnnxNet
from effdl.quant.onnx_graph import QdqGraph


def grid_of(low, high, bits=8, **options):
    return affine_grid(torch.tensor(low), torch.tensor(high), bits=bits, **options)


def test_a_value_is_rounded_by_the_definition():
    grid, graph = grid_of(-1.3, 2.1), QdqGraph()
    model = graph.model(graph.rounded(INPUT, grid), inputs=(50,), outputs=(50,))
    x = 2 * torch.randn(8, 50)
    s, z = grid.scale.item(), grid.zero_point.item()
    q = [min(max(round(v / s) + z, 0), 255) for v in x.flatten().tolist()]
    expected = torch.tensor([s * (n - z) for n in q]).reshape(8, 50)
    torch.testing.assert_close(OnnxNet(model)(x), expected)
    torch.testing.assert_close(OnnxNet(model)(x), fake_quantize(x, grid))


def test_halves_go_to_the_even_neighbour():
    graph = QdqGraph()
    name = graph.rounded(INPUT, grid_of(0.0, 255.0))
    net = OnnxNet(graph.model(name, inputs=(4,), outputs=(4,)))
    assert net(torch.tensor([[0.5, 1.5, 2.5, 300.0]])).tolist() == [[0, 2, 2, 255]]


@pytest.mark.parametrize("channels", [False, True])
def test_by_hand(channels):
    """Rows (2, -3) and (4, 5) times 0.5, or times 0.5 and 0.1, for the input (1, 2)."""
    graph = QdqGraph()
    scale = torch.tensor([0.5, 0.1]) if channels else torch.tensor(0.5)
    weight = graph.stored(torch.tensor([[2, -3], [4, 5]]), scale, np.int8)
    name = graph.operation("Gemm", [INPUT, weight], {"transB": 1})
    model = graph.model(name, inputs=(2,), outputs=(2,))
    found = OnnxNet(model)(torch.tensor([[1.0, 2.0]]))
    expected = torch.tensor([[-2.0, 1.4 if channels else 7.0]])
    torch.testing.assert_close(found, expected)


def test_the_reference_implementation_of_onnx_agrees():
    """A bias has the scale of input times weight: the runtime relies on that."""
    graph, grid, scale = QdqGraph(), grid_of(0.0, 1.0), torch.rand(3)
    weight = graph.stored(torch.randint(-127, 128, (3, 5)), scale, np.int8)
    bias = graph.stored(torch.tensor([10**5, 0, -5]), scale * grid.scale, np.int32)
    inputs = [graph.rounded(INPUT, grid), weight, bias]
    name = graph.operation("Gemm", inputs, {"transB": 1})
    model = graph.model(name, inputs=(5,), outputs=(3,))
    x = torch.rand(7, 5)
    (expected,) = ReferenceEvaluator(model).run(None, {"input": x.numpy()})
    torch.testing.assert_close(
        OnnxNet(model)(x), torch.from_numpy(expected), atol=1e-3, rtol=1e-4
    )


def test_integers_are_stored_in_the_type_asked_for_and_any_batch_fits():
    graph = QdqGraph()
    row = graph.stored(torch.tensor([[-128, 127]]), torch.tensor(1.0), np.int8)
    name = graph.operation("Add", [INPUT, row])
    model = graph.model(name, inputs=(2,), outputs=(2,))
    assert model.graph.initializer[0].raw_data == bytes([128, 127])
    for count in (1, 3):
        assert OnnxNet(model)(torch.zeros(count, 2)).tolist() == [[-128, 127]] * count


def test_bad_input_is_refused():
    graph, one = QdqGraph(), torch.tensor(1.0)
    for grid in (
        grid_of(0.0, 1.0, bits=4),
        grid_of(0.0, 1.0, signed=True),
        symmetric_grid(one, bits=8),
        affine_grid(torch.zeros(2), torch.ones(2), bits=8, axis=0),
    ):
        with pytest.raises(ValueError, match="must go from 0 to 255 for a whole tenso"):
            graph.rounded(INPUT, grid)
    for bad in (128, -129):
        with pytest.raises(ValueError, match="must fit into int8, got"):
            graph.stored(torch.tensor([0, bad]), one, np.int8)
    with pytest.raises(ValueError, match="must fit into int32, got 0 to 2147483648"):
        graph.stored(torch.tensor([0, 2**31]), one, np.int32)
