"""Pictures as rows of numbers."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from gezhi.data import Images

SIDE = 14  # pixels, after pooling


def pooled(data: Images, rows: NDArray[np.int64]) -> Tensor:
    """Some pictures, pooled to 14 × 14, as rows of numbers from 0 to 1."""
    chosen = torch.from_numpy(np.asarray(data.images[rows], dtype=np.float32)) / 255
    return F.adaptive_avg_pool2d(chosen[:, None], (SIDE, SIDE)).flatten(1)
