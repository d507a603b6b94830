"""Imports are followed through the library, and data files are found."""

from pathlib import Path

import pytest

from effdl import source as source_module
from effdl.provenance import data_files, imported_modules


@pytest.fixture
def package(tmp_path, monkeypatch) -> Path:
    """A package effdl of our own: one uses two, two uses deep.three; four is apart."""
    files = {
        "__init__.py": "",
        "one.py": "import numpy\nfrom effdl.two import f\n",
        "two.py": "def f():\n    import effdl.deep.three\n    return 2\n",
        "deep/__init__.py": '"""A package."""\n',
        "deep/three.py": 'x = data_path("three.csv")  # a reason\n',
        "four.py": "y = 4\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(source_module, "PACKAGE", tmp_path)
    return tmp_path


EVERYTHING = {"effdl", "effdl.one", "effdl.two", "effdl.deep", "effdl.deep.three"}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("from effdl.one import f", EVERYTHING),
        ("import effdl.one as one", EVERYTHING),
        ("from effdl import one", EVERYTHING),
        ("if True:\n    %pip install x\n    from effdl.one import f", EVERYTHING),
        ("from effdl.deep import three", {"effdl", "effdl.deep", "effdl.deep.three"}),
        ("from effdl.four import y", {"effdl", "effdl.four"}),
        ("import torch, numpy.linalg\nfrom os import path", set()),
        ("import effdlother", set()),
        ("", set()),
    ],
)
def test_imports_are_followed_through_the_library_only(package, source, expected):
    assert imported_modules(source) == expected


def test_modules_that_import_each_other_do_no_harm(package):
    (package / "four.py").write_text("from effdl.five import x")
    (package / "five.py").write_text("from effdl.four import y")
    assert imported_modules("import effdl.four") == {
        "effdl",
        "effdl.four",
        "effdl.five",
    }


def test_an_import_of_a_module_that_is_gone_is_named(package):
    with pytest.raises(ValueError, match=r"no module 'effdl.gone'"):
        imported_modules("from effdl.gone import x")


def test_data_are_found_in_the_source_and_in_the_modules(package):
    source = 'from effdl.one import f\nread(files.data_path("a.csv"))\ndata_path(name)'
    assert data_files(source) == {"a.csv", "three.csv"}
    assert data_files('other("b.csv")\ndata_path()') == set()


def test_a_name_for_a_text_is_followed(package):
    source = 'TABLE = "b.csv"\nOTHER = 3\ndata_path(TABLE)\ndata_path(unknown)\n'
    assert data_files(source) == {"b.csv"}
    (package / "six.py").write_text(
        'WHERE = "six.csv"\n\ndef f():\n  data_path(WHERE)\n'
    )
    assert data_files("from effdl.six import f") == {"six.csv"}
