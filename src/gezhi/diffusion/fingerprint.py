"""Which weights a number belongs to: statistics and heads of one network mean nothing for another."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor, nn


def fingerprint(network: nn.Module) -> str:
    """Sixteen hexadecimal digits of the network's tensors: their names, types, shapes and values.

    The same weights in another type have another one, since they predict otherwise. Where the tensors lie does not
    matter.

    Cost: one pass over the weights.
    Example:
        >>> layer = nn.Linear(2, 3)
        >>> fingerprint(layer) == fingerprint(layer), fingerprint(layer) == fingerprint(nn.Linear(2, 3))
        (True, False)
    """
    digest = hashlib.sha256()
    for name, value in sorted(network.state_dict().items()):
        if isinstance(value, Tensor):
            digest.update(f"{name} {value.dtype} {tuple(value.shape)};".encode())
            digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()[:16]
