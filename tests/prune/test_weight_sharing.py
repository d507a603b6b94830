"""Shared weights: gradients by hand, k-means against the best grouping, limits."""

import itertools

import pytest
import torch
from torch import nn

from effdl.prune.magnitude import magnitude_scores
from effdl.prune.masks import make_permanent_, prune_
from effdl.prune.thresholds import layer_masks
from effdl.prune.weight_sharing import (
    SharedWeight,
    cluster,
    dense_centres,
    even_centres,
    share_weights_,
    shared_of,
    sharing_rate,
)


def shared_net(bits=2):
    net = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))
    prune_(net, layer_masks(magnitude_scores(net), 0.4))
    make_permanent_(net)
    before = {name: p.detach().clone() for name, p in net.named_parameters()}
    share_weights_(net, lambda _: bits)
    return net, before


def test_the_gradient_of_a_value_is_the_sum_over_its_weights():
    net, _ = shared_net()
    x = torch.randn(7, 6)
    (values, codes) = shared_of(net)["0.weight"]
    weight = torch.cat([torch.zeros(1), values])[codes].requires_grad_()
    hidden = torch.relu(x @ weight.t() + net[0].bias)
    (hidden @ net[2].weight.t() + net[2].bias).square().sum().backward()
    net(x).square().sum().backward()
    found = net[0].parametrizations.weight.original.grad
    for number in range(len(values)):
        by_hand = weight.grad[codes == number + 1].sum()
        torch.testing.assert_close(found[number], by_hand)


def test_the_papers_example_of_4_by_4_weights_is_3_2_times_smaller():
    """16 weights of 32 bits, 4 clusters: 512 bits become 16 * 2 + 4 * 32 = 160."""
    assert sharing_rate(16, 32, 4) == 512 / 160 == 3.2


def error(values, centres, codes):
    return (values - centres[codes]).square().sum().item()


def test_clusters_are_the_best_there_are_when_they_are_apart():
    """In one dimension clusters are runs of the sorted values: try all borders."""
    values = torch.cat([c + 0.1 * torch.randn(4) for c in (-2.0, 0.0, 3.0)])
    ordered = values.sort().values
    best = min(
        sum(part.var(correction=0).item() * len(part) for part in parts)
        for i, j in itertools.combinations(range(1, 12), 2)
        for parts in [(ordered[:i], ordered[i:j], ordered[j:])]
    )
    centres, codes = cluster(values, 3)
    assert error(values, centres, codes) == pytest.approx(best, rel=1e-4)


@pytest.mark.parametrize("start", [even_centres, dense_centres])
def test_every_value_is_nearest_to_its_centre_which_is_their_mean(start):
    values = torch.randn(200)
    centres, codes = cluster(values, 7, start=start)
    nearest = (values[:, None] - centres).abs().argmin(dim=1)
    assert torch.equal(nearest, codes)
    for number, centre in enumerate(centres):
        torch.testing.assert_close(centre, values[codes == number].mean())
    assert torch.equal(centres, centres.sort().values)


def test_centres_that_start_evenly_follow_the_large_weights_better():
    """For 2,000 values of a Laplace distribution, and worse the others."""
    values = torch.distributions.Laplace(0.0, 1.0).sample((2000,))
    largest = values.abs().argsort()[-20:]
    errors = []
    for start in (even_centres, dense_centres):
        centres, codes = cluster(values, 15, start=start)
        errors.append((values - centres[codes]).square())
    assert errors[0][largest].mean() < errors[1][largest].mean() / 2
    assert errors[0].mean() > errors[1].mean()


def test_where_k_means_starts_by_hand():
    """Quantiles at 1/4 and 3/4 of 0, 1, 2, 10: between the first, and the last two."""
    values = torch.tensor([10.0, 0.0, 2.0, 1.0])
    assert even_centres(values, 3).tolist() == [0.0, 5.0, 10.0]
    assert dense_centres(values, 2).tolist() == [0.75, 4.0]


def test_the_order_in_which_centres_start_does_not_matter():
    values = torch.randn(50)
    centres, codes = cluster(values, 4)
    turned = cluster(values, 4, start=lambda v, k: even_centres(v, k).flip(0))
    torch.testing.assert_close(turned[0], centres)
    assert torch.equal(turned[1], codes)


def test_enough_clusters_change_nothing():
    values = torch.tensor([3.0, 1.0, 3.0, 2.0])
    centres, codes = cluster(values, 3)
    assert torch.equal(centres[codes], values)
    assert torch.equal(cluster(values, 100)[0], torch.tensor([1.0, 2.0, 3.0]))


def test_zeros_stay_zeros_and_others_move_to_one_of_three_values():
    net, before = shared_net(bits=2)
    weight = net[0].weight
    assert torch.equal(weight == 0, before["0.weight"] == 0)
    assert len(weight[weight != 0].unique()) == 3
    assert torch.equal(net[0].bias, before["0.bias"])


def test_training_moves_the_values_and_never_the_codes():
    net, _ = shared_net()
    codes = {name: c.clone() for name, (_, c) in shared_of(net).items()}
    old = shared_of(net)["2.weight"][0]
    sgd = torch.optim.SGD(net.parameters(), 0.1, momentum=0.9, weight_decay=0.1)
    for _ in range(5):
        sgd.zero_grad()
        net(torch.randn(8, 6)).square().mean().backward()
        sgd.step()
    new, now = shared_of(net)["2.weight"]
    assert torch.equal(now, codes["2.weight"])
    assert not torch.equal(new, old)
    assert (net[2].weight[now == 0] == 0).all()


def test_a_layer_without_weights_is_named_and_nothing_is_changed():
    net = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 2))
    nn.init.zeros_(net[1].weight)
    names = [name for name, _ in net.named_parameters()]
    with pytest.raises(ValueError, match=r"1\.weight has no weight left"):
        share_weights_(net, lambda _: 2)
    assert shared_of(net) == {}
    assert [name for name, _ in net.named_parameters()] == names


def test_only_shared_weights_are_found():
    assert shared_of(nn.Linear(2, 2)) == {}
    net = nn.Linear(2, 2)
    prune_(net, {"weight": torch.eye(2) > 0})
    assert shared_of(net) == {}


def test_the_parametrization_reads_its_table():
    layer = SharedWeight(torch.tensor([1.0, 2.0]), torch.tensor([2, 0, 1]))
    assert layer(torch.tensor([5.0, 7.0])).tolist() == [7.0, 0.0, 5.0]


def test_errors_say_what_is_wrong():
    net = nn.Linear(2, 2)
    with pytest.raises(ValueError, match="1 to 16, got 0 for weight"):
        share_weights_(net, lambda _: 0)
    prune_(net, {"weight": torch.eye(2) > 0})
    with pytest.raises(ValueError, match="make_permanent_"):
        share_weights_(net, lambda _: 2)
    with pytest.raises(ValueError, match="clusters must be at least 1, got 0"):
        cluster(torch.ones(3), 0)
