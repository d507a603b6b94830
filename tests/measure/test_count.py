"""Parameters and bytes against hand counts and published counts."""

import io

import pytest
import torch
from torch import nn

from effdl.measure.count import parameter_count, serialized_bytes


def test_value_by_hand():
    """3*8*3*3 = 216 weights and 8 biases; 2*8 of batch norm; 8*10 + 10 of linear."""
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Linear(8, 10))
    assert parameter_count(model) == 216 + 8 + 16 + 80 + 10


def test_published_count_of_resnet50():
    torchvision = pytest.importorskip("torchvision")
    assert parameter_count(torchvision.models.resnet50()) == 25_557_032


def test_a_shared_parameter_counts_once():
    embedding, head = nn.Embedding(7, 4), nn.Linear(4, 7, bias=False)
    head.weight = embedding.weight
    assert parameter_count(nn.ModuleList([embedding, head])) == 28
    assert parameter_count(nn.ModuleList([head, head])) == 28


def test_buffers_are_not_parameters():
    assert parameter_count(nn.BatchNorm2d(5, affine=False)) == 0


def test_frozen_parameters_can_be_left_out():
    model = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))
    model[0].requires_grad_(requires_grad=False)
    assert parameter_count(model, trainable_only=True) == 8
    assert parameter_count(model) == 23


def test_a_layer_of_unknown_size_is_explained():
    with pytest.raises(ValueError, match=r"size of 0\.weight is not known yet; run"):
        parameter_count(nn.Sequential(nn.LazyLinear(3)))


def test_bytes_are_those_of_the_file(tmp_path):
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8))
    torch.save(model.state_dict(), tmp_path / "model.pt")
    # The archive holds the name of the file too, so the two differ by a few bytes.
    on_disk = (tmp_path / "model.pt").stat().st_size
    assert serialized_bytes(model) == pytest.approx(on_disk, abs=200)


def test_bytes_grow_with_the_stored_elements_and_their_width():
    empty = serialized_bytes(nn.Linear(1, 1, bias=False))
    full = serialized_bytes(nn.Linear(1000, 1000, bias=False))
    half = serialized_bytes(nn.Linear(1000, 1000, bias=False).half())
    assert full - empty == pytest.approx(4 * 999_999, abs=200)
    assert half - empty == pytest.approx(2 * 999_999, abs=200)


def test_buffers_are_stored():
    with_statistics = serialized_bytes(nn.BatchNorm1d(10_000))
    without = serialized_bytes(nn.BatchNorm1d(10_000, track_running_stats=False))
    assert with_statistics - without == pytest.approx(80_000, abs=2000)


def test_a_shared_weight_is_stored_once():
    layer = nn.Linear(500, 500, bias=False)
    twice = serialized_bytes(nn.ModuleList([layer, layer]))
    assert twice < 1.1 * serialized_bytes(layer)


def test_the_model_survives_and_the_bytes_load_again():
    model = nn.Linear(3, 2)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    serialized_bytes(model)
    torch.testing.assert_close(dict(model.state_dict()), before, rtol=0, atol=0)
    buffer = io.BytesIO()
    torch.save(model.state_dict(), buffer)
    assert serialized_bytes(model) == len(buffer.getvalue())
