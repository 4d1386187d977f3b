"""What makes a second pass equal to the first: the same random numbers, no batch statistics, a look at the result."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from gezhi._checks import invalid


class RandomStates:
    """Torch's generators of the CPU and of some devices, saved and restored together."""

    def __init__(self, devices: Iterable[torch.device]) -> None:
        self.devices = [device for device in devices if device.type != "cpu"]

    def save(self) -> list[Tensor]:
        return [torch.get_rng_state(), *(torch.get_device_module(d).get_rng_state(*_index(d)) for d in self.devices)]

    def restore(self, states: list[Tensor]) -> None:
        torch.set_rng_state(states[0])
        for device, state in zip(self.devices, states[1:], strict=True):
            torch.get_device_module(device).set_rng_state(state, *_index(device))


def _index(device: torch.device) -> tuple[torch.device, ...]:
    return () if device.type == "mps" else (device,)  # MPS has one device and takes no argument


@contextmanager
def without_autocast(devices: Iterable[torch.device]) -> Iterator[None]:
    """The loss keeps its precision, and backward passes follow the types that the forward pass chose."""
    with ExitStack() as stack:
        for kind in {device.type for device in devices}:
            stack.enter_context(torch.autocast(kind, enabled=False))
        yield


def refuse_batch_norm(modules: Iterable[nn.Module]) -> None:
    """Statistics of a batch couple its rows inside the encoder, where no chunking can be exact."""
    for module in modules:
        for name, part in module.named_modules():
            if isinstance(part, _BatchNorm) and (part.training or part.running_mean is None):
                raise invalid(
                    "encoder",
                    "not normalise by batch statistics, since each chunk would be normalised by its own and not by the "
                    "batch's, and running statistics would be updated twice",
                    f"{type(part).__name__} {name or 'itself'!r} in training mode",
                    "Put these layers in eval mode, use GroupNorm or LayerNorm, or accept another gradient by "
                    "batch_norm='allow'.",
                )


class Comparison:
    """How far re-encoded representations are from cached ones, against what rounding can do."""

    def __init__(self, modules: Iterable[nn.Module], devices: Iterable[torch.device], replayed: bool) -> None:
        dtypes = {p.dtype for m in modules for p in m.parameters() if p.is_floating_point()}
        kinds = {device.type for device in devices}
        dtypes |= {torch.get_autocast_dtype(kind) for kind in kinds if torch.is_autocast_enabled(kind)}
        self.eps = max((torch.finfo(dtype).eps for dtype in dtypes), default=0.0)
        self.replayed = replayed
        self.worst: dict[int, tuple[Tensor, float]] = {}

    def note(self, index: int, again: Tensor, cached: Tensor) -> None:
        """Keep the largest difference of input `index`; its first chunk is judged at once."""
        apart = (again.detach() - cached).abs().amax() / cached.abs().amax().clamp(min=torch.finfo(cached.dtype).tiny)
        first = index not in self.worst
        tolerance = max(self.eps, torch.finfo(again.dtype).eps) ** 0.5
        self.worst[index] = (apart if first else torch.maximum(self.worst[index][0], apart), tolerance)
        if first:
            self.judge(index)

    def judge(self, index: int) -> None:
        apart, tolerance = float(self.worst[index][0]), self.worst[index][1]
        if not apart <= tolerance:
            draws = "random numbers from outside torch" if self.replayed else "dropout, which replay_rng=False redraws"
            raise invalid(
                f"encoder of input {index}",
                f"give the same output in both passes, to {tolerance:.0e} of its size",
                f"a difference of {apart:.1e}",
                f"Look for {draws}, for state that a call changes (spectral norm, counters, caches), or for another "
                "path without gradients. What `.grad` got in this call is wrong.",
                kind=RuntimeError,
            )

    def finish(self) -> None:
        for index in self.worst:
            self.judge(index)


def devices_of(modules: Iterable[nn.Module], tensors: Iterable[Tensor]) -> list[torch.device]:
    """The CPU, and every device that parameters, buffers or inputs live on."""
    found = {torch.device("cpu"), *(tensor.device for tensor in tensors)}
    for module in modules:
        found |= {tensor.device for tensor in (*module.parameters(), *module.buffers())}
    return sorted((device for device in found if device.type != "meta"), key=str)


def graph_leaves(loss: Tensor) -> list[Tensor]:
    """Leaf tensors that a loss was computed from and that require gradients."""
    found: dict[int, Tensor] = {}
    stack: list[Any] = [loss.grad_fn]
    seen = set()
    while stack:
        node = stack.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            found[id(node.variable)] = node.variable
        stack += [previous for previous, _ in node.next_functions]
    return list(found.values())
