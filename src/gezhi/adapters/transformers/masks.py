"""The mask function that goes with the implementation: transformers' own, with a prefix, and short where it can be."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from gezhi._checks import invalid
from gezhi.adapters.transformers.settings import settings_of

MaskFunction = Callable[[Any, Any, Any, Any], Any]  # batch, head, query and key index -> bool

_GIVEN: ContextVar[Tensor | None] = ContextVar("gezhi_prefix_tokens", default=None)
_TRACED: list[Tensor] = []  # the same for torch.compile, which cannot read context variables


@contextmanager
def prefix_tokens(counts: Tensor) -> Iterator[None]:
    """How many tokens of each row, padding not counted, are its prefix, for the calls inside the `with`.

    Args:
        counts: (batch,), integers; rows that generation repeats (beams) are repeated here too.
    Errors: TypeError unless integers, ValueError for another shape.
    Example:
        >>> with prefix_tokens(torch.tensor([5, 3])):
        ...     pass  # model(input_ids, attention_mask=…), or model.generate(…)
    """
    if counts.is_floating_point() or counts.dtype == torch.bool:
        raise invalid("counts", "be integers", counts.dtype, kind=TypeError)
    if counts.ndim != 1:
        raise invalid("counts", "have the shape (batch,)", tuple(counts.shape))
    token = _GIVEN.set(counts)
    _TRACED.append(counts)
    try:
        yield
    finally:
        _TRACED.pop()
        _GIVEN.reset(token)


def attention_mask(
    sdpa_mask: Callable[..., Tensor | None], plain: tuple[MaskFunction, MaskFunction], **asked: Any
) -> Tensor | None:
    """What transformers calls once a kind of layer. `plain` are its causal and its bidirectional mask function."""
    settings = settings_of(asked["config"])
    if settings.prefix is not None and asked["mask_function"] is not plain[1]:
        asked |= {"mask_function": _with_prefix(settings.prefix, asked), "allow_is_causal_skip": False}
    if settings.linear and _has_structure(plain, asked):
        padding = asked.get("attention_mask")
        return None if padding is None else padding[:, None, None, :]
    if not settings.fused:
        asked["allow_is_causal_skip"] = False
    mask = sdpa_mask(**asked)
    looks_back = asked["mask_function"] is not plain[1]
    return mask | _diagonal(asked) if mask is not None and settings.urpe is not None and looks_back else mask


def _has_structure(plain: tuple[MaskFunction, MaskFunction], asked: dict[str, Any]) -> bool:
    """Whether all that is hidden is padding and, under a causal mask, what is newer than the query."""
    (n_q, offset), padding = _queries(asked), asked.get("attention_mask")
    if isinstance(offset, Tensor) or (padding is not None and padding.shape[-1] != asked["kv_length"]):
        return False
    whole = asked.get("kv_offset", 0) == 0 and asked["kv_length"] == offset + n_q
    return asked["mask_function"] is plain[1] or (asked["mask_function"] is plain[0] and whole)


def _with_prefix(prefix: int | str, asked: dict[str, Any]) -> MaskFunction:
    """A token also sees each token of the prefix that sees it: windows, chunks and documents hold both ways."""
    within, base = _prefix_keys(prefix, asked), asked["mask_function"]

    def either(batch: Any, head: Any, query: Any, key: Any) -> Any:
        return base(batch, head, query, key) | (within[batch, key] & base(batch, head, key, query))

    return either


def _prefix_keys(prefix: int | str, asked: dict[str, Any]) -> Tensor:
    """(batch, keys), True for the first tokens of each row as far as they are there."""
    batch, padding, device = asked["batch_size"], asked.get("attention_mask"), _device(asked)
    n_k = asked["kv_length"] + asked.get("kv_offset", 0)
    counts, index = _counts(prefix, batch, device), torch.arange(n_k, device=device)
    n_q, offset = _queries(asked)
    there = index < offset + n_q
    if padding is None:
        return torch.logical_and(index < counts[:, None], there)
    padding = F.pad(padding, (0, max(0, n_k - padding.shape[-1])))[:, :n_k]
    first: Tensor = padding & (padding.cumsum(-1) <= counts[:, None]) & there
    return first


def _counts(prefix: int | str, batch: int, device: Any) -> Tensor:
    given = (_TRACED[-1] if _TRACED else None) if torch.compiler.is_compiling() else _GIVEN.get()
    if given is None:
        if isinstance(prefix, str):
            fix = "Call the model inside `with prefix_tokens(counts):`."
            raise invalid("the prefix", "be given for every call, as use_attention(prefix='given') says", None, fix)
        return torch.full((batch,), prefix, device=device)
    if batch % len(given):
        raise invalid("counts", f"have an entry a row, {batch}", len(given))
    return given.to(device).repeat_interleave(batch // len(given))


def _diagonal(asked: dict[str, Any]) -> Tensor:
    """Every query sees itself, padding too: so the newest key that the last query sees tells where it stands."""
    device, (n_q, offset) = _device(asked), _queries(asked)
    query = torch.arange(n_q, device=device) + offset
    key = torch.arange(asked["kv_length"], device=device) + asked.get("kv_offset", 0)
    return torch.eq(query[:, None], key)


def _queries(asked: dict[str, Any]) -> tuple[int, int | Tensor]:
    """How many they are and where the first stands; transformers 5.0 tells it by a tensor of positions."""
    position = asked.get("cache_position")
    if position is None:
        return asked["q_length"], asked.get("q_offset", 0)
    whole = asked.get("kv_offset", 0) == 0 and asked["kv_length"] == len(position)
    return len(position), 0 if whole else position[0]


def _device(asked: dict[str, Any]) -> Any:
    told = (asked.get(name) for name in ("cache_position", "attention_mask"))
    return asked.get("device", next((tensor.device for tensor in told if tensor is not None), None))
