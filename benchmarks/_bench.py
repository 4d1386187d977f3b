"""What every benchmark shares: peers side by side in one process, results compared before anything is timed."""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from gezhi.lab.clock import interleaved


@dataclass
class Benchmark:
    """Collects what a benchmark finds and prints it as a table or as one JSON object.

    `{stem, peers: {name: version}, equal: {name: max_error}, ratios: {name: value},
    bars: {name: {value, at_least | at_most, holds}}, seconds: {name: median}, notes: [...]}`
    """

    stem: str
    peers: dict[str, str] = field(default_factory=dict)
    equal: dict[str, float] = field(default_factory=dict)
    ratios: dict[str, float] = field(default_factory=dict)
    bars: dict[str, dict[str, Any]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def peer(self, package: str) -> bool:
        """Note a peer's version; a missing peer is said."""
        try:
            self.peers[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            self.peers[package] = "absent"
            self.notes.append(f"{package} is not installed: not compared with it")
            return False
        return True

    def same(self, name: str, error: float, within: float) -> None:
        """Results must agree before they are timed."""
        self.equal[name] = float(error)
        if not error <= within:
            raise SystemExit(f"{self.stem}: {name} differ by {error:g}, more than {within:g}; nothing was timed")

    def time(self, case: str, calls: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
        """Seconds of interleaved rounds; medians are kept."""
        found = interleaved(dict(calls), rounds)
        self.seconds |= {f"{case}: {name}": median(values) for name, values in found.items()}
        return found

    def ratio(self, name: str, slow: list[float], fast: list[float], **bar: float) -> None:
        """Median over rounds of slow : fast, with an `at_least` or `at_most` where the project promises one."""
        value = median(a / b for a, b in zip(slow, fast, strict=True))
        self.ratios[name] = value
        if bar:
            holds = value >= bar.get("at_least", value) and value <= bar.get("at_most", value)
            self.bars[name] = {"value": value, **bar, "holds": holds}

    def finish(self, as_json: bool) -> None:
        """Print the object, or a table."""
        print(json.dumps(vars(self), indent=1) if as_json else self.table())

    def table(self) -> str:
        rows = [f"{self.stem}  ({', '.join(f'{n} {v}' for n, v in self.peers.items())})"]
        rows += [f"  equal  {name:58s} {error:9.2g}" for name, error in self.equal.items()]
        rows += [f"  time   {name:58s} {value * 1e3:9.3g} ms" for name, value in self.seconds.items()]
        for name, value in self.ratios.items():
            bar = self.bars.get(name, {})
            said = "".join(
                f"  {kind.replace('_', ' ')} {bar[kind]:g}" for kind in ("at_least", "at_most") if kind in bar
            )
            rows.append(
                f"  ratio  {name:58s} {value:9.3g}×{said}"
                + (("", "  holds")[bar["holds"]] or "  MISSED" if bar else "")
            )
        return "\n".join([*rows, *(f"  note   {note}" for note in self.notes)])


def arguments(threads: int = 1) -> argparse.Namespace:
    """`--json` and `--quick`; fixes the number of threads before torch and BLAS start."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    parser.add_argument("--quick", action="store_true", help="smaller sizes and fewer rounds; bars are not judged")
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(threads)
    return parser.parse_args()
