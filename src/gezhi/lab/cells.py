"""Measured cells on disk: one small JSON file each, named by a hash of everything the figure depends on."""

from __future__ import annotations

import ast
import hashlib
import importlib.metadata
import importlib.util
import json
import platform
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from gezhi._checks import invalid
from gezhi.data import load
from gezhi.lab.record import write_atomically
from gezhi.lab.study import experiment_module

PROTOCOL = 1  # raise it when seeding or bookkeeping changes what a cell holds
FIELDS = {"metrics", "seconds", "evaluations", "parameters"}  # of a cell
PACKAGES = ("numpy", "scipy", "scikit-learn", "torch", "transformers")
ONLY_WORDS = {"claims", "figures", "units", "scope", "zh"}  # keywords of a study that no measurement depends on
ALL_WORDS = {"Claim", "Dots", "Lines", "Profile"}  # of the lab: what they are given names or judges, never measures


@dataclass(frozen=True)
class Data:
    """A user's file instead of the cases: its path, label column and encoder, and the hash of what they hold."""

    path: str
    label: str | None
    sha256: str
    encoder: str | None = None

    @classmethod
    def of(cls, path: Path, label: str | None, encoder: Path | None = None) -> Data:
        content = sha256(path)
        if encoder is None:
            return cls(str(path), label, content)
        both = hashlib.sha256(f"{content}:{sha256(encoder)}".encode()).hexdigest()
        return cls(str(path), label, both, str(encoder))

    def load(self, kind: str) -> Any:
        """The file as one of `gezhi.data.KINDS`."""
        encoder = None if self.encoder is None else Path(self.encoder)
        return load(kind, Path(self.path), label=self.label, encoder=encoder)


def sha256(path: Path) -> str:
    """Hash of a file, or of all files of a folder and their names."""
    if path.is_dir():
        files = sorted(p for p in path.rglob("*") if p.is_file())
        return hashlib.sha256("".join(f"{p.relative_to(path)}:{sha256(p)};" for p in files).encode()).hexdigest()
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True)
class Job:
    """The arms of one (study, case, seed), by names alone: a worker imports the experiment itself."""

    stem: str
    study: str
    case: str
    seed: int
    budget: str
    arms: tuple[str, ...]
    data: Data | None
    folder: str

    def path(self, arm: str) -> Path:
        """Where the cell of this arm lies."""
        return Path(self.folder) / "cells" / self.stem / f"{self.key(arm)}.json"

    def key(self, arm: str) -> str:
        from gezhi.lab.study import load_experiment

        experiment = load_experiment(self.stem)
        study = experiment.study(self.study)
        known = versions(*experiment.packages)
        parts = [PROTOCOL, fingerprint(self.stem), known, self.study, self.case, arm, self.seed, self.budget]
        if self.data:
            parts += [self.data.sha256, self.data.label]
        if study.alone:
            parts += [cpu(), study.threads]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


def write(path: Path, cell: Mapping[str, Any]) -> None:
    """Store a cell, whole or not at all."""
    write_atomically(path, json.dumps(cell))


def read(path: Path) -> dict[str, Any] | None:
    """The cell, or None where it is absent; ValueError where the file is damaged."""
    try:
        cell = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"damaged result {path.name}: {error}") from None
    if not isinstance(cell, dict) or not set(cell) >= FIELDS or not isinstance(cell["metrics"], dict):
        raise ValueError(f"damaged result {path.name}: no metrics in it")
    return cell


def plain(metric: str, value: Any) -> float | list[float]:
    """A metric as JSON holds it: a number, or one a test item."""
    array = np.asarray(value)
    if array.dtype.kind not in "biuf" or array.ndim > 1:
        found = f"{array.dtype} of shape {array.shape}" if array.ndim else f"{value!r} ({type(value).__name__})"
        must = "be a number, or a list of one number per test item"
        raise invalid(f"metric {metric!r} of measure", must, found, kind=TypeError)
    numbers: float | list[float] = array.astype(float).tolist()
    return numbers


@lru_cache(maxsize=64)
def fingerprint(stem: str) -> str:
    """Hash of the experiment and of every gezhi module it can reach; docstrings and claims do not count."""
    name = experiment_module(stem)
    reached = _reach(name, {name.partition(".")[0], "gezhi"}, {})
    return hashlib.sha256(json.dumps(reached, sort_keys=True).encode()).hexdigest()


def _reach(name: str, own: set[str], seen: dict[str, str]) -> dict[str, str]:
    """Hash of each module that `name` leads to, other packages and the lab left out."""
    is_lab = name.startswith("gezhi.lab") and name != "gezhi.lab.clock"
    if name in seen or is_lab or name.partition(".")[0] not in own:
        return seen
    tree = _source(name)
    if tree is not None:
        seen[name] = hashlib.sha256(ast.dump(_measured(tree)).encode()).hexdigest()
        for target in _imports(name, tree, own):
            _reach(target, own, seen)
    return seen


def _imports(name: str, tree: ast.AST, own: set[str]) -> Iterator[str]:
    """Modules that the imports of a module lead to; a name of a package leads to the module that defines it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = _absolute(node, name)
            yield from (_defining(module, alias.name) for alias in node.names if module.partition(".")[0] in own)


def _absolute(node: ast.ImportFrom, name: str) -> str:
    """The module that an import inside module `name` takes from."""
    spec = importlib.util.find_spec(name) if node.level else None
    return importlib.util.resolve_name("." * node.level + (node.module or ""), spec.parent if spec else None)


def _defining(module: str, name: str) -> str:
    if _source(f"{module}.{name}") is not None:
        return f"{module}.{name}"
    tree = _source(module)
    for node in ast.walk(tree) if tree else ():
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    return _defining(_absolute(node, module), alias.name)
    return module


@lru_cache(maxsize=512)
def _source(name: str) -> ast.Module | None:
    try:
        spec = importlib.util.find_spec(name)
    except (ModuleNotFoundError, ValueError):
        return None
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        return None
    return ast.parse(Path(spec.origin).read_text(encoding="utf-8"))


def _measured(tree: ast.Module) -> ast.Module:
    """The module without docstrings and without what the lab is given only to name or to judge."""
    tree = ast.parse(ast.unparse(tree))
    lab = _names_of_the_lab(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in lab:
            called = lab[node.func.id]
            node.args = [] if called in ALL_WORDS else node.args
            node.keywords = [k for k in node.keywords if called not in ALL_WORDS and k.arg not in ONLY_WORDS]
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and isinstance(body[0], ast.Expr):
            first = body[0].value
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                body.pop(0)
    return tree


def _names_of_the_lab(tree: ast.Module) -> dict[str, str]:
    """What a module imports from the lab, by the name it has there."""
    imports = (node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom))
    from_lab = (node for node in imports if (node.module or "").startswith("gezhi.lab"))
    return {alias.asname or alias.name: alias.name for node in from_lab for alias in node.names}


@lru_cache(maxsize=64)
def versions(*others: str) -> dict[str, str]:
    """Versions of Python, of the packages that all figures depend on, and of the others named."""
    found = {"python": ".".join(platform.python_version_tuple()[:2])}
    for package in (*PACKAGES, *others):
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


@lru_cache(maxsize=1)
def cpu() -> str:
    """Name of the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
