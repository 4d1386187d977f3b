"""What one pass over data tells of a model: kept, saved, and refused where it is another model's."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from gezhi._checks import check_number, invalid

TABLES = ("x0_var", "ms_eps", "residual", "std_error", "signals")


@dataclass(frozen=True)
class VarianceStats:
    """What one pass over data tells of a model, at the times that were asked for; NaN at the others.

    Attributes:
        x0_var: the mean variance of x₀ given the state, clipped, (T + 1,) or (T + 1, *shape) per entry.
        ms_eps, residual: mean squares of the predicted noise and of its error, (T + 1,).
        std_error: standard error of `x0_var` before it was clipped, of its shape.
        signals: ᾱ of the model's schedule, (T + 1,), by which statistics of another one are refused.
        n: draws a time.
        method: the estimate.
    """

    x0_var: Tensor
    ms_eps: Tensor
    residual: Tensor
    std_error: Tensor
    signals: Tensor
    n: int
    method: str

    def require(self, times: Iterable[int]) -> None:
        """KeyError that lists those of the times that were not estimated."""
        missing = [int(t) for t in times if not 0 < t < len(self.signals) or self.ms_eps[int(t)].isnan()]
        if missing:
            raise KeyError(f"statistics must hold every time of the sampler: missing {missing}. Estimate at those too.")

    def save(self, path: str | Path) -> None:
        """Write them as safetensors."""
        tables = {name: getattr(self, name).contiguous() for name in TABLES}
        save_file(tables, path, metadata={"gezhi": json.dumps({"n": self.n, "method": self.method})})

    @classmethod
    def load(cls, path: str | Path) -> VarianceStats:
        """Read what `save` wrote; ValueError for another file."""
        with safe_open(path, framework="pt") as file:
            words = (file.metadata() or {}).get("gezhi")
            if words is None or not set(TABLES) <= set(file.keys()):
                raise invalid("path", "be a file that VarianceStats.save wrote", str(path))
            return cls(**{name: file.get_tensor(name) for name in TABLES}, **json.loads(words))


def largest_variance(data_range: tuple[float, float] | None) -> float:
    """((b - a)/2)², which no variance of data in [a, b] exceeds; inf where the range is unknown."""
    if data_range is None:
        return math.inf
    low, high = (check_number("data_range", end) for end in data_range)
    if not low < high:
        raise invalid("data_range", "be a range (low, high)", data_range)
    return ((high - low) / 2) ** 2
