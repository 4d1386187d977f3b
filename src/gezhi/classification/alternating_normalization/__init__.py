r"""Alternating normalisation (CAN): a known class prior, applied to uncertain predictions after training.

Title: Alternating normalisation | 交替归一化
Also: CAN, 8728
Tags: classification, calibration, post-processing
Articles: CAN:借助先验分布提升分类性能的简单后处理技巧
Page: docs/methods/alternating_normalization.md
Notation: $p_j$ = a row of `probs`, $\pi$ = `prior`, $A$ = confident rows, $\tau$ = `threshold`, $\alpha$ = `alpha`.
"""

from gezhi.classification.alternating_normalization.estimator import AlternatingNormalizer
from gezhi.classification.alternating_normalization.formula import (
    UnadjustedWarning,
    normalize_alternately,
    top_k_uncertainty,
)

__all__ = ["AlternatingNormalizer", "UnadjustedWarning", "normalize_alternately", "top_k_uncertainty"]
