"""Rules that stop a search, on trajectories whose answer is known."""

import math

import pytest
import torch

from effdl.data.digits import small_digits
from effdl.nas.cell_space import OPERATIONS
from effdl.nas.cellbench import load_cellbench
from effdl.nas.gradient.architecture import Architecture
from effdl.nas.gradient.early_stopping import (
    either,
    restore_,
    stop_at_skips,
    stop_when_stable,
)
from effdl.nas.gradient.found_cell import found_cell
from effdl.nas.gradient.method import Method, SearchEpoch
from effdl.nas.gradient.mixed_net import small_mixed_net
from effdl.nas.gradient.relaxations import softmax_weights
from effdl.nas.gradient.search import Rates, search
from effdl.nas.gradient.steps import Searching
from effdl.nas.public_files import CELL_ACCURACIES, CELL_LATENCIES, CELL_NUMBERS
from effdl.nas.public_tables import load_nas_bench_201
from public_data import skip_unless_cached

NAMES = [("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3")] * 6
SKIP, CONVOLUTION = map(OPERATIONS.index, ("skip_connect", "nor_conv_3x3"))


def epochs_until_it_stops(rule, logits_at, *, names=NAMES, most=100):
    """Return after how many epochs a rule stops on a given trajectory of logits."""
    found = Architecture(names)
    searching = Searching(None, found, softmax_weights, None, None, None)
    done = []
    for epoch in range(1, most + 1):
        with torch.no_grad():
            found.logits.copy_(logits_at(epoch))
        logits = found.masked_logits().detach().clone()
        done.append(SearchEpoch(logits, softmax_weights(found).detach(), 0.0, 0.0))
        if rule(searching, done):
            return epoch
    return None


def rising_skips(speeds, lead=1.0):
    """Skips begin at 0 and rise in a line; a convolution has the logit ``lead``."""

    def logits_at(epoch):
        logits = torch.zeros(len(speeds), 4)
        logits[:, 1] = epoch * torch.tensor(speeds)
        logits[:, 3] = lead
        return logits

    return logits_at


@pytest.mark.parametrize("count", [1, 2, 3, 6])
def test_it_stops_when_the_second_skip_crosses(count):
    """Skip e passes the convolution after the first epoch above lead / speed."""
    speeds = [0.03, 0.11, 0.07, 0.052, 0.021, 0.013]
    crossings = sorted(math.floor(1 / speed) + 1 for speed in speeds)
    found = epochs_until_it_stops(stop_at_skips(count), rising_skips(speeds))
    assert found == crossings[count - 1]
    if count == 2:
        assert epochs_until_it_stops(stop_at_skips(), rising_skips(speeds)) == found


def test_a_skip_behind_none_alone_counts_because_none_is_never_chosen():
    def logits_at(_epoch):
        return torch.tensor([[9.0, 1.0, 0.0, 0.0]] * 6)

    assert epochs_until_it_stops(stop_at_skips(6), logits_at) == 1


def test_the_skips_of_another_choice_can_be_counted():
    """Of a space that keeps two edges, say."""
    rule = stop_at_skips(choose=lambda architecture: architecture.strongest()[:2])
    speeds = [0.0198, 0.04, 1.0, 1.0, 1.0, 1.0]
    assert epochs_until_it_stops(rule, rising_skips(speeds)) == 51
    rule = stop_at_skips(1, skip="nor_conv_3x3")
    assert epochs_until_it_stops(rule, rising_skips([0.001] * 6)) == 1


def test_it_stops_when_the_order_of_the_convolutions_has_been_the_same_for_long():
    """The order on edge 4 changes with epoch 8; epochs 8 to 8 + n - 1 are equal."""

    def logits_at(epoch):
        logits = torch.zeros(6, 4)
        logits[:, 2] = 1.0
        logits[:, 1] = (-1.0) ** epoch * 5  # skips may do what they want
        logits[4, 3] = 0.9 if epoch < 8 else 1.1
        return logits

    for epochs in (3, 10):
        rule = stop_when_stable(("nor_conv_1x1", "nor_conv_3x3"), epochs=epochs)
        stopped = epochs_until_it_stops(rule, logits_at)
        assert stopped == (3 if epochs == 3 else 8 + 10 - 1)
    default = stop_when_stable(("nor_conv_1x1", "nor_conv_3x3"))
    assert epochs_until_it_stops(default, logits_at) == 17


def test_an_order_that_goes_on_changing_stops_nothing():
    def logits_at(epoch):
        return torch.tensor([[0.0, 0.0, 1.0, 1 + 0.1 * (-1) ** epoch]] * 6)

    rule = stop_when_stable(("nor_conv_1x1", "nor_conv_3x3"), epochs=2)
    assert epochs_until_it_stops(rule, logits_at) is None


def test_edges_may_lack_some_of_the_operations():
    names = [("skip_connect",), ("nor_conv_3x3", "nor_conv_1x1")]
    rule = stop_when_stable(("nor_conv_1x1", "nor_conv_3x3"), epochs=4)
    logits = torch.tensor([[0.0, 0.0], [1.0, 2.0]])
    assert epochs_until_it_stops(rule, lambda _: logits, names=names) == 4


def test_one_of_several_rules_is_enough_and_all_are_asked():
    asked = []

    def rule(at):
        def stops(_searching, epochs):
            asked.append(at)
            return len(epochs) == at

        return stops

    for order in ((5, 3), (3, 5)):
        asked.clear()
        both = either(*map(rule, order))
        assert epochs_until_it_stops(both, rising_skips([0.1] * 6)) == 3
        assert asked == list(order) * 3


def test_a_real_search_stops_at_the_first_epoch_with_two_skips():
    """Its objective draws all skips up: they pass one convolution after the other.

    Adam moves a logit by about its rate in a step whatever the slope is. So skip and
    convolution come 2 * 0.1 nearer in each of the two steps of an epoch; they begin
    0.6, 1.0, 1.4 and more apart, and are 0.4 nearer after each epoch.
    """
    part = small_digits(n_train=60).train
    found, net = Architecture([OPERATIONS] * 6, spread=0), small_mixed_net()
    with torch.no_grad():
        found.logits[:, CONVOLUTION] = torch.linspace(0.6, 2.6, 6)
    counts = []

    def for_skips(loss, weights, _searching):
        return loss - 10 * weights[:, SKIP].sum()

    def watched(searching, epochs):
        counts.append(found_cell(searching.architecture).count("skip_connect"))
        return stop_at_skips()(searching, epochs)

    batches = [part.batches(30)] * 2
    method = Method(objective=for_skips, after_epoch=watched)
    rates = Rates(architecture=0.1)
    done = search(net, found, *batches, epochs=6, method=method, rates=rates)
    assert counts == [0, 1, 2]
    assert len(done) == 3


def test_a_cell_of_skips_alone_is_among_the_worst_of_the_benchmark():
    """What the collapse ends in: one cell of a hundred is worse."""
    found = found_cell(with_six_skips())
    assert found.count("skip_connect") == 6
    table = load_cellbench()
    accuracies, row = table.mean("validation"), table.row(found)
    assert accuracies[row] < accuracies.max() - 0.2
    assert (accuracies < accuracies[row]).mean() < 0.02


@pytest.mark.parametrize("dataset", ["cifar10", "cifar100", "ImageNet16-120"])
def test_in_the_published_table_it_is_far_below_the_best_too(dataset):
    skip_unless_cached(CELL_ACCURACIES, CELL_NUMBERS, *CELL_LATENCIES.values())
    table = load_nas_bench_201(dataset)
    accuracies = table.mean("validation")
    row = table.row(found_cell(with_six_skips()))
    assert accuracies[row] < accuracies.max() - 0.3


def with_six_skips():
    """Return an architecture in which the rule of one skip stops at once."""
    found = Architecture(NAMES)
    with torch.no_grad():
        found.logits[:, 1] = 1.0
    searching = Searching(None, found, softmax_weights, None, None, None)
    assert stop_at_skips(6)(searching, [])
    return found


def test_an_earlier_architecture_comes_back_with_what_was_active_then():
    found = Architecture([("a", "b", "c")] * 2, spread=1.0)
    found.keep_(1, ("a", "c"))
    logits = found.masked_logits().detach().clone()
    earlier = SearchEpoch(logits, softmax_weights(found).detach(), 0.0, 0.0)
    before = found.strongest()
    found.keep_(1, ("c",))
    with torch.no_grad():
        found.logits.neg_()
    restore_(found, earlier)
    assert found.strongest() == before
    assert found.left(1) == ("a", "c")
    assert torch.equal(found.masked_logits(), logits)
    assert found.logits.isfinite().all()
    fresh = Architecture(found.candidates)
    restore_(fresh, earlier)
    assert torch.equal(fresh.masked_logits(), logits)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: stop_at_skips(0), "count must be at least 1, got 0"),
        (
            lambda: stop_when_stable(("a", "b"), epochs=0),
            "epochs must be at least 1, got 0",
        ),
        (lambda: stop_when_stable(("a", "a")), "learnable must name two operations"),
        (either, "rules is empty"),
    ],
)
def test_what_cannot_be_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
