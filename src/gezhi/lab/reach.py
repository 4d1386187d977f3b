"""A hash of everything that a value reaches: code without its docstrings, what the code names, and plain data.

It answers "would this measurement come out the same?" study by study: a claim, a sentence or a neighbouring study is
not reached by what is measured. Data sets (`gezhi.data`) are pinned by their own hashes, other packages by their
versions, and the lab by `PROTOCOL`; they count by name.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import importlib
import inspect
import types
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

PROTOCOL = 2  # raise it when seeding, bookkeeping or a data set's loader changes what a cell holds
LEAVES = ("gezhi.data", "gezhi.lab", "gezhi._checks")
PLAIN = (type(None), bool, int, float, complex, str, bytes, type(...))


def reach(*values: Any, own: str = "gezhi") -> str:
    """Hash of the values; `own`: the top package whose code counts by content, beside gezhi's."""
    walker = _Walker(frozenset({own, "gezhi"}))
    for value in values:
        walker.add(value)
    return walker.digest.hexdigest()


class _Walker:
    """Feeds a canonical account of values, and of what they lead to, into a hash."""

    def __init__(self, own: frozenset[str]) -> None:
        self.own, self.seen = own, dict[int, Any]()
        self.digest = hashlib.sha256()

    def say(self, *words: object) -> None:
        self.digest.update("\x1f".join(map(str, words)).encode() + b"\x1e")

    def add(self, value: Any) -> None:
        if isinstance(value, PLAIN):
            self.say(type(value).__name__, repr(value))
            return
        if id(value) in self.seen:
            self.say("again", _name(value))
            return
        self.seen[id(value)] = value  # kept alive, so that the id stays its own
        self.content(value)

    def content(self, value: Any) -> None:
        if isinstance(value, types.CodeType):
            self.code(value)
        elif isinstance(value, functools.partial):
            self.all("partial", (value.func, value.args, value.keywords))
        elif isinstance(value, types.FunctionType):
            self.function(value)
        elif isinstance(value, types.MethodType):
            self.all("method", (value.__self__, value.__func__))
        elif isinstance(value, type):
            self.type(value)
        elif isinstance(inner := _wrapped(value), types.FunctionType):
            self.add(inner)
        elif isinstance(value, np.ndarray):
            self.say("array", value.dtype, value.shape, hashlib.sha256(value.tobytes()).hexdigest())
        elif isinstance(value, Mapping):
            self.all("mapping", [part for key in sorted(value, key=repr) for part in (key, value[key])])
        elif isinstance(value, tuple | list):
            self.all("sequence", value)
        elif isinstance(value, set | frozenset):
            self.all("set", sorted(value, key=repr))
        else:
            self.instance(value)

    def all(self, kind: str, values: Any) -> None:
        self.say(kind, len(values))
        for value in values:
            self.add(value)

    def instance(self, value: Any) -> None:
        """Other objects: of our classes by their fields, of other packages by name."""
        if isinstance(value, types.ModuleType | types.BuiltinFunctionType) or not self.is_ours(type(value)):
            self.say("named", _name(value))
            return
        self.add(type(value))
        fields = [f.name for f in dataclasses.fields(value)] if dataclasses.is_dataclass(value) else sorted(vars(value))
        self.all("fields", [part for name in fields for part in (name, getattr(value, name, None))])

    def is_ours(self, value: Any) -> bool:
        module = getattr(value, "__module__", None) or ""
        leaf = any(module == name or module.startswith(f"{name}.") for name in LEAVES)
        return module.partition(".")[0] in self.own and not leaf

    def function(self, value: types.FunctionType) -> None:
        self.say("function", _name(value))
        if not self.is_ours(value):
            return
        self.code(value.__code__)
        cells = [cell.cell_contents for cell in value.__closure__ or ()]
        self.all("bound", [value.__defaults__, value.__kwdefaults__, *cells])
        for name in sorted(_names(value.__code__)):
            if name in value.__globals__:
                self.reached(name, value.__globals__[name], value.__code__)
            elif name.partition(".")[0] in self.own and "." in name:  # imported inside the function
                self.reached(name, importlib.import_module(name), value.__code__)

    def reached(self, name: str, value: Any, code: types.CodeType) -> None:
        """What a function names; of a module only the attributes that it may name."""
        if not isinstance(value, types.ModuleType):
            self.say("global", name)
            self.add(value)
        elif value.__name__.partition(".")[0] in self.own:
            for attribute in sorted(_names(code) & set(vars(value))):
                self.say("attribute", value.__name__, attribute)
                self.add(getattr(value, attribute))

    def code(self, code: types.CodeType) -> None:
        self.say("code", code.co_code.hex(), code.co_names, code.co_varnames, code.co_freevars)
        constants = code.co_consts
        documented = not code.co_name.startswith("<") and constants and isinstance(constants[0], str)
        for constant in constants[1:] if documented else constants:
            self.add(constant)

    def type(self, value: type) -> None:
        self.say("class", _name(value))
        if not self.is_ours(value):
            return
        self.all("bases", value.__bases__)
        for name, member in sorted(vars(value).items()):
            if name.startswith("__") and not inspect.isfunction(member):
                continue
            self.say("member", name)
            self.add(_unbound(member))


def _unbound(member: Any) -> Any:
    if isinstance(member, staticmethod | classmethod):
        return member.__func__
    if isinstance(member, property):
        return member.fget
    return member.func if isinstance(member, functools.cached_property) else member


def _wrapped(value: Any) -> Any:
    """The Python function inside a cached, compiled (numba) or decorated one."""
    return getattr(value, "py_func", None) or getattr(value, "__wrapped__", None)


def _names(code: types.CodeType) -> set[str]:
    """Globals, attributes and modules that a function and the functions inside it name."""
    return {*code.co_names, *(name for inner in _inner(code) for name in _names(inner))}


def _inner(code: types.CodeType) -> Iterator[types.CodeType]:
    return (constant for constant in code.co_consts if isinstance(constant, types.CodeType))


def _name(value: Any) -> str:
    module = getattr(value, "__module__", None) or type(value).__module__
    found = getattr(value, "__qualname__", None) or getattr(value, "__name__", None)
    shown = found or f"{type(value).__qualname__}:{value!r}"[:200].partition(" at 0x")[0]
    return f"{module}.{shown}"
