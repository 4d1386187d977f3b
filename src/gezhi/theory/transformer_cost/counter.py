"""Counting the multiplications of a user's own model while it runs, fused attention on the CPU included."""

from __future__ import annotations

import math
import warnings
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from gezhi._checks import invalid

Named = Mapping[str, Any]  # an operation's arguments by the names of its schema

PRODUCTS = ("mm", "matmul", "attention", "rnn", "lstm", "gru", "convolution", "linear", "conv", "cdist", "trilinear")
NO_PRODUCTS = ("upsample", "thnn")  # linear interpolation, and the cells that follow a product


class UncountedOperationWarning(UserWarning):
    """An operation ran that multiplies, or that this library does not know: the count is too small."""


@dataclass(frozen=True)
class MacCount:
    """What `count_macs` found.

    Attributes:
        macs: multiplications with an addition, exact.
        by_operation: torch's name of an operation to its share, largest first.
        uncounted: operations that may multiply and have no formula here; if there are any, `macs` is too small.
    """

    macs: int
    by_operation: Mapping[str, int] = field(default_factory=dict)
    uncounted: tuple[str, ...] = ()

    @property
    def flops(self) -> int:
        """Two a MAC: a multiplication and an addition."""
        return 2 * self.macs


def count_macs(call: Callable[..., Any], *args: Any, **kwargs: Any) -> MacCount:
    r"""Run `call(*args, **kwargs)` and count the multiplications with an addition (MAC) of what was executed.

    Counted are products of matrices, convolutions, attention (fused or not, on CPU and GPU) and the fast paths of
    `nn.TransformerEncoderLayer` and `nn.MultiheadAttention`, each by (1); a backward pass inside `call` counts as well.
    Fused attention counts all pairs, also under a causal mask; its backward pass counts the scores that it computes
    again. Nothing is hooked to the model, so that the path that runs is the one that runs without counting.

    Args:
        call: a module or any function. Compile it afterwards: what `torch.compile` made is not seen.
        args, kwargs: given to it. The count is of these shapes.
    Errors: TypeError where `call` cannot be called; `UncountedOperationWarning`, see `MacCount.uncounted`.
    Cost: that of the call, and some microseconds an operation.
    Use instead: `layer_macs`, where the sizes are known and nothing should run; `torch.utils.flop_counter` for a
        division by module (in torch 2.13 it gives fused attention on the CPU, and the fast paths, nothing).
    Example:
        >>> q = torch.zeros(1, 12, 512, 64)
        >>> count_macs(torch.nn.functional.scaled_dot_product_attention, q, q, q).macs
        402653184
    """
    if not callable(call):
        raise invalid("call", "be a module or a function", type(call).__name__, kind=TypeError)
    with _Counting() as counting:
        call(*args, **kwargs)
    if counting.uncounted:
        names = ", ".join(sorted(counting.uncounted))
        warnings.warn(f"not counted: {names}. The count is too small.", UncountedOperationWarning, stacklevel=2)
    found = dict(counting.found.most_common())
    return MacCount(sum(found.values()), found, tuple(sorted(counting.uncounted)))


class _Counting(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Sees every operation below autograd; composite ones, which inference mode leaves whole, are taken apart."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.found: Counter[str] = Counter()
        self.uncounted: set[str] = set()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs, name = kwargs or {}, func.overloadpacket.__name__
        formula = FORMULAS.get(name) if func.namespace == "aten" else None
        if formula is None and torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), "CompositeImplicitAutograd"):
            with self:
                return func.decompose(*args, **kwargs)
        out = func(*args, **kwargs)
        if formula is not None:
            schema = [argument.name for argument in func._schema.arguments]
            self.found[name] += formula({**dict(zip(schema, args, strict=False)), **kwargs, "out": out})
        elif func.namespace not in ("aten", "prim", "prims", "debugprims") or _may_multiply(name):
            self.uncounted.add(func.name())
        return out


def _may_multiply(name: str) -> bool:
    words = name.strip("_").split("_")
    products = any(word.rstrip("123d").endswith(PRODUCTS) for word in words)
    return products and words[0] not in NO_PRODUCTS


# ---- formulas -------------------------------------------------------------------------------------------------------


def _matrices(first: str, second: str) -> Callable[[Named], int]:
    """(…, n, k) times (…, k, m), or (…, k) times (k)."""
    return lambda a: int(a[first].numel() * (a[second].shape[-1] if a[second].dim() > 1 else 1))


def _convolution(a: Named) -> int:
    """A kernel's size for each number that comes out (or, transposed, that goes in)."""
    moved = a["input"] if a["transposed"] else a.get("grad_output", a["out"])
    return int(moved.numel() * math.prod(a["weight"].shape[1:]))


def _convolution_backward(a: Named) -> int:
    return _convolution(a) * int(sum(a["output_mask"][:2]))


def _attention(keys: int, values: int) -> Callable[[Named], int]:
    """So many products of the width of the keys, and of the values, for each pair of query and key."""

    def formula(a: Named) -> int:
        query, key, value = (a[name] for name in ("query", "key", "value"))
        pairs = math.prod(query.shape[:-1]) * key.shape[-2]
        return int(pairs * (keys * query.shape[-1] + values * value.shape[-1]))  # (1)

    return formula


def _lengths(batch: Any) -> list[int]:
    """Tokens of each sequence; nested tensors have one each."""
    if batch.is_nested:
        return list(map(int, batch._nested_tensor_size()[:, 0]))
    return [int(batch.shape[1])] * len(batch)


def _encoder_layer(a: Named) -> int:
    width, square = a["embed_dim"], sum(n * n for n in _lengths(a["src"]))
    weights = sum(a[name].numel() for name in ("qkv_weight", "proj_weight", "ffn_weight_1", "ffn_weight_2"))
    return int(sum(_lengths(a["src"])) * weights + 2 * square * width)  # (1)


def _multihead(a: Named) -> int:
    width, queries, keys = a["embed_dim"], _lengths(a["query"]), _lengths(a["key"])
    mapped = 2 * sum(queries) + sum(keys) + sum(_lengths(a["value"]))
    return int(mapped * width**2 + 2 * width * sum(n * k for n, k in zip(queries, keys, strict=True)))  # (1)


def _rnn(a: Named) -> int:
    """One direction of one layer: (steps, batch, width) through the weights of input and state."""
    return int(math.prod(a["input"].shape[:2]) * (a["weight0"].numel() + a["weight1"].numel()))


FUSED = ("flash_attention", "flash_attention_for_cpu", "efficient_attention", "cudnn_attention")
FORMULAS: dict[str, Callable[[Named], int]] = {
    **{name: _matrices("self", "mat2") for name in ("mm", "bmm", "_int_mm", "_scaled_mm")},
    **{name: _matrices("mat1", "mat2") for name in ("addmm", "_addmm_activation")},
    "baddbmm": _matrices("batch1", "batch2"),
    "addbmm": _matrices("batch1", "batch2"),
    "mv": _matrices("self", "vec"),
    "addmv": _matrices("mat", "vec"),
    "dot": _matrices("self", "tensor"),
    "vdot": _matrices("self", "other"),
    "convolution": _convolution,
    "convolution_backward": _convolution_backward,
    **{f"_scaled_dot_product_{name}": _attention(1, 1) for name in FUSED},
    **{f"_scaled_dot_product_{name}_backward": _attention(3, 2) for name in FUSED},
    "_transformer_encoder_layer_fwd": _encoder_layer,
    "_native_multi_head_attention": _multihead,
    "mkldnn_rnn_layer": _rnn,
}
