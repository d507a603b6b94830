"""Notice whether a submission has changed what its checks rely on.

``STATE`` is run in the student's process, before its first cell and before each check.
It returns the identity of every function that a check may meet. The grader, which is
another process, compares. A name that was there before and is another object now was
replaced: that check gets no points, and the CSV says why.

What this cannot see: a program that undoes its change in time, reads a check through
the interpreter's frames in a way that no word of its text betrays, or computes the
answer of a check after having read it. Whoever grades for marks looks at submissions
that do much better than their author elsewhere.
"""

from __future__ import annotations

import json
import re

STATE = """
import builtins, json, sys

def code(o):
    o = getattr(o, "__wrapped__", o)
    f = getattr(o, "__func__", o)
    parts = ("__code__", "__defaults__", "__kwdefaults__")
    return (id(o), *(id(getattr(f, part, None)) for part in parts))

def look(name, o, every):
    seen = {}
    for key, value in list(vars(o).items()):
        if key.startswith("__") and key not in ("__import__", "__build_class__",
                "__eq__", "__torch_function__", "__call__", "__getattr__"):
            continue
        if key == "_" or not (every or callable(value)):
            continue
        seen[name + "." + key] = code(value)
        if every and isinstance(value, type) and value.__module__.startswith("effdl"):
            seen.update(look(name + "." + key, value, False))
    return seen

def state():
    seen = look("builtins", builtins, False)
    for name in sorted(sys.modules):
        module = sys.modules[name]
        ours = name.split(".")[0] == "effdl"
        if not (ours or name in WATCHED) or module is None:
            continue
        seen[name] = id(module)
        seen.update(look(name, module, ours))
    torch = sys.modules.get("torch")
    if torch is not None:
        seen.update(look("torch.Tensor", torch.Tensor, False))
        seen.update(look("torch.Tensor", torch._C.TensorBase, False))
        seen.update(look("torch.nn.Module", torch.nn.Module, False))
    shell = sys.modules["IPython"].get_ipython()
    seen["the exception handler of IPython"] = len(shell.custom_exceptions)
    kinds = ("pre_run_cell", "pre_execute", "post_execute", "post_run_cell")
    hooks = [h for kind in kinds for h in shell.events.callbacks[kind]]
    hooks += [*shell.ast_transformers, *shell.input_transformers_post]
    hooks += shell.input_transformers_cleanup
    hooks = [getattr(h, "__func__", h) for h in hooks]
    seen["a hook of IPython"] = [
        id(h) for h in hooks if not h.__module__.startswith("matplotlib")]
    seen["the tracer of Python"] = id(sys.gettrace()), id(sys.getprofile())
    return json.dumps(seen).encode().hex()
"""
WATCHED = (
    *(
        "math",
        "random",
        "copy",
        "importlib",
        "sys",
        "linecache",
        "numpy",
        "scipy.stats",
    ),
    *("torch", "torch.testing", "torch.nn", "torch.nn.functional", "torch.autograd"),
    *("numpy.testing", "IPython.display"),
)

# Words with which a program can read its own checks or the frames of its caller.
READS = re.compile(
    r"\b(_getframe|currentframe|getouterframes|f_back|f_locals|f_globals|f_code|tb_frame|"
    r"settrace|setprofile|set_custom_exc|addaudithook|__closure__|__globals__|__code__|"
    r"get_referrers|get_objects|ctypes|_ih|user_ns|ast_transformers|input_transformers\w*|"
    r"history_manager|__subclasses__)\b|\bIn\[|%history\b|%recall\b"
)


def expression() -> str:
    """Return the Python expression that gives the state of the student's process."""
    program = STATE.replace("WATCHED", repr(WATCHED))
    scope = "(lambda n: (exec({!r}, n), n['state']())[1])({{}})"
    return scope.format(program)


def parsed(answer: str) -> dict[str, object] | None:
    """Return the state from the text that the kernel answered, or None."""
    try:
        found = json.loads(bytes.fromhex(answer.strip("'\"")))
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def replaced(before: dict[str, object], now: dict[str, object] | None) -> list[str]:
    """Return the names that have become something else since ``before``."""
    if now is None:
        return ["the state of the process cannot be read"]
    return sorted(name for name, value in before.items() if now.get(name) != value)


def reading(text: str) -> list[str]:
    """Return the words of a student's cell with which checks can be read."""
    return sorted({match[0] for match in READS.finditer(text)})
