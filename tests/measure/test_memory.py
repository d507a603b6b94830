"""peak_activation_bytes against hand counts and against what PyTorch holds."""

import copy
import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode

from effdl.measure.memory import peak_activation_bytes


class Call(nn.Module):
    """A function with one weight, as a module."""

    def __init__(self, function):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
        self.function = function

    def forward(self, *inputs):
        """Call it."""
        return self.function(*inputs)


class Residual(nn.Module):
    """Add the input to what a layer makes of it."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        """Return x + layer(x)."""
        return x + self.layer(x)


class Held(TorchDispatchMode):
    """The bytes that exist at once, whoever holds them, parameters left out."""

    def __init__(self, model):
        super().__init__()
        self.ignored = {p.untyped_storage()._cdata for p in model.parameters()}
        self.alive, self.peak = {}, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for tensor in [a for a in args if isinstance(a, torch.Tensor)] + [out]:
            storage = tensor.untyped_storage()
            if storage._cdata not in self.ignored:
                self.alive[StorageWeakRef(storage)] = storage.nbytes()
        self.alive = {ref: n for ref, n in self.alive.items() if not ref.expired()}
        self.peak = max(self.peak, sum(self.alive.values()))
        return out


@pytest.mark.parametrize("widths", [(50, 80, 20, 20), (5, 5, 90, 60), (9, 1, 9, 1)])
def test_it_is_what_pytorch_holds_if_no_variable_holds_on(widths):
    """The definition: a loop that gives up each activation when it has the next."""
    layers = [nn.Linear(a, b) for a, b in itertools.pairwise(widths)]
    model = nn.Sequential(*layers)
    x, held = torch.zeros(3, widths[0]), Held(model)
    with torch.no_grad(), held:
        for layer in layers:
            x = layer(x)
    assert peak_activation_bytes(model, torch.zeros(3, widths[0])) == held.peak


@pytest.mark.parametrize("widths", [(9, 7, 8), (1, 2, 30, 40, 3), (5, 5, 90, 5)])
def test_it_is_never_more_than_pytorch_holds(widths):
    layers = [nn.Linear(a, b) for a, b in itertools.pairwise(widths)]
    model = nn.Sequential(nn.Sequential(*layers))
    held = Held(model)
    with torch.no_grad(), held:
        model(torch.zeros(2, widths[0]))
    assert peak_activation_bytes(model, torch.zeros(2, widths[0])) <= held.peak


@pytest.mark.parametrize("widths", [(9, 7, 8), (1, 2, 30, 40, 3), (90, 5, 5)])
def test_a_chain_needs_two_neighbours(widths):
    """The closed form: max over l of (a_{l-1} + a_l), nested or not."""
    pairs = list(itertools.pairwise(widths))
    layers = [nn.Linear(a, b) for a, b in pairs]
    expected = 2 * 4 * max(a + b for a, b in pairs)
    x = torch.zeros(2, widths[0])
    assert peak_activation_bytes(nn.Sequential(*layers), x) == expected
    nested = nn.Sequential(nn.Sequential(*layers[:1]), nn.Sequential(*layers[1:]))
    assert peak_activation_bytes(nested, x) == expected


def test_convolutions_by_hand():
    """Maps of 3*8*8, 16*8*8, 4*4*4 floats: 4 * (192 + 1024) and 4 * (1024 + 64)."""
    model = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(16, 4, 2, 2))
    assert peak_activation_bytes(model, torch.zeros(1, 3, 8, 8)) == 4 * 1216


@pytest.mark.parametrize(("inplace", "maps"), [(True, 1), (False, 2)])
def test_an_activation_in_place_needs_no_memory(inplace, maps):
    """10 inputs, 100 outputs; then 100 once or twice."""
    model = nn.Sequential(nn.Linear(10, 100), nn.ReLU(inplace))
    expected = 4 * max(10 + 100, maps * 100)
    assert peak_activation_bytes(model, torch.zeros(1, 10)) == expected


def test_a_residual_keeps_its_input():
    """Layers 10 -> 40 -> 10; x stays: 10 + 40 + 10, against 40 + 10 without it."""
    chain = nn.Sequential(nn.Linear(10, 40), nn.Linear(40, 10))
    x = torch.zeros(1, 10)
    assert peak_activation_bytes(chain, x) == 4 * 50
    assert peak_activation_bytes(Residual(chain), x) == 4 * 60


def test_a_concatenation_needs_its_inputs_and_its_output():
    """Input 10; both branches 20; at the concatenation 20 + 20 + 40."""
    a, b = nn.Linear(10, 20), nn.Linear(10, 20)
    model = Call(lambda x: torch.cat((a(x), b(x)), dim=1))
    assert peak_activation_bytes(model, torch.zeros(1, 10)) == 4 * 80


def test_views_are_free():
    model = nn.Sequential(nn.Linear(10, 20), nn.Unflatten(1, (4, 5)), nn.Flatten())
    assert peak_activation_bytes(model, torch.zeros(1, 10)) == 4 * 30


def test_what_nothing_reads_is_not_counted():
    """Max pooling also returns 64-bit positions: 64 + 16 floats without them."""
    x = torch.zeros(1, 1, 8, 8)
    assert peak_activation_bytes(nn.MaxPool2d(2), x) == 4 * (64 + 16)


def test_in_training_the_positions_of_the_maxima_are_kept():
    """Pool 64 -> 16 behind a 1x1 convolution; forward: x, y, z, positions (8 bytes).

    Backward: x 64, y 64, positions 2*16, gradients of z 16 and of y 64.
    """
    model = nn.Sequential(nn.Conv2d(1, 1, 1), nn.MaxPool2d(2))
    x = torch.zeros(1, 1, 8, 8)
    assert peak_activation_bytes(model, x, training=True) == 4 * (64 + 64 + 32 + 80)


def test_attention_without_a_fused_kernel_needs_the_square():
    """q, k of 6x4 and their 6x6 products; a frozen model is watched as closely."""
    model = nn.MultiheadAttention(4, 1, batch_first=True).requires_grad_(
        requires_grad=False
    )
    long, short = torch.zeros(1, 64, 4), torch.zeros(1, 32, 4)
    assert peak_activation_bytes(model, (long,) * 3) > 4 * 2 * 64**2
    assert peak_activation_bytes(model, (short,) * 3) < 4 * 2 * 64**2


@pytest.mark.parametrize("depth", [1, 3, 8])
def test_training_keeps_every_layer(depth):
    """L layers of d with ReLU: x, L results, and two gradients: (L + 3) d."""
    layers = [layer for _ in range(depth) for layer in (nn.Linear(6, 6), nn.ReLU())]
    peak = peak_activation_bytes(
        nn.Sequential(*layers), torch.zeros(5, 6), training=True
    )
    assert peak == 4 * 5 * 6 * (depth + 3)


def test_training_by_hand():
    """100 -> 50, ReLU, -> 10: at the ReLU's gradient x 100, r 50, and 2 * 50."""
    model = nn.Sequential(nn.Linear(100, 50), nn.ReLU(), nn.Linear(50, 10))
    assert peak_activation_bytes(model, torch.zeros(1, 100), training=True) == 1000


def test_training_needs_at_least_what_autograd_saves():
    """PyTorch's own list of the saved tensors, each piece of memory once."""
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.GELU(), nn.Flatten(), nn.LazyLinear(4)
    )
    x = torch.randn(2, 3, 8, 8)
    model(x)
    saved, ignored = (
        {},
        {p.untyped_storage()._cdata for p in model.state_dict().values()},
    )

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage._cdata not in ignored:
            saved[storage._cdata] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        y = model(x)
    peak = peak_activation_bytes(model, x, training=True)
    assert sum(saved.values()) < peak < 3 * sum(saved.values())
    del y


def test_frozen_layers_keep_nothing():
    """Only the last of five layers learns: its input, its output, one gradient."""
    layers = [nn.Linear(10, 10) for _ in range(5)]
    model = nn.Sequential(*layers)
    x = torch.zeros(1, 10)
    full = peak_activation_bytes(model, x, training=True)
    nn.Sequential(*layers[:4]).requires_grad_(requires_grad=False)
    assert peak_activation_bytes(model, x, training=True) == 4 * 30
    assert full == 4 * 70  # x, four results, and two gradients


def test_gradients_of_parameters_are_not_counted():
    """A weight of 1000 * 1000 and one row: 4 MB of gradient, 8 kB of activations."""
    model = nn.Linear(1000, 1000)
    assert peak_activation_bytes(model, torch.zeros(1, 1000), training=True) < 20_000


@pytest.mark.parametrize("training", [True, False])
def test_the_peak_is_proportional_to_the_batch(training):
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.LazyLinear(2))
    model(torch.zeros(1, 3, 8, 8))
    one, four = (
        peak_activation_bytes(model, torch.zeros(n, 3, 8, 8), training=training)
        for n in (1, 4)
    )
    assert four == 4 * one


def test_half_precision_takes_half():
    model, x = nn.Sequential(nn.Linear(8, 9), nn.Linear(9, 3)), torch.zeros(1, 8)
    full = peak_activation_bytes(model, x)
    assert peak_activation_bytes(model.bfloat16(), x.bfloat16()) * 2 == full


def test_what_was_there_before_is_not_counted():
    """A constant of the model that is no parameter, and the weights themselves."""
    mask = torch.ones(1, 10)
    model = Call(lambda x: x * mask)
    assert peak_activation_bytes(model, torch.zeros(1, 10)) == 4 * 20


def test_training_needs_more_than_inference():
    model = nn.Sequential(*[nn.Linear(10, 10) for _ in range(6)])
    x = torch.zeros(1, 10)
    assert peak_activation_bytes(model, x, training=True) > peak_activation_bytes(
        model, x
    )


@pytest.mark.parametrize("training", [True, False])
def test_model_and_inputs_come_back_unchanged(training):
    model = nn.Sequential(nn.ReLU(inplace=True), nn.Linear(4, 3), nn.BatchNorm1d(3))
    model.append(nn.Dropout())
    model[1].weight.grad = torch.ones(3, 4)
    before, x = copy.deepcopy(model.state_dict()), -torch.ones(5, 4)
    random = torch.get_rng_state()
    peak_activation_bytes(model, x, training=training)
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)
    assert torch.equal(torch.get_rng_state(), random)
    assert (x == -1).all()
    assert (model[1].weight.grad == 1).all()
    assert model[1].bias.grad is None
    assert model.training


def test_several_inputs_and_outputs():
    """Two inputs of 10, two outputs of 10, alive together at the second output."""
    model = Call(lambda a, b: {"sum": a + b, "product": a * b})
    x = torch.zeros(1, 10)
    assert peak_activation_bytes(model, (x, x.clone())) == 4 * 40


def test_integer_inputs():
    """7 indices of 8 bytes and 7 * 5 floats."""
    assert peak_activation_bytes(nn.Embedding(9, 5), torch.arange(7)) == 56 + 140


@pytest.mark.parametrize(
    ("model", "inputs", "training", "message"),
    [
        (nn.Linear(4, 2), torch.zeros(0, 4), False, r"empty batch, shape \(0, 4\)"),
        (nn.Linear(4, 2), "x", False, "must be a tensor or a tuple of tensors"),
        (Call(lambda x: 3.0), torch.zeros(1), False, "tensors, got a float"),
        (nn.ReLU(), torch.zeros(1), True, "no output of the model depends on"),
        (Call(F.relu), torch.zeros(1), True, "no output of the model depends on"),
        (nn.Linear(4, 2).requires_grad_(requires_grad=False), torch.zeros(1, 4), True,
         "trainable parameter; there is no backward pass to measure"),
    ],
)  # fmt: skip
def test_bad_arguments_are_explained(model, inputs, training, message):
    with pytest.raises(ValueError, match=message):
        peak_activation_bytes(model, inputs, training=training)
