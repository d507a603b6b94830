"""The MACs of single operators: literal loops, hand values, PyTorch's counter."""

import warnings
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence
from torch.utils.flop_counter import FlopCounterMode

from effdl.measure.handles import (
    HANDLES,
    attention_macs,
    conv_macs,
    matmul_macs,
    recurrent_macs,
)


class Call(nn.Module):
    """A function as a module, for the tracer."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, *inputs):
        """Call it."""
        return self.function(*inputs)


def handled(model, *inputs):
    """Sum the handles over the nodes of the traced graph, without fvcore."""
    with warnings.catch_warnings():  # recurrent layers compare sizes in Python
        warnings.simplefilter("ignore", torch.jit.TracerWarning)
        graph, _ = torch.jit._get_trace_graph(model, inputs)
    counts = {}
    for node in graph.nodes():
        if node.kind() in HANDLES:
            found = HANDLES[node.kind()](list(node.inputs()), list(node.outputs()))
            counts = {n: counts.get(n, 0) + found.get(n, 0) for n in counts | found}
    return counts


def half_of_the_flops(model, *inputs):
    with FlopCounterMode(display=False) as counter:
        model(*inputs)
    return counter.get_total_flops() // 2


@pytest.mark.parametrize(
    ("stride", "groups", "dilation"), [(1, 1, 1), (2, 2, 1), (1, 4, 2)]
)
def test_convolution_as_a_loop(stride, groups, dilation):
    """One multiply-add for each output, each channel of its group, each tap."""
    conv = nn.Conv2d(4, 8, 3, stride, 1, dilation, groups)
    x = torch.zeros(2, 4, 9, 7)
    out = conv(x)
    taps = 0
    for _ in range(out.numel()):
        for _ in range(4 // groups):
            taps += 3 * 3
    assert conv_macs(x.shape, conv.weight.shape, out.shape) == taps
    assert handled(conv, x) == {"conv": taps}


def test_transposed_convolution_by_hand():
    """Each of 2*3*4*4 inputs is spread to 5 channels over 2x2: 96 * 20 = 1920."""
    conv, x = nn.ConvTranspose2d(3, 5, 2, stride=2), torch.zeros(2, 3, 4, 4)
    assert handled(conv, x) == {"conv": 1920}
    assert half_of_the_flops(conv, x) == 1920


@pytest.mark.parametrize(
    ("conv", "x"),
    [
        (nn.Conv1d(4, 6, 3, groups=2), torch.zeros(2, 4, 9)),
        (nn.Conv2d(3, 8, 3, padding="same"), torch.zeros(2, 3, 9, 9)),
        (nn.Conv3d(2, 4, 3), torch.zeros(1, 2, 5, 6, 7)),
        (nn.Conv2d(3, 6, 2, groups=3), torch.zeros(3, 8, 8)),
        (nn.ConvTranspose2d(4, 6, 3, stride=2, groups=2), torch.zeros(1, 4, 5, 5)),
    ],
)
def test_convolutions_agree_with_pytorchs_counter(conv, x):
    assert handled(conv, x) == {"conv": half_of_the_flops(conv, x)}


def test_linear_by_hand():
    """2 * 3 rows, each 4 * 5."""
    assert handled(nn.Linear(4, 5), torch.zeros(2, 3, 4)) == {"linear": 120}


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ((4,), (4,)),
        ((3, 4), (4,)),
        ((4,), (4, 5)),
        ((3, 4), (4, 5)),
        ((2, 3, 4), (4,)),
        ((2, 1, 3, 4), (6, 4, 5)),
        ((6, 3, 4), (2, 1, 4, 5)),
    ],
)
def test_matmul_as_a_loop_over_the_outputs(a, b):
    """Every element of the result is a sum of `inner` products."""
    out = torch.zeros(a) @ torch.zeros(b)
    assert matmul_macs(a, b) == out.numel() * a[-1]
    assert handled(Call(torch.matmul), torch.zeros(a), torch.zeros(b)) == {
        "matmul": out.numel() * a[-1]
    }


X, Y = torch.zeros(2, 3, 4), torch.zeros(2, 4, 5)
M, V = torch.zeros(3, 4), torch.zeros(4)


@pytest.mark.parametrize(
    ("function", "inputs", "expected"),
    [
        (torch.bmm, (X, Y), {"bmm": 120}),
        (torch.mm, (X[0], Y[0]), {"matmul": 60}),
        (torch.mv, (M, V), {"matmul": 12}),
        (torch.dot, (V, V), {"matmul": 4}),
        (torch.addmm, (torch.zeros(5), X[0], Y[0]), {"addmm": 60}),
        (torch.addmv, (torch.zeros(3), M, V), {"addmv": 12}),
        (torch.baddbmm, (torch.zeros(2, 3, 5), X, Y), {"baddbmm": 120}),
        (torch.addbmm, (torch.zeros(3, 5), X, Y), {"addbmm": 120}),
        (torch.inner, (X, X), {"inner": 6 * 6 * 4}),
        (lambda x, y: torch.tensordot(x, y, dims=([0, 2], [0, 1])), (X, Y),
         {"tensordot": 2 * 4 * 3 * 5}),
        (partial(torch.einsum, "bij,bjk->bik"), (X, Y), {"einsum": 120}),
    ],
)  # fmt: skip
def test_products_by_hand(function, inputs, expected):
    assert handled(Call(function), *inputs) == expected


def test_an_einsum_follows_the_path_in_the_graph():
    shapes = (2, 3), (3, 4), (4, 5)
    operands = [torch.zeros(shape) for shape in shapes]

    def contract(*tensors):
        return torch._C._VariableFunctions.einsum(
            "ij,jk,kl->il", tensors, path=[1, 2, 0, 1]
        )

    assert handled(Call(contract), *operands) == {"einsum": 3 * 4 * 5 + 2 * 3 * 5}


def test_attention_is_two_products():
    """The definition: q k^T of (L_q, d_k)(d_k, L_k), then (L_q, L_k)(L_k, d_v)."""
    q, k, v = (torch.zeros(2, 3, *s) for s in [(10, 8), (20, 8), (20, 4)])
    expected = matmul_macs(q.shape, k.mT.shape) + matmul_macs((2, 3, 10, 20), v.shape)
    assert attention_macs(q.shape, k.shape, v.shape) == expected
    attend = Call(F.scaled_dot_product_attention)
    assert handled(attend, q, k, v) == {"attention": expected}


def test_grouped_queries_share_keys_and_cost_the_same():
    q, kv = (1, 8, 10, 16), (1, 2, 10, 16)
    assert attention_macs(q, kv, kv) == attention_macs(q, q, q)


@pytest.mark.parametrize(
    ("layer", "name", "gates"),
    [(nn.LSTM, "lstm", 4), (nn.GRU, "gru", 3), (nn.RNN, "rnn", 1)],
)
def test_recurrent_layers_by_hand(layer, name, gates):
    """7 steps of 2; in each of 2 directions gates * 5 * (4 + 5) + gates * 5 * (10 + 5).

    The second layer takes the 10 outputs of both directions of the first.
    """
    x = torch.zeros(7, 2, 4)
    expected = 7 * 2 * 2 * gates * 5 * (9 + 15)
    assert handled(layer(4, 5, 2, bidirectional=True), x) == {name: expected}


def test_a_packed_sequence_costs_its_steps_only():
    class Packed(nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm = nn.LSTM(4, 5)

        def forward(self, x):
            packed = pack_padded_sequence(x, torch.tensor([7, 3]))
            return self.lstm(packed)[0].data

    assert handled(Packed(), torch.zeros(7, 2, 4)) == {"lstm": 10 * 20 * (4 + 5)}


def test_biases_of_recurrent_layers_do_not_count():
    assert recurrent_macs(3, [(8, 2), (8,), (8,)]) == 48


def test_a_gru_agrees_with_pytorchs_counter():
    gru, x = nn.GRU(4, 5, 2), torch.zeros(7, 2, 4)
    assert handled(gru, x) == {"gru": half_of_the_flops(gru, x)}
