"""What one pass over data tells of a model: kept, saved, and refused where it is another model's."""

from __future__ import annotations

import json
import math
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from gezhi._checks import check_number, invalid
from gezhi.diffusion.fingerprint import fingerprint

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
        shape: of one sample, by which states of another shape are refused; empty: not known.
        model: `fingerprint` of the network, for `belongs_to`; empty: not known.
    """

    x0_var: Tensor
    ms_eps: Tensor
    residual: Tensor
    std_error: Tensor
    signals: Tensor
    n: int
    method: str
    shape: tuple[int, ...] = ()
    model: str = ""

    def require(self, times: Iterable[int]) -> None:
        """KeyError that lists those of the times that were not estimated."""
        missing = [int(t) for t in times if not 0 < t < len(self.signals) or self.ms_eps[int(t)].isnan()]
        if missing:
            raise KeyError(f"statistics must hold every time of the sampler: missing {missing}. Estimate at those too.")

    def belongs_to(self, network: nn.Module) -> None:
        """ValueError unless they were estimated with these weights, or it is not known with which."""
        found = fingerprint(network) if self.model else ""
        if found != self.model:
            fix = "Estimate them again with this network, in the type in which it samples."
            raise invalid("stats", f"belong to the network, {found} (its fingerprint)", self.model, fix)

    def fit(self, state: Tensor) -> None:
        """ValueError unless the state has the shape of the samples that they were estimated from."""
        if self.shape and state.shape[1:] != self.shape:
            raise invalid("stats", f"come from samples of the state's shape, {tuple(state.shape[1:])}", self.shape)

    def save(self, path: str | Path) -> None:
        """Write them as safetensors: to a temporary neighbour, which is then renamed."""
        tables = {name: getattr(self, name).contiguous() for name in TABLES}
        words = {"n": self.n, "method": self.method, "shape": list(self.shape), "model": self.model}
        part = Path(path).with_name(f"{Path(path).name}.{secrets.token_hex(4)}.part")
        try:
            part.write_bytes(save(tables, metadata={"gezhi": json.dumps(words)}))
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)

    @classmethod
    def load(cls, path: str | Path) -> VarianceStats:
        """Read what `save` wrote; ValueError for another file."""
        try:
            with safe_open(path, framework="pt") as file:
                words, tables = (file.metadata() or {}).get("gezhi"), {name: file.get_tensor(name) for name in TABLES}
                known = json.loads(words or "")
                return cls(**tables, **known | {"shape": tuple(known.get("shape", ()))})
        except (SafetensorError, ValueError, TypeError):
            raise invalid("path", "be a file that VarianceStats.save wrote", str(path)) from None


def largest_variance(data_range: tuple[float, float] | None) -> float:
    """((b - a)/2)², which no variance of data in [a, b] exceeds; inf where the range is unknown."""
    if data_range is None:
        return math.inf
    low, high = (check_number("data_range", end) for end in data_range)
    if not low < high:
        raise invalid("data_range", "be a range (low, high)", data_range)
    return ((high - low) / 2) ** 2
