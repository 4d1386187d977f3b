"""Measured cells on disk: one small JSON file each, named by a hash of everything the figure depends on."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from gezhi._checks import invalid
from gezhi.data import load
from gezhi.lab.reach import PROTOCOL, reach
from gezhi.lab.record import write_atomically
from gezhi.lab.study import Study, experiment_module, load_experiment

FIELDS = {"metrics", "seconds", "evaluations", "parameters"}  # of a cell
PACKAGES = ("numpy", "scipy", "scikit-learn", "torch", "transformers")


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
    """The arms of one (study, case, seed), by names alone: a worker imports the experiment itself.

    `shorter`: at two thirds of the steps.
    """

    stem: str
    study: str
    case: str
    seed: int
    budget: str
    arms: tuple[str, ...]
    data: Data | None
    folder: str
    shorter: bool = False

    @property
    def posed(self) -> Study:
        return load_experiment(self.stem).study(self.study)

    @property
    def size(self) -> Any:
        """What `measure` receives."""
        study = self.posed
        size = study.size(self.budget, self.case)
        return study.trains(size) if self.shorter and study.trains else size

    def path(self, arm: str) -> Path:
        """Where the cell of this arm lies."""
        return Path(self.folder) / "cells" / self.stem / f"{self.key(arm)}.json"

    def key(self, arm: str) -> str:
        study, experiment = self.posed, load_experiment(self.stem)
        code = arm_code(self.stem, self.study, arm, self.case if self.data is None else None)
        parts = [PROTOCOL, code, reach(self.size, own=top(self.stem)), versions(*experiment.packages)]
        parts += [self.study, self.case, arm, self.seed]
        if self.data:
            parts += [self.data.sha256, self.data.label, study.accepts]
        if study.timed:
            parts += [cpu(), study.threads, study.repeats, self.budget == "smoke"]  # a smoke run times once
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


@lru_cache(maxsize=4096)
def arm_code(stem: str, study_name: str, arm: str, case: str | None) -> str:
    """Hash of what an arm in a case reaches; the words of claims are not reached."""
    study = load_experiment(stem).study(study_name)
    return reach(study.measure, study.arms[arm], None if case is None else study.cases[case], own=top(stem))


def study_code(stem: str, study_name: str, budget: str) -> str:
    """Hash of what a whole study reaches at a budget."""
    study = load_experiment(stem).study(study_name)
    cases = {case: study.cases[case] for case in study.asked_cases(budget)}
    return reach(PROTOCOL, study.measure, study.arms, cases, study.sizes.get(budget), own=top(stem))[:16]


def top(stem: str) -> str:
    """The top package of an experiment."""
    return experiment_module(stem).partition(".")[0]


def write(path: Path, cell: Mapping[str, Any]) -> None:
    """Store a cell, whole or not at all."""
    write_atomically(path, json.dumps(cell))


def read(path: Path) -> dict[str, Any] | None:
    """The cell, or None where it is absent; ValueError where the file is damaged."""
    try:
        cell = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"damaged result {path.name}: {error}") from None
    if not isinstance(cell, dict) or not set(cell) >= FIELDS or not isinstance(cell["metrics"], dict):
        raise ValueError(f"damaged result {path.name}: no metrics in it")
    counts = [cell[name] for name in ("evaluations", "parameters") if cell[name] is not None]
    for value in [cell["seconds"], *counts, *cell["metrics"].values()]:
        if not all(type(number) in (int, float) for number in (value if isinstance(value, list) else [value])):
            raise ValueError(f"damaged result {path.name}: found {str(value)[:40]!r} where a number stands")
    return cell


def plain(metric: str, value: Any) -> float | list[float]:
    """A metric as JSON holds it: a number, or one a test row."""
    array = np.asarray(value)
    if array.dtype.kind not in "biuf" or array.ndim > 1:
        found = f"{array.dtype} of shape {array.shape}" if array.ndim else f"{value!r} ({type(value).__name__})"
        must = "be a number, or a list of one number per test row"
        raise invalid(f"metric {metric!r} of measure", must, found, kind=TypeError)
    numbers: float | list[float] = array.astype(float).tolist()
    return numbers


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
