"""What things cost: seconds of interleaved rounds, bytes saved for backward, peak memory of a fresh process."""

from __future__ import annotations

import inspect
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def best_of(call: Callable[[], Any], repeats: int = 3) -> float:
    """Seconds of the fastest of `repeats` calls, after one that warms up: noise only ever adds."""
    call()
    return min(_seconds(call) for _ in range(repeats))


def interleaved(
    calls: Mapping[str, Callable[[], Any]], rounds: int = 5, *, warm: bool = True
) -> dict[str, list[float]]:
    """Seconds of each call in each round; a round runs every call once, so drift of the machine hits all alike."""
    for call in calls.values() if warm else ():
        call()
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for index in range(rounds):
        names = list(calls)[:: 1 if index % 2 == 0 else -1]
        for name in names:
            seconds[name].append(_seconds(calls[name]))
    return seconds


def fastest(calls: Mapping[str, Callable[[], Any]], repeats: int) -> tuple[dict[str, float], dict[str, Any]]:
    """Seconds of the fastest of `repeats` calls of each, interleaved, and what the calls that warmed up returned."""
    found = {name: call() for name, call in calls.items()}
    seconds = interleaved(calls, repeats, warm=False)
    return {name: min(times) for name, times in seconds.items()}, found


def _seconds(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


@contextmanager
def saved_bytes() -> Iterator[Callable[[], int]]:
    """Bytes that autograd keeps for backward inside the block; a storage counts once."""
    import torch

    seen: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        seen[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        yield lambda: sum(seen.values())


def peak_bytes(code: str) -> int:
    """Peak resident memory of a fresh Python process that runs `code`."""
    probe = f"{code}\nimport resource, sys\nfrom pathlib import Path\n{inspect.getsource(peak_bytes_here)}"
    probe += "print(peak_bytes_here())"  # its source, since importing it would take memory
    output = subprocess.run([sys.executable, "-c", probe], check=True, capture_output=True, text=True).stdout
    return int(output.split()[-1])


def peak_bytes_here() -> int:
    """Peak resident memory of this process so far."""
    status = Path("/proc/self/status")
    if status.exists():  # Linux counts the parent's peak into a child's ru_maxrss
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


class ComputeMeter:
    """Counts calls of outermost torch modules and their parameters inside a `with` block, if torch is loaded."""

    evaluations: int | None = None
    parameters: int | None = None

    def __enter__(self) -> ComputeMeter:
        self._handles: list[Any] = []
        torch = sys.modules.get("torch")
        if torch is not None:
            hooks = torch.nn.modules.module
            self._depth = 0
            self._handles = [
                hooks.register_module_forward_pre_hook(self._enter),
                hooks.register_module_forward_hook(self._leave, always_call=True),
            ]
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()

    def _enter(self, module: Any, _: Any) -> None:
        if self._depth == 0:
            self.evaluations = (self.evaluations or 0) + 1
            self.parameters = max(self.parameters or 0, sum(p.numel() for p in module.parameters()))
        self._depth += 1

    def _leave(self, *_: object) -> None:
        self._depth -= 1
