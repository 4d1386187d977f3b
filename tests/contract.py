"""What every method's tests share: the declaration of samples, and the checks that run over all of them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.utils.estimator_checks import check_estimator

from gezhi._catalogue import Method, methods


@dataclass(frozen=True)
class Sample:
    """One call of a public name, which the contract tests repeat under several regimes.

    `fn(*args, **kwargs)` must work; float tensors among `args` are the differentiable ones. `reason` says why a
    sample does not compile or has no gradient.
    """

    fn: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    compiles: bool = True
    differentiable: bool = True
    reason: str = ""

    def __post_init__(self) -> None:
        if not (self.compiles and self.differentiable) and not self.reason:
            raise ValueError(f"{self.name}: reason must say why it does not compile or has no gradient")

    @property
    def name(self) -> str:
        return getattr(self.fn, "__name__", type(self.fn).__name__)


def tensors_of(value: Any) -> list[Any]:
    """All arrays and tensors in a nested result."""
    if isinstance(value, torch.Tensor | np.ndarray):
        return [value]
    if isinstance(value, torch.nn.Module):
        plain = [attribute for attribute in vars(value).values() if isinstance(attribute, torch.Tensor)]
        return [*value.state_dict().values(), *plain]
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list | tuple):
        return [leaf for item in value for leaf in tensors_of(item)]
    return [np.asarray(value)] if isinstance(value, float | int) else []


def assert_same(left: Any, right: Any, tolerance: float = 0.0) -> None:
    """Equal arrays at every place, NaN included."""
    a, b = tensors_of(left), tensors_of(right)
    assert len(a) == len(b)
    for x, y in zip(a, b, strict=True):
        x, y = (np.asarray(v.detach() if isinstance(v, torch.Tensor) else v, dtype=object) for v in (x, y))
        if x.dtype == object and x.size and isinstance(x.flat[0], float | int | np.floating | bool):
            x, y = x.astype(float), y.astype(float)
            np.testing.assert_allclose(x, y, rtol=tolerance, atol=tolerance)
        else:
            assert (x == y).all()


def estimator_checks(estimator: Any, expected_failed: Mapping[str, str] | None = None) -> tuple[Counter[str], set[str]]:
    """Run scikit-learn's common checks; count by status, and the names of the skipped ones."""
    results = check_estimator(estimator, expected_failed_checks=dict(expected_failed or {}), on_skip=None)
    return Counter(r["status"] for r in results), {r["check_name"] for r in results if r["status"] == "skipped"}


def missing_parts(root: Path) -> list[str]:
    """What a method lacks, or what lies around without a method; each sentence names stem and file."""
    found = methods(root / "src/gezhi")
    problems = []
    for method in found.values():
        for part in parts_of(method):
            if not (root / part).exists():
                problems.append(f"{method.stem}: {part} is missing")
        init = root / "src/gezhi" / method.wing / "__init__.py"
        exported = set(re.findall(r"import \w+ as (\w+)", init.read_text("utf-8")))
        problems += [
            f"{method.stem}: {init.relative_to(root)} does not export {name}"
            for name in method.public
            if name not in exported
        ]
    orphans = {path.stem.removesuffix(".zh") for path in (root / "docs/methods").glob("*.md")}
    orphans |= {p.stem for p in (root / "src/gezhi/experiments").glob("*.py") if not p.stem.startswith("_")}
    for stem in sorted(orphans - set(found)):
        problems.append(f"{stem}: no module with a header in any wing ({stem}.py is missing)")
    return problems


def parts_of(method: Method) -> list[str]:
    """The files that a method consists of beside its module."""
    return [
        f"src/gezhi/experiments/{method.stem}.py",
        f"tests/{method.wing}/test_{method.stem}.py",
        f"docs/methods/{method.stem}.md",
        f"docs/methods/{method.stem}.zh.md",
    ]
