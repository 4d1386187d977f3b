"""A hash of everything that a value reaches: code without its docstrings, what the code names, and plain data.

It answers "would this measurement come out the same?" study by study: a claim, a sentence or a neighbouring study is
not reached by what is measured. Data sets (`gezhi.data`) are pinned by their own hashes, other packages by their
versions, and the lab by `PROTOCOL`; they count by name.
"""

from __future__ import annotations

import contextlib
import dataclasses
import dis
import functools
import hashlib
import importlib
import importlib.util
import re
import types
from collections.abc import Iterator, Mapping
from typing import Any
from weakref import WeakKeyDictionary, WeakValueDictionary

import numpy as np

PROTOCOL = 2  # raise it when seeding, bookkeeping or a data set's loader changes what a cell holds
LEAVES = ("gezhi.data", "gezhi.lab", "gezhi._checks")
PLAIN = (type(None), bool, int, float, complex, str, bytes, type(...))
UNTRACKED = (types.CodeType, tuple, frozenset)  # equal ones may be one object in one process and two in another
IDLE = ("NOP", "EXTENDED_ARG")
ADDRESS = re.compile(r" at 0x[0-9A-Fa-f]+")


def reach(*values: Any, own: str = "gezhi") -> str:
    """Hash of the values; `own`: the top package whose code counts by content, beside gezhi's."""
    walker = _Walker(frozenset({own, "gezhi"}))
    for value in values:
        walker.add(value)
    return walker.digest.hexdigest()


class _Walker:
    """Feeds a canonical account of values, and of what they lead to, into a hash."""

    def __init__(self, own: frozenset[str]) -> None:
        self.own, self.seen, self.opened = own, dict[int, tuple[int, Any]](), set[tuple[str, frozenset[str]]]()
        self.digest = hashlib.sha256()

    def say(self, *words: object) -> None:
        self.digest.update("\x1f".join(map(str, words)).encode(errors="surrogatepass") + b"\x1e")

    def add(self, value: Any) -> None:
        if isinstance(value, PLAIN):
            self.say(type(value).__name__, repr(value))
        elif id(value) in self.seen:
            self.say("again", self.seen[id(value)][0])
        else:
            if not isinstance(value, UNTRACKED):
                self.seen[id(value)] = len(self.seen), value  # kept alive, so that the id stays its own
            self.content(value)

    def all(self, kind: str, values: Any) -> None:
        self.say(kind, len(values))
        for value in values:
            self.add(value)

    def content(self, value: Any) -> None:
        ours = self.is_ours(type(value).__module__)
        if ours:
            self.add(type(value))
        if isinstance(value, types.CodeType):
            self.code(value)
        elif isinstance(value, types.FunctionType):
            self.function(value)
        elif isinstance(value, type):
            self.type(value)
        elif isinstance(value, WeakKeyDictionary | WeakValueDictionary):
            self.all("mapping", [])  # what is alive just now says nothing of the code
        elif isinstance(value, Mapping):
            self.all("mapping", [part for pair in value.items() for part in pair])
        elif isinstance(value, tuple | list):
            self.all(type(value).__name__, value)
        elif isinstance(value, set | frozenset):
            self.all("set", sorted(value, key=_shown))
        elif not ours and (parts := _parts(value)) is not None:
            self.all(type(value).__name__, parts)
        elif (array := _array(value)) is not None:
            self.array(array)
        else:
            self.instance(value)

    def array(self, array: np.ndarray[Any, Any]) -> None:
        self.say("array", array.dtype, array.shape)
        if array.dtype.hasobject:
            self.all("objects", array.ravel().tolist())
        else:
            self.digest.update(hashlib.sha256(array.tobytes()).digest())

    def instance(self, value: Any) -> None:
        """Other objects: dataclasses and those of our classes by their fields, others by what they show."""
        if dataclasses.is_dataclass(value):
            names = [field.name for field in dataclasses.fields(value)]
        elif self.is_ours(type(value).__module__):
            slots = {name for base in type(value).__mro__ for name in getattr(base, "__slots__", ())}
            kept = {name for name in getattr(value, "__dict__", ()) if not name.startswith("__")}
            kept -= {name for name in kept if _is_cached(type(value), name)}  # there once it was asked for
            names = sorted(slots | kept | ({"__wrapped__"} if hasattr(value, "__wrapped__") else set()))
        else:
            self.say("shown", _name(value))
            return
        self.all("fields", [part for name in names for part in (name, getattr(value, name, None))])

    def is_ours(self, module: object) -> bool:
        name = str(module or "")
        leaf = any(name == known or name.startswith(f"{known}.") for known in LEAVES)
        return name.partition(".")[0] in self.own and not leaf

    # ---- code ------------------------------------------------------------------------------------------------------

    def function(self, value: types.FunctionType) -> None:
        """Instructions, what is bound, and what is named; of other packages' functions those that they hold."""
        self.say("function", _name(value))
        held = list(_held(value))
        if not self.is_ours(value.__globals__.get("__name__", value.__module__)):
            self.all("held", [inner for inner in held if self.is_code(inner)])
            return
        self.add(value.__code__)
        self.all("bound", [value.__defaults__, value.__kwdefaults__, *held])
        named = _named(value.__code__)
        for level, module, members in named.imports:
            self.imported("." * level + module, str(value.__globals__.get("__package__") or ""), members, named.all)
        for name in named.globals:
            if name in value.__globals__:
                self.reached(name, value.__globals__[name], named.all)

    def is_code(self, value: Any) -> bool:
        code = isinstance(value, types.FunctionType | type) or _parts(value) is not None
        return code or self.is_ours(type(value).__module__)

    def imported(self, name: str, package: str, members: tuple[str, ...], names: frozenset[str]) -> None:
        """What a function imports when it runs."""
        absolute = importlib.util.resolve_name(name, package)
        if absolute.partition(".")[0] in self.own:
            module = importlib.import_module(absolute)
            for member in members:
                if not hasattr(module, member):
                    importlib.import_module(f"{absolute}.{member}")
            self.reached(absolute, module, names)

    def reached(self, name: str, value: Any, names: frozenset[str]) -> None:
        """What a function names; of our modules only the attributes that it may name."""
        self.say("reached", name)
        if not isinstance(value, types.ModuleType):
            self.add(value)
        elif value.__name__.partition(".")[0] in self.own and (value.__name__, names) not in self.opened:
            self.opened.add((value.__name__, names))
            for attribute in sorted(names & set(vars(value))):
                self.reached(attribute, getattr(value, attribute), names)

    def code(self, code: types.CodeType) -> None:
        account = _account(code)
        self.say("code", code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, account.instructions)
        self.all("constants", account.constants)

    def type(self, value: type) -> None:
        self.say("class", _name(value))
        if not self.is_ours(value.__module__):
            return
        self.all("bases", value.__bases__)
        for name, member in sorted(vars(value).items()):
            inner = _unbound(member)
            if not name.startswith("__") or isinstance(inner, types.FunctionType):
                self.say("member", name)
                self.add(inner)


@dataclasses.dataclass(frozen=True)
class _Account:
    """What a code object does; a docstring is no constant that it loads."""

    instructions: str
    constants: tuple[Any, ...]
    globals: frozenset[str]
    imports: tuple[tuple[int, str, tuple[str, ...]], ...]


@functools.lru_cache(maxsize=8192)
def _account(code: types.CodeType) -> _Account:
    steps = list(dis.get_instructions(code))
    places, count = {}, 0  # of jumps; the steps that do nothing move them, and come and go with docstrings
    for step in steps:
        places[step.offset] = count
        count += step.opname not in IDLE
    words, constants, names, imports = [str(code.co_varnames), str(code.co_flags & 0xFF)], [], set(), []
    for i, step in enumerate(steps):
        if step.opcode in dis.hasconst:
            constants.append(code.co_consts[step.arg or 0])
        elif step.opcode in dis.hasjrel or step.opcode in dis.hasjabs:
            words.append(f"{step.opname} {places[step.argval]}")
            continue
        elif step.opname in ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"):
            names.add(str(step.argval))
        elif step.opname == "IMPORT_NAME":
            level, members = (before.argval for before in steps[i - 2 : i])
            imports.append((level, str(step.argval), members or ()))
        if step.opname not in IDLE:
            words.append(step.opname if step.opcode in dis.hasconst else f"{step.opname} {step.argval}")
    return _Account("\n".join(words), tuple(constants), frozenset(names), tuple(imports))


@dataclasses.dataclass(frozen=True)
class _Named:
    """What a function and the functions inside it name."""

    globals: tuple[str, ...]
    all: frozenset[str]
    imports: tuple[tuple[int, str, tuple[str, ...]], ...]


@functools.lru_cache(maxsize=8192)
def _named(code: types.CodeType) -> _Named:
    codes = list(_nest(code))
    accounts = [_account(inner) for inner in codes]
    return _Named(
        globals=tuple(sorted({name for account in accounts for name in account.globals})),
        all=frozenset(name for inner in codes for name in inner.co_names),
        imports=tuple(found for account in accounts for found in account.imports),
    )


def _nest(code: types.CodeType) -> Iterator[types.CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _nest(constant)


def _is_cached(kind: type, name: str) -> bool:
    return isinstance(getattr(kind, name, None), functools.cached_property)


def _unbound(member: Any) -> Any:
    if isinstance(member, staticmethod | classmethod):
        return member.__func__
    if isinstance(member, property):
        return member.fget
    return member.func if isinstance(member, functools.cached_property) else member


def _parts(value: Any) -> tuple[Any, ...] | None:
    """What makes up an object that holds others: a partial, a method, a network, a cached or compiled function."""
    if isinstance(value, functools.partial):
        return value.func, value.args, value.keywords
    if isinstance(value, types.MethodType):
        return value.__self__, value.__func__
    if isinstance(value, types.BuiltinFunctionType):
        bound = None if isinstance(value.__self__, types.ModuleType) else value.__self__
        return bound, _name(value)
    if isinstance(value, re.Pattern):
        return value.pattern, value.flags
    if callable(getattr(value, "state_dict", None)):  # torch's modules
        return _shown(value), value.state_dict()
    inner = getattr(value, "py_func", None) or getattr(value, "__wrapped__", None)
    return (inner,) if isinstance(inner, types.FunctionType) else None


def _array(value: Any) -> np.ndarray[Any, Any] | None:
    """Numbers of NumPy, torch and others as an array; None for what is no array."""
    if isinstance(value, types.ModuleType) or not hasattr(value, "__array__"):
        return None
    try:
        if hasattr(value, "detach"):
            value = value.detach().cpu()
            value = value.double() if str(value.dtype) == "torch.bfloat16" else value
        return np.asarray(value)
    except (TypeError, ValueError, RuntimeError):  # what only looks like one
        return None


def _held(value: types.FunctionType) -> Iterator[Any]:
    """What a function holds from where it was made."""
    for cell in value.__closure__ or ():
        with contextlib.suppress(ValueError):  # not yet bound
            yield cell.cell_contents


def _name(value: Any) -> str:
    module = getattr(value, "__module__", None) or type(value).__module__
    found = getattr(value, "__qualname__", None) or getattr(value, "__name__", None)
    return f"{module}.{found or type(value).__qualname__ + ':' + _shown(value)}"


def _shown(value: Any) -> str:
    return ADDRESS.sub("", repr(value))
