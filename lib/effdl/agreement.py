"""When two answers agree, and how a message shows one: for the checks of assignments.

same(a, b, rtol, atol)      kind, shape and every number, whatever holds them
readable(value)             on one line, shortened

An answer may be anything, also an object that claims to equal everything. So no method
of its own decides: classes are compared exactly, and an answer of a class that is not
known here agrees with nothing.
"""

import math
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Iterable
from itertools import islice

import numpy as np
import torch
from torch import Tensor

SHOWN = 12  # items of a tensor, list or dict that a message shows
LETTERS = 200  # of a value in a message
RTOL = (1e-4, 1e-6, 0.0)  # where none, one or both of two numbers are whole by class
NUMPY = frozenset(np.sctypeDict.values())
DICTS = (dict, OrderedDict, defaultdict, Counter)
ATOMS = (bool, int, float, str, type(None))


def same(a: object, b: object, rtol: float | None = None, atol: float = 1e-5) -> bool:
    """Return whether two values agree in kind, shape and every number.

    What holds a number does not matter: 1, 1.0, True and a tensor without dimensions
    agree, and so do tensors of any type and arrays, tuples and lists, dicts of any
    order. NaN agrees with NaN. Objects of other classes, also of classes derived from
    tensors or dicts, and complex or sparse tensors are the same as nothing.

    Args:
        a: A value.
        b: Another, which the relative tolerance refers to.
        rtol: Relative tolerance. Left out: none between two whole numbers, so that a
            bias among a million weights counts; 1e-6 where one is; 1e-4 otherwise.
        atol: Absolute tolerance.

    Example:
        >>> same([torch.ones(2), "a"], [torch.ones(2), "a"])
        True
        >>> same(torch.ones(2), torch.ones(1, 2))
        False
        >>> same(25_557_032, 25_556_032)
        False
    """
    a, b = _plain(a), _plain(b)
    if isinstance(a, int | float) and isinstance(b, int | float):
        return _close(a, b, rtol, atol)
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return a.shape == b.shape and _all_close(a, b, rtol, atol)
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k], rtol, atol) for k in b)
    if isinstance(a, list) and isinstance(b, list):
        pairs = zip(a, b, strict=False)
        return len(a) == len(b) and all(same(x, y, rtol, atol) for x, y in pairs)
    return type(a) is type(b) and type(a) in (str, type(None)) and a == b


def readable(value: object) -> str:
    """Return a value on one line, shortened, with its shape where it has one.

    Example:
        >>> readable(torch.tensor([[1.0, 2.5]]))
        'tensor (1, 2): [[1, 2.5]]'
        >>> readable((0.1 + 0.2, {"a": torch.zeros(5, 5)}))
        "(0.3, {'a': tensor (5, 5): first [0, 0, 0, 0, 0]})"
        >>> readable(x for x in "abc")
        '<generator>'
    """
    try:
        text = " ".join(_text(value).split())
    except RecursionError:
        return f"a {type(value).__name__} that holds itself"
    return text if len(text) <= LETTERS else text[: LETTERS - 3] + "..."


def _plain(value: object) -> object:
    """Return numbers, tensors, lists, dicts and text in one class each, or object()."""
    if isinstance(value, np.generic) and type(value) in NUMPY:
        value = value.item()
    elif type(value) is np.ndarray:
        value = _from_numpy(value)
    elif isinstance(value, set | frozenset) and type(value) in (set, frozenset):
        value = dict.fromkeys(value)
    if isinstance(value, Tensor) and type(value) in (Tensor, torch.nn.Parameter):
        return _from_torch(Tensor.detach(value))  # not its own, which can be replaced
    if isinstance(value, dict) and type(value) in DICTS:
        keys = [*dict.__iter__(value)]
        sound = all(map(_is_key, keys))
        return {k: dict.__getitem__(value, k) for k in keys} if sound else object()
    if isinstance(value, tuple) and issubclass(type(value), tuple):
        return [*tuple.__iter__(value)]  # also a shape, or a tuple with names
    if type(value) is range:
        return [*value]
    return value if type(value) in (*ATOMS, list) else object()


def _from_torch(value: Tensor) -> object:
    """Return an ordinary tensor, a number where it has no dimension, or object()."""
    odd = value.is_complex() or value.is_quantized or value.is_meta or value.is_nested
    if odd or value.layout is not torch.strided:
        return object()
    return value.cpu() if value.dim() else value.item()


def _from_numpy(value: np.ndarray) -> object:
    """Return an array of numbers as a tensor; others cannot be compared."""
    if value.dtype.kind not in "biuf":
        return object()
    return torch.tensor(value.astype("f8" if value.dtype.kind == "f" else "i8"))


def _is_key(key: object) -> bool:
    """Return whether the equality of a key is Python's own."""
    if type(key) is tuple:
        return all(map(_is_key, key))
    return type(key) in ATOMS or type(key) in NUMPY


def _close(a: float, b: float, rtol: float | None, atol: float) -> bool:
    if a == b or (a != a and b != b):  # also whole numbers of any size; NaN
        return True
    if rtol is None:
        rtol = RTOL[isinstance(a, int) + isinstance(b, int)]
    try:
        gap, allowed = abs(a - b), atol + rtol * abs(b)
    except OverflowError:  # a whole number beyond 1e308
        return False
    return gap <= allowed and gap < math.inf


def _all_close(a: Tensor, b: Tensor, rtol: float | None, atol: float) -> bool:
    if rtol is None:
        rtol = RTOL[sum(not t.dtype.is_floating_point for t in (a, b))]
    a, b = a.double(), b.double()
    return torch.allclose(a, b, rtol=rtol, atol=atol, equal_nan=True)


def _text(value: object) -> str:
    """Return a value as text; of what is long, no more is made than is shown."""
    if isinstance(value, Tensor | np.ndarray) and not isinstance(value, np.generic):
        return _array_text(value)
    if isinstance(value, np.generic) and type(value) in NUMPY:
        value = value.item()
    if type(value) is float:
        whole = value % 1 == 0 and abs(value) < 1e15
        return f"{value:.0f}" if whole else f"{value:.6g}"
    if type(value) is str:
        return repr(value[: LETTERS + 1])
    if type(value) is list:
        return f"[{_items(map(_text, value))}]"
    if type(value) is tuple:
        return f"({_items(map(_text, value))}{',' * (len(value) == 1)})"
    if isinstance(value, dict) and type(value) in DICTS:
        pairs = (f"{_text(k)}: {_text(v)}" for k, v in dict.items(value))
        return f"{{{_items(pairs)}}}"
    return _other_text(value)


def _array_text(value: Tensor | np.ndarray) -> str:
    shape, numbers = tuple(value.shape), _plain(value)
    kind = "array" if isinstance(value, np.ndarray) else "tensor"
    if isinstance(numbers, Tensor):
        many = numbers.numel() > SHOWN
        while many and numbers.dim() > 1:
            numbers = numbers[0]
        numbers = numbers[: SHOWN + 1].tolist() if many else numbers.tolist()
        start = "first " if many else ""
        return f"{kind} {shape}: {start}{_text(numbers)}"
    if isinstance(numbers, int | float):
        return f"{kind} {shape}: {_text(numbers)}"
    return f"{kind} {shape} of {value.dtype}, class {type(value).__name__}"


def _items(texts: Iterable[str]) -> str:
    shown = [*islice(texts, SHOWN + 1)]
    return ", ".join([*shown[:SHOWN], "..."] if len(shown) > SHOWN else shown)


def _other_text(value: object) -> str:
    """Return what an object says of itself, or its class: no addresses, no errors."""
    try:
        text = repr(value)
    except Exception:
        text = ""
    return f"<{type(value).__name__}>" if not text or " at 0x" in text else text
