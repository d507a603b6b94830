"""A CSV file comes back typed, or with the place where it does not fit."""

import csv
from dataclasses import dataclass

import pytest

from effdl.rows import read_rows


@dataclass(frozen=True)
class Fruit:
    """One field of every type."""

    name: str
    pieces: int
    grams: float
    ripe: bool
    price: float | None
    left: int | None
    colours: tuple[str, ...]


HEADER = "name,pieces,grams,ripe,price,left,colours\n"
APPLE = 'apple,3,120.5,yes,0.4,2,"green, red"\n'


def write(tmp_path, text):
    path = tmp_path / "fruit.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_cells_are_those_that_the_csv_module_reads(tmp_path):
    """Definition: the same cells as text, converted one by one."""
    path = write(tmp_path, HEADER + APPLE + "pear,1,90,no,1.5,0,yellow\n")
    with path.open() as file:
        expected = [
            Fruit(
                r["name"],
                int(r["pieces"]),
                float(r["grams"]),
                r["ripe"] == "yes",
                float(r["price"]),
                int(r["left"]),
                tuple(r["colours"].split(", ")),
            )
            for r in csv.DictReader(file)
        ]
    assert read_rows(path, Fruit) == expected


def test_one_line_by_hand(tmp_path):
    """Every type once, in the order of the fields."""
    (apple,) = read_rows(write(tmp_path, HEADER + APPLE), Fruit)
    assert apple == Fruit(*("apple", 3, 120.5, True, 0.4, 2, ("green", "red")))
    assert type(apple.pieces) is int


def test_an_empty_cell_is_none_or_no_items(tmp_path):
    (plum,) = read_rows(write(tmp_path, HEADER + "plum,0,1,no,,,\n"), Fruit)
    assert plum == Fruit(*("plum", 0, 1.0, False, None, None, ()))


def test_zero_is_not_an_empty_cell(tmp_path):
    (plum,) = read_rows(write(tmp_path, HEADER + "plum,0,0,no,0,0,\n"), Fruit)
    assert (plum.price, plum.left) == (0.0, 0)


def test_columns_without_a_field_are_left_out(tmp_path):
    text = "origin," + HEADER + "Kent," + APPLE
    (apple,) = read_rows(write(tmp_path, text), Fruit)
    assert apple.name == "apple"


def test_the_order_of_the_lines_is_kept(tmp_path):
    lines = [APPLE.replace("apple", name) for name in "zxy"]
    fruit = read_rows(write(tmp_path, HEADER + "".join(lines)), Fruit)
    assert [item.name for item in fruit] == ["z", "x", "y"]


def test_items_may_be_separated_by_something_else(tmp_path):
    text = HEADER + APPLE.replace("green, red", "green red")
    assert read_rows(write(tmp_path, text), Fruit)[0].colours == ("green red",)
    spaced = read_rows(write(tmp_path, text), Fruit, separator=" ")
    assert spaced[0].colours == ("green", "red")


def test_letters_outside_ascii_survive(tmp_path):
    (fruit,) = read_rows(
        write(tmp_path, HEADER + APPLE.replace("apple", "açaí")), Fruit
    )
    assert fruit.name == "açaí"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEADER.replace(",left", "") + APPLE, "fruit.csv lacks the columns left"),
        ("", "fruit.csv lacks the columns name, pieces"),
        (HEADER + APPLE.replace("yes", "maybe"), "line 2: ripe .* got 'maybe'"),
        (HEADER + APPLE + APPLE.replace(",3,", ",3.5,"), "line 3: pieces .* '3.5'"),
        (HEADER + APPLE.replace("0.4", "dear"), "line 2: price .* got 'dear'"),
        (HEADER + "apple,3\n", "line 2: grams .* got None"),
    ],
)
def test_errors_name_file_line_and_column(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        read_rows(write(tmp_path, text), Fruit)
