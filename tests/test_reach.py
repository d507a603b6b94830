"""What code reaches: each change moves exactly the hashes that it should."""

from pathlib import Path

import pytest

from effdl import source as source_module
from effdl.reach import code_hash, reached_code

FILES = {
    "__init__.py": "",
    "tools.py": """
import math as maths
from effdl.base import LIMIT, unused

SCALE = 2
OTHER = 3
LEFT, (RIGHT, *REST) = 1, (2, 3)
TABLE: dict = {"key": SCALE}
SPARE: int = 8
TABLE["set"] = OTHER


def used(x):
    return helper(x) * LEFT


def helper(x):
    return maths.sqrt(x) * LIMIT


def idle(x):
    return x + RIGHT


@decorate(
    idle
)
class Thing:
    table = TABLE

    def method(self):
        from effdl.late import lazy

        return lazy()
""",
    "base.py": "LIMIT = 10\nunused = 11\nFIRST = 1\nprint(FIRST)\n",
    "late.py": "def lazy():\n    return 1\n\n\ndef energetic():\n    return 2\n",
}
USER = "from effdl.tools import used\nprint(used(4))\n"


@pytest.fixture
def package(tmp_path, monkeypatch) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(source_module, "PACKAGE", tmp_path)
    return tmp_path


def moved(package: Path, user: str, name: str, old: str, new: str) -> bool:
    """Return whether the user's hash moves when a file is changed."""
    before, path = code_hash(user), package / name
    text = path.read_text()
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))
    return code_hash(user) != before


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("tools.py", "helper(x) * LEFT", "helper(x) / LEFT"),  # what is used
        ("tools.py", "maths.sqrt(x)", "maths.exp(x)"),  # what that uses
        ("tools.py", "(RIGHT, *REST) = 1", "(RIGHT, *REST) = 9"),  # a constant
        ("base.py", "LIMIT = 10", "LIMIT = 20"),  # in another module
        ("tools.py", "import math as maths", "import cmath as maths"),
        ("base.py", "print(FIRST)", "print(-FIRST)"),  # what importing runs
        ("tools.py", 'TABLE["set"] = OTHER', 'TABLE["set"] = -OTHER'),
        ("tools.py", "OTHER = 3", "OTHER = 4"),  # and what that uses
    ],
)
def test_the_hash_moves_with_what_is_reached(package, name, old, new):
    assert moved(package, USER, name, old, new)


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("tools.py", "return x + RIGHT", "return x - RIGHT"),
        ("tools.py", "\ndef idle", "\ndef added():\n    pass\n\n\ndef idle"),
        ("tools.py", "    return lazy()", "    return -lazy()"),
        ("tools.py", "    return helper(x)", "    # a reason\n    return helper(x)"),
        ("base.py", "unused = 11", "unused = 12"),
        ("tools.py", "SPARE: int = 8", "SPARE: int = 9"),
        ("late.py", "return 1", "return -1"),
        ("tools.py", "import LIMIT, unused", "import LIMIT"),
    ],
)
def test_the_hash_stays_with_what_is_not_reached(package, name, old, new):
    assert not moved(package, USER, name, old, new)


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("tools.py", "    table = TABLE", "    table = {}"),
        ("tools.py", "    return lazy()", "    return -lazy()"),
        ("tools.py", "@decorate(\n    idle\n)", "@decorate(\n    -idle\n)"),
        ("tools.py", '{"key": SCALE}', '{"key": OTHER}'),
        ("tools.py", "SCALE = 2", "SCALE = 4"),
        ("late.py", "return 1", "return -1"),
    ],
)
def test_a_class_is_reached_whole_with_decorators_and_late_imports(
    package, name, old, new
):
    assert moved(package, "from effdl.tools import Thing\nThing()", name, old, new)


@pytest.mark.parametrize(
    "user",
    [
        "from effdl import late\nlate.lazy()",
        "import effdl.late\neffdl.late.lazy()",
        "from effdl.late import *\nlazy()",
    ],
)
def test_a_module_that_is_imported_itself_is_reached_whole(package, user):
    assert moved(package, user, "late.py", "return 2", "return -2")


@pytest.mark.parametrize("name", ["LEFT", "RIGHT", "REST"])
def test_every_name_of_an_assignment_to_several_is_bound_by_it(package, name):
    user = f"from effdl.tools import {name}\nprint({name})"
    assert moved(package, user, "tools.py", "1, (2, 3)", "1, (2, 4)")


def test_an_assignment_to_several_names_is_no_statement_that_runs(package):
    user = "from effdl.tools import SCALE\nprint(SCALE)"
    assert not moved(package, user, "tools.py", "1, (2, 3)", "1, (2, 4)")


def test_a_name_passed_on_by_another_module_is_followed(package):
    user = "from effdl.tools import LIMIT\nprint(LIMIT)"
    assert moved(package, user, "base.py", "LIMIT = 10", "LIMIT = 20")


def test_the_source_itself_counts_but_not_its_comments(package):
    assert code_hash(USER) == code_hash(USER + "\n# the end\n")
    assert code_hash(USER) != code_hash(USER + "print(1)\n")


def test_swapping_code_between_modules_moves_the_hash(package):
    (package / "a.py").write_text("x = 1")
    (package / "b.py").write_text("x = 2")
    user = "from effdl import a, b\nprint(a.x - b.x)"
    before = code_hash(user)
    (package / "a.py").write_text("x = 2")
    (package / "b.py").write_text("x = 1")
    assert code_hash(user) != before


def test_reached_code_reads_like_the_code(package):
    code = reached_code(USER)["effdl.tools"]
    assert "def used(x):\n    return helper(x) * LEFT" in code
    assert "maths is math.*" in code
    assert "idle" not in code
    assert "Thing" not in code


def test_modules_that_use_each_other_do_no_harm(package):
    (package / "a.py").write_text(
        "from effdl.b import g\n\n\ndef f():\n    return g()\n"
    )
    (package / "b.py").write_text(
        "from effdl.a import f\n\n\ndef g():\n    return f()\n"
    )
    assert "return g()" in reached_code("from effdl.a import f\nf()")["effdl.a"]
