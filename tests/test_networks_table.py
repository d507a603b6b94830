"""The table of the survey's networks holds together, and its counts are recomputed."""

import ast
import csv
import importlib
import re
import sys
from functools import cache
from pathlib import Path

import pytest
import torch
from torch import nn

from effdl.conv.condensing import condense_fully_, deploy
from effdl.conv.squeeze_excite import SqueezeExcite
from effdl.data.files import data_path
from effdl.measure.count import parameter_count
from effdl.measure.macs import count_macs, torch_flops
from effdl.networks_table import (
    Network,
    fits,
    load_networks,
    verdict_on,
    worse_verdict,
)

ROOT = Path(__file__).parents[1]
NETWORKS = {network.key: network for network in load_networks()}
COUNTED = [key for key, network in NETWORKS.items() if network.implementation]
CHEAP = [key for key in COUNTED if NETWORKS[key].our_macs < 320e6]


def table(name: str) -> dict[str, dict[str, str]]:
    with data_path(name).open(encoding="utf-8", newline="") as file:
        return {row["key"]: row for row in csv.DictReader(file)}


@cache
def build(key: str) -> nn.Module:
    """Return the network that the column "implementation" names, ready to count."""
    call = ast.parse(NETWORKS[key].implementation, mode="eval").body
    options = {option.arg: value_of(option.value) for option in call.keywords}
    net = value_of(call.func)(*map(value_of, call.args), **options)
    if key.startswith("condensenet"):
        condense_fully_(net)
        net = deploy(net)
    return net.eval()


def value_of(node: ast.expr) -> object:
    """Return a number, a text, or what a name with its module stands for."""
    if not isinstance(node, ast.Attribute):
        return ast.literal_eval(node)
    return getattr(importlib.import_module(ast.unparse(node.value)), node.attr)


@pytest.fixture
def script(monkeypatch):
    """The script that counts, from experiments/, which is no package."""
    monkeypatch.syspath_prepend(str(ROOT / "experiments"))
    yield importlib.import_module("network_counts")
    for name in ("network_counts", "_results"):
        sys.modules.pop(name, None)


# By definition and by hand.


@pytest.mark.parametrize(
    ("printed", "count", "expected"),
    [
        ("4.2e6", 4_231_976, True),  # rounds to it
        ("6.1e6", 6_156_908, True),  # rounds to 6.2, but is 0.9 % away
        ("3.4e6", 3_504_872, False),  # 3.1 %
        ("299e6", 295_759_392, False),  # 1.1 %
        ("0.24e9", 236_239_560, True),
        ("0.24e9", 227_003_256, False),
        ("0.24e9", 245_000_000, False),  # a half is rounded up
        ("0.24e9", 235_000_000, True),
        ("100e6", 101_000_000, True),  # 1 % exactly
        ("100e6", 99_000_000, True),
        ("100e6", 101_000_001, False),
        ("1e6", 1_499_999, True),
    ],
)
def test_a_printed_number_fits_within_one_per_cent_or_by_rounding(
    printed, count, expected
):
    assert fits(printed, count) is expected


@pytest.mark.parametrize(
    ("printed", "count", "by_convention", "expected"),
    [
        ("", 100, 100, ""),
        ("100e6", None, None, ""),
        ("100e6", 100_400_000, 5, "agrees"),
        ("100e6", 90_000_000, 99_900_000, "convention"),
        ("100e6", 90_000_000, 90_000_000, "wrong"),
        ("100e6", 90_000_000, None, "wrong"),
    ],
)
def test_a_verdict_follows_from_the_rule(printed, count, by_convention, expected):
    assert verdict_on(printed, count, by_convention=by_convention) == expected


def test_the_worse_of_two_verdicts_counts():
    order = ["", "agrees", "convention", "wrong"]
    for low, first in enumerate(order):
        for high, second in enumerate(order):
            assert worse_verdict(first, second) == order[max(low, high)]


def test_a_row_by_hand():
    """The survey prints 141M, 5.2M and 73.9 % for GhostNetV1."""
    ghost = NETWORKS["ghostnet_v1"]
    assert (ghost.survey_macs, ghost.survey_params) == (141e6, 5.2e6)
    assert (ghost.survey_top1, ghost.figure, ghost.year) == (73.9, "3", 2019)
    assert (ghost.our_params, ghost.our_macs) == (5_182_508, 141_150_512)
    assert (ghost.our_fvcore_total, ghost.verdict) == (148_273_936, "agrees")


def test_a_network_without_an_implementation_by_hand():
    castling = NETWORKS["castlingvit"]
    assert (castling.survey_macs, castling.survey_params) == (490e6, 10.5e6)
    assert castling.our_params is castling.our_macs is castling.input_size is None
    assert castling.implementation == castling.verdict == castling.convention == ""


# The table is whole.

FIGURES = {
    "3": "SqueezeNet MobileNetV1 MobileNetV2 MobileNeXt ShuffleNetV1 ShuffleNetV2 "
    "CondenseNetV1 CondenseNetV2 GhostNetV1 GhostNetV2",
    "6": "LeViT Mobile-Former MobileViTv1 MobileViTv2 MobileViTv3 EfficientViT EdgeViT "
    "EdgeNeXt Castling-ViT FastViT",
}


@pytest.mark.parametrize("figure", FIGURES)
def test_every_network_of_the_figure_is_there_in_order(figure):
    names = [n.network for n in NETWORKS.values() if n.figure == figure]
    assert names == FIGURES[figure].split()


def test_every_network_that_the_text_names_is_there():
    named = {n.network for n in NETWORKS.values() if n.figure == "text"}
    assert named == {
        *("AlexNet", "VGGNet", "GoogLeNet", "ResNet", "DenseNet"),
        *("EfficientNet", "EfficientNetV2", "GhostNetV1", "FasterNet"),
    }


def test_no_key_is_there_twice_and_every_row_says_why():
    assert len(NETWORKS) == len(load_networks())
    for network in NETWORKS.values():
        assert network.key.isidentifier()
        assert network.why.endswith(".")
        assert network.section == ("2.2.2" if network.figure == "6" else "2.1")
        assert bool(network.implementation) == bool(network.our_macs)
        assert bool(network.implementation) == bool(network.convention)


def paper_year(source: str) -> int | None:
    """Return the year of a paper's first version from its number on arXiv."""
    if source.startswith("arXiv "):
        return 2000 + int(source[6:8])
    entries = (ROOT / "book" / "references.bib").read_text(encoding="utf-8")
    (entry,) = re.findall(rf"@\w+{{{source},\n(.*?)\n}}", entries, re.DOTALL)
    number = re.search(r"eprint = {(\d\d)", entry)
    return 2000 + int(number[1]) if number else None


def test_years_are_those_of_the_papers():
    for network in NETWORKS.values():
        assert network.year == (paper_year(network.source) or 2012)
    assert paper_year(NETWORKS["alexnet"].source) is None  # older than arXiv's habit


# The counts.


def test_the_table_has_the_counts_of_the_script():
    counts = table("results/network_counts.csv")
    for key in COUNTED:
        mine = NETWORKS[key]
        found = {name: int(counts[key][name]) for name in ("params", "macs")}
        assert (mine.our_params, mine.our_macs) == (found["params"], found["macs"])
        assert str(mine.our_fvcore_total or "") == counts[key]["fvcore_total"]
        assert mine.convention_macs == int(counts[key]["convention_macs"])
        assert mine.input_size == int(counts[key]["input_size"])
        assert mine.convention == counts[key]["convention"]


def test_verdicts_are_those_of_the_rule():
    printed = table("survey/networks.csv")
    for key, mine in NETWORKS.items():
        macs, params = printed[key]["survey_macs"], printed[key]["survey_params"]
        other = mine.convention_macs
        assert mine.verdict_macs == verdict_on(macs, mine.our_macs, by_convention=other)
        assert mine.verdict_params == verdict_on(params, mine.our_params)
        assert mine.verdict == worse_verdict(mine.verdict_macs, mine.verdict_params)


@pytest.mark.parametrize("key", COUNTED)
def test_the_named_implementation_has_the_parameters_of_the_table(key):
    with torch.device("meta"):
        if key.startswith("condensenet"):
            pytest.skip("condensing needs weights; counted in the next test")
        assert parameter_count(build.__wrapped__(key)) == NETWORKS[key].our_params


@pytest.mark.parametrize("key", CHEAP)
def test_a_cheap_network_is_counted_again(key):
    mine, net = NETWORKS[key], build(key)
    count = count_macs(net, torch.zeros(1, 3, mine.input_size, mine.input_size))
    assert (count.total, count.fvcore_total) == (mine.our_macs, mine.our_fvcore_total)
    assert parameter_count(net) == mine.our_params


def test_there_are_cheap_networks():
    assert {"mobilenet_v2", "ghostnet_v1", "condensenet_v1"} <= set(CHEAP)
    assert len(CHEAP) >= 8


def test_kinds_of_layers_add_up():
    """Two counters agree: one reads a traced graph, the other sees operators run."""
    for row in table("results/network_counts.csv").values():
        kinds = [int(row[f"{kind}_macs"]) for kind in KINDS]
        assert sum(kinds) == int(row["macs"])
        assert min(kinds) >= 0


KINDS = ("dense", "grouped", "depthwise", "pointwise", "matmul")


def test_the_kinds_of_mobilenet_are_those_that_its_paper_prints():
    """Table 2 of the paper: 94.86 % in 1 x 1 layers, 3.06 % in depthwise ones."""
    row = table("results/network_counts.csv")["mobilenet_v1"]
    share = {kind: 100 * int(row[f"{kind}_macs"]) / int(row["macs"]) for kind in KINDS}
    assert round(share["pointwise"], 2) == 94.86
    assert round(share["depthwise"], 2) == 3.06


def test_every_network_has_a_logit_for_each_class_of_imagenet():
    counts = table("results/network_counts.csv").values()
    assert {row["classes"] for row in counts} == {"1000"}


# The rules of counting.


def test_the_count_with_activations_and_pooling_by_hand(script):
    """ReLU 2*4*4 = 32, pooling 2*2 windows of 4 = 16 twice, 8 means, 2 sigmoids."""
    net = nn.Sequential(
        nn.ReLU(), nn.AvgPool2d(2), nn.AdaptiveAvgPool2d(1), nn.Sigmoid()
    )
    count = count_macs(nn.Conv2d(2, 2, 1, bias=False), torch.zeros(1, 2, 4, 4))
    found = script.with_activations(net, torch.zeros(1, 2, 4, 4), count)
    assert found == 4 * 16 + 32 + 32 + 8 + 2 * 2


def test_squeeze_and_excitation_counts_as_its_parts_do(script):
    """The mean of 4 maps of 3 x 3, ReLU of 2, and 2 for each of 4 sigmoids."""
    net, image = SqueezeExcite(4, reduction=2), torch.zeros(1, 4, 3, 3)
    count = count_macs(net, image)
    assert script.with_activations(net, image, count) == count.total + 36 + 2 + 8


def test_one_digit_is_rounded(script):
    count = count_macs(nn.Conv2d(1, 7, 1, bias=False), torch.zeros(1, 1, 1, 5))
    assert (count.total, script.one_digit(nn.ReLU(), None, count)) == (35, 40)


def test_the_kinds_of_layers_by_hand(script):
    """Per pixel of 4 x 4: 3*3*4*8 dense, 8*8 pointwise, 9*8 depthwise, 9*8*2 in 4s."""
    net = nn.Sequential(
        nn.Conv2d(4, 8, 3, padding=1, bias=False),
        nn.Conv2d(8, 8, 1),
        nn.Conv2d(8, 8, 3, padding=1, groups=8),
        nn.Conv2d(8, 8, 3, padding=1, groups=4),
    )
    found = script.kinds(net, torch.zeros(1, 4, 4, 4))
    assert found == {
        "dense": 16 * 288,
        "grouped": 16 * 144,
        "depthwise": 16 * 72,
        "pointwise": 16 * 64,
    }


@pytest.mark.parametrize(("width", "published"), [(1.0, 146), (1.5, 299), (2.0, 591)])
def test_the_first_unit_of_the_authors_explains_every_published_shufflenet(
    script, width, published
):
    """The same correction at every width; at 0.5 it is none."""
    from effdl.nets.shufflenet_v2 import WIDTHS, shufflenet_v2

    channels = WIDTHS[width][0]
    ours = torch_flops(shufflenet_v2(width).eval(), torch.zeros(1, 3, 224, 224)) // 2
    found = ours + script.first_unit_difference(channels)
    assert round(found / 1e6) == published
    assert script.first_unit_difference(48) == 0


def test_every_named_convention_is_a_rule(script):
    named = {network.convention for network in NETWORKS.values()}
    assert named == {"", *script.RULES}


# Errors.


def test_a_row_of_a_wrong_type_is_refused(tmp_path, monkeypatch):
    text = data_path("survey/networks.csv").read_text().replace(",2012,", ",old,")
    (tmp_path / "networks.csv").write_text(text)
    monkeypatch.setattr(
        "effdl.networks_table.data_path", lambda _: tmp_path / "networks.csv"
    )
    with pytest.raises(ValueError, match="year must be"):
        load_networks()


def test_rows_are_networks():
    assert all(isinstance(network, Network) for network in load_networks())
