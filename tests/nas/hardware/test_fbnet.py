"""FBNet: its temperature, its loss, and the table's sum at one-hot weights."""

import math

import numpy as np
import pytest
import torch

from effdl.data.digits import small_digits
from effdl.nas.block_space import BlockSpace
from effdl.nas.candidate_tables import candidate_macs
from effdl.nas.fbnet_table import LAYERS, OPERATIONS, fit_additive, load_fbnet
from effdl.nas.gradient.architecture import Architecture
from effdl.nas.gradient.mixed_chain import chain_architecture, small_mixed_chain
from effdl.nas.gradient.search import search
from effdl.nas.hardware.expected_cost import CostTable, expected_cost
from effdl.nas.hardware.fbnet import fbnet
from effdl.nas.hardware.operator_costs import chain_costs
from effdl.nas.mbconv_space import small_mbconv_supernet
from effdl.nas.public_files import FBNET_ARCHITECTURES, FBNET_LATENCIES
from public_data import skip_unless_cached

TABLE = CostTable(10.0, torch.tensor([[5.0, 20.0], [3.0, 40.0]]))
PAIRS = Architecture([("a", "b")] * 2)


def test_the_temperature_falls_as_in_the_paper():
    """5 exp(-0.045 epoch), of 90 epochs: 5, 0.66 and 0.087."""
    tau = fbnet(TABLE).relax.temperature
    for epoch in (0, 1, 45, 90):
        assert tau(epoch / 90) == pytest.approx(5 * math.exp(-0.045 * epoch))
    assert [round(tau(p), 3) for p in (0.0, 0.5, 1.0)] == [5.0, 0.66, 0.087]


def test_samples_are_flat_at_first_and_nearly_one_hot_in_the_end():
    relax = fbnet(TABLE).relax
    largest = {
        p: torch.stack([relax(PAIRS, p).max(dim=1).values for _ in range(200)]).mean()
        for p in (0.0, 1.0)
    }
    assert largest[0.0] < 0.65
    assert largest[1.0] > 0.93


def test_a_sample_is_torchs_gumbel_softmax():
    """Frequencies of a first weight above 0.7, over many draws at one temperature."""
    method, tau, n = fbnet(TABLE), 5 * math.exp(-0.045 * 45), 3000
    pair = Architecture([("a", "b")])
    with torch.no_grad():
        pair.logits[0] = torch.tensor([1.0, 0.0])
    ours = torch.stack([method.relax(pair, 0.5)[0, 0] for _ in range(n)])
    rows = torch.tensor([[1.0, 0.0]]).expand(n, 2)
    theirs = torch.nn.functional.gumbel_softmax(rows, tau)[:, 0]
    shares = [(drawn > 0.7).double().mean().item() for drawn in (ours, theirs)]
    assert shares[0] == pytest.approx(shares[1], abs=0.05)


def test_the_objective_by_hand():
    """One-hot: 10 + 20 + 3 = 33 and 1.5 * 0.2 * log(33)^0.6."""
    weights = PAIRS.one_hot(("b", "a"))
    found = fbnet(TABLE).objective(torch.tensor(1.5), weights, None)
    assert found.item() == pytest.approx(1.5 * 0.2 * math.log(33) ** 0.6)
    flat = fbnet(TABLE, alpha=1.0, beta=0.0).objective(torch.tensor(1.5), weights, None)
    assert flat.item() == 1.5


@pytest.mark.parametrize("device", ["raspi4", "fpga"])
def test_one_hot_weights_of_the_published_space_cost_the_tables_sum(device):
    """The student's table, recovered from 1,000 sums, on others: exact but rounding."""
    skip_unless_cached(FBNET_ARCHITECTURES, FBNET_LATENCIES[device])
    rows, seconds = load_fbnet(device, online=False)
    fitted = fit_additive(rows[:1000], seconds[:1000])
    table = CostTable(fitted.base * 1e6, torch.from_numpy(fitted.extra) * 1e6)
    found = Architecture([OPERATIONS] * LAYERS)
    for row, truth in zip(rows[1000:1050].tolist(), seconds[1000:], strict=False):
        weights = found.one_hot([OPERATIONS[k] for k in row]).double()
        assert expected_cost(weights, table).item() == pytest.approx(truth * 1e6)


def test_the_space_of_the_paper_has_9_to_the_22_networks():
    space = BlockSpace((dict.fromkeys(OPERATIONS, torch.nn.Identity),) * LAYERS)
    assert space.size == 9**22
    assert f"{space.size:.2e}" == "9.85e+20"


def test_all_candidates_run_in_a_step():
    """That is what fills the memory."""
    chain = small_mixed_chain()
    found = chain_architecture(chain.space)
    ran = set()
    for layer, mixed in enumerate(chain.layers):
        for number, block in enumerate(mixed.candidates.values()):
            block.register_forward_hook(lambda *_, key=(layer, number): ran.add(key))
    chain(torch.zeros(2, 1, 12, 12), fbnet(TABLE).relax(found, 0.0))
    assert len(ran) == chain.space.candidates == 40


def test_a_search_of_a_chain_moves_blocks_and_logits():
    digits = small_digits(n_train=32, n_validation=16)
    chain = small_mixed_chain()
    found = chain_architecture(chain.space, spread=0)
    macs = candidate_macs(small_mbconv_supernet(), torch.zeros(1, 1, 12, 12))
    table = chain_costs(macs, base=1e5)
    parts = [split.batches(16, seed=0) for split in digits[:2]]
    before = {name: p.clone() for name, p in chain.named_parameters()}
    done = search(chain, found, *parts, epochs=2, warm_up=1, method=fbnet(table))
    assert not done[0].logits[found.active].any()  # warm-up
    assert done[1].logits[found.active].any()
    still = [n for n, p in chain.named_parameters() if torch.equal(p, before[n])]
    assert not still


def test_the_product_alone_finds_the_cheapest():
    """With the same loss for all: logits of the cheap candidates rise, at any cost."""
    found = Architecture([("a", "b")] * 2, spread=0)
    adam = torch.optim.Adam(found.parameters(), 0.05)
    method = fbnet(TABLE)
    for step in range(100):
        weights = method.relax(found, step / 100)
        adam.zero_grad()
        method.objective(torch.tensor(1.0), weights, None).backward()
        adam.step()
    assert found.strongest() == ("a", "a")
    assert np.all(found.logits.detach().numpy()[:, 0] > 0.5)


def test_a_table_in_seconds_is_refused():
    table = CostTable(1e-3, torch.tensor([[5e-4, 2e-3]]))
    with pytest.raises(ValueError, match="above 1 to take its logarithm"):
        fbnet(table).objective(torch.tensor(1.0), torch.tensor([[0.0, 1.0]]), None)
    with pytest.raises(ValueError, match="alpha must be above 0"):
        fbnet(TABLE, alpha=-1.0)
