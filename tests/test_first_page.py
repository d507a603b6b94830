"""What the first page and chapter 1 say in words holds for the stored numbers."""

import csv
import xml.etree.ElementTree as ET
from statistics import mean

import pytest

from effdl.data.files import data_path

FIGURES = data_path("survey/sections.csv").parents[2] / "book" / "figures"


@pytest.fixture(scope="module")
def timed():
    """The rows of the first figure by network."""
    with data_path("results/first_figure.csv").open() as file:
        rows = list(csv.DictReader(file))
    columns = ("parameters", "macs", "milliseconds", "low", "high")
    return {r["network_name"]: {c: float(r[c]) for c in columns} for r in rows}


@pytest.fixture(scope="module")
def rounded():
    """Test accuracies over seeds, by network and way of rounding."""
    with data_path("results/int8_rounding.csv").open() as file:
        rows = list(csv.DictReader(file))
    columns = ("float", "tensor_8", "channel_8")
    names = {row["net_name"] for row in rows}
    return {
        name: {c: [float(r[c]) for r in rows if r["net_name"] == name] for c in columns}
        for name in names
    }


def test_squeezenet_has_fewer_weights_and_is_slower_than_alexnet(timed):
    small, large = timed["SqueezeNet 1.0"], timed["AlexNet"]
    assert small["parameters"] < large["parameters"] / 40
    assert small["macs"] > large["macs"]
    assert small["low"] > large["high"]


def test_ghostnet_does_the_work_of_shufflenetv2_and_takes_longer(timed):
    ghost, shuffle = timed["GhostNet"], timed["ShuffleNetV2"]
    assert ghost["macs"] == pytest.approx(shuffle["macs"], rel=0.05)
    assert ghost["milliseconds"] > 1.2 * shuffle["milliseconds"]


def test_the_network_with_the_least_work_is_not_the_fastest(timed):
    least = min(timed, key=lambda name: timed[name]["macs"])
    fastest = min(timed, key=lambda name: timed[name]["milliseconds"])
    assert least == "GhostNet" != fastest


def test_eight_bits_are_free_until_the_channels_differ(rounded):
    for name in ("plain", "depthwise"):
        for column in ("tensor_8", "channel_8"):
            assert (
                abs(mean(rounded[name][column]) - mean(rounded[name]["float"])) < 0.01
            )
    injected = rounded["depthwise, injected"]
    assert injected["float"] == rounded["depthwise"]["float"]
    assert injected["channel_8"] == rounded["depthwise"]["channel_8"]
    assert max(injected["tensor_8"]) < min(injected["channel_8"]) - 0.3


def computed() -> dict[str, float]:
    """The numbers of the pages by key."""
    with data_path("results/survey_numbers.csv").open() as file:
        return {row["key"]: float(row["value"]) for row in csv.DictReader(file)}


def test_only_training_comes_near_the_87_mb_of_the_survey():
    numbers = computed()
    counts = ("mb", "mib", "headless_mb", "headless_mib", "int8_mb", "inference_mb")
    for name in counts:
        assert abs(numbers[f"resnet50_{name}"] / 87 - 1) > 0.03
    assert numbers["resnet50_training_mb"] == pytest.approx(87, rel=0.01)


def test_a_word_from_dram_costs_more_than_a_hundred_multiply_adds():
    """640 pJ against 3.7 + 0.9 pJ; integers 0.2 + 0.03 pJ."""
    numbers = computed()
    assert numbers["energy_word_over_mac"] == pytest.approx(640 / 4.6, rel=1e-4)
    assert numbers["energy_float_over_int8"] == pytest.approx(20)


@pytest.mark.parametrize("name", ["first-figure", "survey-tree"])
def test_the_figure_is_a_drawing_of_moderate_size(name):
    path = FIGURES / f"{name}.svg"
    assert ET.parse(path).getroot().tag.endswith("svg")
    assert path.stat().st_size < 150_000
