"""The published table of a Pixel 1: its numbers, its units, and broken copies of it."""

import json

import pytest
import torch

from effdl.nas.gradient.architecture import Architecture
from effdl.nas.hardware import pixel1_table
from effdl.nas.hardware.expected_cost import cost_range
from effdl.nas.hardware.pixel1_table import (
    LAYERS,
    OPERATIONS,
    PUBLISHED,
    load_pixel1,
    read_runtime_model,
)
from public_data import put, skip_unless_pixel1


def model(layers=2):
    """Return milliseconds 1, 2, 3, 4 in layer 0 and ten times that in layer 1."""
    return {
        str(layer): {str(k): 10**layer * (k + 1) for k in range(4)}
        for layer in range(layers)
    }


def test_milliseconds_become_seconds_in_order_of_layers_and_operations():
    backwards = dict(reversed(model().items()))
    table = read_runtime_model(json.dumps(backwards), layers=2)
    wanted = torch.tensor([[0.001, 0.002, 0.003, 0.004], [0.01, 0.02, 0.03, 0.04]])
    torch.testing.assert_close(table.extra, wanted)
    assert table.base == 0
    assert table.of([3, 0]) == pytest.approx(0.014)


def test_the_published_numbers_by_hand():
    """Layer 1: 4.4905, 9.2015, 5.9248 and 11.5892 ms; sums 56.0161 and 122.9067."""
    skip_unless_pixel1()
    table = load_pixel1()
    assert table.extra.shape == (LAYERS, len(OPERATIONS)) == (22, 4)
    layer = torch.tensor([4.4905, 9.2015, 5.9248, 11.5892])
    torch.testing.assert_close(1e3 * table.extra[1], layer)
    low, high = cost_range(table, Architecture([OPERATIONS] * LAYERS))
    assert (1e3 * low, 1e3 * high) == pytest.approx((56.0161, 122.9067), abs=1e-3)


def test_an_expansion_of_six_is_slower_than_three_in_all_layers_but_the_first():
    skip_unless_pixel1()
    extra = load_pixel1().extra
    slower = (extra[:, 1] > extra[:, 0]) & (extra[:, 3] > extra[:, 2])
    assert slower.tolist() == [False] + [True] * 21


@pytest.mark.parametrize("name", ["PUBLISHED", "INDENTED"])
def test_either_copy_is_read_from_the_cache(name, tmp_path, monkeypatch):
    monkeypatch.setenv("EFFDL_CACHE", str(tmp_path))
    text = json.dumps(model(LAYERS)).encode()
    download = put(tmp_path, getattr(pixel1_table, name), text)
    monkeypatch.setattr(pixel1_table, name, download)
    assert load_pixel1(online=False).extra[1, 2] == pytest.approx(0.03)


def test_without_a_copy_it_is_the_published_one_that_is_asked_for(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("EFFDL_CACHE", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="runtime_model_published"):
        load_pixel1(online=False)
    assert PUBLISHED.mirrors[0].endswith("nas-search/pixel1_runtime_model.json")


def without(layer=None, operation=None):
    """Return the text of a model that lacks something."""
    broken = model()
    if layer is not None:
        del broken[layer]
    if operation is not None:
        del broken["1"][operation]
    return json.dumps(broken)


def with_latency(value):
    """Return the text of a model with a strange latency."""
    broken = model()
    broken["1"]["2"] = value
    return json.dumps(broken)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is no JSON"),
        ("[1, 2]", "must have layers 0 to 1"),
        ('{"0": 1, "1": 2}', "must have layers 0 to 1"),
        (without(layer="1"), "cut short"),
        (without(operation="3"), "each with the operations"),
        (json.dumps(model(3)), "must have layers 0 to 1"),
        (with_latency(0), "numbers above 0, got 0 in layer 1"),
        (with_latency(-1.5), "got -1.5 in layer 1"),
        (with_latency("2"), "got '2' in layer 1"),
        (with_latency(None), "got None in layer 1"),
        (with_latency(float("inf")), "got inf in layer 1"),
        (with_latency(float("nan")), "got nan in layer 1"),
    ],
)
def test_a_malformed_model_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        read_runtime_model(text, layers=2)
