r"""Attention by a feature map under any mask: what the scan cannot do, in O(n²).

Notation: $\phi_r(q_i)$, $\varphi_r(k_j)$ = the features, $m_j=\max_r\log\varphi_r(k_j)$ = `peaks`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gezhi.nn.attention import FeatureMap, softmax
from gezhi.nn.attention.core import each_head
from gezhi.nn.attention.kernels import Features

_EPS = 1e-6  # least normaliser of maps without logarithms, as in the scan


def masked_linear_attention(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor, *, kernel: FeatureMap, scale: float
) -> Tensor:
    r"""Rows of weights that are never normalised by a hidden key, so that no rounding comes from one either.

    $$a_i=\mathrm{softmax}_j\Big(m_j+\log\sum_r\phi_r(q_i)\,\varphi_r(k_j)e^{-m_j}:j\text{ visible}\Big)$$

    Args:
        query, key, value: (batch, heads, n_q, dim), and keys for as many heads or for groups of them.
        mask: bool, broadcasts to (batch, heads, n_q, n_k), True: may attend.
    Returns: a row per query in its dtype, 0 where it sees no key.
    Cost: O(n_q n_k · features) time, O(n_q n_k) memory. Log features of one key may differ by about 80, and with a
        normaliser per channel those of the keys in one channel: what lies lower counts as nothing.
    """
    key, value = each_head(query, key, value)
    wide = torch.promote_types(query.dtype, torch.float32)
    query_in, key_in = (x.to(wide) * scale**0.5 for x in (query, key))
    if kernel.per_channel:
        weights = _by_channel(query_in, key_in, mask, kernel)
    elif kernel.log is not None:
        weights = _by_logarithms(query_in, key_in, mask, kernel.log)
    else:
        weights = (kernel.query(query_in) @ kernel.key(key_in).mT) * mask
        norms = weights.sum(-1, keepdim=True)
        weights = weights / norms.masked_fill(norms.abs() <= _EPS, _EPS)
    return (weights @ value.to(wide)).to(query.dtype)


def _by_logarithms(query: Tensor, key: Tensor, mask: Tensor, log: tuple[Features, Features]) -> Tensor:
    asked, answer = log[0](query), log[1](key)
    peaks = answer.detach().amax(-1, keepdim=True)
    asked = (asked - asked.detach().amax(-1, keepdim=True)).exp()
    products = asked @ (answer - peaks).exp().mT
    scores = products.clamp(min=torch.finfo(products.dtype).tiny).log() + peaks.mT
    return softmax(scores.masked_fill(~mask, -torch.inf))


def _by_channel(query: Tensor, key: Tensor, mask: Tensor, kernel: FeatureMap) -> Tensor:
    if kernel.log is None:
        asked, raised = kernel.query(query), kernel.key(key)
    else:
        asked, logs = kernel.log[0](query).exp(), kernel.log[1](key)
        seen = mask.any(-2)[..., None]  # by any query
        raised = (logs - logs.detach().masked_fill(~seen, -torch.inf).amax(-2, keepdim=True)).clamp(max=0).exp()
    shown = mask.to(raised.dtype)
    norms = shown @ raised
    return (asked / norms.masked_fill(norms == 0, 1)) @ raised.mT * shown
