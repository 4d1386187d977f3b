r"""Gradient of a contrastive loss over a large batch, exact, with the activations of one small chunk in memory.

Title: Exact contrastive gradients in chunks | 对比学习的精确分块梯度
Also: GradCache, 8471
Tags: contrastive, memory, gradient accumulation, distributed
Articles: 对比学习可以使用梯度累积吗?
Page: docs/methods/contrastive_cache.md
Notation: $h_i$ = row i of a representation, $\tilde h_i$ = `representation_gradient`'s row i, $b$ = `chunk_size`.
"""

from gezhi.training.contrastive_cache.closed_form import representation_gradient
from gezhi.training.contrastive_cache.procedure import ContrastiveCache

__all__ = ["ContrastiveCache", "representation_gradient"]
