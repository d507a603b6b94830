"""The pruning search against a literal one, on invented and on measured changes."""

import numpy as np
import pytest
import torch

from effdl.nas import te_nas
from effdl.nas.cell_classes import live_edges
from effdl.nas.proxies.linear_regions import linear_region_count
from effdl.nas.proxies.ntk import ntk_condition_number
from effdl.nas.super_cell import SEARCHED, restrict_, super_cell_net
from effdl.nas.te_nas import prune, prune_by_ntk_and_regions
from effdl.seed import seeded


def invented(seed: int, values: int = 1000):
    """Return changes that depend on operation and supernet, as a compare function."""

    def compare(active, removals):
        sizes = sum(len(names) * (e + 1) for e, names in enumerate(active))
        random = np.random.default_rng([seed, sizes])
        table = random.integers(-values, values, size=(6, 4, 2)) / values
        return [tuple(table[e, SEARCHED.index(name)]) for e, name in removals]

    return compare


def literally(compare):
    """The search as the paper tells it, in lists and loops; ranks by counting."""
    active = [list(SEARCHED) for _ in range(6)]
    while any(len(names) > 1 for names in active):
        could_go = [(e, n) for e in range(6) for n in active[e] if len(active[e]) > 1]
        changes = compare(tuple(map(tuple, active)), could_go)
        kappas, regions = {c[0] for c in changes}, {c[1] for c in changes}
        sums = {}
        for removal, (kappa, region) in zip(could_go, changes, strict=True):
            first = sum(other > kappa for other in kappas)  # larger ones come before
            second = sum(other < region for other in regions)  # smaller ones do
            sums[removal] = (first + second, first)
        for e in range(6):
            if len(active[e]) > 1:
                lowest = min(sums[e, name] for name in active[e])
                active[e].remove(next(n for n in active[e] if sums[e, n] == lowest))
    return tuple(name for (name,) in active)


@pytest.mark.parametrize("values", [1000, 2])
@pytest.mark.parametrize("seed", range(10))
def test_search_prunes_what_the_literal_one_prunes(seed, values):
    """With 5 different values only, most ranks are shared."""
    compare = invented(seed, values)
    assert prune(compare).cell.operations == literally(compare)


def test_four_operations_take_three_rounds_and_54_measurements():
    found = prune(invented(0))
    assert [len(round_.changes) for round_ in found.rounds] == [24, 18, 12]
    assert [len(round_.pruned) for round_ in found.rounds] == [6, 6, 6]
    assert found.evaluations == 54 == 6 * (4 + 3 + 2)


def test_rounds_tell_what_was_there_and_what_went():
    found = prune(invented(4))
    assert found.rounds[0].active == (SEARCHED,) * 6
    for before, after in zip(found.rounds, found.rounds[1:], strict=False):
        for e, name in before.pruned:
            assert set(before.active[e]) - set(after.active[e]) == {name}
    last = found.rounds[-1]
    left = [set(last.active[e]) - {name} for e, name in last.pruned]
    assert [{name} for name in found.cell.operations] == left


def test_what_trains_worse_and_folds_less_goes_first():
    """The kernel and the regions agree: skips first, then pools, 1 x 1, 3 x 3 stay."""
    kappa = dict(zip(SEARCHED, (0.4, 0.1, -0.2, 0.3), strict=True))
    region = dict(zip(SEARCHED, (-0.1, 0.2, 0.3, 0.1), strict=True))
    found = prune(lambda _, removals: [(kappa[n], region[n]) for _, n in removals])
    order = [{name for _, name in round_.pruned} for round_ in found.rounds]
    assert order == [{"skip_connect"}, {"avg_pool_3x3"}, {"nor_conv_1x1"}]
    assert found.cell.count("nor_conv_3x3") == 6


def test_ranks_are_over_all_edges_not_within_one():
    """On edge 0, avg pool has ranks 0 + 2 and skip 2 + 1, if the others are counted.

    Within the edge skip would win: 1 + 0 against 0 + 2.
    """

    def compare(active, removals):
        table = {
            (0, "avg_pool_3x3"): (0.9, 0.5),
            (0, "skip_connect"): (0.3, 0.2),
            (1, "skip_connect"): (0.6, 0.1),
            (1, "avg_pool_3x3"): (0.5, 0.1),
        }
        return [table.get(removal, (-1.0, 0.9)) for removal in removals]

    first = prune(compare).rounds[0].pruned
    assert first[0] == (0, "avg_pool_3x3")


def test_a_kernel_that_turns_singular_is_the_last_to_want():
    def compare(active, removals):
        return [(-np.inf if n == "skip_connect" else 0.0, 0.0) for _, n in removals]

    assert prune(compare).cell.count("skip_connect") == 6


def digits(images=2, crops=60):
    return torch.randn(images, 1, 4, 4), torch.randn(crops, 1, 3, 3)


def test_changes_are_those_of_the_networks_with_and_without():
    """The first round by hand: two draws of both nets, rounded, averaged."""
    images, crops = digits(crops=200)
    with seeded(5):
        found = prune_by_ntk_and_regions(
            images, crops, repeats=2, ntk_widths=(3,), region_widths=(1,)
        )
    expected = {name: [] for name in SEARCHED}
    with seeded(5):
        for _ in range(2):
            wide, thin = super_cell_net((3,)), super_cell_net((1,), fan="fan_in")
            kappa = ntk_condition_number(wide, images)
            regions = linear_region_count(thin, crops)
            for name, drawn in expected.items():
                active = [SEARCHED] * 6
                active[2] = tuple(other for other in SEARCHED if other != name)
                restrict_(wide, tuple(active))
                restrict_(thin, tuple(active))
                without = ntk_condition_number(wide, images)
                fewer = linear_region_count(thin, crops)
                drawn.append((
                    round((kappa - without) / kappa, 3),
                    round((regions - fewer) / regions, 3),
                ))
    for name, drawn in expected.items():
        change = found.rounds[0].changes[2, name]
        assert change == pytest.approx(np.mean(drawn, axis=0), abs=1e-9)
    assert all(np.ptp(list(expected.values()), axis=(0, 1)) > 0)  # not all the same


def test_result_is_a_connected_cell_and_depends_on_the_seed_alone():
    images, crops = digits()
    found = []
    for seed in (1, 1, 2):
        with seeded(seed):
            found.append(
                prune_by_ntk_and_regions(
                    images, crops, repeats=1, ntk_widths=(2,), region_widths=(1,)
                )
            )
    assert found[0] == found[1] != found[2]
    assert live_edges(found[0].cell)
    assert found[0].cell.count("none") == 0
    assert found[0].evaluations == 54


def test_defaults_are_three_draws_of_thin_networks(monkeypatch):
    asked = []

    def watched(widths, **options):
        asked.append((widths, options))
        return super_cell_net(widths, **options)

    monkeypatch.setattr(te_nas, "super_cell_net", watched)
    monkeypatch.setattr(te_nas, "ntk_condition_number", lambda *_: 2.0)
    monkeypatch.setattr(te_nas, "linear_region_count", lambda *_: 3)
    prune_by_ntk_and_regions(torch.randn(2, 3, 6, 6), torch.randn(2, 3, 3, 3))
    pair = [
        ((4, 8), {"in_channels": 3}),
        ((1, 2), {"in_channels": 3, "fan": "fan_in"}),
    ]
    assert asked == pair * 9  # three draws in each of three rounds


def test_an_image_that_comes_twice_is_named():
    images, crops = digits()
    with pytest.raises(ValueError, match="kernel of the supernet is singular"):
        prune_by_ntk_and_regions(
            torch.cat((images, images)), crops, ntk_widths=(2,), region_widths=(1,)
        )


def test_no_repeat_is_named():
    with pytest.raises(ValueError, match="repeats must be at least 1, got 0"):
        prune_by_ntk_and_regions(*digits(), repeats=0)
