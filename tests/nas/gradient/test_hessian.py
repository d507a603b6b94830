"""The largest eigenvalue of the Hessian in alpha, and the rule that watches it."""

import pytest
import torch
import torch.nn.functional as F

from effdl.data.digits import small_digits
from effdl.nas.gradient.architecture import Architecture
from effdl.nas.gradient.hessian import (
    EigenvalueStop,
    dominant_eigenvalue,
    hessian_product,
    largest_eigenvalue,
)
from effdl.nas.gradient.method import Method
from effdl.nas.gradient.mixed_net import small_mixed_net
from effdl.nas.gradient.relaxations import softmax_weights
from effdl.nas.gradient.search import Rates, search
from effdl.nas.gradient.steps import Searching

OPERATIONS = ("none", "skip_connect", "nor_conv_1x1")
NAMES = [OPERATIONS] * 6


@pytest.fixture
def problem():
    """A supernet with 18 logits, a batch, and the loss as a function of the logits."""
    net = small_mixed_net(OPERATIONS)
    inputs, targets = small_digits(n_validation=40).validation.inputs, None
    targets = small_digits(n_validation=40).validation.targets
    found = Architecture(NAMES, spread=0.5)

    def loss_of(logits):
        return F.cross_entropy(net(inputs, logits.softmax(dim=1)), targets)

    return net, found, (inputs, targets), loss_of


def whole_hessian(loss_of, logits):
    """Return the second derivatives, written down, (18, 18)."""
    hessian = torch.autograd.functional.hessian(loss_of, logits.detach())
    return hessian.reshape(logits.numel(), logits.numel())


def test_power_iteration_finds_the_eigenvalues_of_the_hessian_of_a_supernet(problem):
    net, found, batch, loss_of = problem
    hessian = whole_hessian(loss_of, found.logits)
    values = torch.linalg.eigvalsh(hessian)
    searching = Searching(net, found, softmax_weights, None, None, None)
    loss = searching.loss(batch, searching.weights())
    product = hessian_product(loss, found.logits)
    start, exact = torch.randn(6, 3), {"steps": 1000, "tolerance": 1e-7}

    largest, vector = largest_eigenvalue(product, start, **exact)
    assert largest == pytest.approx(values[-1].item(), rel=1e-3)
    torch.testing.assert_close(product(vector), largest * vector, rtol=0, atol=1e-3)

    dominant, _ = dominant_eigenvalue(product, start, **exact)
    by_size = max(values.tolist(), key=abs)
    assert dominant == pytest.approx(by_size, rel=1e-3)


def test_the_product_is_that_with_the_hessian_written_down(problem):
    _, found, _, loss_of = problem
    logits = found.logits.detach().requires_grad_()
    product, vector = hessian_product(loss_of(logits), logits), torch.randn(6, 3)
    expected = whole_hessian(loss_of, logits) @ vector.flatten()
    torch.testing.assert_close(
        product(vector).flatten(), expected, rtol=1e-3, atol=1e-4
    )
    assert torch.equal(product(vector), product(vector))  # it can be asked again


def test_the_product_of_a_quadratic_by_hand():
    """x1^2 + 3 x1 x2 has the Hessian (2, 3; 3, 0)."""
    x = torch.tensor([5.0, -1.0], requires_grad=True)
    product = hessian_product(x[0] ** 2 + 3 * x[0] * x[1], x)
    assert product(torch.tensor([1.0, 0.0])).tolist() == [2.0, 3.0]
    assert product(torch.tensor([0.0, 1.0])).tolist() == [3.0, 0.0]


@pytest.mark.parametrize(
    ("scales", "dominant", "largest"),
    [
        ([1.0, 4.0, 2.0], 4.0, 4.0),
        ([1.0, -5.0, 2.0], -5.0, 2.0),
        ([-1.0, -5.0, -2.0], -5.0, -1.0),
    ],
)
def test_the_eigenvalue_of_largest_size_need_not_be_the_largest(
    scales, dominant, largest
):
    def product(v):
        return torch.tensor(scales) * v

    exact = {"steps": 500, "tolerance": 1e-7}
    start = torch.tensor([1.0, 0.5, -0.7])
    assert dominant_eigenvalue(product, start, **exact)[0] == pytest.approx(dominant)
    value, vector = largest_eigenvalue(product, start, **exact)
    assert value == pytest.approx(largest, rel=1e-3)
    assert vector.norm().item() == pytest.approx(1.0)


def test_it_ends_when_the_eigenvalue_is_known_well_enough():
    products = []

    def product(v):
        products.append(v)
        return torch.tensor([1.0, 0.9]) * v

    start = torch.tensor([1.0, 1.0])
    dominant_eigenvalue(product, start, steps=7, tolerance=0)
    assert len(products) == 7
    products.clear()
    dominant_eigenvalue(product, start, steps=1000, tolerance=0.01)
    assert len(products) < 10
    assert dominant_eigenvalue(lambda v: 0 * v, start)[0] == 0


def rule(**options):
    """Return a rule with a batch that nobody looks at."""
    return EigenvalueStop((torch.zeros(1), torch.zeros(1)), **options)


def first_stop(stop, eigenvalues):
    """Return the epoch, from 0, in which a rule stops."""
    lengths = range(1, len(eigenvalues) + 1)
    return next((n - 1 for n in lengths if stop.judge(eigenvalues[:n])), None)


def test_it_stops_when_the_mean_of_five_epochs_ago_is_below_three_quarters():
    """1 until epoch 19, then 2: means over 5 are 1, then 1.2, 1.4: 1 / 1.4 < .75."""
    eigenvalues = [1.0] * 20 + [2.0] * 20
    assert first_stop(rule(), eigenvalues) == 21
    assert first_stop(rule(ratio=0.72), eigenvalues) == 21
    assert first_stop(rule(ratio=0.7), eigenvalues) == 22  # 1 / 1.6
    assert first_stop(rule(window=1), eigenvalues) == 20
    assert first_stop(rule(back=1), eigenvalues) is None  # 1 / 1.2, 1.2 / 1.4, ...
    assert first_stop(rule(back=1, window=1), eigenvalues) == 20


def test_no_epoch_before_the_earliest_is_returned():
    growing = [1.5**n for n in range(30)]
    assert first_stop(rule(), growing) == 15  # and returns epoch 10
    assert first_stop(rule(earliest=0), growing) == 5
    assert first_stop(rule(earliest=3, back=2), growing) == 5


def test_an_eigenvalue_that_falls_stops_nothing():
    assert first_stop(rule(), [0.9**n for n in range(40)]) is None
    assert first_stop(rule(), [1.0] * 40) is None


def run(stop, *, epochs=6, seed=0):
    """Return what a short search with a rule leaves."""
    torch.manual_seed(seed)
    part = small_digits(n_train=40).train
    found, net = Architecture(NAMES), small_mixed_net(OPERATIONS)
    batches, rates = [part.batches(20)] * 2, Rates(architecture=0.1)
    method = Method(after_epoch=stop)
    return search(net, found, *batches, epochs=epochs, method=method, rates=rates)


def test_in_a_search_it_notes_every_epoch_and_goes_back_when_it_stops():
    part = small_digits(n_train=40).train
    batch = (part.inputs, part.targets)
    through = EigenvalueStop(batch, earliest=100)
    done = run(through)
    assert len(through.eigenvalues) == len(done) == 6
    assert through.epoch == 5

    always = EigenvalueStop(batch, back=2)
    always.judge = lambda eigenvalues: len(eigenvalues) == 4
    assert len(run(always)) == 4
    assert always.epoch == 1
    assert always.eigenvalues == through.eigenvalues[:4]


def test_the_rule_changes_nothing_in_the_search():
    part = small_digits(n_train=40).train
    watched = run(EigenvalueStop((part.inputs, part.targets), earliest=100))
    alone = run(lambda _searching, _epochs: False)
    for ours, theirs in zip(watched, alone, strict=True):
        assert torch.equal(ours.logits, theirs.logits)
        assert ours.loss == theirs.loss


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: rule(window=0), "window must be at least 1, got 0"),
        (lambda: rule(back=0), "back must be at least 1, got 0"),
        (lambda: rule(ratio=0), "ratio must be above 0 and at most 1, got 0"),
        (lambda: rule(ratio=1.1), "ratio must be above 0"),
        (lambda: rule(earliest=-1), "earliest must be 0 or larger, got -1"),
        (lambda: dominant_eigenvalue(abs, torch.zeros(2)), "start is 0"),
        (
            lambda: dominant_eigenvalue(abs, torch.ones(2), steps=0),
            "steps must be at least 1, got 0",
        ),
    ],
)
def test_what_cannot_be_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
