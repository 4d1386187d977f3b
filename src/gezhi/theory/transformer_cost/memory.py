"""Memory of one layer: what training keeps for the backward pass, and what decoding keeps of the past."""

from __future__ import annotations

from gezhi._checks import check_integer, invalid
from gezhi.theory.transformer_cost.layer import LayerSpec


def activation_bytes(
    layer: LayerSpec, tokens: int, *, batch: int = 1, itemsize: int = 2, fused: bool = False, dropout: bool = True
) -> dict[str, int]:
    r"""Bytes that one layer keeps for its backward pass, by part.

    $$nbH\Big(34+\frac{5hn}H\Big)\quad\text{for }e=2,\ F=4H \tag{5}$$

    Each linear map keeps its input, softmax its output, a norm and an activation their input, dropout a mask of one
    byte a number. The second term is `"scores"`: softmax's output, and with dropout its mask and what it lets through.

    Args:
        layer: with softmax attention or none.
        tokens, batch: n, b ≥ 0.
        itemsize: bytes a number: 2 for half precision, 4 for float32.
        fused: whether attention keeps no score matrix and computes it again (flash attention).
        dropout: after attention's softmax, its output and the feed-forward part, as in BERT.
    Returns: `"norms"`, `"attention"`, `"scores"` and `"ffn"`, exact.
    Example:
        >>> bert = LayerSpec(768, 12)
        >>> [sum(activation_bytes(bert, n).values()) for n in (512, 1024)]
        [29097984, 89653248]

    References: V. Korthikanti et al., Reducing Activation Recomputation in Large Transformer Models, 2022.
    """
    if layer.attention == "linear":
        raise invalid(
            "layer", "have softmax attention or none", "linear", "What linear attention keeps is not counted."
        )
    n, b = check_integer("tokens", tokens, at_least=0), check_integer("batch", batch, at_least=0)
    e, mask = check_integer("itemsize", itemsize, at_least=1), 1 if dropout else 0
    H, F = layer.hidden, layer.size("ffn")
    queries, values = layer.num_heads * layer.size("key_dim"), layer.num_heads * layer.size("value_dim")
    keys = layer.size("kv_heads") * (layer.size("key_dim") + layer.size("value_dim"))
    stored = layer.attention == "softmax" and not fused
    inner = 4 if layer.gated else 2  # the activation's input and output; with a gate both factors and their product
    return {
        "norms": n * b * e * H * (2 if F else 1),  # (5)
        "attention": n * b * (e * (H + queries + keys + values) + mask * H),  # (5)
        "scores": n * n * b * layer.num_heads * (e + mask * (1 + e)) if stored else 0,  # (5)
        "ffn": n * b * (e * (H + inner * F) + mask * H) if F else 0,  # (5)
    }


def cache_bytes(layer: LayerSpec, tokens: int, *, batch: int = 1, itemsize: int = 2) -> int:
    r"""Bytes that decoding keeps of the tokens before, in one layer.

    $$nh_k(d_k+d_v)\ \text{(softmax)},\qquad h_k\,m(d_v+1)\ \text{(linear)} \tag{6}$$

    numbers: keys and values of every token, or one state with its normaliser, whatever the length.

    Args:
        layer: the sizes; without attention nothing is kept.
        tokens, batch: n, b ≥ 0.
        itemsize: bytes a number.
    Example:
        >>> llama = LayerSpec(4096, 32, ffn=14336, kv_heads=8, gated=True)
        >>> 32 * cache_bytes(llama, 8192) / 2**30  # GiB in 32 layers
        1.0
    """
    n, b = check_integer("tokens", tokens, at_least=0), check_integer("batch", batch, at_least=0)
    e, h_k = check_integer("itemsize", itemsize, at_least=1), layer.size("kv_heads")
    numbers = {
        "softmax": n * h_k * (layer.size("key_dim") + layer.size("value_dim")),  # (6)
        "linear": h_k * layer.size("features") * (layer.size("value_dim") + 1),  # (6)
        "none": 0,
    }
    return numbers[layer.attention] * b * e
