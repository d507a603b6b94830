"""Federated compression: averages over clients, masks, and fusion by logits."""

import copy

import pytest
import torch
from torch import nn

from effdl.blocks import plain_net
from effdl.compress.federated import (
    federated_average,
    federated_round,
    fuse,
    masked_average,
)
from effdl.data.digits import Split
from effdl.distill.kd import distil
from effdl.distill.recipe import Recipe
from effdl.seed import seeded
from effdl.train import train_classifier


def states_of(count):
    return [plain_net(2).state_dict() for _ in range(count)]


def masks_like(states):
    return [
        {n: torch.rand_like(v) > 0.5 for n, v in state.items() if v.ndim > 1}
        for state in states
    ]


def test_every_entry_is_the_mean_over_the_clients_that_kept_it():
    server, *states = states_of(4)
    masks, sizes = masks_like(states), [5, 1, 2]
    found = masked_average(server, states, masks, sizes)
    for name in ("0.0.weight", "7.weight", "7.bias", "1.1.running_var"):
        flat = [state[name].flatten() for state in states]
        for i, old in enumerate(server[name].flatten()):
            whole = torch.ones_like(server[name], dtype=torch.bool)
            kept = [k for k in range(3) if masks[k].get(name, whole).flatten()[i]]
            total = sum(sizes[k] for k in kept)
            expected = sum(sizes[k] * flat[k][i] for k in kept) / total if kept else old
            torch.testing.assert_close(found[name].flatten()[i], expected)


def test_by_hand():
    """Sizes 2 and 1. First entry (2 * 1 + 4) / 3 = 2, second 1, third the server's."""
    states = [
        {"w": torch.tensor([1.0, 1.0, 0.0])},
        {"w": torch.tensor([4.0, 0.0, 0.0])},
    ]
    kept = [{"w": torch.tensor(m) > 0} for m in ([1, 1, 0], [1, 0, 0])]
    server = {"w": torch.tensor([7.0, 8.0, 9.0])}
    assert masked_average(server, states, kept, [2, 1])["w"].tolist() == [2, 1, 9]


def test_with_all_masks_true_it_is_federated_averaging():
    server, *states = states_of(4)
    ones = [
        {n: torch.ones_like(v, dtype=torch.bool) for n, v in state.items() if v.ndim}
        for state in states
    ]
    masked = masked_average(server, states, ones, [3, 1, 2])
    for name, value in federated_average(states, [3, 1, 2]).items():
        assert torch.equal(masked[name], value)
        if value.is_floating_point():
            weighed = [n / 6 * s[name] for n, s in zip((3, 1, 2), states, strict=True)]
            torch.testing.assert_close(value, sum(weighed))


def test_equal_clients_change_nothing_and_one_client_is_itself():
    state = plain_net(2).state_dict()
    for states in ([state], [state] * 4):
        for name, value in federated_average(states, [1] * len(states)).items():
            torch.testing.assert_close(value, state[name])


def test_counters_are_whole_numbers_of_the_first_client():
    states = [{"seen": torch.tensor(7)}, {"seen": torch.tensor(2)}]
    average = federated_average(states, [1, 1])["seen"]
    assert average == 7
    assert average.dtype == torch.int64
    assert average is not states[0]["seen"]


def shared_images(count=2):
    x, y = torch.randn(count, 40, 1, 8, 8), torch.randint(3, (count, 40))
    return [Split(*pair) for pair in zip(x, y, strict=True)]


def net_of(seed):
    with seeded(seed):
        return plain_net(2, classes=3)


def trained_by(recipe):
    def train(net, split, number):
        train_classifier(net, split, epochs=recipe.epochs, batch_size=20, seed=number)

    return train


def test_a_round_is_local_training_and_the_mean():
    server, clients = net_of(0), shared_images()
    nets = federated_round(server, clients, trained_by(Recipe(epochs=2)))
    states = []
    for number, split in enumerate(clients):
        alone = net_of(0)
        train_classifier(alone, split, epochs=2, batch_size=20, seed=number)
        states.append(alone.state_dict())
        for name, value in nets[number].state_dict().items():
            assert torch.equal(value, states[-1][name])
    for name, value in server.state_dict().items():
        assert torch.equal(value, federated_average(states, [40, 40])[name])


def test_a_masked_client_stays_masked_and_the_server_keeps_what_nobody_has():
    server, clients = net_of(0), shared_images()
    before = copy.deepcopy(server.state_dict())
    mask = torch.rand_like(server[1][0].weight) > 0.5
    masks = [{"1.0.weight": mask}, {"1.0.weight": mask}]
    nets = federated_round(server, clients, trained_by(Recipe(epochs=1)), masks=masks)
    for net in nets:
        assert type(net[1][0].weight) is nn.Parameter
        assert torch.equal(net[1][0].weight != 0, mask)
    after = server[1][0].weight
    assert torch.equal(after[~mask], before["1.0.weight"][~mask])
    assert not torch.isclose(after[mask], before["1.0.weight"][mask]).any()


def test_the_clients_are_weighed_by_their_images():
    server, few, many = nn.Linear(1, 1), *shared_images()
    few = Split(few.inputs[:10], few.targets[:10])

    def train(net, _split, number):
        net.weight.data.fill_(number)

    federated_round(server, [few, many], train)
    assert server.weight.item() == pytest.approx(0.8)  # (10 * 0 + 40 * 1) / 50


def test_fusing_one_client_is_distilling_it_without_labels():
    split, client = shared_images()[0], net_of(1).eval()
    fused, distilled = net_of(0), net_of(0)
    recipe = Recipe(epochs=2, batch_size=20)
    fuse(fused, [client], split.inputs, recipe, temperature=2.0)
    distil(distilled, client, split, recipe, temperature=2.0, alpha=1.0)
    for a, b in zip(fused.parameters(), distilled.parameters(), strict=True):
        torch.testing.assert_close(a, b)


def test_clients_of_other_architectures_fuse_into_their_mean_answer():
    x = torch.randn(300, 2)
    clients = [nn.Linear(2, 3), nn.Sequential(nn.Linear(2, 3), nn.Identity())]
    wanted = torch.stack([c.eval()(x) for c in clients]).mean(0).softmax(1)
    server = nn.Linear(2, 3)
    losses = fuse(server, clients, x, Recipe(epochs=60, weight_decay=0.0))
    assert losses[-1] < 1e-3
    torch.testing.assert_close(server(x).softmax(1), wanted, atol=0.02, rtol=0)


def test_clients_stay_as_they_are_in_a_fusion():
    client, x = net_of(1).eval(), torch.randn(20, 1, 8, 8)
    before = copy.deepcopy(client.state_dict())
    fuse(net_of(0), [client], x, Recipe(epochs=1))
    assert all(torch.equal(v, before[n]) for n, v in client.state_dict().items())
    assert all(p.grad is None for p in client.parameters())


def test_every_client_learns_from_the_servers_weights():
    """A client that does not train sends back what the server sent."""
    server = net_of(0)
    before = copy.deepcopy(server.state_dict())
    federated_round(server, shared_images(3), lambda *_: None)
    for name, value in server.state_dict().items():
        torch.testing.assert_close(value, before[name])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sizes": [1]}, "one per client, got 2, 2 and 1"),
        ({"masks": [{}]}, "one per client, got 2, 1 and 2"),
        ({"states": [], "masks": [], "sizes": []}, "clients must be at least 1, got 0"),
        ({"sizes": [1, 0]}, "size must be at least 1, got 0"),
        (
            {"masks": [{}, {"w": torch.ones(2)}]},
            "must be bool of shape .2,., got torch",
        ),
        ({"masks": [{"w": torch.ones(1) > 0}, {}]}, "of shape .1,.; True for what was"),
    ],
)
def test_bad_input_is_refused(change, message):
    good = {
        "server": {"w": torch.zeros(2)},
        "states": [{"w": torch.zeros(2)}] * 2,
        "masks": [{}, {}],
        "sizes": [1, 1],
    }
    with pytest.raises(ValueError, match=message):
        masked_average(**(good | change))


def test_a_training_client_cannot_answer():
    with pytest.raises(ValueError, match=r"call teacher.eval\(\) first"):
        fuse(net_of(0), [net_of(1)], torch.zeros(2, 1, 8, 8))
    with pytest.raises(ValueError, match="empty"):
        fuse(net_of(0), [], torch.zeros(2, 1, 8, 8))


def test_the_loss_of_a_fusion_reaches_every_parameter():
    server, client, x = net_of(0), net_of(1).eval(), torch.randn(20, 1, 8, 8)
    before = copy.deepcopy(server.state_dict())
    fuse(server, [client], x, Recipe(epochs=1, weight_decay=0.0))
    for name, parameter in server.named_parameters():
        assert not torch.equal(parameter, before[name])


def test_training_goes_through_the_usual_loop():
    """The recipe's seed decides on the order: other seeds, other weights."""
    x, client = torch.randn(60, 1, 8, 8), net_of(1).eval()
    nets = [net_of(0) for _ in range(3)]
    for net, seed in zip(nets, (0, 0, 1), strict=True):
        fuse(net, [client], x, Recipe(epochs=1, batch_size=20, seed=seed))
    assert torch.equal(nets[0][7].weight, nets[1][7].weight)
    assert not torch.equal(nets[0][7].weight, nets[2][7].weight)
