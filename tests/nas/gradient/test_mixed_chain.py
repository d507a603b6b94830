"""The mixed chain: with one-hot weights it is one path of the supernet."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from effdl.nas.block_space import BlockSpace
from effdl.nas.gradient.architecture import Architecture
from effdl.nas.gradient.mixed_chain import (
    MixedChain,
    chain_architecture,
    found_choices,
    small_mixed_chain,
)
from effdl.nas.mbconv_space import small_mbconv_supernet
from effdl.nas.supernet import SuperNet

PATHS = [(0, 6, 3, 5, 6, 0), (5, 1, 6, 0, 2, 6)]


def one_hot(choices, width=7):
    return F.one_hot(torch.tensor(choices), width).float()


def ragged_supernet():
    space = BlockSpace((
        {"plus": lambda: nn.Linear(3, 3), "skip": nn.Identity},
        {"skip": nn.Identity, "relu": nn.ReLU, "tanh": nn.Tanh},
    ))
    return SuperNet(nn.Identity(), space, nn.Identity())


def counted(chain):
    """Return a list that grows by (layer, candidate) whenever a block runs."""
    ran = []
    for number, layer in enumerate(chain.layers):
        for k, block in enumerate(layer.candidates.values()):
            block.register_forward_hook(lambda *_, at=(number, k): ran.append(at))
    return ran


@pytest.mark.parametrize("choices", PATHS)
def test_one_hot_weights_are_one_path_of_the_supernet(choices):
    supernet = small_mbconv_supernet().eval()
    chain = MixedChain(supernet).eval()
    x = torch.randn(4, 1, 12, 12)
    assert torch.equal(chain(x, one_hot(choices)), supernet(x, choices))
    ran = counted(chain)
    chain(x, one_hot(choices))
    assert ran == list(enumerate(choices))


def test_a_layer_is_the_weighted_sum_of_its_blocks():
    supernet = ragged_supernet()
    chain = MixedChain(supernet)
    x = torch.randn(5, 3)
    weights = torch.tensor([[0.3, 0.7, 0.0], [0.2, 0.5, 0.3]])
    y = 0.3 * supernet.layers[0][0](x) + 0.7 * x
    expected = 0.2 * y + 0.5 * y.relu() + 0.3 * y.tanh()
    torch.testing.assert_close(chain(x, weights), expected)


def test_weights_of_candidates_that_a_layer_does_not_have_are_ignored():
    chain, x = MixedChain(ragged_supernet()), torch.randn(5, 3)
    weights = torch.tensor([[0.3, 0.7, 0.0], [0.2, 0.5, 0.3]])
    others = torch.tensor([[0.3, 0.7, 5.0], [0.2, 0.5, 0.3]])
    assert torch.equal(chain(x, weights), chain(x, others))
    softmax = chain_architecture(chain.space)().softmax(dim=1)
    assert softmax[0, 2] == 0
    assert chain(x, softmax).isfinite().all()


def test_what_runs_is_the_callers_to_say():
    chain = MixedChain(ragged_supernet())
    ran = counted(chain)
    x = torch.randn(5, 3)
    y = chain(x, one_hot([1, 1], 3), [[0, 1], [1, 2]])
    assert ran == [(0, 0), (0, 1), (1, 1), (1, 2)]
    torch.testing.assert_close(y, x.relu())  # the others have the weight 0


def test_the_supernet_and_the_chain_share_their_weights():
    supernet = small_mbconv_supernet()
    chain = MixedChain(supernet)
    own = {id(p) for p in supernet.parameters()}
    assert {id(p) for p in chain.parameters()} == own


def test_the_architecture_has_a_row_for_each_layer_with_its_own_candidates():
    architecture = chain_architecture(ragged_supernet().space, spread=0.5)
    assert architecture.candidates == (("plus", "skip"), ("skip", "relu", "tanh"))
    assert architecture.active.tolist() == [[True, True, False], [True] * 3]
    assert architecture.logits.std() > 0.01


def test_found_choices_number_the_strongest_and_may_skip():
    """Logits 1, 2 in the first layer; 0, -1, 3 in the second. "none" counts, too."""
    architecture = Architecture([("plus", "none"), ("skip", "relu", "tanh")])
    architecture.logits.data = torch.tensor([[1.0, 2.0, 9.0], [0.0, -1.0, 3.0]])
    assert found_choices(architecture) == (1, 2)


def test_norms_of_the_small_chain_use_the_batch_and_in_blocks_have_no_scale():
    chain = small_mixed_chain(in_channels=3)
    norms = [m for m in chain.modules() if isinstance(m, nn.BatchNorm2d)]
    assert all(m.running_mean is None for m in norms)
    inside = [m for m in chain.layers.modules() if isinstance(m, nn.BatchNorm2d)]
    assert inside and all(m.weight is None for m in inside)
    outside = [m for m in norms if m not in inside]
    assert outside and all(m.weight is not None for m in outside)
    assert chain(torch.randn(2, 3, 16, 16), torch.full((6, 7), 1 / 7)).shape == (2, 10)


def test_every_block_and_every_logit_learns():
    chain = small_mixed_chain()
    architecture = chain_architecture(chain.space)
    x, y = torch.randn(20, 1, 12, 12), torch.arange(20) % 10
    F.cross_entropy(chain(x, architecture().softmax(dim=1)), y).backward()
    assert all(p.grad is not None and p.grad.any() for p in chain.parameters())
    assert architecture.logits.grad[architecture.active].all()


def test_what_cannot_be_is_named():
    chain = MixedChain(ragged_supernet())
    with pytest.raises(ValueError, match=r"weights must be \(2, K\), .* got \(3, 3\)"):
        chain(torch.zeros(1, 3), torch.ones(3, 3))
    with pytest.raises(ValueError, match=r"weights must be \(3,\)"):
        chain(torch.zeros(1, 3), torch.ones(2, 2))
