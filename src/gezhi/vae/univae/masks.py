"""What the layers of a UniVAE may see: a text both ways, its copy from the left, and between them one position."""

from __future__ import annotations

import torch
from torch import Tensor

from gezhi._checks import check_integer, invalid
from gezhi.nn.attention import Mask


def univae_masks(
    n_in: int, n_out: int, input_keys: Tensor | None = None, output_keys: Tensor | None = None
) -> tuple[Mask, Mask]:
    r"""The masks of the first layers and of the last ones, over a text and then its copy.

    With segments $s_i\in\{0,1\}$ and their running sum $c_i$, query i sees key j where $s_i=s_j$ and $c_j\le c_i$: the
    text both ways, the copy from the left, nothing in between. In the second mask everyone sees position 0 too.

    Args:
        n_in, n_out: tokens of the text and of the copy, ≥ 1.
        input_keys, output_keys: (batch, n_in) and (batch, n_out), True where a token is no padding; position 0 is
            always visible.
    Returns: `(independent, uniae)`.
    Example:
        >>> univae_masks(1, 2)[1].tensor(3, 3).long().tolist()
        [[1, 0, 0], [1, 1, 0], [1, 1, 1]]
    """
    check_integer("n_in", n_in, at_least=1)
    check_integer("n_out", n_out, at_least=1)
    segment = (torch.arange(n_in + n_out) >= n_in).long()
    count = segment.cumsum(0)
    independent = (segment[:, None] == segment) & (count <= count[:, None])  # (1)
    linked = independent.clone()
    linked[:, 0] = True  # (2)
    keys = _keys(n_in, n_out, input_keys, output_keys)
    return Mask(dense=independent, keys=keys), Mask(dense=linked, keys=keys)


def _keys(n_in: int, n_out: int, input_keys: Tensor | None, output_keys: Tensor | None) -> Tensor | None:
    given = {"input_keys": (input_keys, n_in), "output_keys": (output_keys, n_out)}
    rows = {len(keys) for keys, _ in given.values() if keys is not None}
    if not rows:
        return None
    for name, (keys, size) in given.items():
        if keys is not None and (keys.dtype != torch.bool or keys.shape != (max(rows), size)):
            got = f"{keys.dtype} {tuple(keys.shape)}"
            raise invalid(name, f"be bool of the shape {(max(rows), size)}", got)
    parts = [torch.ones(max(rows), size, dtype=torch.bool) if keys is None else keys for keys, size in given.values()]
    keys = torch.cat(parts, 1)
    keys[:, 0] = True
    return keys
