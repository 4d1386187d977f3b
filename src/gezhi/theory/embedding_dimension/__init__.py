r"""Embedding dimension: how wide a vector must be, by minimum entropy and by the Johnson–Lindenstrauss lemma.

Title: Embedding dimension | 词向量的维度
Also: 8.33 log N, JL lemma, 8711
Tags: embedding, entropy, random projection
Articles: 关于维度公式"n > 8.33 log N"的可用性分析
Page: docs/methods/embedding_dimension.md
Notation: $N$ = `N` (words, keys or points), $n$ = `n` or `n_components`, $h_n$ = `entropy_gap(n)`,
$\varepsilon$ = `eps`, $\delta$ = `delta`.
"""

from gezhi.theory.embedding_dimension.entropy import entropy_gap, min_embedding_dim, rule_of_thumb
from gezhi.theory.embedding_dimension.projection import GaussianRandomProjection, SignHash, jl_min_dim

__all__ = [
    "GaussianRandomProjection",
    "SignHash",
    "entropy_gap",
    "jl_min_dim",
    "min_embedding_dim",
    "rule_of_thumb",
]
