"""Agreement of answers: by value and shape, and by nothing that an answer brings."""

import math
from collections import Counter, OrderedDict, namedtuple

import numpy as np
import pytest
import torch

from effdl.agreement import SHOWN, readable, same
from effdl.seed import seeded


def literal(a, b):
    """The definition for tensors of fractions, number by number."""
    if a.shape != b.shape:
        return False
    pairs = zip(a.flatten().tolist(), b.flatten().tolist(), strict=True)
    return all(abs(x - y) <= 1e-5 + 1e-4 * abs(y) for x, y in pairs)


@pytest.mark.parametrize("noise", [0.0, 1e-6, 5e-5, 1e-4, 1e-3])
def test_tensors_agree_where_every_number_does(noise):
    with seeded(0):
        for _ in range(20):
            a = torch.randn(3, 4)
            b = a + noise * torch.randn(3, 4)
            assert same(a, b) == literal(a, b)
            assert same(a.tolist(), b.tolist()) == literal(a, b)


Pair = namedtuple("Pair", "x y")


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (1, 1.0),
        (True, 1),
        (np.float32(0.5), 0.5),
        (torch.tensor(3), 3),
        (torch.tensor(data=True), True),
        (np.array(2.0), torch.tensor(2)),
        (torch.ones(2, dtype=torch.bool), torch.ones(2)),
        (torch.nn.Parameter(torch.ones(2)), np.ones(2)),
        (np.arange(3)[::-1], torch.tensor([2, 1, 0])),
        (torch.ones(2, dtype=torch.bfloat16), torch.ones(2, dtype=torch.float64)),
        (torch.ones(0, 3), torch.ones(0, 3)),
        (math.nan, torch.tensor(math.nan)),
        (math.inf, math.inf),
        (torch.tensor([math.nan, math.inf]), torch.tensor([math.nan, math.inf])),
        ((1, 2), [1, 2]),
        (torch.ones(2, 3).shape, (2, 3)),
        (Pair(1, 2), (1, 2)),
        (torch.ones(2, 2).max(0), (torch.ones(2), torch.zeros(2))),
        (range(3), [0, 1, 2]),
        ({1, 2}, {2, 1}),
        ({"a": 1, "b": [2]}, {"b": (2,), "a": 1.0}),
        ({(0, np.int64(4)): 1}, {(0, 4): 1}),
        (Counter("aab"), {"a": 2, "b": 1}),
        ("text", "text"),
        (None, None),
        (10**400, 10**400),
    ],
)
def test_these_agree(a, b):
    assert same(a, b)
    assert same(b, a)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (1, 2),
        (0.5, 0.5001),
        (torch.ones(1), 1.0),
        (torch.ones(2), torch.ones(2, 1)),
        (torch.ones(0, 3), torch.ones(3, 0)),
        (torch.ones(2), [1.0, 1.0]),
        (math.nan, 0.0),
        (math.inf, -math.inf),
        (math.inf, 1e300),
        (torch.tensor([math.inf]), torch.tensor([1.0])),
        ([1, 2], [2, 1]),
        ([1], [1, 2]),
        ({"a": 1}, {"b": 1}),
        ({"a": 1}, {"a": 1, "b": 1}),
        ({"a": 1}, {"a": 2}),
        ({1, 2}, {1, 3}),
        ("1", 1),
        ("text", "Text"),
        (None, 0),
        (10**400, 10**400 + 1),
        (10**400, 1.0),
        (1j, 1j),
        (torch.ones(1, dtype=torch.cfloat), torch.ones(1, dtype=torch.cfloat)),
        (torch.eye(2).to_sparse(), torch.eye(2)),
        (np.array(["a"]), np.array(["a"])),
        (iter([1]), [1]),
        (type("Dict", (dict,), {})(a=1), {"a": 1}),
        (ValueError, ValueError),
    ],
)
def test_these_differ(a, b):
    assert not same(a, b)
    assert not same(b, a)


def test_the_state_of_a_network_agrees_with_a_copy_and_not_with_another():
    net, other = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)
    assert isinstance(net.state_dict(), OrderedDict)
    copy = {k: v.clone() for k, v in net.state_dict().items()}
    assert same(net.state_dict(), copy)
    assert not same(net.state_dict(), other.state_dict())


def test_whole_numbers_have_no_tolerance_unless_one_is_asked_for():
    """The bias of one layer is 4e-5 of the weights of ResNet-50."""
    for kind in (int, lambda x: torch.tensor([x]), lambda x: [x]):
        assert not same(kind(25_556_032), kind(25_557_032))
        assert same(kind(25_556_032), kind(25_557_032), 1e-3)
    assert not same(25_556_032.0, 25_557_032)
    assert not same(torch.tensor([25_556_032.0]), torch.tensor([25_557_032]))
    assert same(1000.0005, 1000)
    assert same(torch.tensor([1000.0005]), torch.tensor([1000]))
    assert same(25_556_032.0, 25_557_032.0)


def test_the_absolute_tolerance_counts_near_zero():
    assert same(9e-6, 0.0)
    assert not same(2e-5, 0.0)
    assert same(torch.tensor([0.5]), torch.tensor([0.0]), 0, 1)
    assert not same(1 + 1e-12, 1.0, 0, 0)


class Everything:
    """Equals whatever it is compared with, and says that it is a number."""

    def __eq__(self, other):
        return True

    def __hash__(self):
        return hash("a")

    __class__ = property(lambda self: np.float64)
    item = lambda self: 1  # noqa: E731


class Yes(torch.Tensor):
    """A tensor of which every function is true."""

    @classmethod
    def __torch_function__(cls, *_args, **_options):
        return True


def disguised():
    """Return an ordinary tensor with a method of its own."""
    tensor = torch.zeros(2)
    tensor.detach = lambda: torch.ones(2)
    return tensor


@pytest.mark.parametrize(
    ("answer", "right"),
    [
        (Everything(), 1),
        ([Everything()], [1]),
        (torch.zeros(2).as_subclass(Yes), torch.ones(2)),
        (disguised(), torch.ones(2)),
        (type("Text", (str,), {"__eq__": lambda s, o: True, "__hash__": None})(), "a"),
        (type("Dict", (dict,), {"__eq__": lambda s, o: True})(), {"a": 1}),
        (type("List", (list,), {"__eq__": lambda s, o: True})(), [1]),
        ({Everything(): 1}, {"a": 1}),
        ({(Everything(),): 1}, {("a",): 1}),
        (type("Pair", (tuple,), {"__iter__": lambda s: iter([1])})(), (1,)),
    ],
    ids=lambda value: type(value).__name__,  # a repr would differ in each process
)
def test_an_answer_that_equals_everything_equals_nothing(answer, right):
    assert not same(answer, right)
    assert not same(right, answer)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (torch.tensor(0.5), "tensor (): 0.5"),
        (torch.tensor([1e-6, 0.12345678]), "tensor (2,): [1e-06, 0.123457]"),
        (torch.tensor([[True]]), "tensor (1, 1): [[True]]"),
        (torch.zeros(0, 3), "tensor (0, 3): []"),
        (np.arange(2), "array (2,): [0, 1]"),
        (np.float32(0.5), "0.5"),
        (torch.ones(2, dtype=torch.cfloat), "tensor (2,) of torch.complex64"),
        (25_557_032.0, "25557032"),
        (1 / 3, "0.333333"),
        (math.nan, "nan"),
        ((1.0,), "(1,)"),
        ((1, "a", None), "(1, 'a', None)"),
        ({"a": [0.5]}, "{'a': [0.5]}"),
        (OrderedDict(a=1), "{'a': 1}"),
        ("two\nlines", r"'two\nlines'"),
        (torch.nn.ReLU(), "ReLU()"),
        (lambda: 0, "<function>"),
    ],
)
def test_values_are_readable(value, text):
    assert readable(value).startswith(text)


@pytest.mark.parametrize(
    "value",
    [
        torch.zeros(1).expand(10**6, 10**6),
        [0.123456] * 10**6,
        "x" * 10**6,
        {n: torch.ones(3, 3) for n in range(1000)},
        [[[0.123456] * 50] * 50] * 50,
    ],
    ids=["tensor", "list", "text", "dict", "nested"],
)
def test_what_is_large_is_shown_in_part(value):
    assert 30 < len(readable(value)) <= 200


def test_as_many_numbers_are_shown_as_said():
    assert "..." not in readable(torch.zeros(SHOWN))
    assert "first [0, 0" in readable(torch.zeros(1, SHOWN + 1))
    assert readable([0] * SHOWN).count("0") == SHOWN
    assert readable([0] * (SHOWN + 1)).count("0") == SHOWN


def test_what_cannot_be_shown_is_named():
    silent = type("Silent", (), {"__repr__": lambda self: 1 / 0})
    itself = []
    itself.append(itself)
    assert readable(silent()) == "<Silent>"
    assert readable(itself) == "a list that holds itself"
    assert readable(10**5000) == "<int>"  # Python refuses to write it out
