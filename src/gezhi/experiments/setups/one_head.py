"""One head of attention to be timed, for experiments that compare kernels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from gezhi.nn.attention import dot_product_attention


def passing(kernel: Any, tokens: int, seed: int, _size: None) -> Callable[[], object]:
    """One head of width 64 over all tokens, without gradient."""
    tensors = torch.randn(3, 1, 1, tokens, 64, generator=torch.Generator().manual_seed(seed))
    return lambda: dot_product_attention(*tensors, kernel=kernel)
