"""One layer: its multiplications by part, its weights, and the length at which two costs are equal."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from gezhi._checks import check_choice, check_integer, invalid

Bias = Literal["all", "qkv", "none"]
Norm = Literal["layer", "rms"]


@dataclass(frozen=True)
class LayerSpec:
    """The sizes of one Transformer layer: attention and a feed-forward part.

    Args:
        hidden: H, width of the layer, ≥ 1.
        num_heads: h, heads of the queries, ≥ 1.
        ffn: F, width inside the feed-forward part; None: 4 H, as in BERT; 0: there is none.
        kv_heads: heads of keys and values, which divides h; None: h (with fewer, heads are grouped).
        key_dim: width of a head's queries and keys; None: H / h, which must then be whole.
        value_dim: width of a head's values; None: H / h, or `key_dim` where that is given.
        gated: whether the feed-forward part has a third matrix (SwiGLU, GEGLU).
        attention: `"softmax"`; `"linear"`, without a mask or causal; `"none"`, where queries, keys and values are made
            and nothing is mixed, so that no attention is cheaper.
        features: m, random features a head of linear attention, made by a product with the queries and keys (FAVOR+).
            None: a map number by number, which costs no multiplication and leaves the width.
    Errors: ValueError, TypeError for sizes that are no such integers.
    Example:
        >>> LayerSpec(768, 12).ffn, LayerSpec(4096, 32, ffn=14336, kv_heads=8, gated=True).value_dim
        (3072, 128)
    """

    hidden: int
    num_heads: int
    ffn: int | None = None
    kv_heads: int | None = None
    key_dim: int | None = None
    value_dim: int | None = None
    gated: bool = False
    attention: Literal["softmax", "linear", "none"] = "softmax"
    features: int | None = None

    def __post_init__(self) -> None:
        check_choice("attention", self.attention, ("softmax", "linear", "none"))
        hidden, heads = (check_integer(name, getattr(self, name), at_least=1) for name in ("hidden", "num_heads"))
        if self.features is not None and self.attention != "linear":
            raise invalid("features", f"be None for attention {self.attention!r}", self.features)
        if self.key_dim is None and hidden % heads:
            must = "be a multiple of num_heads where key_dim is not given"
            raise invalid("hidden", must, f"{hidden} and {heads}", "Pass key_dim, the width of a head.")
        key_dim = hidden // heads if self.key_dim is None else self.key_dim
        defaults = {"ffn": 4 * hidden, "kv_heads": heads, "key_dim": key_dim, "value_dim": key_dim, "features": key_dim}
        for name, default in defaults.items():
            given = getattr(self, name)
            size = check_integer(name, default if given is None else given, at_least=0 if name == "ffn" else 1)
            if name != "features":
                object.__setattr__(self, name, size)
        if heads % self.size("kv_heads"):
            raise invalid("kv_heads", "divide num_heads", f"{self.kv_heads} and {heads}")

    def size(self, name: str) -> int:
        """One of the sizes, with its default filled in."""
        found = getattr(self, name)
        return int(self.size("key_dim") if found is None else found)


def layer_macs(
    layer: LayerSpec, tokens: int, *, cached: int = 0, context: int | None = None, causal: bool = False
) -> dict[str, int]:
    r"""Multiplications with an addition (MAC) of one layer, forward, for one sequence, by part.

    $$\underbrace{nH(h d_k+h_kd_k+h_kd_v)}_{\text{qkv}}+\underbrace{nn_kh\,d_k}_{\text{scores}}+
      \underbrace{nn_kh\,d_v}_{\text{values}}+\underbrace{nh\,d_vH}_{\text{out}}+
      \underbrace{2nHF}_{\text{ffn, 3 if gated}} \tag{1}$$

    Linear attention has `state` and `reading`, (4), in place of scores and values, and `features` where they are made
    by a product. A FLOP count is twice a MAC count. Softmax, norms, biases and activations are left out, as everywhere.

    Args:
        layer: the sizes.
        tokens: n ≥ 0, tokens that go through the layer.
        cached: earlier tokens whose keys and values are kept (or whose state, for linear attention); decoding a token
            after c others is `tokens=1, cached=c`.
        context: tokens of another sequence that gives keys and values (cross-attention); None: self-attention.
        causal: count only the keys that a token may see, which is right for kernels that skip the others. Off by
            default: many do not.
    Returns: part to count, exact.
    Example:
        >>> parts = layer_macs(LayerSpec(768, 12), 512)
        >>> parts["scores"], parts["ffn"], sum(parts.values())
        (201326592, 2415919104, 4026531840)

    References: 苏剑林, 线性Transformer应该不是你要等的那个模型, 2021.
    """
    n, before = check_integer("tokens", tokens, at_least=0), check_integer("cached", cached, at_least=0)
    if context is not None and (before or causal):
        raise invalid("context", "be None where tokens are cached or attention is causal", context)
    new_keys = n if context is None else check_integer("context", context, at_least=0)
    H, h, h_k = layer.hidden, layer.num_heads, layer.size("kv_heads")
    d_k, d_v = layer.size("key_dim"), layer.size("value_dim")
    parts = {"qkv": n * H * h * d_k + new_keys * H * h_k * (d_k + d_v)}  # (1)
    if layer.attention == "softmax":
        pairs = n * before + n * (n + 1) // 2 if causal else n * (before + new_keys)  # (2)
        parts |= {"scores": pairs * h * d_k, "values": pairs * h * d_v}  # (1)
    elif layer.attention == "linear":
        m = layer.size("features")
        if layer.features is not None:
            parts["features"] = (n * h + new_keys * h_k) * d_k * m
        parts |= {"state": new_keys * h_k * m * d_v, "reading": n * h * m * d_v}  # (4)
    return parts | {"out": n * h * d_v * H, "ffn": n * H * layer.size("ffn") * (3 if layer.gated else 2)}  # (1)


def layer_params(layer: LayerSpec, *, bias: Bias = "all", norm: Norm = "layer") -> dict[str, int]:
    r"""Weights of one layer, by part.

    $$H(h d_k+h_kd_k+h_kd_v)+h\,d_vH+2HF+\text{biases}+2\cdot2H \tag{8}$$

    Args:
        layer: the sizes. Random features are no weights.
        bias: which linear maps have one: `"all"` (BERT, GPT-2), `"qkv"` (Qwen2) or `"none"` (Llama).
        norm: `"layer"` has 2 H weights, `"rms"` has H; there is one in front of (or behind) each of the two parts.
    Returns: part to count, exact.
    Example:
        >>> sum(layer_params(LayerSpec(768, 12)).values())
        7087872
    """
    check_choice("bias", bias, ("all", "qkv", "none"))
    check_choice("norm", norm, ("layer", "rms"))
    H, F, up = layer.hidden, layer.size("ffn"), 2 if layer.gated else 1
    queries, values = layer.num_heads * layer.size("key_dim"), layer.num_heads * layer.size("value_dim")
    keys = layer.size("kv_heads") * (layer.size("key_dim") + layer.size("value_dim"))
    norms = (1 if norm == "rms" else 2) * H * (2 if F else 1)
    parts = {"qkv": H * (queries + keys), "out": values * H, "ffn": (up + 1) * H * F, "norms": norms}  # (8)
    if bias != "none":
        parts["qkv"] += queries + keys
    if bias == "all":
        parts["out"] += H
        parts["ffn"] += (up * F + H) if F else 0
    return parts


def crossover(
    layer: LayerSpec,
    other: LayerSpec,
    *,
    parts: Collection[str] | None = None,
    other_parts: Collection[str] | None = None,
) -> Fraction | None:
    r"""Length at which two layers, or parts of them, take equally many multiplications.

    $$an+bn^2=a'n+b'n^2\quad\Longrightarrow\quad n=\frac{a'-a}{b-b'} \tag{3}$$

    Args:
        layer, other: what is compared; self-attention without a mask. The same layer twice compares its parts.
        parts, other_parts: which parts of each, by the names that `layer_macs` gives; None: all.
    Returns: the exact length > 0; None where they never meet (or are equal everywhere).
    Errors: ValueError for a part that the layer does not have.
    Example:
        >>> bert = LayerSpec(768, 12)
        >>> crossover(bert, bert, parts=["scores", "values"], other_parts=["qkv", "out", "ffn"])
        Fraction(4608, 1)
        >>> crossover(bert, LayerSpec(768, 12, attention="linear"))
        Fraction(64, 1)
    """
    (a, b), (a2, b2) = _polynomial("parts", layer, parts), _polynomial("other_parts", other, other_parts)
    if b == b2:
        return None
    length = (a2 - a) / (b - b2)  # (3)
    return length if length > 0 else None


def _polynomial(argument: str, layer: LayerSpec, parts: Collection[str] | None) -> tuple[Fraction, Fraction]:
    """Coefficients of n and n² of some parts of a layer."""
    one, two = layer_macs(layer, 1), layer_macs(layer, 2)
    chosen = list(one) if parts is None else list(parts)
    for part in chosen:
        check_choice(argument, part, tuple(one))
    once, twice = (sum(found[part] for part in chosen) for found in (one, two))
    square = Fraction(twice - 2 * once, 2)
    return once - square, square
