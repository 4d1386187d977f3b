r"""What a Transformer costs: multiplications, weights and memory as exact integers, and the lengths where they cross.

Title: The cost of a Transformer | Transformer 的计算量
Also: Transformer cost, FLOPs, MACs, quadratic complexity, linear attention, 8610
Tags: attention, complexity, FLOPs, memory
Articles: 线性Transformer应该不是你要等的那个模型
Page: docs/methods/transformer_cost.md
Notation: $n$ = `tokens`, $c$ = `cached`, $H$ = `hidden`, $h$ = `num_heads`, $h_k$ = `kv_heads`, $d_k$ = `key_dim`,
$d_v$ = `value_dim`, $m$ = `features`, $F$ = `ffn`, $e$ = `itemsize`.
"""

from gezhi.theory.transformer_cost.counter import MacCount, UncountedOperationWarning, count_macs
from gezhi.theory.transformer_cost.layer import LayerSpec, crossover, layer_macs, layer_params
from gezhi.theory.transformer_cost.memory import activation_bytes, cache_bytes
from gezhi.theory.transformer_cost.model import ModelSpec, model_macs, model_params, training_macs

__all__ = [
    "LayerSpec",
    "MacCount",
    "ModelSpec",
    "UncountedOperationWarning",
    "activation_bytes",
    "cache_bytes",
    "count_macs",
    "crossover",
    "layer_macs",
    "layer_params",
    "model_macs",
    "model_params",
    "training_macs",
]
