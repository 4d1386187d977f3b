"""What things cost: seconds of interleaved rounds, bytes saved for backward, peak memory of a fresh process."""

from __future__ import annotations

import inspect
import resource
import subprocess
import sys
import time
import weakref
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


class PeakBytes:
    """Most bytes that autograd kept at once. Of a storage counts what lies between the ends of the tensors kept."""

    def __init__(self) -> None:
        self.spans: dict[int, dict[int, tuple[int, int]]] = {}  # storage: who holds which bytes of it
        self.now = self.peak = self.taken = 0

    def hold(self, tensor: Any) -> _Held:
        storage, held = tensor.untyped_storage().data_ptr(), _Held(tensor)
        reach = 1 + sum((int(size) - 1) * step for size, step in zip(tensor.shape, tensor.stride(), strict=True))
        start = int(tensor.storage_offset())
        self.taken += 1
        self._change(storage, self.taken, (start * tensor.itemsize, (start + reach) * tensor.itemsize))
        weakref.finalize(held, self._change, storage, self.taken, None)
        return held

    def _change(self, storage: int, holder: int, span: tuple[int, int] | None) -> None:
        spans = self.spans.setdefault(storage, {})
        self.now -= _extent(spans)
        if span is None:
            del spans[holder]
        else:
            spans[holder] = span
        self.now += _extent(spans)
        self.peak = max(self.peak, self.now)


class _Held:
    def __init__(self, tensor: Any) -> None:
        self.tensor = tensor


def _extent(spans: dict[int, tuple[int, int]]) -> int:
    return max(stop for _, stop in spans.values()) - min(start for start, _ in spans.values()) if spans else 0


@contextmanager
def counting(kept: PeakBytes, parameters: set[int]) -> Iterator[None]:
    """Inside, `kept` counts what is saved for backward, except the storages in `parameters`."""
    import torch

    def pack(tensor: Any) -> Any:
        alone = not tensor.numel() or tensor.untyped_storage().data_ptr() in parameters
        return tensor if alone else kept.hold(tensor)

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda kept: kept.tensor if isinstance(kept, _Held) else kept):
        yield


def peak_saved(encoder: Any, loss: Callable[..., Any], run: Callable[[Callable[..., Any]], Any]) -> tuple[int, int]:
    """Peak bytes that encoder and loss kept for backward while `run(loss)` computed a gradient, each by itself."""
    parameters = {p.untyped_storage().data_ptr() for p in encoder.parameters()}
    of_encoder, of_loss = PeakBytes(), PeakBytes()

    def apart(*representations: Any) -> Any:
        with counting(of_loss, parameters):
            return loss(*representations)

    with counting(of_encoder, parameters):
        run(apart)
    return of_encoder.peak, of_loss.peak


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
