"""count_macs against closed forms, published counts and PyTorch's own counter."""

import copy
import logging
import warnings

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from effdl.measure.macs import count_macs, torch_flops

IMAGE = torch.zeros(1, 3, 224, 224)


@pytest.fixture(autouse=True)
def _one_thread():
    """A count does not need two, and they wait for each other on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def small_net():
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(inplace=True),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 10),
    )


class Wrapped(nn.Module):
    """A small network that hands its output to a function."""

    def __init__(self, finish):
        super().__init__()
        self.linear = nn.Linear(4, 5)
        self.finish = finish

    def forward(self, x):
        """Return whatever ``finish`` makes of the output."""
        return self.finish(self.linear(x))


@pytest.mark.parametrize(
    ("n", "c", "out", "k", "stride", "groups", "size"),
    [(1, 3, 8, 3, 1, 1, 9), (2, 4, 6, 5, 2, 2, 11), (3, 6, 6, 3, 1, 6, 8)],
)
def test_a_convolution_has_a_closed_form(n, c, out, k, stride, groups, size):
    """N * H_out * W_out * n * (c / groups) * k^2, whatever the bias."""
    conv = nn.Conv2d(c, out, k, stride, k // 2, groups=groups)
    side = (size + 2 * (k // 2) - k) // stride + 1
    count = count_macs(conv, torch.zeros(n, c, size, size))
    assert count.total == n * side**2 * out * (c // groups) * k**2
    assert count.by_operator == {"conv": count.total}


def test_a_network_by_hand():
    """Convolution 16*16 * 8*3*9 = 55,296; linear 80; batch norm 2*2048, pool 2048."""
    count = count_macs(small_net(), torch.zeros(1, 3, 32, 32))
    assert count.by_operator == {"conv": 55_296, "linear": 80}
    assert count.total == 55_376
    assert count.fvcore_by_operator == {
        "conv": 55_296,
        "linear": 80,
        "batch_norm": 4_096,
        "adaptive_avg_pool2d": 2_048,
    }
    assert count.fvcore_total == 61_520
    assert count.uncounted == {"batch_norm": 1, "adaptive_avg_pool2d": 1}


def test_resnet50_has_its_published_count():
    models = pytest.importorskip("torchvision").models
    model = models.resnet50()
    count = count_macs(model, IMAGE)
    assert count.total == 4_089_184_256
    assert count.fvcore_total == 4_111_512_576
    assert torch_flops(model, IMAGE) == 2 * count.total


@pytest.mark.parametrize(
    ("name", "millions", "fvcore_millions"),
    [
        ("mobilenetv2_100", 300.8, 314.2),
        ("ghostnet_100", 141.2, 148.3),
        ("vit_tiny_patch16_224", 1253.7, 1079.6),
    ],
)
def test_published_counts_of_timm_models(name, millions, fvcore_millions):
    model = pytest.importorskip("timm").create_model(name)
    count = count_macs(model, IMAGE)
    assert round(count.total / 1e6, 1) == millions
    assert round(count.fvcore_total / 1e6, 1) == fvcore_millions
    assert torch_flops(model, IMAGE) == 2 * count.total


def test_attention_is_counted_where_fvcore_passes_it_over():
    """ViT-Tiny: 12 layers, 3 heads of 64, 197 tokens: 12 * 2 * 197^2 * 192."""
    model = pytest.importorskip("timm").create_model("vit_tiny_patch16_224")
    count = count_macs(model, IMAGE)
    assert count.by_operator["attention"] == 12 * 2 * 197**2 * 192
    assert "scaled_dot_product_attention" not in count.fvcore_by_operator


@pytest.mark.parametrize(
    ("model", "shape"),
    [
        (nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), (2, 5, 8)),
        (nn.Conv2d(3, 8, 3, padding="same"), (1, 3, 9, 9)),
        (nn.Sequential(nn.Conv1d(3, 4, 3), nn.ConvTranspose1d(4, 2, 2)), (2, 3, 9)),
        (nn.GRU(4, 5, 2), (7, 2, 4)),
        (Wrapped(lambda y: torch.einsum("nij,nkj,nkl->nil", y, y, y)), (2, 3, 4)),
        (Wrapped(lambda y: y @ y.mT @ y), (2, 3, 4)),
        (Wrapped(lambda y: F.scaled_dot_product_attention(y, y, y)), (2, 1, 3, 4)),
    ],
)
@pytest.mark.parametrize("frozen", [True, False])
def test_agrees_with_pytorchs_counter(model, shape, frozen):
    """Frozen: PyTorch would run a transformer layer as a single closed operator."""
    model.requires_grad_(requires_grad=not frozen)
    count = count_macs(model, torch.zeros(shape))
    assert count.total > 0
    assert torch_flops(model, torch.zeros(shape)) == 2 * count.total


def test_the_count_is_proportional_to_the_batch():
    one, three = (count_macs(small_net(), torch.zeros(n, 3, 32, 32)) for n in (1, 3))
    assert three.total == 3 * one.total


def test_a_layer_that_is_called_twice_counts_twice():
    layer = nn.Linear(4, 4)
    assert count_macs(nn.Sequential(layer, layer), torch.zeros(1, 4)).total == 32


def test_what_fvcore_cannot_count_is_none():
    """A matrix times a vector: fvcore's handle fails on its shape."""
    count = count_macs(Wrapped(lambda y: y @ y[0]), torch.zeros(3, 4))
    assert count.by_operator == {"linear": 60, "matmul": 15}
    assert count.fvcore_total is None
    assert count.fvcore_by_operator == {}


def test_a_model_without_multiply_adds_costs_zero():
    count = count_macs(nn.Sequential(nn.ReLU(), nn.Softmax(-1)), torch.zeros(1, 4))
    assert (count.total, count.fvcore_total) == (0, 0)
    assert count.uncounted == {"softmax": 1}


def test_a_custom_function_is_listed_as_uncounted():
    class Square(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x @ x

        @staticmethod
        def backward(ctx, g):
            return g

    count = count_macs(Wrapped(lambda y: Square.apply(y[:, :3])), torch.zeros(3, 4))
    assert count.total == 60
    assert "prim::PythonOp.Square" in count.uncounted


@pytest.mark.parametrize("training", [True, False])
def test_the_model_comes_back_unchanged(training):
    model = small_net().train(training)
    model[0].weight.requires_grad_(requires_grad=False)
    before, x = copy.deepcopy(model.state_dict()), torch.ones(2, 3, 8, 8)
    for count in (count_macs, torch_flops):
        count(model, x)
    assert [m.training for m in model.modules()] == [training] * 7
    assert [p.requires_grad for p in model.parameters()] == [False, *[True] * 5]
    assert all(p.grad is None for p in model.parameters())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)


def test_the_inputs_come_back_unchanged():
    x = -torch.ones(1, 4)
    for count in (count_macs, torch_flops):
        count(nn.ReLU(inplace=True), x)
    assert (x == -1).all()


def test_nothing_is_logged_and_no_setting_of_the_log_changes(caplog):
    logger = logging.getLogger("fvcore.nn.jit_analysis")
    settings = (logger.level, logger.disabled, list(logger.filters))
    model = Wrapped(torch.sigmoid)  # an operator without a handle,
    model.unused = nn.Linear(2, 2)  # and a layer that is not called
    with caplog.at_level(logging.DEBUG):
        count_macs(model, torch.zeros(1, 4))
    assert caplog.records == []
    assert (logger.level, logger.disabled, list(logger.filters)) == settings


def test_warning_filters_stay_as_they_were():
    before = list(warnings.filters)
    count_macs(nn.GRU(4, 5), torch.zeros(7, 2, 4))
    assert warnings.filters == before


def test_it_runs_under_no_grad():
    with torch.no_grad():
        assert count_macs(small_net(), torch.zeros(1, 3, 32, 32)).total == 55_376


def test_several_inputs():
    count = count_macs(nn.Bilinear(3, 4, 5), (torch.zeros(2, 3), torch.zeros(2, 4)))
    assert (count.total, count.uncounted) == (0, {"bilinear": 1})


@pytest.mark.parametrize(
    "finish", [lambda y: {"logits": y, "loss": None}, lambda y: [y, (y, 3.0)]]
)
def test_containers_of_tensors_are_fine(finish):
    assert count_macs(Wrapped(finish), torch.zeros(1, 4)).total == 20


@pytest.mark.parametrize("count", [count_macs, torch_flops])
def test_an_empty_batch_is_explained(count):
    with pytest.raises(ValueError, match=r"empty batch, shape \(0, 4\)"):
        count(nn.Linear(4, 5), torch.zeros(0, 4))


@pytest.mark.parametrize("count", [count_macs, torch_flops])
def test_inputs_that_are_no_tensors_are_explained(count):
    with pytest.raises(ValueError, match="must be a tensor or a tuple of tensors"):
        count(nn.Linear(4, 5), "image")


@pytest.mark.parametrize("finish", [lambda y: 3.0, lambda y: object(), lambda y: None])
def test_outputs_that_are_no_tensors_are_explained(finish):
    with pytest.raises(ValueError, match="wrap it in a module whose forward returns"):
        count_macs(Wrapped(finish), torch.zeros(1, 4))


def test_a_model_that_fails_is_left_as_it_was():
    model = small_net()
    with pytest.raises(RuntimeError):
        count_macs(model, torch.zeros(1, 5, 8, 8))
    assert model.training
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
